"""Texts as arrays of characters: of which class each is, and to which text it belongs."""

import re
import sys
from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

SCRIPTS = {
    "Latin": "A-Za-zªºÀ-ÖØ-öø-\u02b8\u1d00-\u1dbf\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff\uff21-\uff3a\uff41-\uff5a",
    "Han": "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    "kana": "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d",
    "Hangul": "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3",
    "Cyrillic": "\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f",
    "Greek": "\u0370-\u0373\u0376-\u037d\u037f-\u03ff\u1f00-\u1fff",
    "Arabic": (
        "\u0620-\u065f\u066e-\u06d3\u06d5-\u06ef\u06fa-\u06ff\u0750-\u077f"
        "\u0870-\u08ff\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc"
    ),
    "Hebrew": "\u0591-\u05f4\ufb1d-\ufb4f",
    "Devanagari": "\u0900-\u0963\u0970-\u097f\ua8e0-\ua8ff",
    "Thai": "\u0e01-\u0e3a\u0e40-\u0e4e",
    "Armenian": "\u0531-\u0587",
    "Georgian": "\u10a0-\u10ff\u1c90-\u1cbf\u2d00-\u2d2f",
    "other Indic": (
        "\u0980-\u09e5\u0a00-\u0a65\u0a70-\u0ae5\u0b00-\u0b65\u0b70-\u0be5\u0c00-\u0c65"
        "\u0c70-\u0ce5\u0d00-\u0d65\u0d70-\u0de5\u0df2-\u0dff"
    ),
    "other": (
        "\u0e81-\u0ec6\u0f00-\u0f1f\u0f40-\u0fff\u1000-\u103f\u1050-\u108f\u1200-\u139f"
        "\u13a0-\u167f\u1780-\u17d3\u1820-\u18af\ua000-\ua48c"
    ),
}  # fmt: skip
"""Letters by script, for a character class; the rarest writing systems are together in "other"."""

CJK_WEIGHT = 3
"""One of these characters says about as much as so many letters."""

OTHERS = {
    "control": "\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff",
    "separator": "\r\x85\u2028\u2029",
    "replacement": "\ufffd",
    "invisible": "\xad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff",
    "digit": "0-9\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\uff10-\uff19",
    "question": "?",
    "fill": "%{[",
    "angle": "<&",
    "address": "@:",
}

CLASSES = {name: number for number, name in enumerate((*SCRIPTS, *OTHERS), start=1)}
NUM_SCRIPTS = len(SCRIPTS) + 1
"""Of the classes, scripts are those from 1 up to before this."""

_NEWLINE = 10


@cache
def class_table() -> NDArray[np.uint8]:
    """The class of every character; 0 for one that is in none."""
    table = np.zeros(sys.maxunicode + 1, np.uint8)
    for name, ranges in (SCRIPTS | OTHERS).items():
        for first, last in re.findall(r"(.)(?:-(.))?", ranges, re.DOTALL):
            table[ord(first) : ord(last or first) + 1] = CLASSES[name]
    return table


@cache
def _folding() -> NDArray[np.uint32]:
    """What a character is to the models of language: small letters, and blanks for all that is none."""
    table = np.full(sys.maxunicode + 1, 32, np.uint32)
    letters = np.flatnonzero((class_table() > 0) & (class_table() < NUM_SCRIPTS))
    table[letters] = letters
    for letter in letters[letters < 0x600].tolist():
        small = chr(letter).lower()
        table[letter] = ord(small[0])
    table[_NEWLINE] = _NEWLINE
    return table


SENTENCE = 24
"""Weight of letters from which a text is no mere greeting, which may stand in a corpus again and again."""

LOOKED_AT = 10_000
"""Characters of a text."""


class Texts:
    """Some texts [N] as far as they are looked at, and all their characters, each text with an end behind it."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        """Of the whole texts."""
        self.texts = [text[:LOOKED_AT] for text in texts]
        self.lengths = np.minimum(self.sizes, LOOKED_AT)
        ends = np.cumsum(self.lengths + 1)
        self.starts: NDArray[np.int64] = ends - self.lengths - 1

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def joined(self) -> str:
        return "\n".join((*self.texts, ""))

    @cached_property
    def characters(self) -> NDArray[np.uint32]:
        return np.frombuffer(self.joined.encode("utf-32-le", "surrogatepass"), np.uint32)

    @cached_property
    def classes(self) -> NDArray[np.uint8]:
        return class_table()[self.characters]

    @cached_property
    def folded(self) -> NDArray[np.uint32]:
        return _folding()[self.characters]

    def counts(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of its characters are ``chosen``, for each text."""
        if not len(self):
            return np.zeros(0, np.int64)
        return np.add.reduceat(chosen, self.starts, dtype=np.int64)

    def sums(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sum of the ``values`` of its characters, for each text."""
        if not len(self):
            return np.zeros(0, np.float32)
        return np.add.reduceat(values, self.starts)

    def rows_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The texts that these characters are in, each once."""
        return np.unique(np.searchsorted(self.starts, places, side="right") - 1)

    def rows_of(self, name: str) -> NDArray[np.int64]:
        """The texts with a character of a class."""
        return self.rows_at(np.flatnonzero(self.classes == CLASSES[name]))

    def rows_with(self, pattern: re.Pattern[str]) -> NDArray[np.int64]:
        """The texts that a pattern is found in; it must match no line end."""
        return self.rows_at(np.fromiter((found.start() for found in pattern.finditer(self.joined)), np.int64))

    @property
    def sentences(self) -> NDArray[np.bool_]:
        """Which texts are long enough that the same one again is no accident."""
        long: NDArray[np.bool_] = self.weights.sum(axis=1) >= SENTENCE
        return long

    @cached_property
    def weights(self) -> NDArray[np.int64]:
        """[N, NUM_SCRIPTS]; how much of each text is in which script."""
        out = np.zeros((len(self), NUM_SCRIPTS), np.int64)
        present = np.flatnonzero(np.bincount(self.classes, minlength=NUM_SCRIPTS)[:NUM_SCRIPTS])
        for script in present[present > 0].tolist():
            heavy = script in (CLASSES["Han"], CLASSES["kana"], CLASSES["Hangul"])
            out[:, script] = self.counts(self.classes == script) * (CJK_WEIGHT if heavy else 1)
        return out
