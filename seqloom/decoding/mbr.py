"""Minimum Bayes risk decoding: of several outputs the one that agrees most with all of them."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Similarity = Callable[[Sequence[str]], NDArray[np.float64]]
"""N texts -> [N, N], each one (the row) as an answer where another (the column) is the reference."""


def expected_utility(texts: Sequence[str], draws: Sequence[int], similarity: Similarity) -> NDArray[np.float64]:
    """The mean similarity of each text to all of them, itself included, [N]; each counts as often as it was drawn.

    Over samples this estimates the expectation under the model without bias (Eikema and Aziz 2020,
    "Is MAP Decoding All You Need?", section 6). Over an n-best list all count alike: it is a vote
    of the best hypotheses.
    """
    weights = np.asarray(draws, np.float64)
    utility: NDArray[np.float64] = similarity(texts) @ (weights / weights.sum())
    return utility
