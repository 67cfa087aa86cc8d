"""Linear layers: the weight as it is, or the length and the direction of its rows apart."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class WeightNormLinear(nn.Module):
    """x W^T + b with W = length * direction / |direction|, row by row.

    Salimans and Kingma 2016, "Weight Normalization", section 2. Where no gradients are wanted, W is
    made once and kept until its parts change.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(out_features, in_features))
        self.length = nn.Parameter(torch.empty(out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self._kept: tuple[Any, Tensor] | None = None
        init_xavier(self)

    @property
    def weight(self) -> Tensor:
        """W, [out_features, in_features]."""
        if torch.is_grad_enabled():
            self._kept = None
            return self._weight()
        parts = (self.direction, self.length)
        now = [(part.data_ptr(), part._version, part.dtype, part.device) for part in parts]
        kept = self._kept
        if kept is None or kept[0] != now:
            self._kept = kept = now, self._weight()
        return kept[1]

    def _weight(self) -> Tensor:
        return self.direction * (self.length / self.direction.norm(dim=1))[:, None]

    def train(self, mode: bool = True) -> "WeightNormLinear":
        self._kept = None  # a fused optimizer changes the parts without a trace in their versions
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        return nn.functional.linear(x, self.weight, self.bias)


Linear = nn.Linear | WeightNormLinear
MakeLinear = Callable[[int, int], Linear]
"""Makes a layer of two widths, in and out."""


class Together:
    """Several linear layers of one input as one product.

    Where gradients are wanted its way back needs no sums over the layers. Where none are, the weights are
    put together once and kept until one of them changes.
    """

    def __init__(self) -> None:
        self._kept: tuple[Any, Tensor, Tensor] | None = None

    def forget(self) -> None:
        """What is kept may be out of date: a fused optimizer changes weights without a trace in their versions."""
        self._kept = None

    def __call__(self, x: Tensor, *linears: Linear) -> Sequence[Tensor]:
        """Each of ``linears`` of ``x`` [..., in_features]."""
        if torch.compiler.is_compiling() and not torch.is_grad_enabled():
            return [linear(x) for linear in linears]
        weight, bias = self._joint(linears)
        return nn.functional.linear(x, weight, bias).split([len(linear.bias) for linear in linears], dim=-1)

    def _joint(self, linears: Sequence[Linear]) -> tuple[Tensor, Tensor]:
        weights = [linear.weight for linear in linears]
        if torch.is_grad_enabled():
            self._kept = None
            return torch.cat(weights), torch.cat([linear.bias for linear in linears])
        now = [(w.data_ptr(), 0 if w.is_inference() else w._version, w.dtype) for w in weights]
        kept = self._kept
        if kept is None or kept[0] != now:
            self._kept = kept = now, torch.cat(weights), torch.cat([linear.bias for linear in linears])
        return kept[1], kept[2]


LINEARS: dict[str, type[nn.Linear] | type[WeightNormLinear]] = {"plain": nn.Linear, "weight_norm": WeightNormLinear}


def init_xavier(linear: Linear) -> None:
    """Uniform weights whose size keeps that of activations and gradients; no bias (Glorot and Bengio 2010)."""
    if isinstance(linear, WeightNormLinear):
        nn.init.xavier_uniform_(linear.direction)
        with torch.no_grad():
            linear.length.copy_(linear.direction.norm(dim=1))
    else:
        nn.init.xavier_uniform_(linear.weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
