"""Text files: their lines, and two of them line by line."""

import io
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from seqloom.data.readers.compression import open_bytes
from seqloom.data.readers.example import Example
from seqloom.errors import DataError

MAX_LINE_BYTES = 1 << 24
"""A line of more than 16 MiB is no sentence; reading on would only fill the memory."""

BLOCK_BYTES = 1 << 16
"""Read and decoded together, with what is left of the line before."""

BOM = b"\xef\xbb\xbf"


def decode_line(raw: bytes, path: Path | str, line: int, start: int) -> str:
    """UTF-8 -> text; ``start`` is the offset of the line in the (unpacked) file."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if line == 1 and raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "GB18030"
        raise DataError(
            f"{path}:{line}: byte {raw[error.start]:#04x} at offset {start + error.start} is not valid UTF-8; "
            f"convert the file first, for example with `iconv -f {encoding} -t UTF-8`"
        ) from None


def read_whole_lines(path: Path) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 file with their ends.

    A line ends at ``\n`` or ``\r\n`` and nowhere else: U+2028, NEL and form feed are text. A byte
    order mark at the start is no text.
    """
    for text in _read_text(path):
        *lines, last = text.split("\n")
        yield from (f"{line}\n" for line in lines)
        if last:
            yield last


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a UTF-8 file without their ends; see :func:`read_whole_lines`."""
    for text in _read_text(path):
        *lines, last = text.split("\n")
        yield from (line.removesuffix("\r") for line in lines) if "\r" in text else lines
        if last:
            yield last


def _read_text(path: Path) -> Iterator[str]:
    """Yields the text of a file, some whole lines at a time."""
    number, offset = 1, 0
    with open_bytes(path) as file:
        rest = file.read(len(BOM))
        if rest == BOM:
            rest, offset = b"", len(BOM)
        while more := file.read(max(BLOCK_BYTES, len(rest))):
            lines, end, rest = (rest + more).rpartition(b"\n")
            block = lines + end
            if len(rest) > MAX_LINE_BYTES + len(b"\r\n"):
                block, rest = block + rest, b""
            yield from _decode_lines(block, path, number, offset)
            number += block.count(b"\n")
            offset += len(block)
        for text in _decode_lines(rest, path, number, offset):
            if number == 1:
                require_line_feeds(text, path)
            yield text


def require_line_feeds(content: str, path: Path) -> None:
    """Refuses a file whose whole ``content`` is one line to us and several to who wrote it."""
    if "\r" in content[:-1] and "\n" not in content:
        raise DataError(
            f"{path}: its lines end in a carriage return alone, as on old Macs, expected a line feed; "
            f"convert the file first, for example with `tr '\\r' '\\n'`"
        )


def _decode_lines(block: bytes, path: Path, number: int, offset: int) -> Iterator[str]:
    """The text of a block at once; line by line, up to the one that is wrong, where one may be."""
    if len(block) <= MAX_LINE_BYTES:
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            yield text
            return
    for raw in io.BytesIO(block):
        if len(raw) > MAX_LINE_BYTES and len(raw.removesuffix(b"\n").removesuffix(b"\r")) > MAX_LINE_BYTES:
            raise DataError(
                f"{path}:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes, expected a sentence; "
                f"put each sentence on a line of its own"
            )
        yield decode_line(raw, path, number, offset)
        number += 1
        offset += len(raw)


def read_pairs(src: Path, tgt: Path) -> Iterator[Example]:
    """Yields the pairs of two line-aligned files; stops with both counts where they differ."""
    pairs = zip_longest(read_lines(src), read_lines(tgt))
    for number, (src_line, tgt_line) in enumerate(pairs, start=1):
        if src_line is None or tgt_line is None:
            longer = number + sum(1 for _ in pairs)
            src_count, tgt_count = (number - 1, longer) if src_line is None else (longer, number - 1)
            raise DataError(
                f"{src} has {src_count:,} lines and {tgt} has {tgt_count:,}; line by line translations are expected, "
                f"so a line is missing or too many in one of them"
            )
        yield Example(src_line, tgt_line, number)
