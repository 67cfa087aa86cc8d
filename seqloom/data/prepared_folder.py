"""A folder of prepared data: built beside its place, renamed when whole, and known by a key of its contents."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqloom.errors import DataError
from seqloom.files import flush_to_disk, put_in_place, read_json

ABOUT = "prepared.json"


def digest(content: bytes) -> str:
    """SHA-256, as it is written down."""
    return hashlib.sha256(content).hexdigest()


def key_of(contents: Mapping[str, Any]) -> str:
    """A digest of all that a folder is prepared from."""
    return digest(json.dumps(contents, sort_keys=True).encode())


def read_about(folder: Path, key: str) -> dict[str, Any] | None:
    """What a folder prepared from contents with this ``key`` says of itself; None for one of other contents.

    Raises:
        OSError, ValueError, LookupError, TypeError: if it is not whole.
    """
    about: dict[str, Any] = read_json(folder / ABOUT)
    return about if about["key"] == key else None


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes what :func:`read_about` reads."""
    (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")


def is_ours(folder: Path) -> bool:
    """Whether there is a prepared folder, which may be replaced.

    Raises:
        DataError: if there is something else.
    """
    if (folder / ABOUT).is_file():
        return True
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: holds something else than prepared data, and nothing is overwritten; move it away")
    return False


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of ``folder`` at the end."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        flush_to_disk(new)
        put_in_place(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
