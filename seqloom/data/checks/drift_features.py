"""What the search for a drift keeps of a line: its length, hashes of its words, and what is copied as it stands."""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORDS_KEPT = 14
"""Words of a line that are kept, as 16-bit hashes; of longer lines those that say most."""

HASHES = 1 << 16
MOST_CHARACTERS = 400
"""What is beyond counts for the length alone."""

LINES_TOGETHER = 2048

STEM = 5
"""Letters of a word that count: "Arbeiter" and "Arbeitern" are one word, "Musik" and "Music" nearly."""

OTHER, LETTER, DIGIT, IDEOGRAPH, MARK = range(5)

RARE = 200
"""A word is a name, or as good as one, where it is in fewer than one line of so many."""

UNSPACED = ("HIRAGANA", "KATAKANA", "CJK", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "BOPOMOFO")
"""Scripts without spaces, of which each character and each two that are neighbours count as words."""

_SAME = str.maketrans("“”„«»「」『』‘’`—–‒−。、…：；？！，（）", '"' * 9 + "'" * 3 + "-" * 4 + ".,.:;?!,()")
"""Marks that the other language has for the same."""


class Features(NamedTuple):
    """Those of N lines of one side; 38 bytes a line."""

    lengths: NDArray[np.uint16]
    """[N]; characters without blanks."""
    words: NDArray[np.uint16]
    """[N, WORDS_KEPT]; each once, 0 where there are no more."""
    numbers: NDArray[np.uint32]
    """[N]; a bit for each number."""
    names: NDArray[np.uint32]
    """[N]; a bit for each word that is rare so far."""

    @classmethod
    def join(cls, parts: Sequence["Features"]) -> "Features":
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


class Extractor:
    """The features of one side, line by line in order; which words of a line say most it learns on the way."""

    def __init__(self) -> None:
        self._seen = np.zeros(HASHES, np.int64)
        self._lines = 0

    def extract(self, lines: Sequence[str]) -> Features:
        """The features of any number of lines."""
        starts = range(0, max(1, len(lines)), LINES_TOGETHER)
        return Features.join([self._extract(lines[start : start + LINES_TOGETHER]) for start in starts])

    def _extract(self, lines: Sequence[str]) -> Features:
        count = len(lines)
        self._lines += count
        full = np.fromiter(map(len, lines), np.int64, count)
        kind, point, line_of = _characters([line[:MOST_CHARACTERS] for line in lines])
        blanks = np.bincount(line_of, point <= ord(" "), count) - 1  # less the line's end
        lengths = np.clip(full - blanks, 0, 0xFFFF).astype(np.uint16)

        inside = np.flatnonzero(kind != OTHER)
        begins = ((kind >= IDEOGRAPH) | (kind != np.roll(kind, 1)))[inside]
        first = np.flatnonzero(begins)
        starts = inside[first]
        if not starts.size:
            nothing = np.zeros(count, np.uint32)
            return Features(lengths, np.zeros((count, WORDS_KEPT), np.uint16), nothing, nothing)
        sort, owner = kind[starts], line_of[starts]
        place = inside - np.repeat(starts, np.diff(first, append=inside.size))
        with np.errstate(over="ignore"):
            spelt = (point[inside] + np.uint64(1)) * _powers()[np.minimum(place, _powers().size - 1)]
            wholes = np.add.reduceat(spelt, first)
            spelt[(place >= STEM) & (kind[inside] == LETTER)] = 0
            stems = np.add.reduceat(spelt, first)
            followed = np.flatnonzero((sort[:-1] == IDEOGRAPH) & (sort[1:] == IDEOGRAPH) & (np.diff(starts) == 1))
            twos = stems[followed] * np.uint64(31) + stems[followed + 1]
        hashed = np.maximum(_hash(np.concatenate([stems, twos]), HASHES), 1)  # 0 is none
        self._seen += np.bincount(hashed, minlength=HASHES)
        rare = self._seen[hashed[: stems.size]] * RARE < self._lines + RARE
        return Features(
            lengths,
            self._choose(hashed, np.concatenate([owner, owner[followed]]), count),
            _bits(wholes, owner, sort == DIGIT, count),
            _bits(wholes, owner, (sort == LETTER) & rare, count),
        )

    def _choose(self, hashed: NDArray[np.int64], owner: NDArray[np.int64], count: int) -> NDArray[np.uint16]:
        """The words of each line that say most: rare ones, but not those that were hardly seen yet."""
        seen = self._seen[hashed]
        order = np.where(seen < 4, self._lines // 50, seen)
        keys = np.sort((owner << 48) | (np.minimum(order, (1 << 32) - 1) << 16) | hashed)
        keys = keys[np.diff(keys, prepend=-1) != 0]
        line = keys >> 48
        rank = np.arange(keys.size) - np.searchsorted(line, line)
        kept = rank < WORDS_KEPT
        words = np.zeros((count, WORDS_KEPT), np.uint16)
        words[line[kept], rank[kept]] = keys[kept] & (HASHES - 1)
        return words


def _characters(lines: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.int64]]:
    """Of all characters, an end after each line included: kind, folded code point, and the line."""
    kinds, folded = _tables()
    points = np.frombuffer("\n".join((*lines, "")).encode("utf-32-le", "surrogatepass"), np.uint32)
    ends = np.fromiter(map(len, lines), np.int64, len(lines)) + 1
    line_of = np.repeat(np.arange(len(lines)), ends)
    point = np.where(points < folded.size, folded[np.minimum(points, folded.size - 1)], points).astype(np.uint64)
    return kinds[np.minimum(points, kinds.size - 1)], point, line_of


def _hash(spelt: NDArray[np.uint64], size: int) -> NDArray[np.int64]:
    """Numbers from 0 until before ``size``, a power of 2 (the finaliser of SplitMix64; Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = (spelt ^ (spelt >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: NDArray[np.int64] = ((mixed ^ (mixed >> np.uint64(31))) & np.uint64(size - 1)).astype(np.int64)
    return hashed


def _bits(
    spelt: NDArray[np.uint64], owner: NDArray[np.int64], wanted: NDArray[np.bool_], count: int
) -> NDArray[np.uint32]:
    """For each line a set of the words that are wanted, one of 32 bits for each."""
    bits = np.zeros(count, np.uint32)
    np.bitwise_or.at(bits, owner[wanted], np.uint32(1) << _hash(spelt[wanted], 32).astype(np.uint32))
    return bits


@cache
def _powers() -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        powers: NDArray[np.uint64] = np.cumprod(np.full(64, 0x9E3779B97F4A7C15, np.uint64), dtype=np.uint64)
    return powers


@cache
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Of each code point: its kind, and what it is without case, accents and width."""
    kinds = np.zeros(0x30000 + 1, np.uint8)
    kinds[0x10000:0x20000] = LETTER
    kinds[0x20000:] = IDEOGRAPH
    folded = np.arange(0x10000, dtype=np.uint32)
    for code in range(ord("!"), folded.size):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            kinds[code], folded[code] = DIGIT, ord("0") + unicodedata.digit(character)
        elif category[0] in "LMN":
            kinds[code] = IDEOGRAPH if unicodedata.name(character, "").startswith(UNSPACED) else LETTER
            if not 0xAC00 <= code < 0xD7A4:  # Hangul, which would be taken to pieces
                folded[code] = ord(unicodedata.normalize("NFKD", character)[0].lower()[0])
        elif category[0] in "PS":
            kinds[code] = MARK
            folded[code] = ord(unicodedata.normalize("NFKC", character.translate(_SAME))[0])
    return kinds, folded
