"""Weights that are not simply the last ones: frozen, averaged on the way, taken from another model."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from seqloom.errors import ConfigError
from seqloom.training.sharding import local, part_like


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Takes the weights whose names match a pattern out of the training; returns their names.

    Raises:
        ConfigError: if a pattern matches no weight, or nothing is left to train.
    """
    names = dict(model.named_parameters())
    frozen = []
    for pattern in patterns:
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise ConfigError(
                f"training.freeze: no weight is named {pattern!r}; names are such as {', '.join(list(names)[:3])}"
            )
        frozen += matched
    for name in frozen:
        names[name].requires_grad_(False)
    if not any(weight.requires_grad for weight in names.values()):
        raise ConfigError("training.freeze leaves no weight that learns, so there is nothing to train; freeze fewer")
    return frozen


class RunningMean:
    """An exponential mean of the weights over the steps (Polyak and Juditsky 1992).

    It starts as the weights themselves and forgets quickly at first: the decay at step t is
    min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = dict(model.named_parameters())
        self.weights = {name: weight.detach().clone() for name, weight in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the mean towards the weights after ``step`` earlier steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mean, live = ([local(each) for each in weights.values()] for weights in (self.weights, self._live))
        torch._foreach_lerp_(mean, live, 1 - decay)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Takes up a mean that was saved."""
        for name, weight in weights.items():
            self.weights[name].copy_(part_like(weight, self.weights[name]))
