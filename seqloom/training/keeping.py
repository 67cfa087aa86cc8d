"""What keeps a run folder whole: one training at a time, nothing half-written left, and a disk that is full told of."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from seqloom.errors import FULL, RunError

CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps other trainings out of a run folder, which is made if it is not there.

    The system lets go of it with the process, however that ends. What a killed one was writing is removed.

    Raises:
        RunError: if another process trains there, or nothing can be written there.
    """
    with _telling_of_the_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            try:
                for left in (*folder.glob("*model.new-*"), *folder.glob("*model.old-*")):
                    shutil.rmtree(left, ignore_errors=True)
                yield
            finally:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()  # nothing came of it


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows, where nothing keeps a second training out
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{folder}: another process is training in this folder; wait for it or stop it, or give another folder"
            ) from None
        except OSError:
            pass  # a file system that has no locks
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _telling_of_the_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = _reason(error, folder)
        if not reason:
            raise
        raise RunError(
            f"{folder}: cannot be written to ({reason}); what was saved before is whole: make room or give leave, "
            f"and the same command goes on from there"
        ) from error


def _reason(error: OSError | SafetensorError, folder: Path) -> str:
    """Why nothing can be written there; empty if the error is about something else."""
    if isinstance(error, OSError):
        place = Path(str(error.filename))
        # A folder above it that is to be made is told of, too.
        number, inside = error.errno, place.is_relative_to(folder) or folder.is_relative_to(place)
    else:  # which has the number in its text alone
        found = re.search(r"\(os error (\d+)\)", str(error))
        number, inside = int(found[1]) if found else None, True
    return os.strerror(number) if number and (number in FULL or (number in CLOSED and inside)) else ""
