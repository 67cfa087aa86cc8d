import pytest
import torch
from torch import Tensor

from seqloom.layers.dropout import Dropout, add_dropout, dropout, dropped_of_256, keep_mask, relu_dropout, scale_of

RATES = [0.004, 0.1, 0.25, 1 / 3, 0.5, 0.9]


def kept_share(shape: tuple[int, ...], p: float) -> tuple[Tensor, float, float]:
    """A mask, the share that it should keep, and the standard deviation of one element."""
    keep = 1 - round(256 * p) / 256
    return keep_mask(torch.Size(shape), p), keep, (keep * (1 - keep)) ** 0.5


def chi_squared(counts: Tensor) -> float:
    """How far counts are from uniform, in standard deviations of the chi-squared distribution."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5)


def test_every_byte_of_a_random_word_is_uniform():
    torch.manual_seed(1)
    count = 300_007
    words = torch.empty(count, dtype=torch.int64).random_(-(2**63), None)
    columns = words.view(torch.uint8).view(count, 8)
    for position in range(8):
        counts = torch.bincount(columns[:, position].long(), minlength=256).double()
        assert abs(chi_squared(counts)) < 5, f"byte {position}"
    # Two bytes of one word know nothing of one another: their upper halves fill a table evenly.
    high = (columns >> 4).long()
    for first in range(8):
        for second in range(first):
            counts = torch.bincount(16 * high[:, first] + high[:, second], minlength=256).double()
            assert abs(chi_squared(counts)) < 5, f"bytes {first}, {second}"


@pytest.mark.parametrize("p", RATES)
def test_the_rate_is_the_nearest_256th(p):
    torch.manual_seed(2)
    mask, keep, deviation = kept_share((1_000_003,), p)
    assert set(mask.unique().tolist()) == {0, 1}
    assert abs(float(mask.double().mean()) - keep) < 5 * deviation / 1_000_003**0.5


@pytest.mark.parametrize("p", RATES)
def test_the_expectation_is_exact(p):
    torch.manual_seed(3)
    keep = 1 - round(256 * p) / 256
    assert scale_of(p) * keep == pytest.approx(1, abs=1e-15)
    mean = float(dropout(torch.ones(1_000_003, dtype=torch.float64), p).mean())
    assert abs(mean - 1) < 5 * ((1 - keep) / keep / 1_000_003) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_elements_are_independent(p):
    torch.manual_seed(4)
    count = 500_009
    (one, keep, deviation), (two, _, _) = kept_share((count,), p), kept_share((count,), p)
    z = (one.double() - keep) / deviation
    for distance in (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 64, 1024):  # within a word, and beyond
        assert abs(float((z[distance:] * z[:-distance]).mean())) < 5 / count**0.5, distance
    assert abs(float((z * (two.double() - keep)).mean())) / deviation < 5 / count**0.5
    rows = keep_mask(torch.Size((7_001, 67)), p).double() - keep
    for dim in (0, 1):  # shares of rows and columns vary as those of independent elements do
        n = rows.size(dim)
        spread = float((rows.mean(dim) * n**0.5 / deviation).var())
        assert abs(spread - 1) < 5 * (2 / rows.size(1 - dim)) ** 0.5


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (9,), (3, 5, 7), (0,), (2, 0, 3)])
def test_any_shape(shape):
    torch.manual_seed(5)
    assert keep_mask(torch.Size(shape), 0.5).shape == shape
    assert dropout(torch.ones(shape), 0.5).shape == shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
def test_values_and_gradients_have_one_mask(dtype, p):
    torch.manual_seed(6)
    x = (torch.rand(31, 17).to(dtype) + 1).requires_grad_()
    out = dropout(x, p)
    assert out.dtype == dtype
    upstream = torch.rand(31, 17).to(dtype) + 1
    out.backward(upstream)
    assert x.grad is not None
    assert torch.equal(out == 0, x.grad == 0)
    assert 0 < int((out == 0).sum()) < out.numel()
    scale = torch.where(out == 0, 0.0, scale_of(p))
    torch.testing.assert_close(out, (x.double() * scale).to(dtype))
    torch.testing.assert_close(x.grad, (upstream.double() * scale).to(dtype))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_fused_forms_are_what_they_say(dtype, p):
    torch.manual_seed(7)
    x, residual, upstream = (torch.randn(13, 5, 7).to(dtype).requires_grad_() for _ in range(3))

    def with_gradients(compute):
        torch.manual_seed(8)
        out = compute()
        return out.detach(), *torch.autograd.grad(out, [x, residual], upstream, materialize_grads=True)

    relu = with_gradients(lambda: relu_dropout(x, p)), with_gradients(lambda: dropout(x.relu(), p))
    add = with_gradients(lambda: add_dropout(residual, x, p)), with_gradients(lambda: residual + dropout(x, p))
    for fused, plain in (relu, add):
        for a, b in zip(fused, plain, strict=True):
            # bfloat16: the plain form rounds once more on its way.
            close = 2**-7 if dtype == torch.bfloat16 else 1e-6
            torch.testing.assert_close(a, b, rtol=close, atol=close)


def test_add_dropout_keeps_the_type_of_the_residual():
    torch.manual_seed(9)
    residual, x = torch.randn(3, 5), torch.randn(3, 5).bfloat16().requires_grad_()
    out = add_dropout(residual, x, 0.5)
    assert out.dtype == torch.float32
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("function", [dropout, relu_dropout])
def test_gradients_by_finite_differences(function):
    torch.manual_seed(10)
    x = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(5, 7, dtype=torch.float64)

    def value(x):
        torch.manual_seed(11)
        return (function(x, 0.4) * direction).sum()

    assert torch.autograd.gradcheck(value, x)


def test_a_rate_near_zero_or_of_zero_is_the_identity():
    x = torch.randn(3, 5)
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.001) is x
    assert torch.equal(relu_dropout(x, 0.0), x.relu())
    assert torch.equal(add_dropout(x, x, 0.0), 2 * x)


@pytest.mark.parametrize("p", [0.998, 0.9999])
def test_a_rate_near_one_keeps_something_and_stays_finite(p):
    torch.manual_seed(12)
    assert dropped_of_256(p) == 255
    for out in (dropout(torch.ones(5003), p), relu_dropout(torch.ones(5003), p)):
        assert out.isfinite().all()
        assert set(out.unique().tolist()) == {0.0, 256.0}


def test_the_seed_decides():
    x = torch.ones(1009)
    torch.manual_seed(13)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(13)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)
    torch.manual_seed(14)
    assert not torch.equal(dropout(x, 0.5), first)


def test_the_module_drops_only_while_training():
    torch.manual_seed(15)
    module, x = Dropout(0.5), torch.ones(1009)
    assert not torch.equal(module(x), x)
    module.eval()
    assert module(x) is x


def test_a_view_with_odd_strides_is_dropped_alike():
    torch.manual_seed(16)
    x = torch.randn(7, 5, dtype=torch.float64)
    torch.manual_seed(17)
    expected = dropout(x.t().contiguous(), 0.5)
    torch.manual_seed(17)
    assert torch.equal(dropout(x.t(), 0.5), expected)
