"""A faster allocator is found and used by the program itself, and glibc's is told to keep what is freed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqloom import machine
from seqloom.training import allocator

needs_glibc = pytest.mark.skipif(
    allocator.in_use() == "other", reason="an allocator is replaced on Linux with glibc only"
)


def test_the_first_that_pays_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("a", "with space", "c")]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(allocator, "_folders", lambda: [str(folder) for folder in folders])
    assert allocator.find() is None
    (folders[0] / allocator.LIBRARIES[-1]).touch()
    assert allocator.find() == folders[0] / allocator.LIBRARIES[-1]
    (folders[1] / allocator.LIBRARIES[0]).touch()  # a space would end its name
    assert allocator.find() == folders[0] / allocator.LIBRARIES[-1]
    (folders[2] / allocator.LIBRARIES[0]).touch()
    assert allocator.find() == folders[2] / allocator.LIBRARIES[0]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """As if this process were the program, on a machine with an allocator; what it would start again as."""
    started: list[Any] = []
    monkeypatch.setattr(allocator, "find", lambda: Path("/lib/libfast.so"))
    monkeypatch.setattr(allocator, "in_use", lambda: "glibc")
    monkeypatch.setattr(allocator, "_is_program", lambda: True)
    monkeypatch.setattr(os, "execve", lambda *about: started.append(about))
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-X", "dev", "-m", "seqloom", "train", "a b"])
    monkeypatch.delenv(allocator.RESTARTED, raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    return started


def test_it_starts_again_as_it_was_started(program: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    allocator.restart()
    ((path, arguments, environment),) = program
    assert path == arguments[0] == sys.executable
    assert arguments[1:] == ["-X", "dev", "-m", "seqloom", "train", "a b"]
    assert os.environ.items() <= environment.items()
    assert environment["LD_PRELOAD"] == "/lib/libfast.so"
    monkeypatch.setenv("LD_PRELOAD", "/lib/other.so")
    allocator.restart()
    assert program[1][2]["LD_PRELOAD"] == "/lib/libfast.so:/lib/other.so"


def test_it_does_so_once_and_only_where_it_can(program: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("find", None), ("in_use", "jemalloc"), ("in_use", "other"), ("_is_program", False)):
        with monkeypatch.context() as patch:
            patch.setattr(allocator, name, lambda value=value: value)
            allocator.restart()
    monkeypatch.setenv(allocator.RESTARTED, "1")
    allocator.restart()
    assert program == []


def test_a_test_is_not_the_program() -> None:
    assert not allocator._is_program()


@pytest.fixture
def fast_library(tmp_path: Path) -> Path:
    """Some library under the name of an allocator: to be loaded is enough."""
    loaded = re.search(r"\S*/libm\.so\.6$", Path("/proc/self/maps").read_text(encoding="utf-8"), re.MULTILINE)
    assert loaded
    return Path(shutil.copy(loaded[0], tmp_path / allocator.LIBRARIES[0]))


@needs_glibc
@pytest.mark.parametrize("by_module", [False, True])
def test_input_number_and_status_are_those_of_one_process(fast_library: Path, tmp_path: Path, by_module: bool) -> None:
    """A program that says once, after it has started again, under what, what it has read and who it is."""
    program = tmp_path / ("seqloom/__main__.py" if by_module else "seqloom")
    if by_module:
        program.parent.mkdir()
        (program.parent / "__init__.py").touch()
    program.write_text(
        "import os, sys\n"
        "from seqloom_under_test import in_use, restart\n"
        "restart()\n"
        "print(in_use(), sys.argv[1], sys.stdin.read(), os.getpid())\n"
        "sys.exit(7)\n",
        encoding="utf-8",
    )
    shutil.copy(allocator.__file__, tmp_path / "seqloom_under_test.py")
    environment = {key: value for key, value in os.environ.items() if key not in (allocator.RESTARTED, "LD_PRELOAD")}
    environment |= {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    how = ["-m", "seqloom"] if by_module else [str(program)]
    started = subprocess.Popen(
        [sys.executable, *how, "an argument"], cwd=tmp_path, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = started.communicate("the input")
    assert (out, err) == (f"tcmalloc an argument the input {started.pid}\n", "")
    assert started.returncode == 7


MEASURED = """
import resource
from pathlib import Path
from allocator_under_test import keep_freed_memory
from machine_under_test import give_back_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

if {keep}:
    keep_freed_memory()
bytearray(b"x") * (48 << 20)
begun = faults()
for _ in range(4):
    bytearray(b"x") * (48 << 20)
before = resident()
give_back_memory()
print(faults() - begun, before - resident())
"""


@needs_glibc
def test_freed_memory_is_kept_and_returned(tmp_path: Path) -> None:
    shutil.copy(allocator.__file__, tmp_path / "allocator_under_test.py")
    shutil.copy(machine.__file__, tmp_path / "machine_under_test.py")
    pages = (48 << 20) // os.sysconf("SC_PAGE_SIZE")
    environment = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "GLIBC_TUNABLES")}
    figures = {}
    for keep in (False, True):
        ran = subprocess.run(
            [sys.executable, "-c", MEASURED.format(keep=keep)], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        figures[keep] = list(map(int, ran.stdout.split()))
    assert figures[False][0] > 4 * pages
    assert figures[True][0] < pages
    assert figures[True][1] > 40 << 20
