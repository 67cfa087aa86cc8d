"""What a wall-clock budget still has room for."""

from collections import deque
from dataclasses import dataclass, field

VALIDATION_SHARE = 0.03
"""Of the time, at most, for scores on the way: the rest is for learning."""

FIRST_VALIDATION = 0.2
"""The progress at which the first one comes; it shows what one costs."""

CLOSING = 2
"""Validations after the last step: of its weights, and of their mean over the last checkpoints; a running mean is one
more."""

RECENT = 100
"""Steps whose mean length predicts the next ones."""


@dataclass
class Budget:
    """Predicts the last step of a run from what its steps, validations and checkpoints took so far."""

    seconds: float
    """In all, of the time that the run is up: preparing, training, scoring, saving."""
    step_seconds: float
    """What a step took in a trial or in the life before, until there are real ones."""
    closing: int = CLOSING
    validation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def step_took(self, seconds: float) -> None:
        self._recent.append(seconds)

    @property
    def pace(self) -> float:
        """What a step takes, of late."""
        return sum(self._recent) / len(self._recent) if len(self._recent) >= 5 else self.step_seconds

    def last_step(self, step: int, spent: float, progress: float, checkpoints: int) -> int:
        """Where the run will end, with ``checkpoints`` still to come over the whole of it."""
        validation = self.validation_seconds or VALIDATION_SHARE * FIRST_VALIDATION * self.seconds
        left = self.seconds - spent - self.closing * (validation + self.checkpoint_seconds)
        left -= (1 - progress) * checkpoints * self.checkpoint_seconds
        left -= int(max(0.0, left) * VALIDATION_SHARE / validation) * validation
        return step + max(0, round(left / self.pace))

    def wants_validation(self, spent_at_last: float, spent: float, progress: float) -> bool:
        """Whether a score on the way is due."""
        if not self.validation_seconds:
            return progress >= FIRST_VALIDATION
        pause = self.validation_seconds / VALIDATION_SHARE
        return spent - spent_at_last >= pause and self.seconds - spent > pause / 2
