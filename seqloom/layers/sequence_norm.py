"""Normalisation over sequences: over which of sentences, times and features mean and variance are taken.

All take ``x`` [B, T, D] and ``mask`` [B, T], True at real positions; what stands at padding changes nothing
that is real, and what comes out there means nothing. Each but RMSNorm computes, with a weight and a bias for
each feature,

    (x - mean) / sqrt(variance + eps) * weight + bias

and they differ in the places that mean and variance are over:

    batch       all sentences and times, feature by feature
    instance    all times, sentence by sentence and feature by feature
    group       all times and a group of features, sentence by sentence
    layer       all features, position by position
    rms         the same, without mean and bias

The first three look at other times, so they are not for decoders; the first looks at other sentences as well.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqloom.layers.normalization import RMSNorm

MOST_GROUPS = 8


class _Affine(nn.Module):
    """A learnt size and shift of each feature."""

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.eps = eps

    def normed(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return ((x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias).to(x.dtype)


class BatchNorm(_Affine):
    """Ioffe and Szegedy 2015, algorithms 1 and 2: each feature over all real positions of the batch.

    While training, a text's numbers depend on the texts beside it. Otherwise, and where the weight is frozen,
    mean and variance are running ones, and each position is alone. These are parameters without gradients, so
    that they are saved and averaged with the weights.
    """

    def __init__(self, d_model: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(d_model, eps)
        self.momentum = momentum
        self.running_mean = nn.Parameter(torch.zeros(d_model), requires_grad=False)
        self.running_variance = nn.Parameter(torch.ones(d_model), requires_grad=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x`` [B, T, D], ``mask`` [B, T] -> the same shape and type."""
        if not (self.training and self.weight.requires_grad):
            return self.normed(x, self.running_mean, self.running_variance)
        mean, variance = _moments(x, mask, (0, 1))
        with torch.no_grad():
            count = mask.sum()
            unbiased = variance.flatten() * (count / (count - 1).clamp(min=1))
            for running, now in ((self.running_mean, mean.flatten()), (self.running_variance, unbiased)):
                running.lerp_(now.to(running.dtype), self.momentum)
        return self.normed(x, mean, variance)


class InstanceNorm(_Affine):
    """Ulyanov et al. 2016: each feature of each sentence over its real positions."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """As :class:`BatchNorm`."""
        return self.normed(x, *_moments(x, mask, (1,)))


class GroupNorm(_Affine):
    """Wu and He 2018, section 3.1: groups of features of each sentence over its real positions.

    There are as many groups as divide the features, at most ``MOST_GROUPS``.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__(d_model, eps)
        self.groups = math.gcd(d_model, MOST_GROUPS)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """As :class:`BatchNorm`."""
        mean, variance = _moments(x.unflatten(2, (self.groups, -1)), mask, (1, 3))  # [B, 1, groups, 1]
        size = x.size(2) // self.groups
        return self.normed(x, *(each.flatten(2).repeat_interleave(size, 2) for each in (mean, variance)))


class LayerNorm(nn.LayerNorm):
    """Ba et al. 2016, section 3: the features of each position."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """As :class:`BatchNorm`; the mask makes no difference."""
        return super().forward(x)


class RootMeanSquareNorm(RMSNorm):
    """Zhang and Sennrich 2019, section 4: the features of each position, without mean and bias."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """As :class:`BatchNorm`; the mask makes no difference."""
        return super().forward(x)


class NoNorm(nn.Module):
    """x as it is."""

    def __init__(self, d_model: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x


SEQUENCE_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": NoNorm,
    "batch": BatchNorm,
    "layer": LayerNorm,
    "instance": InstanceNorm,
    "group": GroupNorm,
    "rms": RootMeanSquareNorm,
}


def _moments(x: Tensor, mask: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance of ``x`` [B, T, ...] at real positions over the axes ``over``, which stay with size 1."""
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    real = mask.view(*mask.shape, *(1,) * (x.ndim - 2)).expand_as(x)
    count = real.sum(over, keepdim=True).clamp(min=1)
    mean = exact.where(real, 0).sum(over, keepdim=True) / count
    variance = (exact - mean).square().where(real, 0).sum(over, keepdim=True) / count
    return mean, variance
