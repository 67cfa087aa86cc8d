"""What helps this process to be fast on this machine. Only the command line calls it."""

import contextlib
import gc
import os
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from seqloom.machine import give_back_memory, processor
from seqloom.training import allocator

KERNEL_CACHES = {"LRU_CACHE_CAPACITY": "32", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128"}
"""How many kernels of oneDNN are kept: by each thread, and by all together. There is one for every shape of a bfloat16
product, of some 0.3 MB, and no two batches have the same shapes. By itself torch keeps 1,024, twice. More do not make
it faster with AMX either, where there are fewer shapes (``seqloom.layers.linear.ROWS``)."""


def arrange(threads: int | None) -> None:
    """Sets threads, flushes denormals, bounds caches, and keeps freed memory for the next step.

    Before the first matrix product.
    """
    for name, capacity in KERNEL_CACHES.items():
        os.environ.setdefault(name, capacity)
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    allocator.keep_freed_memory()


def missed(device: torch.device) -> list[str]:
    """What would make a training on ``device`` faster and is not in use, and how to have it."""
    if device.type != "cpu":
        return []
    found = ["there is a GPU, which --device cuda uses"] if torch.cuda.is_available() else []
    return [*found, allocator.ADVICE] if allocator.in_use() == "glibc" and not allocator.find() else found


def could_be_faster(missed: list[str]) -> str:
    """One line of what is missed."""
    return f"Could be faster: {'; '.join(missed)}."


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
    """Bytes of the largest resident size so far, where the system tells.

    On Linux not ``ru_maxrss``, which a process inherits from the one that started it, and cannot let begin anew.
    """
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak_memory() -> None:
    """Gives back what is not in use, and lets :func:`peak_memory` begin anew; on Linux only."""
    gc.collect()
    give_back_memory()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def name_of(device: torch.device) -> str:
    """What its maker calls a GPU, or the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor()


def environment() -> dict[str, str | int]:
    """What a result depends on beside data and recipe."""
    return {
        "seqloom": version("seqloom"),
        "commit": _commit(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "platform": sys.platform,
        "allocator": allocator.in_use(),
        "cpus": os.cpu_count() or 1,
    }


@cache
def _commit() -> str:
    """What git calls the checkout that this program runs from; empty for an installed one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    return ""
