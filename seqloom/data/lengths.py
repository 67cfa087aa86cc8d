"""How long translations are: what the training data showed, and what is out of all proportion to it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

SMOOTHING = 5
"""Tokens added to both sides of a pair, so that short ones, whose ratios vary wildly, count little."""

LEAST_SPREAD, MOST_SPREAD = 1.3, 2.0


class LengthRatio(NamedTuple):
    """Quantiles of target tokens / source tokens over sentence pairs, each with ``SMOOTHING`` added."""

    low: float = 0.5
    """1 % of the pairs are below."""
    middle: float = 1.0
    high: float = 2.0
    """1 % of the pairs are above."""

    @classmethod
    def of(cls, src_lengths: ArrayLike, tgt_lengths: ArrayLike) -> "LengthRatio":
        """That of sentence pairs with so many tokens on each side."""
        ratios = (np.asarray(tgt_lengths) + SMOOTHING) / (np.asarray(src_lengths) + SMOOTHING)
        return cls(*np.quantile(ratios, [0.01, 0.5, 0.99]).round(4).tolist())

    @classmethod
    def read(cls, stored: Any) -> "LengthRatio":
        """What config.json holds; the defaults where an older program wrote none.

        Raises:
            ValueError, TypeError: if these are not three positive numbers that rise.
        """
        if stored is None:
            return cls()
        low, middle, high = map(float, stored)
        if not 0 < low <= middle <= high < float("inf"):
            raise ValueError("length_ratio")
        return cls(low, middle, high)

    def after(self, earlier: "LengthRatio") -> "LengthRatio":
        """That of a model which has learnt more pairs, and most of what it knows from ``earlier`` ones."""
        return LengthRatio(min(self.low, earlier.low), earlier.middle, max(self.high, earlier.high))

    @property
    def least(self) -> float:
        """What is below is no translation: as far again beyond the quantile as that is from the middle."""
        return self.middle / _bounded(self.middle / self.low) ** 2

    @property
    def most(self) -> float:
        """What is above is no translation."""
        return self.middle * _bounded(self.high / self.middle) ** 2

    def possible(self, tokens: int) -> tuple[float, float]:
        """The fewest and the most tokens that a translation of ``tokens`` may have."""
        return self.least * (tokens + SMOOTHING) - SMOOTHING, self.most * (tokens + SMOOTHING) - SMOOTHING


def _bounded(spread: float) -> float:
    """Very regular data has hardly a spread, data with misaligned pairs far too much."""
    return min(max(spread, LEAST_SPREAD), MOST_SPREAD)


GENERIC = LengthRatio()
"""For a model that does not know its own."""
