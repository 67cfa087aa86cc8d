"""One matrix that a loop multiplies by in every step, and its gradient in one product after the loop.

Left to itself, autograd makes the gradient of such a matrix step by step and adds them up: as many small products
as there are steps, and as many passes over a tensor of the size of the matrix.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Met(NamedTuple):
    """What the steps leave behind on the way back, the last step first."""

    inputs: list[Tensor]
    gradients: list[Tensor]


class _Enter(torch.autograd.Function):
    """The matrix on its way into the loop; what goes back is made of all that its steps have met."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, met: _Met) -> tuple[Tensor, Tensor | None]:
        ctx.met = met
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        ctx.set_materialize_grads(False)
        return weight.view_as(weight), None if bias is None else bias.view_as(bias)

    @staticmethod
    def backward(ctx: Any, *elsewhere: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        to_weight, to_bias = elsewhere
        if ctx.met.inputs:
            x, gradient = (torch.cat(each, -2) for each in ctx.met)
            for each in ctx.met:
                each.clear()
            of_weight, of_bias = ctx.dtypes
            met = (gradient.transpose(-2, -1) @ x).to(of_weight)
            to_weight = met if to_weight is None else met + to_weight
            to_bias = None if of_bias is None else gradient.sum(0, dtype=of_bias)
        return to_weight, to_bias, None


class _Step(torch.autograd.Function):
    """x W^T + b, which leaves its part of their gradients for later."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, met: _Met) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.met = met
        return x @ weight.transpose(-2, -1) if bias is None else torch.addmm(bias, x, weight.t())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        x, weight = ctx.saved_tensors
        ctx.met.inputs.append(x)
        ctx.met.gradients.append(gradients[0])
        return gradients[0] @ weight, None, None, None


class Reused:
    """x W^T + b of many x, one after another; under autocast in its type.

    Args:
        weight: [out, in], or one for each of a batch, [B, out, in]; may be used elsewhere too, by ``self.weight``.
        bias: [out], of a single one.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        device = weight.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        self.weight = weight
        self.bias = bias
        self._met: _Met | None = None
        if torch.is_grad_enabled() and weight.requires_grad:
            self._met = _Met([], [])
            self.weight, self.bias = _Enter.apply(weight, bias, self._met)

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` [R, in] or, of a batch, [B, R, in] -> the same with ``out`` in the place of ``in``."""
        x = x.to(self.weight.dtype)
        if self._met is None:
            product = x @ self.weight.transpose(-2, -1)
            return product if self.bias is None else product + self.bias
        stepped: Tensor = _Step.apply(x, self.weight, self.bias, self._met)
        return stepped

    def index_select(self, rows: Tensor) -> "Reused":
        """Those of some ``rows`` of the batch, for searches."""
        return Reused(self.weight.index_select(0, rows))
