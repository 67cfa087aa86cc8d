"""Many vectors of a sequence -> one, with how much of each is in it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Pooled(NamedTuple):
    """What became of a sequence."""

    x: Tensor
    """[B, D]."""
    weights: Tensor
    """[B, T], the share that each position has in ``x``: they add up to 1, and are 0 at padding."""


class AttentionPooling(nn.Module):
    """sum_t a_t x_t with a = softmax(v . tanh(W x_t + b)): Yang et al. 2016, equations 5 to 7.

    The query v is learnt and the same for all texts: what a word has to look like to matter.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.key = nn.Linear(d_model, d_model)
        self.query = nn.Linear(d_model, 1, bias=False)
        for linear in (self.key, self.query):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.key.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Pooled:
        """``x`` [B, T, D]; ``mask`` [B, T], True at real positions, of which there is at least one."""
        scores = self.query(self.key(x).tanh())[..., 0].masked_fill(~mask, -torch.inf)
        weights = scores.softmax(-1, dtype=torch.promote_types(x.dtype, torch.float32))
        return Pooled((weights[:, None].to(x.dtype) @ _real(x, mask))[:, 0], weights)


class MeanPooling(nn.Module):
    """The mean over the real positions."""

    def __init__(self, d_model: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor) -> Pooled:
        """As :class:`AttentionPooling`."""
        exact = torch.promote_types(x.dtype, torch.float32)
        count = mask.sum(1, keepdim=True)
        mean = _real(x, mask).sum(1, dtype=exact) / count
        return Pooled(mean.to(x.dtype), mask.to(exact) / count)


class MaxPooling(nn.Module):
    """The largest value of each number over the real positions: Collobert et al. 2011, section 3.2.2.

    A position weighs as many of the D numbers as it has the largest of.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor) -> Pooled:
        """As :class:`AttentionPooling`."""
        largest, places = x.masked_fill(~mask[:, :, None], -torch.inf).max(1)  # [B, D]
        weights = torch.zeros_like(x[:, :, 0], dtype=torch.promote_types(x.dtype, torch.float32))
        share = torch.full_like(places, 1 / places.size(1), dtype=weights.dtype)
        return Pooled(largest, weights.scatter_add_(1, places, share))


POOLINGS: dict[str, type[AttentionPooling] | type[MeanPooling] | type[MaxPooling]] = {
    "attention": AttentionPooling,
    "mean": MeanPooling,
    "max": MaxPooling,
}


def _real(x: Tensor, mask: Tensor) -> Tensor:
    """``x`` [B, T, D] with nothing at padding, where there may be anything."""
    return x.masked_fill(~mask[:, :, None], 0)
