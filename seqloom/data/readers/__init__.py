"""Files of sentence pairs: path -> Iterator[Example], each knowing where it came from.

A format is one generator and one line in ``READERS``.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqloom.data.readers.compression import COMPRESSIONS, open_bytes, without_compression
from seqloom.data.readers.delimited import csv_languages, read_csv, read_tsv
from seqloom.data.readers.example import LABELLED, Example, Options, origin
from seqloom.data.readers.jsonl import jsonl_languages, read_jsonl
from seqloom.data.readers.lines import decode_line, read_lines, read_pairs
from seqloom.data.readers.parquet import parquet_languages, read_parquet
from seqloom.data.readers.po import po_languages, read_po
from seqloom.data.readers.tmx import read_tmx, tmx_languages
from seqloom.data.readers.xliff import read_xliff, xliff_languages
from seqloom.errors import DataError

__all__ = [
    "COMPRESSIONS",
    "READERS",
    "TABLES",
    "Example",
    "Group",
    "Options",
    "PairFiles",
    "decode_line",
    "named_languages",
    "origin",
    "read_both",
    "read_lines",
    "read_pairs",
]

READERS: dict[str, Callable[[Path, Options], Iterator[Example]]] = {
    ".tsv": read_tsv,
    ".txt": read_tsv,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
    ".tmx": read_tmx,
    ".po": read_po,
    ".xlf": read_xliff,
    ".xliff": read_xliff,
}
"""Formats that hold both sides in one file, by file name ending (before that of a compression)."""

LANGUAGES: dict[str, Callable[[Path, Options], tuple[str, str]]] = {
    ".csv": csv_languages,
    ".jsonl": jsonl_languages,
    ".parquet": parquet_languages,
    ".tmx": tmx_languages,
    ".po": po_languages,
    ".xlf": xliff_languages,
    ".xliff": xliff_languages,
}
"""Of formats that may name their languages: source and target as far as a file names them."""

TABLES = (".tsv", ".txt", ".csv", ".jsonl", ".parquet")
"""Formats whose columns may hold anything; the others are of translations."""

NO_OPTIONS = Options()


def format_of(path: Path) -> str:
    """The ending in ``READERS`` that a file's name has."""
    ending = Path(without_compression(path.name)).suffix
    if ending not in READERS:
        raise DataError(
            f"{path}: no format is known by this name; expected one that ends in {', '.join(READERS)}, "
            f"and {', '.join(COMPRESSIONS)} behind that if it is compressed"
        )
    if ending == ".parquet" and path.suffix.lower() != ending:
        raise DataError(f"{path}: is Parquet in a compressed file, expected Parquet itself; unpack it first")
    return ending


def read_both(path: Path, options: Options = NO_OPTIONS) -> Iterator[Example]:
    """Yields the pairs of a file that holds both sides, in the format that its name tells."""
    return READERS[format_of(path)](path, options)


def named_languages(path: Path, options: Options) -> tuple[str, str]:
    """Source and target language of a file that holds both sides; empty where neither it nor ``options`` tells."""
    languages = LANGUAGES.get(format_of(path))
    src, tgt = languages(path, options) if languages else ("", "")
    return options.src_lang or src, options.tgt_lang or tgt


@dataclass(frozen=True)
class Group:
    """What is read as one: two aligned files or one with both sides."""

    paths: tuple[Path, ...]
    options: Options = NO_OPTIONS
    turned: bool = False
    """Whether source and target change places."""

    def __iter__(self) -> Iterator[Example]:
        examples = read_pairs(*self.paths) if len(self.paths) == 2 else read_both(self.paths[0], self.options)
        return (example.turned() for example in examples) if self.turned else iter(examples)

    def names(self) -> list[str]:
        return [str(path) for path in (self.paths[::-1] if self.turned else self.paths)]


class PairFiles:
    """All files of one corpus in their order: pairs of aligned files, then files of both sides.

    Args:
        src: source files.
        tgt: as many target files, line by line their translations.
        data: files that hold both sides.
        name: what the corpus is called in messages.

    Raises:
        DataError: if the files do not pair up, one is missing or of no known format, or one side is the other.
    """

    def __init__(
        self, src: Sequence[str] = (), tgt: Sequence[str] = (), data: Sequence[str] = (), name: str = "training"
    ) -> None:
        if len(src) != len(tgt):
            raise DataError(
                f"{len(src)} source and {len(tgt)} target files for {name}, expected as many of one as of the other"
            )
        files: list[tuple[Path, ...]] = [(Path(s), Path(t)) for s, t in zip(src, tgt, strict=True)]
        files += [(Path(path),) for path in data]
        for paths in files:
            for path in paths:
                if path.exists() and not (path.is_file() or path.is_dir()):  # to open a pipe may be to wait for ever
                    raise DataError(f"{path}: is read more than once, so a regular file is expected and not a pipe")
                open_bytes(path).close()
            if len(paths) == 1:
                format_of(paths[0])
            elif paths[0].samefile(paths[1]):
                raise DataError(
                    f"{paths[0]}: source and target are the same file, expected a sentence and its translation"
                )
        self.groups = [Group(paths) for paths in files]

    def reading(self, options: Sequence[Options], both_directions: bool = False) -> "PairFiles":
        """The same files, each read with its ``options``; then all again turned round, if ``both_directions``."""
        files = PairFiles()
        files.groups = [Group(group.paths, own) for group, own in zip(self.groups, options, strict=True)]
        if both_directions:
            files.groups += [Group(group.paths, group.options, turned=True) for group in files.groups]
        return files

    def labelled(self) -> "PairFiles":
        """The same files, each read as texts with their labels.

        Raises:
            DataError: if one is of a format for translations.
        """
        for group in self.groups:
            if format_of(group.paths[0]) not in TABLES:
                raise DataError(
                    f"{group.paths[0]}: is a format for translations, expected texts with labels; give one that ends "
                    f"in {', '.join(TABLES)}"
                )
        return self.reading([Options(columns=LABELLED)] * len(self.groups))

    def __bool__(self) -> bool:
        return bool(self.groups)

    def __iter__(self) -> Iterator[tuple[int, Example]]:
        """Yields (group, example) pairs; a group is one pair of files or one file, in one direction."""
        for number, group in enumerate(self.groups):
            for example in group:
                yield number, example

    def names(self) -> list[list[str]]:
        return [group.names() for group in self.groups]

    def fingerprint(self) -> list[list[str]]:
        """SHA-256 of every file as it lies on the disk, once however often it is read."""
        digests: list[list[str]] = []
        for group in (group for group in self.groups if not group.turned):
            digests.append([])
            for path in group.paths:
                with open(path, "rb") as file:
                    digests[-1].append(hashlib.file_digest(file, "sha256").hexdigest())
        return digests
