"""Normalisation of the vector at each position."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class _RootMeanSquare(torch.autograd.Function):
    """x * weight / rms(x), in a third of the time that its parts take on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        accurate = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=accurate)
        inverse = norm.square().div_(x.size(-1)).add_(eps).rsqrt_().to(x.dtype)  # [..., 1]
        normed, cast = x * inverse, weight.to(x.dtype)
        ctx.save_for_backward(normed, inverse, cast)
        ctx.weight_dtype = weight.dtype
        return normed * cast

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, inverse, weight = ctx.saved_tensors
        to_product = gradients[0] * normed
        # What is along the normed vector would only change its length, which is fixed.
        along = to_product @ (weight / weight.size(0))
        to_x = (gradients[0] * weight).addcmul_(normed, along[..., None], value=-1).mul_(inverse)
        return to_x, to_product.flatten(0, -2).sum(0, dtype=ctx.weight_dtype), None


class RMSNorm(nn.Module):
    """x * weight / sqrt(mean(x^2) + eps) over the last axis: Zhang and Sennrich 2019, section 4."""

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> the same shape and type."""
        if x.device.type != "cpu":
            return nn.functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
        normed: Tensor = _RootMeanSquare.apply(x, self.weight, self.eps)
        return normed


def ready(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    """A norm for a search, with its weights as they are now."""
    if not isinstance(norm, nn.LayerNorm):
        forward: Callable[[Tensor], Tensor] = norm.forward
        return forward
    shape, weight, bias, eps = list(norm.normalized_shape), norm.weight, norm.bias, norm.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "rms": RMSNorm}
