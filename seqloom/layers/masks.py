"""Who may attend to whom, as boolean tensors: True = may attend."""

import math

import torch
from torch import Tensor


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """Position q may attend to k <= q: [1, 1, Q, K] with Q = K = ``length``."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril_()[None, None]


def hiding(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """``mask`` as a bias of attention scores: 0 where one may attend, -inf elsewhere; for who uses it often."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -math.inf)


def key_mask(mask: Tensor) -> Tensor:
    """A [B, K] mask of real tokens, shaped to hold for every head and query: [B, 1, 1, K]."""
    return mask[:, None, None, :]
