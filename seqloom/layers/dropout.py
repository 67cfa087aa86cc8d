"""Dropout whose random bits are cheap on a CPU.

torch draws one Bernoulli number an element, serially, from a Mersenne Twister: a fifth of the
time of a training step. Here one 64-bit random word decides about eight elements, a byte each.
The rate is therefore a multiple of 1/256, at most 255/256; what is kept is scaled by the rate
that is really applied, so the expectation is exact. Srivastava et al. 2014, "Dropout".

Masks are int8 and not bool: torch multiplies by those several times faster on a CPU.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_thread = threading.local()


@contextmanager
def random_from(generator: torch.Generator | None) -> Iterator[None]:
    """Within it and in this thread, masks are drawn from ``generator``; None is torch's own."""
    before = random_in_use()
    _thread.generator = generator
    try:
        yield
    finally:
        _thread.generator = before


def random_in_use() -> torch.Generator | None:
    """What masks are drawn from in this thread."""
    generator: torch.Generator | None = getattr(_thread, "generator", None)
    return generator


def dropped_of_256(p: float) -> int:
    """The rate that is really applied, in 256ths. Something is always kept."""
    return min(round(p * 256), 255)


def keep_mask(shape: torch.Size, p: float) -> Tensor:
    """int8 tensor, 0 with probability dropped_of_256(p) / 256 and 1 otherwise; see :func:`random_from`."""
    count = shape.numel()
    words = torch.empty(-(-count // 8), dtype=torch.int64)
    words.random_(-(2**63), None, generator=random_in_use())  # the full 64-bit range
    bytes_ = words.view(torch.int8)[:count]
    return torch.ge(bytes_, dropped_of_256(p) - 128, out=bytes_).view(shape)


def scale_of(p: float) -> float:
    """1 / the share that :func:`keep_mask` keeps."""
    return 256 / (256 - dropped_of_256(p))


class _Dropout(torch.autograd.Function):
    """x * mask * scale, keeping one byte an element for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        mask = keep_mask(x.shape, p)
        ctx.save_for_backward(mask)
        ctx.scale = scale_of(p)
        return mask.to(x.dtype).mul_(x).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return mask.to(gradients[0].dtype).mul_(gradients[0]).mul_(ctx.scale), None


class _AddDropout(torch.autograd.Function):
    """residual + x * mask * scale in one pass."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, x: Tensor, p: float) -> Tensor:
        mask = keep_mask(x.shape, p)
        ctx.save_for_backward(mask)
        ctx.scale = scale_of(p)
        return torch.addcmul(residual, mask.to(x.dtype), x, value=ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (mask,) = ctx.saved_tensors
        return gradients[0], mask.to(gradients[0].dtype).mul_(gradients[0]).mul_(ctx.scale), None


class _ReluDropout(torch.autograd.Function):
    """relu(x) * mask * scale. The way back needs no mask: where the result is 0, so is the slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.scale = scale_of(p)
        kept = keep_mask(x.shape, p).to(x.dtype).mul_(x).relu_().mul_(ctx.scale)
        ctx.save_for_backward(kept)
        return kept

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0], kept, 0).mul_(ctx.scale), None


def dropout(x: Tensor, p: float) -> Tensor:
    """Sets elements of ``x`` to zero with probability ``p`` and scales the rest up."""
    if not dropped_of_256(p):
        return x
    if x.device.type != "cpu":
        return nn.functional.dropout(x, p)
    dropped: Tensor = _Dropout.apply(x, p)
    return dropped


def add_dropout(residual: Tensor, x: Tensor, p: float) -> Tensor:
    """``residual + dropout(x, p)``, both of one shape."""
    if not dropped_of_256(p) or x.device.type != "cpu":
        return residual + dropout(x, p)
    total: Tensor = _AddDropout.apply(residual, x.to(residual.dtype), p)
    return total


def relu_dropout(x: Tensor, p: float) -> Tensor:
    """``dropout(relu(x), p)``."""
    if not p:
        return x.relu()
    if not dropped_of_256(p) or x.device.type != "cpu":
        return dropout(x.relu(), p)
    kept: Tensor = _ReluDropout.apply(x, p)
    return kept


class Dropout(nn.Module):
    """:func:`dropout` while training, nothing otherwise."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x
