"""The matrix products that a training step makes, and how fast this machine makes them and nothing else.

A model cannot do without its products, so no implementation takes less time than they do.
They are recorded as they are made, whatever the model is; only shapes and layouts are kept.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Product(NamedTuple):
    """[batch, rows, inner] @ [batch, inner, columns]"""

    batch: int
    rows: int
    inner: int
    columns: int
    transposed: tuple[bool, bool] = False, False
    """Whether each operand lies in memory column by column."""

    @property
    def flops(self) -> int:
        """A multiplication and an addition are two operations."""
        return 2 * self.batch * self.rows * self.inner * self.columns


Products = Counter[Product]


def flops(products: Products) -> int:
    """Floating-point operations of all ``products``."""
    return sum(product.flops * times for product, times in products.items())


def _product(a: Tensor, b: Tensor, *options: Any) -> list[Product]:
    transposed = a.stride(-1) > 1, b.stride(-1) > 1
    return [Product(math.prod(a.shape[:-2]), a.size(-2), a.size(-1), b.size(-1), transposed)]


def _product_and_sum(added: Tensor, a: Tensor, b: Tensor, *options: Any) -> list[Product]:
    return _product(a, b)


def _attention(q: Tensor, k: Tensor, v: Tensor, *options: Any) -> list[Product]:
    """Scores q k^T and weighted values of a fused kernel, whatever its mask lets it leave out."""
    heads, queries, keys = math.prod(q.shape[:-2]), q.size(-2), k.size(-2)
    return [
        Product(heads, queries, q.size(-1), keys, (False, True)),
        Product(heads, queries, keys, v.size(-1)),
    ]


def _attention_backward(gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, *options: Any) -> list[Product]:
    """Two for each of :func:`_attention`; the scores, which are made once more, count once only."""
    heads, queries, keys = math.prod(q.shape[:-2]), q.size(-2), k.size(-2)
    return [
        Product(heads, queries, v.size(-1), keys, (False, True)),
        Product(heads, keys, queries, v.size(-1), (True, False)),
        Product(heads, queries, keys, q.size(-1)),
        Product(heads, keys, queries, q.size(-1), (True, False)),
    ]


def _lstm(x: Tensor, input_: Tensor, recurrent: Tensor, *options: Any) -> list[Product]:
    """Of inputs [T, B, D] all at once, and of the state step by step."""
    steps, rows, width = x.shape
    gates, hidden = recurrent.shape
    return [
        Product(1, steps * rows, width, gates, (False, True)),
        *[Product(1, rows, hidden, gates, (False, True))] * steps,
    ]


def _lstm_backward(x: Tensor, input_: Tensor, recurrent: Tensor, *options: Any) -> list[Product]:
    """Two for each of :func:`_lstm`."""
    steps, rows, width = x.shape
    gates, hidden = recurrent.shape
    return [
        Product(1, steps * rows, gates, width),
        Product(1, gates, steps * rows, width, (True, False)),
        Product(1, gates, steps * rows, hidden, (True, False)),
        *[Product(1, rows, gates, hidden)] * steps,
    ]


_aten = torch.ops.aten
PRODUCTS: dict[Any, Callable[..., list[Product]]] = {
    _aten.mm: _product,
    _aten.bmm: _product,
    _aten.addmm: _product_and_sum,
    _aten.baddbmm: _product_and_sum,
    _aten.mkldnn_rnn_layer: _lstm,
    _aten.mkldnn_rnn_layer_backward: _lstm_backward,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention: _attention,
    _aten._scaled_dot_product_efficient_attention: _attention,
    _aten._scaled_dot_product_cudnn_attention: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    _aten._scaled_dot_product_flash_attention_backward: _attention_backward,
    _aten._scaled_dot_product_efficient_attention_backward: _attention_backward,
    _aten._scaled_dot_product_cudnn_attention_backward: _attention_backward,
}
"""What torch takes everything larger apart into: its arguments -> the products that it makes."""


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products: Products = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = PRODUCTS.get(func.overloadpacket)
        if made is not None:
            self.products.update(made(*args))
        return func(*args, **(kwargs or {}))


def recorded(work: Callable[[], Any]) -> Products:
    """The products that ``work`` makes, and how often, forward and backward alike."""
    with _Recorder() as recorder:
        work()
    return recorder.products


def made_alone(products: Products, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    """Makes all ``products``, each as often as it was made, with nothing between them."""
    work = [(*_operands(product, dtype, device), times) for product, times in products.items()]

    def make() -> None:
        for a, b, out, times in work:
            for _ in range(times):
                torch.matmul(a, b, out=out)

    return make


def best_seconds(work: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """What ``work`` takes at best, in rounds over about ``seconds``: two at least, the first only sets things up."""
    best, rounds, begun = math.inf, 0, time.perf_counter()
    while rounds < 2 or time.perf_counter() - begun < seconds:
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        if rounds:
            best = min(best, time.perf_counter() - started)
        rounds += 1
    return best


def _operands(product: Product, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Random ones, and a place for the result; what is 1 x a matrix has no batch."""
    batch, rows, inner, columns, transposed = product

    def matrix(rows: int, columns: int, transposed: bool = False) -> Tensor:
        shape = (columns, rows) if transposed else (rows, columns)
        filled = torch.randn(batch, *shape, device=device, dtype=dtype)
        filled = filled.mT if transposed else filled
        return filled[0] if batch == 1 else filled

    return matrix(rows, inner, transposed[0]), matrix(inner, columns, transposed[1]), matrix(rows, columns)


def synchronize(device: torch.device) -> None:
    """Waits until ``device`` has done all that it was given, before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
