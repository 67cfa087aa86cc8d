"""What the machine gives, and gets back."""

from pathlib import Path

import pytest

from seqloom.machine import give_back_memory
from seqloom.training.allocator import in_use


def _resident() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


@pytest.mark.skipif(in_use() != "glibc", reason="other allocators keep memory in ways of their own")
def test_freed_memory_between_what_is_in_use_goes_back() -> None:
    size, count = 8000, 13_000
    blocks = [b"x" * size for _ in range(count)]
    kept = blocks[::101]
    del blocks
    before = _resident()
    give_back_memory()
    assert before - _resident() > 0.8 * size * count
    assert all(block == b"x" * size for block in kept)


def test_another_c_library_is_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    give_back_memory()
