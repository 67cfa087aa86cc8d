"""Plain and compressed files alike as streams of bytes."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from seqloom.errors import DataError, shown

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it
    LZMAError = OSError  # type: ignore[misc, assignment]

DAMAGE = (EOFError, OSError, zlib.error, LZMAError)

PACKED_BYTES = 1 << 10
"""Compressed bytes taken at once: zstd makes all that they hold at once, which is 32 MiB at most."""

MAX_EXPANSION, FREE_BYTES = 200, 1 << 26
"""How many bytes a packed one may become, on the average, once more than 64 MiB are unpacked. Of text it is 3 to 10;
more than this is made to fill a disk or a day."""

MAX_XZ_MEMORY = 1 << 28
"""What xz may take to unpack; its highest setting takes a quarter."""


def _open_gzip(file: BinaryIO) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=file, mode="rb")


def _open_xz(file: BinaryIO) -> Any:
    import lzma

    return _Streams(file, lambda: lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY), padded=True)


def _open_bzip2(file: BinaryIO) -> Any:
    import bz2

    return _Streams(file, bz2.BZ2Decompressor)


def _open_zstd(file: BinaryIO) -> Any:
    return _Streams(file, _ZstdFrame)


COMPRESSIONS: dict[str, tuple[str, Callable[[BinaryIO], Any]]] = {
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
        if path.is_fifo() and path.absolute().parts[1:2] not in (("dev",), ("proc",)):
            raise DataError(
                f"{path}: is a named pipe, which may never end, expected a file; read it from standard input instead"
            )
        name, opener = COMPRESSIONS.get(path.suffix.lower(), ("", None))
        file = open(path, "rb")  # noqa: SIM115 - closed by who reads
        if opener is None:
            return file
        try:
            return io.BufferedReader(_Unpacked(path, name, file, opener(file)))
        except BaseException:
            file.close()
            raise
    except ImportError:
        raise DataError(f"{path}: this Python was built without {name}; unpack the file first") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the spelling and the folder") from None
    except (OSError, ValueError) as error:  # the latter for a null character in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{shown(path, 200)}: cannot be read ({reason})") from None


class _Unpacked(io.RawIOBase):
    """What a decompressor reads; its complaints, and ours about it, in one sentence."""

    def __init__(self, path: Path, name: str, file: BinaryIO, stream: Any) -> None:
        self._path, self._name, self._file, self._stream = path, name, file, stream
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            size = int(self._stream.readinto(buffer))
        except DAMAGE as error:
            raise DataError(
                f"{self._path}: the {self._name} data is damaged or cut off ({error}); copy the file again"
            ) from None
        self._unpacked += size
        if self._unpacked > FREE_BYTES and self._unpacked > MAX_EXPANSION * self._file.tell():
            raise DataError(
                f"{self._path}: each of its bytes becomes more than {MAX_EXPANSION} when it is unpacked, expected "
                f"text, which becomes 3 to 10; unpack the file first if it is meant to"
            )
        return size

    def close(self) -> None:
        self._stream.close()
        self._file.close()
        super().close()


class _Streams(io.RawIOBase):
    """What is in a file of compressed streams, one after another, to the last byte.

    The libraries' own readers take a frame of zstd cut short for a whole one, and leave out without a
    word what follows a stream and is none.
    """

    def __init__(self, file: BinaryIO, new_stream: Callable[[], Any], padded: bool = False) -> None:
        """``padded`` streams may have null bytes between them."""
        self._file, self._new_stream, self._padded = file, new_stream, padded
        self._stream: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        packed = b""
        while True:
            if self._stream is not None and self._stream.eof:
                packed, self._stream = self._stream.unused_data, None
            if not packed and (self._stream is None or self._stream.needs_input):
                packed = self._file.read(PACKED_BYTES)
                if not packed and self._stream is not None:
                    raise EOFError("it ends in the middle")
                if not packed:
                    return 0
            if self._stream is None:
                packed = packed.lstrip(b"\0") if self._padded else packed
                if not packed:
                    continue
                self._stream = self._new_stream()
            unpacked = self._stream.decompress(packed, len(buffer))
            packed = b""
            if unpacked:
                buffer[: len(unpacked)] = unpacked
                return len(unpacked)


class _ZstdFrame:
    """A frame of zstd, unpacked piece by piece as the standard library's decompressors do."""

    def __init__(self) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._unpacked = memoryview(b"")

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof) and not self._unpacked

    @property
    def needs_input(self) -> bool:
        return not self._unpacked

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data)

    def decompress(self, packed: bytes, size: int) -> memoryview:
        if packed:
            try:
                self._unpacked = memoryview(self._frame.decompress(packed))
            except self._error as error:
                raise OSError(str(error)) from None
        part, self._unpacked = self._unpacked[:size], self._unpacked[size:]
        return part
