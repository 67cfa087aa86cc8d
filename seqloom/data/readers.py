"""Files of sentence pairs: path -> Iterator[Example], each knowing where it came from.

A format is one generator and one line in ``READERS``.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import count, zip_longest
from pathlib import Path
from typing import BinaryIO, NamedTuple

from seqloom.errors import DataError

MAX_LINE_BYTES = 1 << 24
"""A line of more than 16 MiB is no sentence; reading on would only fill the memory."""

BOM = b"\xef\xbb\xbf"


class Example(NamedTuple):
    """One sentence pair, as text without the line end."""

    src: str
    tgt: str
    line: int
    """Counted from 1, the same in both files where there are two."""


def open_bytes(path: Path) -> BinaryIO:
    """Opens a plain or gzip file for reading bytes."""
    try:
        if path.is_dir():
            raise DataError(f"{path}: is a folder, expected a text file")
        if path.suffix.lower() == ".gz":
            return gzip.open(path, "rb")  # type: ignore[return-value]
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the spelling and the folder") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def decode_line(raw: bytes, path: Path | str, line: int, start: int) -> str:
    """UTF-8 -> text; ``start`` is the offset of the line in the (unpacked) file."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{line}: byte {raw[error.start]:#04x} at offset {start + error.start} is not valid UTF-8; "
            f"convert the file first, for example with `iconv -f GB18030 -t UTF-8`"
        ) from None


def read_lines(path: Path) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 file without their ends.

    A line ends at ``\n`` or ``\r\n`` and nowhere else: U+2028, NEL and form feed are text. A byte
    order mark at the start is no text.
    """
    offset = 0
    with open_bytes(path) as file:
        try:
            for number in count(1):
                raw = file.readline(MAX_LINE_BYTES + len(b"\r\n"))
                if number == 1 and raw.startswith(BOM):
                    raw, offset = raw.removeprefix(BOM), len(BOM)
                if not raw:
                    return
                text = raw[:-1].removesuffix(b"\r") if raw.endswith(b"\n") else raw
                if len(text) > MAX_LINE_BYTES:
                    raise DataError(
                        f"{path}:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes, expected a sentence; "
                        f"put each sentence on a line of its own"
                    )
                yield decode_line(text, path, number, offset)
                offset += len(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: the gzip data is damaged or cut off ({error}); copy the file again") from None


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


def read_tsv(path: Path) -> Iterator[Example]:
    """Yields the pairs of a file with source, tab, target on each line."""
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split("\t") if line.strip() else ["", ""]  # an empty line is an empty pair
        if len(fields) != 2:
            raise DataError(f"{path}:{number}: {len(fields)} tab-separated fields, expected 2: source, tab, target")
        yield Example(fields[0], fields[1], number)


READERS: dict[str, Callable[[Path], Iterator[Example]]] = {".tsv": read_tsv, ".txt": read_tsv}
"""Formats that hold both sides in one file, by file name ending (before ``.gz``)."""


def read_both(path: Path) -> Iterator[Example]:
    """Yields the pairs of a file that holds both sides, in the format that its name tells."""
    name = path.name.lower().removesuffix(".gz")
    reader = READERS.get(Path(name).suffix)
    if reader is None:
        raise DataError(
            f"{path}: a name ending in {' or '.join(READERS)} (and .gz) is expected, with source, tab, target on a line"
        )
    return reader(path)


class PairFiles:
    """All files of one corpus in their order: pairs of aligned files, then files of both sides.

    Raises:
        DataError: if the files do not pair up, one is missing, or one side is the other.
    """

    def __init__(
        self, src: Sequence[str] = (), tgt: Sequence[str] = (), data: Sequence[str] = (), name: str = "training"
    ) -> None:
        if len(src) != len(tgt):
            raise DataError(
                f"{len(src)} source and {len(tgt)} target files for {name}, expected as many of one as of the other"
            )
        self.groups: list[tuple[Path, ...]] = [(Path(s), Path(t)) for s, t in zip(src, tgt, strict=True)]
        self.groups += [(Path(path),) for path in data]
        for group in self.groups:
            for path in group:
                open_bytes(path).close()
                if not path.is_file():
                    raise DataError(f"{path}: is read more than once, so a regular file is expected and not a pipe")
            if len(group) == 2 and group[0].samefile(group[1]):
                raise DataError(
                    f"{group[0]}: source and target are the same file, expected a sentence and its translation"
                )

    def __bool__(self) -> bool:
        return bool(self.groups)

    def __iter__(self) -> Iterator[tuple[int, Example]]:
        """Yields (group, example) pairs; a group is one pair of files or one file."""
        for number, group in enumerate(self.groups):
            examples = read_pairs(*group) if len(group) == 2 else read_both(group[0])
            for example in examples:
                yield number, example

    def names(self) -> list[list[str]]:
        return [[str(path) for path in group] for group in self.groups]

    def fingerprint(self) -> list[list[str]]:
        """SHA-256 of every file as it lies on the disk."""
        digests: list[list[str]] = []
        for group in self.groups:
            digests.append([])
            for path in group:
                with open(path, "rb") as file:
                    digests[-1].append(hashlib.file_digest(file, "sha256").hexdigest())
        return digests


def origin(group: Sequence[str], line: int) -> str:
    """Where an example stands, as ``file:line`` or ``file:line and file:line``."""
    return " and ".join(f"{name}:{line}" for name in group)
