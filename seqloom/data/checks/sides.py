"""What the two sides of a corpus are like, learnt from its beginning: scripts, languages, lengths.

Which side a text belongs to is told by naive Bayes over characters and groups of three of them: no
language need be known for that, and one line is usually enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqloom.data.checks.characters import CLASSES, NUM_SCRIPTS, Texts
from seqloom.data.languages import SURE, detect

BITS = 18
_PRIMES = np.array([0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35], np.uint32)

SMOOTHING = 0.5
MOST_EVIDENCE = 4.0
"""Of one group of characters, as a logarithm of odds."""

LEAST_OPPOSITE = 0.9
"""Share of pairs whose sides lean to opposite sides; with fewer, both are in one language."""

FEWEST_LINES, FEWEST_LETTERS = 20, 20
"""By so many lines, each with so many groups of characters, that is told."""

OWN_SCRIPT = 0.05
"""Share of a side's letters from which a script belongs to it; Latin does everywhere, for names and code."""

LEAST_SPREAD = 0.2
SMOOTHED_LENGTH = 6


@dataclass(frozen=True)
class Lengths:
    """Logarithms of target length / source length in characters: middle and spread."""

    middle: float
    spread: float

    def scores(self, src: NDArray[np.int64], tgt: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many spreads the pairs are away from the middle."""
        return (_log_ratio(src, tgt) - self.middle) / self.spread


@dataclass(frozen=True)
class Sides:
    """What a corpus is like."""

    lengths: Lengths
    scripts: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    """[NUM_SCRIPTS] each; those that belong to the source and to the target."""
    evidence: NDArray[np.float32] | None
    """[2^BITS]; how much a group of characters speaks for the target; None if the sides cannot be told apart."""
    long: float
    """Characters from which a text is no sentence of this corpus."""
    languages: tuple[str, str] = ("", "")
    """What the two sides seem to be in; empty where that is not sure."""

    @classmethod
    def of(cls, src: Texts, tgt: Texts, languages: bool = True) -> "Sides":
        """Learns from pairs; which ``languages`` they are in takes a second more."""
        ratio = _log_ratio(src.sizes, tgt.sizes)[(src.sizes > 0) & (tgt.sizes > 0)]
        low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75]) if ratio.size else (0.0, 0.0, 0.0)
        median = np.median(np.concatenate([src.sizes, tgt.sizes])) if len(src) else 0.0
        return cls(
            Lengths(float(middle), max(LEAST_SPREAD, float(high - low) / 1.349)),  # of a normal distribution
            (_own_scripts(src), _own_scripts(tgt)),
            _evidence(src, tgt),
            max(1000.0, 20 * float(median)),
            (_language(src), _language(tgt)) if languages else ("", ""),
        )

    def lean(self, side: Texts) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """How much each text speaks for being a target, and how many groups of characters say so."""
        assert self.evidence is not None
        total = np.zeros(len(side), np.float32)
        count = np.zeros(len(side), np.int64)
        for groups, valid in _groups(side):
            total += side.sums(np.where(valid, self.evidence[groups], np.float32(0)))
            count += side.counts(valid)
        return total, count


def _language(side: Texts) -> str:
    language, confidence = detect(side.texts)
    return language if confidence >= SURE else ""


def _log_ratio(src: NDArray[np.int64], tgt: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.log((tgt + SMOOTHED_LENGTH) / (src + SMOOTHED_LENGTH))


def _own_scripts(side: Texts) -> NDArray[np.bool_]:
    weights = side.weights.sum(axis=0)
    own: NDArray[np.bool_] = weights >= max(1.0, OWN_SCRIPT * float(weights.sum()))
    own[CLASSES["Latin"]] = True
    return own


def _groups(side: Texts) -> list[tuple[NDArray[np.uint32], NDArray[np.bool_]]]:
    """Each letter, and each letter with its neighbours, as numbers below 2^BITS; and where there is one."""
    point = side.folded
    letter = point > 32
    with np.errstate(over="ignore"):
        one = (point * _PRIMES[0]) >> np.uint32(32 - BITS)
        before, after = np.roll(point, 1), np.roll(point, -1)
        three = (before * _PRIMES[0]) ^ (point * _PRIMES[1]) ^ (after * _PRIMES[2])
    # A line's end is a blank to its neighbours: all begin and end alike.
    return [(one, letter), (three >> np.uint32(32 - BITS), letter)]


def _counts(side: Texts, rows: slice) -> NDArray[np.float64]:
    part = Texts(side.texts[rows])
    out = np.zeros(1 << BITS)
    for groups, valid in _groups(part):
        out += np.bincount(groups[valid], minlength=1 << BITS)
    return out


def _log_odds(src: NDArray[np.float64], tgt: NDArray[np.float64]) -> NDArray[np.float32]:
    """Of groups counted so often; those never seen speak for neither side."""
    total = src.sum(), tgt.sum()
    if not all(total):
        return np.zeros(src.shape, np.float32)
    odds = [np.log(each / of + 2 * SMOOTHING / sum(total)) for each, of in zip((src, tgt), total, strict=True)]
    return np.clip(odds[1] - odds[0], -MOST_EVIDENCE, MOST_EVIDENCE).astype(np.float32)


def _evidence(src: Texts, tgt: Texts) -> NDArray[np.float32] | None:
    """Learnt from every other pair and tried on the rest, then from all."""
    halves = [[_counts(side, slice(half, None, 2)) for half in (0, 1)] for side in (src, tgt)]
    no_scripts = np.zeros(NUM_SCRIPTS, bool)
    trial = Sides(Lengths(0, 1), (no_scripts, no_scripts), _log_odds(halves[0][0], halves[1][0]), 0)
    (of_src, src_count), (of_tgt, tgt_count) = (trial.lean(Texts(side.texts[1::2])) for side in (src, tgt))
    told = (src_count >= FEWEST_LETTERS) & (tgt_count >= FEWEST_LETTERS)
    # Not whether they lean to where they stand, which swapped ones do not.
    opposite = told & (of_src * of_tgt < 0)
    if told.sum() < FEWEST_LINES or opposite.sum() < LEAST_OPPOSITE * told.sum():
        return None
    return _log_odds(sum(halves[0]), sum(halves[1]))  # type: ignore[arg-type]
