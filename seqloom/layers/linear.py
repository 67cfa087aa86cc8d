"""Linear layers: the weight as it is, or the length and the direction of its rows apart."""

import platform
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from seqloom.machine import processor

EXPECTED_ROWS = 16
"""For how many rows oneDNN packs a weight; any number can then be multiplied, and it makes little difference."""

ROWS = 64
"""What trains in bfloat16 on a CPU with AMX multiplies a multiple of so many rows at a time. For each new shape of
such a product oneDNN makes a kernel, which takes 2 to 4 ms there, longer than the product itself, and no two batches
have the same number of places. (Without AMX, with AVX-512 alone, a kernel takes 0.3 ms, and filling up gains nothing.)
"""


class WeightNormLinear(nn.Module):
    """x W^T + b with W = length * direction / |direction|, row by row.

    Salimans and Kingma 2016, "Weight Normalization", section 2. Where no gradients are wanted, W is
    made once and kept until its parts change.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.out_features = out_features
        self.direction = nn.Parameter(torch.empty(out_features, in_features))
        self.length = nn.Parameter(torch.empty(out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self._kept: tuple[Any, Tensor] | None = None
        self._alone = Together()
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
        if mode != self.training:
            self._kept = None  # a fused optimizer changes the parts without a trace in their versions
            self._alone.forget()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        return self._alone.product(self)(x)

    def ready(self) -> Callable[[Tensor], Tensor]:
        """:meth:`forward` for a search, with the weights as they are now."""
        return self._alone.product(self)


class PlainLinear(nn.Linear):
    """x W^T + b with W as it is."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self._alone = Together()

    def train(self, mode: bool = True) -> "PlainLinear":
        if mode != self.training:
            self._alone.forget()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        return self._alone.product(self)(x)

    def ready(self) -> Callable[[Tensor], Tensor]:
        """:meth:`forward` for a search, with the weights as they are now."""
        return self._alone.product(self)


Linear = PlainLinear | WeightNormLinear
MakeLinear = Callable[[int, int], Linear]
"""Makes a layer of two widths, in and out."""


class Together:
    """One or several linear layers of one input as one product.

    Where gradients are wanted its way back needs no sums over the layers. Where none are, the weights are
    put together once, as :class:`Product` wants them, and kept until one of them changes.
    """

    def __init__(self) -> None:
        self._kept: tuple[Any, Product] | None = None

    def __deepcopy__(self, memo: Any) -> "Together":
        return Together()

    def forget(self) -> None:
        """What is kept may be out of date: a fused optimizer changes weights without a trace in their versions."""
        self._kept = None

    def __call__(self, x: Tensor, *linears: Linear) -> Sequence[Tensor]:
        """Each of ``linears`` of ``x`` [..., in_features]."""
        if torch.compiler.is_compiling() and not torch.is_grad_enabled():
            return [nn.functional.linear(x, linear.weight, linear.bias) for linear in linears]
        product = self.product(*linears)(x)
        return product.split([linear.out_features for linear in linears], -1) if len(linears) > 1 else (product,)

    def product(self, *linears: Linear) -> Callable[[Tensor], Tensor]:
        """All of ``linears`` side by side, as they are now: [..., in_features] -> [..., the sum of out_features]."""
        if torch.is_grad_enabled():
            self._kept = None
            weight, bias = _joint(linears)
            return lambda x: trained(x, weight, bias)
        if torch.compiler.is_compiling():  # a graph would put the weights together each time
            return lambda x: torch.cat([nn.functional.linear(x, each.weight, each.bias) for each in linears], -1)
        now = [_stamp(part) for linear in linears for part in (linear.weight, linear.bias) if part is not None]
        kept = self._kept
        if kept is None or kept[0] != now:
            kept = self._kept = now, Product(*_joint(linears))
        return kept[1]


def _stamp(weight: Tensor) -> tuple[int, int, torch.dtype]:
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version, weight.dtype


def _joint(linears: Sequence[Linear]) -> tuple[Tensor, Tensor | None]:
    """The weights and biases of all as those of one; of one as they are."""
    if len(linears) == 1:
        return linears[0].weight, linears[0].bias
    return torch.cat([linear.weight for linear in linears]), torch.cat([linear.bias for linear in linears])


def filled(x: Tensor) -> Tensor:
    """``x`` [N, D] with rows of zeros below up to a multiple of ``ROWS``, where that makes its products faster."""
    missing = -len(x) % ROWS
    if not missing or x.device.type != "cpu" or x.dtype != torch.bfloat16 or not _kernels_take_long():
        return x
    return nn.functional.pad(x, (0, 0, 0, missing))


class _FilledProduct(torch.autograd.Function):
    """x W^T + b, all three products that it needs with :func:`filled` rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return nn.functional.linear(filled(x), weight, bias)[: len(x)]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = filled(gradients[0])
        to_weight = gradient.t() @ filled(x) if ctx.needs_input_grad[1] else None
        to_bias = gradients[0].sum(0) if ctx.needs_input_grad[2] else None
        return (gradient @ weight)[: len(x)], to_weight, to_bias


def trained(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b with gradients: ``x`` [..., in_features] -> [..., out_features]; under autocast in its type."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if x.device.type != "cpu" or dtype != torch.bfloat16 or torch.compiler.is_compiling() or not _kernels_take_long():
        return nn.functional.linear(x, weight, bias)
    bias = None if bias is None else bias.to(dtype)
    product: Tensor = _FilledProduct.apply(x.reshape(-1, x.size(-1)).to(dtype), weight.to(dtype), bias)
    return product.view(*x.shape[:-1], len(weight))


class Product:
    """x W^T + b without gradients, many times with the same weight.

    How the weight lies in memory decides how fast that is in float32 on a CPU. For one row column by column (1.6
    times, measured on an AMD EPYC). For several on such a processor as oneDNN packs it (2.4 times: torch's own way is
    MKL, there without its widest instructions); on Intel's, where MKL has them, column by column too, for oneDNN makes
    a kernel for each number of rows, and in a search that number falls step by step (a fifth less time without).
    Each form is made when it is first needed.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = weight
        self._bias = bias
        self._by_columns: Tensor | None = None
        self._packed: Tensor | None = None
        self._chosen = weight.device.type == "cpu" and weight.dtype == torch.float32 and _is_x86()

    def __call__(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        if not self._chosen or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return nn.functional.linear(x, self._weight, self._bias)
        if x.numel() == x.size(-1) or not _packed_products_pay():
            if self._by_columns is None:
                self._by_columns = self._weight.t().contiguous().t()
            return nn.functional.linear(x, self._by_columns, self._bias)
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight.detach().contiguous(), EXPECTED_ROWS)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
        return product


@cache
def _kernels_take_long() -> bool:
    """Whether oneDNN's are those for AMX."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


@cache
def _is_x86() -> bool:
    """Whether the forms were measured on such processors."""
    return platform.machine() in ("x86_64", "AMD64")


@cache
def _packed_products_pay() -> bool:
    """Whether torch has what its own compiler uses for frozen weights, and MKL is not the faster one."""
    has = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return has and not (torch.backends.mkl.is_available() and "intel" in processor().lower())


LINEARS: dict[str, type[PlainLinear] | type[WeightNormLinear]] = {"plain": PlainLinear, "weight_norm": WeightNormLinear}


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
