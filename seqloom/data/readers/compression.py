"""Plain and compressed files alike as streams of bytes."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from seqloom.errors import DataError

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it
    LZMAError = OSError  # type: ignore[misc, assignment]

DAMAGE = (EOFError, OSError, zlib.error, LZMAError)

ZSTD_INPUT = 1 << 10
"""Compressed bytes taken at once: no input can make more than 32 MiB of them."""


def _open_gzip(path: Path) -> Any:
    import gzip

    return gzip.open(path, "rb")


def _open_xz(path: Path) -> Any:
    import lzma

    return lzma.open(path, "rb")


def _open_bzip2(path: Path) -> Any:
    import bz2

    return bz2.open(path, "rb")


def _open_zstd(path: Path) -> Any:
    return _Zstd(path)


COMPRESSIONS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ".gz": ("gzip", _open_gzip),
    ".xz": ("xz", _open_xz),
    ".bz2": ("bzip2", _open_bzip2),
    ".zst": ("zstd", _open_zstd),
}
"""How a file is unpacked, by the last part of its name. Each opener loads its own library, which a Python
may have been built without."""


def without_compression(name: str) -> str:
    """A file's name without the ending that says how it is compressed, in small letters."""
    name = name.lower()
    return next((name.removesuffix(ending) for ending in COMPRESSIONS if name.endswith(ending)), name)


def open_bytes(path: Path) -> BinaryIO:
    """Opens a file for reading bytes, unpacking it on the way.

    Damage is found while reading, and is a DataError as well.

    Raises:
        DataError: if the file is not there or cannot be read.
    """
    try:
        if path.is_dir():
            raise DataError(f"{path}: is a folder, expected a text file")
        name, opener = COMPRESSIONS.get(path.suffix.lower(), ("", None))
        if opener is None:
            return open(path, "rb")
        return io.BufferedReader(_Unpacked(path, name, opener(path)))
    except ImportError:
        raise DataError(f"{path}: this Python was built without {name}; unpack the file first") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the spelling and the folder") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


class _Unpacked(io.RawIOBase):
    """What a decompressor reads; its complaints in one sentence."""

    def __init__(self, path: Path, name: str, stream: Any) -> None:
        self._path, self._name, self._stream = path, name, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._stream.readinto(buffer))
        except DAMAGE as error:
            raise DataError(
                f"{self._path}: the {self._name} data is damaged or cut off ({error}); copy the file again"
            ) from None

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Zstd(io.RawIOBase):
    """Frames of zstd, one after another. The library's own stream takes a frame cut short for a whole one."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._error = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._packed, self._unpacked = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpacked:
            self._packed = self._packed or self._file.read(ZSTD_INPUT)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("it ends in the middle of a frame")
                return 0
            self._frame = self._frame or self._new_frame()
            try:
                self._unpacked = memoryview(self._frame.decompress(self._packed))
            except self._error as error:
                raise OSError(str(error)) from None
            self._packed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._unpacked))
        buffer[:size], self._unpacked = self._unpacked[:size], self._unpacked[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()
