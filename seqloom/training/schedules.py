"""Learning rate as a function of the step, counted from 1, and of the progress of the run.

A schedule is one function and one line in ``SCHEDULES``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from seqloom.config import TrainingConfig
from seqloom.training.timeline import Timeline


@dataclass(frozen=True)
class Moment:
    """Where in a run a rate is wanted."""

    step: int
    """The one about to be made, counted from 1."""
    progress: float
    """The share of the run before it, 0 to 1."""
    warmup: int
    """The steps over which the rate rises; a quarter at most of what the run was to be at its start."""
    warmed_up: float
    """The progress at their end."""

    @property
    def rising(self) -> float:
        """1 after the warm-up, step / warmup before its end."""
        return min(1.0, self.step / self.warmup) if self.warmup else 1.0

    @property
    def left(self) -> float:
        """What is left of the run after its warm-up, from 1 to 0."""
        return min(1.0, (1 - self.progress) / (1 - self.warmed_up)) if self.warmed_up < 1 else 1.0


def linear(now: Moment, config: TrainingConfig, d_model: int) -> float:
    """Rises over the warm-up to the full rate, then falls in a straight line to zero."""
    return config.learning_rate * min(now.rising, now.left)


def cosine(now: Moment, config: TrainingConfig, d_model: int) -> float:
    """Falls along half a cosine to zero (Loshchilov and Hutter 2017, without restarts)."""
    return config.learning_rate * now.rising * (1 - math.cos(math.pi * now.left)) / 2


def wsd(now: Moment, config: TrainingConfig, d_model: int) -> float:
    """Warm-up, stable, decay: flat, then over the share ``decay`` of the run down to zero.

    The decay is 1 - sqrt of its own progress (Hägele et al. 2024, section 3.1). Nothing before it
    depends on how long a run was made later, so a finished run can be continued from there.
    """
    decayed = max(0.0, (now.progress - (1 - config.decay)) / config.decay)
    return config.learning_rate * now.rising * (1 - math.sqrt(decayed))


def inverse_sqrt(now: Moment, config: TrainingConfig, d_model: int) -> float:
    """Falls with 1 / sqrt(step) after the warm-up."""
    warmup = max(1, now.warmup)
    return config.learning_rate * min(now.step / warmup, math.sqrt(warmup / now.step))


def noam(now: Moment, config: TrainingConfig, d_model: int) -> float:
    """d_model^-0.5 min(step^-0.5, step warmup^-1.5): Vaswani et al. 2017, section 5.3.

    ``learning_rate`` has no say here: the paper's formula sets the height.
    """
    return float(d_model**-0.5 * min(now.step**-0.5, now.step * max(1, now.warmup) ** -1.5))


SCHEDULES: dict[str, Callable[[Moment, TrainingConfig, int], float]] = {
    "linear": linear,
    "cosine": cosine,
    "wsd": wsd,
    "inverse_sqrt": inverse_sqrt,
    "noam": noam,
}


def rate_at(step: int, timeline: Timeline, config: TrainingConfig, d_model: int) -> float:
    """The rate of a step, counted from 1."""
    warmup = min(config.warmup, timeline.first_total // 4)
    now = Moment(step, timeline.progress(step - 1), warmup, timeline.progress(warmup))
    return SCHEDULES[config.schedule](now, config, d_model)
