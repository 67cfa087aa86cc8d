"""Scaled dot-product attention and the multi-head module around it.

Vaswani et al. 2017, "Attention Is All You Need", sections 3.2.1 and 3.2.2.
"""

import math

import torch
from torch import Tensor, nn

from seqloom.layers.dropout import dropout

GROWTH = 32
"""A self-attention cache grows by this many positions at a time."""


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, bias: Tensor | None = None, drop: float = 0.0
) -> Tensor:
    """softmax(q k^T / sqrt(E) + bias) v, over the keys that ``mask`` lets through.

    The softmax is explicit: on a CPU and for sentences it is faster, forward and backward, than
    torch's fused kernel, whose advantage starts at several hundred positions.

    Args:
        q: [B, H, Q, E].
        k: [B, H, K, E].
        v: [B, H, K, E].
        mask: boolean, broadcastable to [B, H, Q, K]; True = may attend. Every query needs a key.
        bias: added to the scores, broadcastable to [B, H, Q, K].
        drop: probability of dropping an attention weight.

    Returns:
        [B, H, Q, E].
    """
    scores = (q * (1.0 / math.sqrt(q.size(-1)))) @ k.transpose(-2, -1)  # [B, H, Q, K]
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        # Added and not filled in: a fraction of the time, and no work on the way back.
        scores = scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, -math.inf)
    weights = dropout(scores.softmax(dim=-1), drop)
    return weights @ v


class Cache:
    """Keys and values of one attention layer while a sequence is decoded token by token.

    ``append`` is for self-attention; its storage grows in steps, so that a new token costs one
    column and not a copy of all that came before. Those of cross-attention are given at once.
    """

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None) -> None:
        self.keys = keys  # [B, H, capacity, E]
        self.values = values
        self.length = 0 if keys is None else keys.size(2)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Adds [B, H, Q, E] keys and values; returns all so far, [B, H, K, E]."""
        self.keys = _written(self.keys, k, self.length)
        self.values = _written(self.values, v, self.length)
        self.length += k.size(2)
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def reorder(self, rows: Tensor) -> None:
        """Keeps the given rows of the batch, in their order; a row may be taken more than once."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, rows)
            self.values = self.values.index_select(0, rows)


def _written(store: Tensor | None, new: Tensor, start: int) -> Tensor:
    """``store`` [B, H, capacity, E] with ``new`` [B, H, Q, E] at ``start``; larger if that needs it."""
    end = start + new.size(2)
    if store is None or end > store.size(2):
        batch, heads, _, size = new.shape
        grown = new.new_empty(batch, heads, -(-end // GROWTH) * GROWTH, size)
        if store is not None:
            grown[:, :, :start] = store[:, :, :start]
        store = grown
    store[:, :, start:end] = new
    return store


class MultiHeadAttention(nn.Module):
    """H heads of attention, each on its own projection of the input.

    Args:
        d_model: width of inputs and output; a multiple of ``num_heads``.
        num_heads: H.
        drop: probability of dropping an attention weight while training.
    """

    def __init__(self, d_model: int, num_heads: int, drop: float = 0.0) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model ({d_model}) must be a multiple of num_heads ({num_heads})")
        self.num_heads = num_heads
        self.drop = drop
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.output = nn.Linear(d_model, d_model)

    def split(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, E]."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The projected keys and values of ``memory`` [B, K, D]: two [B, H, K, E]."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Lets ``x`` [B, Q, D] attend to ``memory`` [B, K, D]; self-attention when both are one."""
        return self.attend_to(x, *self.keys_values(memory), mask)

    def attend_to(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Lets ``x`` [B, Q, D] attend to keys and values that are already projected."""
        attended = attend(self.split(self.query(x)), k, v, mask, drop=self.drop if self.training else 0.0)
        return self.output(attended.transpose(1, 2).flatten(2))  # [B, Q, D]
