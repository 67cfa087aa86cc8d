"""Update rules by name. Each gives one or more torch optimizers that share the parameters out."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from seqloom.config import TrainingConfig

Optimizers = list[torch.optim.Optimizer]


def _adamw(parameters: Sequence[Tensor], config: TrainingConfig) -> torch.optim.Optimizer:
    """Weight decay on matrices only: biases and norms have no reason to be small."""
    matrices = [p for p in parameters if p.requires_grad and p.ndim >= 2]
    vectors = [p for p in parameters if p.requires_grad and p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=1e-9, fused=True)


def adamw(model: nn.Module, config: TrainingConfig) -> Optimizers:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
    return [_adamw(list(model.parameters()), config)]


def adam(model: nn.Module, config: TrainingConfig) -> Optimizers:
    """Adam without any decay of weights (Kingma and Ba 2015), as in Vaswani et al. 2017, section 5.3."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [torch.optim.Adam(parameters, lr=config.learning_rate, betas=config.betas, eps=1e-9, fused=True)]


def muon(model: nn.Module, config: TrainingConfig) -> Optimizers:
    """Orthogonalised momentum for the matrices inside the stack, AdamW for all else.

    Jordan et al. 2024, "Muon"; the step is scaled to the size of AdamW's (Liu et al. 2025, "Muon is
    Scalable for LLM Training", section 2.2), so that both take the same learning rate.
    """
    tables = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    output = {id(p) for name, p in model.named_parameters() if name in ("output.weight", "output.direction")}
    inner = [p for p in model.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in tables | output]
    chosen = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    if not inner:
        return [_adamw(rest, config)]
    return [
        torch.optim.Muon(
            inner, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        _adamw(rest, config),
    ]


OPTIMIZERS: dict[str, Callable[[nn.Module, TrainingConfig], Optimizers]] = {"adamw": adamw, "adam": adam, "muon": muon}
