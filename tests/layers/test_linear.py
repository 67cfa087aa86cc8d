import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from seqloom.layers import linear
from seqloom.layers.linear import LINEARS, Product, Together, WeightNormLinear, init_xavier
from tests.layers.copied_weights import TOLERANCES, gradients, randomize


def weight_norm(dtype: torch.dtype = torch.float64) -> WeightNormLinear:
    torch.manual_seed(1)
    layer = WeightNormLinear(7, 11).to(dtype)
    randomize(layer)
    return layer


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_weight_norm_is_torchs(dtype, tolerance):
    ours = weight_norm(dtype)
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(7, 11, dtype=dtype))
    length, direction = (p for name, p in theirs.named_parameters() if name != "bias")
    with torch.no_grad():
        length.copy_(ours.length[:, None])
        direction.copy_(ours.direction)
        theirs.bias.copy_(ours.bias)
    x = torch.randn(3, 5, 7, dtype=dtype, requires_grad=True)
    found, expected = ours(x), theirs(x)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    mine = gradients(found, x, ours.length, ours.direction, ours.bias)
    other = gradients(expected, x, length, direction, theirs.bias)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b.view_as(a), rtol=tolerance, atol=tolerance)


def test_the_length_of_a_direction_does_not_matter():
    layer, x = weight_norm(), torch.randn(5, 7, dtype=torch.float64)
    before = layer(x)
    with torch.no_grad():
        layer.direction.mul_(torch.rand(11, 1) + 0.5)
    torch.testing.assert_close(layer(x), before)


@pytest.mark.parametrize("name", LINEARS)
def test_xavier_weights_are_uniform_within_the_papers_bound(name):
    torch.manual_seed(2)
    layer = LINEARS[name](211, 307)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(5.0)
        init_xavier(layer)
        bound, weight = math.sqrt(6 / (211 + 307)), layer.weight
        assert 0.99 * bound < float(weight.abs().max()) <= bound * (1 + 1e-6)
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert layer.bias is not None
        assert not layer.bias.any()


# --- the weight that is kept ---


def by_update(layer: WeightNormLinear) -> None:
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True).step()
    layer.eval()


def by_training(layer: WeightNormLinear) -> None:
    layer(torch.ones(2, 7, dtype=torch.float64)).square().sum().backward()
    torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True).step()


def by_copy(layer: WeightNormLinear) -> None:
    with torch.no_grad():
        layer.length.copy_(torch.arange(1, 12))


def by_cast(layer: WeightNormLinear) -> None:
    layer.bfloat16().double()


def by_new_storage(layer: WeightNormLinear) -> None:
    layer.direction.data = layer.direction.data.flip(0)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("change", [by_update, by_training, by_copy, by_cast, by_new_storage])
def test_without_gradients_the_weight_is_made_anew_only_when_it_changes(
    change: Callable[[WeightNormLinear], None], guard: type
):
    layer = weight_norm()
    with guard():
        before = layer.weight
        assert layer.weight is before
        assert torch.equal(before, layer._weight())
    change(layer)
    with guard():
        after = layer.weight
        assert not torch.equal(after, before)
        assert torch.equal(after, layer._weight())


def test_a_weight_that_is_kept_does_not_get_into_training():
    layer, x = weight_norm(), torch.randn(5, 7, dtype=torch.float64)
    with torch.inference_mode():
        answered = layer(x)
    out = layer(x)
    assert torch.equal(out, answered)
    out.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in layer.parameters())


