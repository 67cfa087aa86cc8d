"""What a process can say of itself and of its machine."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqloom.training import allocator, process
from seqloom.training.process import missed, name_of, peak_memory, reset_peak_memory
from tests.training.test_run import run

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_peak_memory_begins_anew() -> None:
    reset_peak_memory()
    before = peak_memory()
    if before is None or allocator.in_use() == "other":
        pytest.skip("Linux alone forgets a peak")
    np.ones(96 << 17)  # 96 MB, given back at once
    high = peak_memory()
    assert high is not None
    assert high - before > 80 << 20
    reset_peak_memory()
    after = peak_memory()
    assert after is not None
    assert high - after > 80 << 20


LARGE = """
import subprocess, sys
own = b"7" * (768 << 20)
child = "from seqloom.training.process import peak_memory; print(peak_memory())"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells each process its own")
def test_peak_memory_is_not_that_of_who_started_it() -> None:
    ran = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    assert 16 << 20 < int(ran.stdout) < 700 << 20


@pytest.mark.parametrize(
    ("used", "found", "gpu", "device", "expected"),
    [
        ("glibc", None, False, CPU, [allocator.ADVICE]),
        ("glibc", Path("libfast.so"), False, CPU, []),  # a program uses it; whoever imports Seqloom may not want it
        ("tcmalloc", None, False, CPU, []),
        ("other", None, False, CPU, []),
        ("glibc", None, False, GPU, []),
        ("tcmalloc", None, True, CPU, ["there is a GPU, which --device cuda uses"]),
        ("tcmalloc", None, True, GPU, []),
    ],
)
def test_what_is_missed(
    monkeypatch: pytest.MonkeyPatch,
    used: str,
    found: Path | None,
    gpu: bool,
    device: torch.device,
    expected: list[str],
) -> None:
    monkeypatch.setattr(allocator, "in_use", lambda: used)
    monkeypatch.setattr(allocator, "find", lambda: found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert missed(device) == expected


def test_a_run_says_it_once(tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.training.run.missed", lambda device: ["this", "that"])
    said = [run(tmp_path / "run", {**toy_settings, "training.steps": 2}).said for _ in range(2)]
    assert said[0].count("Could be faster: this; that.") == 1
    assert said[1].count("Could be faster: this; that.") == 0  # nothing is left to do


def test_a_device_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert name_of(CPU)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Mighty 1")
    assert name_of(GPU) == "Mighty 1"


BOUNDED = """
import os, sys, torch
from seqloom.training.process import arrange

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

if sys.argv[1] == "arranged":
    arrange(1)
x = torch.randn(512, 64, dtype=torch.bfloat16)
x @ x.T
before = resident()
for rows in range(1, 401):
    x[:rows] @ x.T
print(resident() - before)
"""


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16 products")
def test_kernels_of_past_shapes_are_not_kept() -> None:
    grown = {}
    environment = {key: value for key, value in os.environ.items() if key not in process.KERNEL_CACHES}
    for way in ("as it is", "arranged"):
        ran = subprocess.run(
            [sys.executable, "-c", BOUNDED, way], env=environment, capture_output=True, text=True, check=True
        )
        grown[way] = float(ran.stdout)
    assert grown["as it is"] > 30
    assert grown["arranged"] < grown["as it is"] / 2  # a third of it was seen, give or take what the allocator keeps


def test_threads_are_set_where_given(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    for name in process.KERNEL_CACHES:
        monkeypatch.setenv(name, "7")
    monkeypatch.setattr(torch, "set_num_threads", done.append)
    monkeypatch.setattr(torch, "set_flush_denormal", lambda wanted: done.append(("flush", wanted)))
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: done.append("kept"))
    process.arrange(None)
    process.arrange(3)
    assert done == [("flush", True), "kept", 3, ("flush", True), "kept"]
