"""What this machine is. Loads nothing heavy."""

import os
import platform
from pathlib import Path


def processor() -> str:
    """What its maker calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """How many of them this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


def memory() -> int:
    """Bytes of it that this machine has; where the system does not say, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 1 << 50


def give_back_memory() -> None:
    """Hands freed memory that the allocator has kept back to the system, where glibc is the allocator.

    What many batches of different sizes leave lies in pieces between what is in use, so that a process which works
    for hours grows although it holds nothing. Takes some milliseconds.
    """
    import ctypes

    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library; Windows has none of that name
        return
