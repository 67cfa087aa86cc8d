"""What a search gives back."""

from typing import NamedTuple


class Hypothesis(NamedTuple):
    """One finished sequence."""

    tokens: list[int]
    """Without begin and end."""
    score: float
    """What hypotheses are ordered by: log_prob / length^alpha, or as :mod:`seqloom.decoding.ranking` was told."""
    log_prob: float
    """Natural logarithm of the probability of the tokens and, unless cut, of the end."""
    finished: bool = True
    """Whether it came to its end; False where it was cut at the greatest length."""
    draws: int = 1
    """How many of a sentence's hypotheses said just this."""
