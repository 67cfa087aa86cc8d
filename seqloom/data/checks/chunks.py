"""A corpus as chunks of pairs, read to the end whatever is wrong with it, and what its files themselves tell."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from seqloom.data.readers import Group, origin
from seqloom.data.readers.compression import open_bytes
from seqloom.data.readers.lines import BLOCK_BYTES, BOM, MAX_LINE_BYTES, require_line_feeds
from seqloom.errors import DataError

CHUNK = 5_000
"""Pairs that are looked at together, by one process;"""

MOST_CHARACTERS = 2_000_000
"""fewer of them if they have more characters than this."""

ItemT = TypeVar("ItemT")


class Chunk(NamedTuple):
    """Some pairs of one group, in their order."""

    group: int
    start: int
    """How many pairs of the corpus are before."""
    src: list[str]
    tgt: list[str]
    lines: Sequence[tuple[int, int]]
    """Where each source and each target stands."""
    invalid: list[int]
    """Rows with bytes that are not UTF-8, which are U+FFFD here."""
    left_out: list[int]
    """Rows that their format says not to use."""


@dataclass
class FileFacts:
    """What was seen of a text file so far."""

    path: Path
    lines: int = 0
    crlf: int = 0
    """Lines that end in a carriage return and a line feed."""
    first_crlf: int = 0
    first_lf: int = 0
    bom: bool = False

    @property
    def odd_ends(self) -> tuple[int, int]:
        """How many lines end otherwise than most, and the first of them."""
        lf = self.lines - self.crlf
        return (self.crlf, self.first_crlf) if self.crlf <= lf else (lf, self.first_lf)


class Shift(NamedTuple):
    """From ``line`` of the target on, target line n belongs to source line n + ``shift``."""

    line: int
    shift: int


@dataclass
class Chunks:
    """Iterates over the chunks of ``groups``; what their files are is known at the end.

    ``shifts`` has, by number of the group, where two files are to be paired anew; ``margin`` lines on
    either side of such a place are left out.
    """

    groups: Sequence[Group]
    shifts: dict[int, list[Shift]] = field(default_factory=dict)
    margin: int = 0
    facts: dict[int, list[FileFacts]] = field(default_factory=dict)
    """Of the groups of two files."""
    pairs: int = 0

    def __iter__(self) -> Iterator[Chunk]:
        self.facts.clear()
        self.pairs = 0
        for number, group in enumerate(self.groups):
            pieces = self._of_two(number, group) if len(group.paths) == 2 else _of_one(group)
            for src, tgt, lines, invalid, left_out in pieces:
                yield Chunk(number, self.pairs, src, tgt, lines, invalid, left_out)
                self.pairs += len(src)

    def where(self, chunk: Chunk, row: int) -> str:
        """``file:line`` of both sides of a pair."""
        return place(self.groups[chunk.group], chunk.lines[row])

    def _of_two(self, number: int, group: Group) -> Iterator["_Piece"]:
        facts = [FileFacts(path) for path in group.paths]
        self.facts[number] = facts
        src_lines, tgt_lines = map(_read_lines, facts)
        shifts = self.shifts.get(number)
        pairs = _paired_anew(src_lines, tgt_lines, shifts, self.margin) if shifts else _paired(src_lines, tgt_lines)
        while read := _some(pairs, lambda pair: len(pair[0].text) + len(pair[1].text)):
            src = [each[0].text for each in read]
            tgt = [each[1].text for each in read]
            invalid = [row for row, each in enumerate(read) if not (each[0].valid and each[1].valid)]
            yield src, tgt, [(each[0].number, each[1].number) for each in read], invalid, []
        for _ in chain(src_lines, tgt_lines):  # what one of them has more is counted
            pass


_Piece = tuple[list[str], list[str], Sequence[tuple[int, int]], list[int], list[int]]


def place(group: Group, lines: tuple[int, int]) -> str:
    """``file:line`` of a pair, or of both of its sides where there are two files."""
    names = group.names()
    if len(names) == 1:
        return origin(names, lines[0])
    return " and ".join(f"{name}:{line}" for name, line in zip(names, lines, strict=True))


class _Line(NamedTuple):
    number: int
    text: str
    valid: bool


def _of_one(group: Group) -> Iterator[_Piece]:
    examples = iter(group)
    while read := _some(examples, lambda example: len(example.src) + len(example.tgt)):
        left_out = [row for row, example in enumerate(read) if example.left_out]
        lines = [(example.line, example.line) for example in read]
        yield [example.src for example in read], [example.tgt for example in read], lines, [], left_out


def _some(pairs: Iterator[ItemT], size: Callable[[ItemT], int]) -> list[ItemT]:
    """The next of them, as many as a chunk may have."""
    read, room = [], MOST_CHARACTERS
    for pair in islice(pairs, CHUNK):
        read.append(pair)
        room -= size(pair)
        if room <= 0:
            break
    return read


def _paired(src: Iterator[_Line], tgt: Iterator[_Line]) -> Iterator[tuple[_Line, _Line]]:
    """As far as both go; every line that is read is counted by its file."""
    for target in tgt:
        source = next(src, None)
        if source is None:
            return
        yield source, target


def _paired_anew(
    src: Iterator[_Line], tgt: Iterator[_Line], shifts: Sequence[Shift], margin: int
) -> Iterator[tuple[_Line, _Line]]:
    source = _Line(0, "", True)
    shift, coming, taken = 0, list(shifts), 0
    for target in tgt:
        if coming and target.number >= coming[0].line:
            shift = coming.pop(0).shift
        if any(each.line - margin <= target.number < each.line + margin for each in shifts):
            continue
        while source.number < target.number + shift:
            following = next(src, None)
            if following is None:
                return
            source = following
        if source.number == target.number + shift > taken:  # not the partner of a line before
            taken = source.number
            yield source, target


def _read_lines(facts: FileFacts) -> Iterator[_Line]:
    r"""The lines of a text file, cut as the reader of a training cuts them; bytes that are wrong become U+FFFD.

    Raises:
        DataError: for a line longer than any sentence, or a file that cannot be read.
    """
    with open_bytes(facts.path) as file:
        rest = file.read(len(BOM))
        if rest == BOM:
            rest, facts.bom = b"", True
        while more := file.read(max(BLOCK_BYTES, len(rest))):
            block, end, rest = (rest + more).rpartition(b"\n")
            if end:
                yield from _decode(block, facts)
            if len(rest) > MAX_LINE_BYTES:
                raise DataError(
                    f"{facts.path}:{facts.lines + 1}: the line is longer than {MAX_LINE_BYTES:,} bytes, expected a "
                    f"sentence; put each sentence on a line of its own"
                )
        if not facts.lines:
            require_line_feeds(rest.decode("utf-8", "replace"), facts.path)
        if rest:  # more than one line only where all of the file is shorter than a byte order mark
            yield from _decode(rest.removesuffix(b"\n"), facts)


def _decode(block: bytes, facts: FileFacts) -> Iterator[_Line]:
    try:
        texts, valid = block.decode("utf-8").split("\n"), None
    except UnicodeDecodeError:
        raw = block.split(b"\n")
        texts = [each.decode("utf-8", "replace") for each in raw]
        valid = [_is_utf8(each) for each in raw]
    returns = b"\r" in block
    for row, text in enumerate(texts):
        facts.lines += 1
        if returns and text.endswith("\r"):
            text = text[:-1]
            facts.crlf += 1
            facts.first_crlf = facts.first_crlf or facts.lines
        elif not facts.first_lf:
            facts.first_lf = facts.lines
        yield _Line(facts.lines, text, valid is None or valid[row])


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