@pytest.mark.parametrize("name", LINEARS)
def test_layers_together_are_what_they_are_apart(name):
    torch.manual_seed(6)
    layers = [LINEARS[name](5, width).double() for width in (7, 3, 11)]
    for layer in layers:
        nn.init.normal_(layer.bias)
    x = torch.randn(2, 13, 5, dtype=torch.float64, requires_grad=True)
    weights = [x, *(weight for layer in layers for weight in layer.parameters())]
    together = Together()
    found, apart = together(x, *layers), [layer(x) for layer in layers]
    for a, b in zip(found, apart, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(*(gradients(torch.cat(list(each), -1), *weights) for each in (found, apart)))
    for guard in (torch.no_grad, torch.inference_mode):
        with guard():
            torch.testing.assert_close(tuple(together(x, *layers)), tuple(apart))
            kept = together._kept
            together(x, *layers)
            assert together._kept is kept is not None


@pytest.mark.parametrize("which", ["weight", "bias", ""])
@pytest.mark.parametrize("name", LINEARS)
def test_what_is_put_together_follows_a_change(name, which):
    layers = [LINEARS[name](5, width) for width in (7, 3)]
    together, x = Together(), torch.randn(2, 5)
    with torch.inference_mode():
        together(x, *layers)
    with torch.no_grad():
        for key, parameter in layers[1].named_parameters():
            if which in key:
                parameter.add_(0.5)
    with torch.inference_mode():
        torch.testing.assert_close(tuple(together(x, *layers)), tuple(layer(x) for layer in layers))


@pytest.mark.parametrize("rows", [(1,), (1, 1), (2,), (3, 1), (5, 7), (257,), (0,)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("packs", [True, False])
def test_a_kept_product_is_the_product(monkeypatch, rows, biased, packs):
    monkeypatch.setattr(linear, "_packed_products_pay", lambda: packs)
    torch.manual_seed(7)
    weight, x = torch.randn(13, 11), torch.randn(*rows, 2, 11)[..., 1, :]  # not contiguous
    bias = torch.randn(13) if biased else None
    product = Product(weight, bias)
    expected = nn.functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    with torch.inference_mode():
        for _ in range(2):
            torch.testing.assert_close(product(x).double(), expected, rtol=1e-5, atol=1e-5)


def test_other_types_are_multiplied_as_they_are():
    x, weight = torch.randn(3, 5), torch.randn(7, 5)
    expected = nn.functional.linear(x, weight)
    with torch.inference_mode():
        assert torch.equal(
            Product(weight.double(), None)(x.double()), nn.functional.linear(x.double(), weight.double())
        )
        with torch.autocast("cpu", torch.bfloat16):
            found = Product(weight, None)(x)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("processor", "mkl", "pays"),
    [
        ("AMD EPYC 9B14", True, True),
        ("Intel(R) Xeon(R) Processor", True, False),
        ("Intel(R) Xeon(R) Processor", False, True),
    ],
)
def test_weights_are_packed_where_that_is_the_faster_way(monkeypatch, processor, mkl, pays):
    monkeypatch.setattr(linear, "processor", lambda: processor)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    linear._packed_products_pay.cache_clear()
    try:
        assert linear._packed_products_pay() == (pays and torch.backends.mkldnn.is_available())
    finally:
        linear._packed_products_pay.cache_clear()


def test_a_layer_follows_what_an_optimizer_does_while_training():
    layer, x = LINEARS["plain"](5, 7), torch.randn(3, 5)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    for _ in range(2):
        layer.train()
        layer(x).sum().backward()
        optimizer.step()
        layer.eval()
        with torch.inference_mode():
            torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_a_copy_of_a_layer_keeps_products_of_its_own():
    layer, x = LINEARS["plain"](5, 7), torch.randn(3, 5)
    with torch.inference_mode():
        layer(x)
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        copied.weight.zero_()
        copied.bias.zero_()
        assert not copied(x).any()
        assert layer(x).any()


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 32), (5, 13), (67,), (2, 0)])
def test_rows_that_only_fill_change_nothing(monkeypatch, shape, biased, autocast):
    """That of a processor with AMX, and what is calculated on any other."""
    torch.manual_seed(3)
    dtype = torch.float32 if autocast else torch.bfloat16
    layer = linear.PlainLinear(17, 11, biased).to(dtype)
    x = torch.randn(*shape, 17, dtype=dtype)
    parts = [x, *layer.parameters()]

    def product_and_gradients():
        mine = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = layer(mine)
        return [
            y,
            *torch.autograd.grad(
                y, [mine, *layer.parameters()], torch.linspace(-1, 1, y.numel()).view_as(y).to(y.dtype)
            ),
        ]

    multiplied = []
    made = nn.functional.linear

    def multiply(x, *weights):
        multiplied.append(x.shape)
        return made(x, *weights)

    monkeypatch.setattr(nn.functional, "linear", multiply)
    monkeypatch.setattr(linear, "_kernels_take_long", lambda: False)
    plain = product_and_gradients()
    monkeypatch.setattr(linear, "_kernels_take_long", lambda: True)
    filled = product_and_gradients()
    assert multiplied[0] == (*shape, 17)
    assert multiplied[1] == (-(-math.prod(shape) // linear.ROWS) * linear.ROWS, 17)
    for found, expected, part in zip(filled, plain, [plain[0], *parts], strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, part.shape)
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_a_frozen_weight_gets_no_gradient_of_filled_rows(monkeypatch):
    monkeypatch.setattr(linear, "_kernels_take_long", lambda: True)
    layer = linear.PlainLinear(3, 2).bfloat16().requires_grad_(False)
    x = torch.ones(5, 3, dtype=torch.bfloat16, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(5, 3), rtol=0.02, atol=0.02)
    assert layer.weight.grad is None
