"""Is one system better than another, or was it the choice of test sentences?

Both tests work on sufficient statistics: each sentence has a row of counts, a set of sentences
has their sum, and a corpus score is computed from a sum alone. So a resampling is a matrix
product, and no sentence is looked at twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Statistics = NDArray[np.float64]

SEED = 12345
"""sacreBLEU's own, so the resamplings are the ones that it would make."""

MAX_DRAWN = 1 << 22
"""Draws held at once: 32 MiB of indices, whatever the size of the test set."""

ROUNDING = 1e-9
"""Differences of scores smaller than this are none."""


@dataclass(frozen=True)
class Comparison:
    """Systems A and B by one metric on the same sentences; intervals are of 95 %, by bootstrap."""

    a: float
    b: float
    a_interval: tuple[float, float]
    b_interval: tuple[float, float]
    difference_interval: tuple[float, float]
    """Of the score of A minus that of B."""
    a_higher: float
    """Share of the resampled test sets on which A scores higher than B; a tie counts half."""
    p_bootstrap: float
    p_randomization: float

    @property
    def difference(self) -> float:
        return self.a - self.b


def compare(
    a: Statistics, b: Statistics, score: Callable[[Sequence[float]], float], resamplings: int = 1000, seed: int = SEED
) -> Comparison:
    """Tests whether two systems differ on N sentences; both p-values are two-sided.

    Paired bootstrap (Koehn 2004): sets of N sentences are drawn with replacement and both systems
    scored on each. The p-value is the share whose difference is as far from the mean of all as the
    difference observed is from none (Riezler and Maxwell 2005).

    Approximate randomisation (Noreen 1989; Riezler and Maxwell 2005): each sentence's two outputs
    change places by the toss of a coin, as they could if the systems were equally good. The p-value
    is the share of such shuffles with a difference at least as large as the one observed.

    Args:
        a: [N, K] statistics of A.
        b: [N, K] those of B.
        score: K sums -> the score of the set.
        resamplings: of each test.
        seed: everything random follows from it.
    """
    both = np.concatenate([a, b], axis=1)
    total_a, total_b = _scores(both.sum(axis=0, keepdims=True), score)[0]
    observed = abs(total_a - total_b)
    resampled = np.concatenate([_scores(sums, score) for sums in resample(both, resamplings, seed)])
    differences = resampled[:, 0] - resampled[:, 1]
    shuffled = np.concatenate([_scores(sums, score) for sums in _shuffles(a, b, resamplings, seed)])
    higher = np.where(np.abs(differences) <= ROUNDING, 0.5, differences > 0)
    return Comparison(
        a=float(total_a),
        b=float(total_b),
        a_interval=interval(resampled[:, 0]),
        b_interval=interval(resampled[:, 1]),
        difference_interval=interval(differences),
        a_higher=float(higher.mean()),
        p_bootstrap=_p_value(differences - differences.mean(), observed),
        p_randomization=_p_value(shuffled[:, 0] - shuffled[:, 1], observed),
    )


def resample(statistics: Statistics, resamplings: int, seed: int = SEED) -> Iterator[Statistics]:
    """Yields, some at a time, the sums [R, K] of resampled sets of N rows of [N, K] (Efron 1979)."""
    random = np.random.default_rng(seed)
    count = len(statistics)
    for size in _chunks(resamplings, count):
        drawn = random.choice(count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield times.astype(np.float64) @ statistics


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The range of the middle 95 %."""
    ordered = np.sort(values)
    outside = len(ordered) // 40
    return float(ordered[outside]), float(ordered[-1 - outside])


def _shuffles(a: Statistics, b: Statistics, shuffles: int, seed: int) -> Iterator[Statistics]:
    """Yields sums [R, 2 K] of A and B after sentences have changed places."""
    random = np.random.default_rng(seed)
    sums = a.sum(axis=0) + b.sum(axis=0)
    for size in _chunks(shuffles, len(a)):
        stays = random.integers(2, size=(size, len(a)), dtype=bool).astype(np.float64)
        new_a = stays @ (a - b) + b.sum(axis=0)
        yield np.concatenate([new_a, sums - new_a], axis=1)


def _chunks(total: int, count: int) -> list[int]:
    """How many of ``total`` draws of ``count`` sentences to make at a time."""
    size = max(1, min(total, MAX_DRAWN // count))
    return [min(size, total - start) for start in range(0, total, size)]


def _scores(sums: Statistics, score: Callable[[Sequence[float]], float]) -> NDArray[np.float64]:
    """[R, 2 K] -> [R, 2] scores of A and B."""
    halves = sums.reshape(2 * len(sums), -1).tolist()
    return np.array([score(half) for half in halves]).reshape(-1, 2)


def _p_value(under_null: NDArray[np.float64], observed: float) -> float:
    """Of a two-sided test; what was observed counts as one of the draws, so it is never 0."""
    as_large = int((np.abs(under_null) >= observed - ROUNDING).sum())
    return (as_large + 1) / (len(under_null) + 1)
