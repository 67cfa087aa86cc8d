"""What helps this process to be fast on this machine. Only the command line calls it."""

import ctypes
import os
import sys
import time

import torch


def arrange(threads: int | None) -> None:
    """Sets threads, flushes denormals, and keeps freed memory for the next step."""
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Tells glibc to keep large blocks; returns whether it was told.

    By default it hands every large tensor back to the system when freed, and the next one has its
    pages faulted in and cleared again: a tenth of a training step.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1) and mallopt(top_pad, 64 << 20))


def choose_precision(asked: str, device: torch.device) -> torch.dtype:
    """The type of matrix products: what was asked for, or the faster one by a short trial."""
    if asked != "auto":
        return torch.float32 if asked == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type != "cpu":
        return torch.float32
    seconds = {dtype: _time_product(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return torch.bfloat16 if seconds[torch.bfloat16] * 1.5 < seconds[torch.float32] else torch.float32


def _time_product(dtype: torch.dtype) -> float:
    a, b = torch.ones(512, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return best


def peak_memory() -> int | None:
    """Bytes of the largest resident size so far, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def environment() -> dict[str, str | int]:
    """What a result depends on beside data and recipe."""
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "platform": sys.platform,
        "cpus": os.cpu_count() or 1,
    }
