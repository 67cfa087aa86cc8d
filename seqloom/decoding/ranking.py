"""What finished hypotheses are ordered by: their log-probability, length and coverage of the source.

Wu et al. 2016, "Google's Neural Machine Translation System", section 7, equation 14.
"""

from collections.abc import Callable
from dataclasses import dataclass

LENGTHS: dict[str, Callable[[int], float]] = {
    "power": lambda length: length,
    "gnmt": lambda length: (5 + length) / 6,
}
"""What is raised to alpha; the length counts the end token."""


@dataclass(frozen=True)
class Ranking:
    """score = log-probability / length^alpha + beta * coverage."""

    alpha: float = 1.0
    formula: str = "power"
    beta: float = 0.0

    @property
    def scores_only_fall(self) -> bool:
        """Whether a hypothesis that goes on can never overtake one that has ended with more."""
        return self.alpha == 0 and self.beta == 0

    def score(self, log_prob: float, length: int, coverage: float = 0.0) -> float:
        return log_prob / LENGTHS[self.formula](length) ** self.alpha + self.beta * coverage
