"""What a reader yields, and what it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Example(NamedTuple):
    """One sentence pair, as text without the line end; or a text and its label, as ``tgt``."""

    src: str
    tgt: str
    line: int
    """Where it begins, counted from 1; the same in both files where there are two, the row in Parquet."""
    left_out: str = ""
    """What the pair has that forbids to use it, such as ``a fuzzy translation``; empty for one to be used."""

    def turned(self) -> "Example":
        """The same pair with its sides in each other's place."""
        return Example(self.tgt, self.src, self.line, self.left_out)


class Columns(NamedTuple):
    """The two columns of a table that make an example."""

    src: tuple[str, ...] = ("src", "source")
    """What the first side may be called where columns have names."""
    tgt: tuple[str, ...] = ("tgt", "target")
    order: tuple[int, int] = (0, 1)
    """Where both stand where there are two columns without names."""

    def __str__(self) -> str:
        names = self.src[-1], self.tgt[-1]
        return ", tab, ".join(names[place] for place in self.order)


PAIRS = Columns()
LABELLED = Columns(("text",), ("label",), (1, 0))
"""A text and, before it, its class."""


@dataclass(frozen=True)
class Options:
    """What a file does not say itself."""

    src_lang: str = ""
    """The languages that are wanted; empty where the file has to say it."""
    tgt_lang: str = ""
    inline_tags: Literal["strip", "keep"] = "strip"
    columns: Columns = PAIRS

    @property
    def languages(self) -> tuple[str, str]:
        return self.src_lang, self.tgt_lang


def origin(group: Sequence[str], line: int) -> str:
    """Where an example stands, as ``file:line`` or ``file:line and file:line``; ``file row N`` in Parquet."""
    return " and ".join(
        f"{name} row {line}" if name.lower().endswith(".parquet") else f"{name}:{line}" for name in group
    )
