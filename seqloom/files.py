"""Files and folders: read with nothing in them trusted, written whole or not at all.

What is no regular file, too large or nested too deeply is refused before it is waited for or fills
the memory. Who reads a file says in a sentence of its own what was expected in it.
"""

import ctypes
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from seqloom.errors import UserError

MAX_JSON_BYTES = 1 << 24

MAX_JSON_DEPTH = 64
"""Lists and objects in one another; what is written here has five."""

MAX_INTEGER = 1 << 64


class NotRead(OSError):
    """A file that is there and is not read; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(0, reason)

    def __str__(self) -> str:
        return str(self.strerror)


def require_regular(path: Path, most: int | None = None) -> int:
    """The size of a file that can be read to an end; links are followed.

    Raises:
        OSError: if it is a pipe, a device or a folder, has more than ``most`` bytes, or is not there.
    """
    try:
        about = os.stat(path)
    except ValueError as error:  # a null character in its name
        raise NotRead(str(error)) from None
    if not stat.S_ISREG(about.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise NotRead(f"is {kinds.get(stat.S_IFMT(about.st_mode), 'a device')}, not a file")
    if most is not None and about.st_size > most:
        raise NotRead(f"has {about.st_size:,} bytes, more than {most:,}")
    return about.st_size


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file.

    Raises:
        OSError: for one that :func:`require_regular` refuses.
    """
    require_regular(path, most)
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:  # it grows, or does not tell its size
        raise NotRead(f"has more than {most:,} bytes")
    return content


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> Any:
    """What a JSON file holds; numbers in it are finite and lists not deeper than ``MAX_JSON_DEPTH``.

    Raises:
        OSError: for one that :func:`require_regular` refuses.
        ValueError: if it is not such JSON.
    """
    return parse_json(read_bytes(path, most))


def parse_json(content: bytes | str) -> Any:
    """The same of what was read already; ValueError if it is not such JSON."""
    text = content if isinstance(content, str) else content.decode("utf-8")  # json itself would let halves pass
    try:
        found = json.loads(text, parse_float=_finite, parse_int=_integer, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [found]
    for _ in range(MAX_JSON_DEPTH):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return found
    raise ValueError("it is nested too deeply")


def _inside(value: Any) -> Any:
    """The lists and objects right in a value."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [inner for inner in values if isinstance(inner, dict | list)]


def _finite(text: str) -> float:
    number = float(text)
    if not abs(number) < float("inf"):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _integer(text: str) -> int:
    if len(text) > len(str(-MAX_INTEGER)) or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f"{text[:20]}... is too large a number")
    return int(text)


def write_text(path: Path, text: str) -> None:
    """Writes a small file whole or not at all. A link at ``path`` is replaced, and not what it leads to."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # left by a kill, or a link that somebody has put there
    try:
        with open(new, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or a power cut might leave the new name with nothing in it
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)  # a full disk gets no fuller
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes a small file whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


@contextmanager
def lines_rewritten(path: Path, most: int) -> Iterator[tuple[Iterator[bytes], Callable[[bytes], object]]]:
    """The lines of a file with their ends, none with more than ``most`` bytes, and how to keep one of them.

    Lines that are longer, or not kept, are gone when the block is left. One line is held at a time.

    Raises:
        OSError: for a file that :func:`require_regular` refuses.
    """
    require_regular(path)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(path, "rb") as old, open(new, "xb") as file:
        yield _lines(old, most), file.write
    os.replace(new, path)


def _lines(file: BinaryIO, most: int) -> Iterator[bytes]:
    whole = True  # whether what comes next is the beginning of a line
    while line := file.readline(most):
        ends = line.endswith(b"\n")
        if whole and (ends or len(line) < most):
            yield line
        whole = ends


def links_out(folder: Path) -> Iterator[Path]:
    """The links in a folder, at any depth, that lead out of it: what is written there lands elsewhere."""
    inside = folder.resolve()
    for parent, folders, files in os.walk(inside):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):  # a circle is no error
                yield folder / path.relative_to(inside)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path``, to be filled and put in its place; what is left of it at the end goes.

    Its name is nobody else's, and it is locked for as long. Those beside the same path that are not were left
    by processes that were killed, and are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    while True:
        new = path.with_name(f"{path.name}.new-{_host()}{secrets.token_hex(4)}")
        new.mkdir()
        with _locked(new, wait=True):
            if not new.exists():
                continue  # until it was locked it looked like one that was left
            try:
                yield new
            finally:
                shutil.rmtree(new, ignore_errors=True)  # a full disk gets no fuller
            return


@cache
def _host() -> str:
    """Eight digits for this machine: over a network no lock of another one is seen."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _remove_abandoned(path: Path) -> None:
    """Removes what killed processes of this machine left of a :func:`folder_beside` the same path."""
    ours = re.compile(re.escape(f"{path.name}.new-{_host()}") + "[0-9a-f]{8}")
    for name in filter(ours.fullmatch, os.listdir(path.parent)):
        with _locked(path.with_name(name), wait=False) as locked:
            if locked:
                shutil.rmtree(path.with_name(name), ignore_errors=True)


@contextmanager
def _locked(folder: Path, wait: bool) -> Iterator[bool]:
    """Locks a folder, and tells whether that was done; the system lets go of it with the process."""
    descriptor, locked = None, False
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        locked = True
    except (ImportError, OSError):
        pass  # another process has it, it is gone, or the system (Windows) or the file system has no such locks
    try:
        yield locked
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which stands at ``out`` when all of it was written, and is gone otherwise.

    Raises:
        UserError: if ``out`` is in use.
    """
    require_free(out)
    out = out.resolve()
    with folder_beside(out) as new:
        yield new
        flush_to_disk(new)
        if out.exists():
            out.rmdir()
        os.rename(new, out)


def copy_files(source: Path, folder: Path, leave: Container[str] = ()) -> None:
    """Copies the files right in ``source``, and not who may read or change them; ``leave`` are names to leave out."""
    for path in source.iterdir():
        if path.name not in leave:
            shutil.copyfile(path, folder / path.name)


def require_free(out: Path) -> None:
    """UserError if there is something at ``out`` already, other than an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already, and nothing is overwritten; give a new folder, or an empty one")


def flush_to_disk(folder: Path) -> None:
    """Waits until the files of a folder, at any depth, would survive a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())


def put_in_place(new: Path, path: Path, previous: Path | None = None) -> None:
    """Makes ``new`` stand at ``path``; at no moment is there nothing.

    What stood there goes, or to ``previous``, in the place of what is there.
    """
    if not path.exists():
        try:
            os.rename(new, path)
            return
        except OSError:
            if not path.exists():
                raise
            # Another process was as quick: its folder goes, like any that stands there.
    old = new
    if not _exchange(new, path):  # the system cannot swap: a short moment without the folder
        old = path.with_name(f"{path.name}.old-{secrets.token_hex(8)}")
        os.rename(path, old)
        os.rename(new, path)
    if old.is_symlink():  # what it leads to is somebody else's
        old.unlink()
    elif previous is not None:
        put_in_place(old, previous)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Swaps two folders in one step, where the system has a call for it."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            at_cwd, exchange = -100, 2
            return bool(libc.renameat2(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0)
        if sys.platform == "darwin":
            swap = 2
            return bool(libc.renamex_np(os.fsencode(a), os.fsencode(b), swap) == 0)
    except (OSError, AttributeError, TypeError):
        pass
    return False
