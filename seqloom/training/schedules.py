"""Learning rate as a function of the step, counted from 1.

A schedule is one function and one line in ``SCHEDULES``.
"""

from collections.abc import Callable

from seqloom.config import TrainingConfig


def warmup_of(config: TrainingConfig, total: int) -> int:
    """The steps over which the rate rises: as configured, but a quarter of a short run at most."""
    return min(config.warmup, total // 4)


def linear(step: int, config: TrainingConfig, total: int, d_model: int) -> float:
    """Rises over the warm-up to the full rate, then falls in a straight line to zero."""
    warmup = warmup_of(config, total)
    if step <= warmup:
        return config.learning_rate * step / warmup
    return config.learning_rate * max(0.0, (total - step + 1) / max(1, total - warmup))


def inverse_sqrt(step: int, config: TrainingConfig, total: int, d_model: int) -> float:
    """Rises over the warm-up to the full rate, then falls with 1 / sqrt(step)."""
    warmup = max(1, warmup_of(config, total))
    return config.learning_rate * min(step / warmup, (warmup / step) ** 0.5)


def noam(step: int, config: TrainingConfig, total: int, d_model: int) -> float:
    """d_model^-0.5 min(step^-0.5, step warmup^-1.5): Vaswani et al. 2017, section 5.3.

    ``learning_rate`` has no say here: the paper's formula sets the height.
    """
    warmup = max(1, warmup_of(config, total))
    return float(d_model**-0.5 * min(step**-0.5, step * warmup**-1.5))


SCHEDULES: dict[str, Callable[[int, TrainingConfig, int, int], float]] = {
    "linear": linear,
    "inverse_sqrt": inverse_sqrt,
    "noam": noam,
}
