"""Who may attend to whom, as boolean tensors: True = may attend."""

import torch
from torch import Tensor


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """Position q may attend to k <= q: [1, 1, Q, K] with Q = K = ``length``."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril_()[None, None]


def key_mask(mask: Tensor) -> Tensor:
    """A [B, K] mask of real tokens, shaped to hold for every head and query: [B, 1, 1, K]."""
    return mask[:, None, None, :]
