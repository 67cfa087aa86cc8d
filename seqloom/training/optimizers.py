"""Update rules by name."""

from collections.abc import Callable

import torch
from torch import nn

from seqloom.config import TrainingConfig


def adamw(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay on matrices only (Loshchilov and Hutter 2019)."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=1e-9, fused=True)


OPTIMIZERS: dict[str, Callable[[nn.Module, TrainingConfig], torch.optim.Optimizer]] = {"adamw": adamw}
