import pytest
import torch
from torch import nn

from seqloom.layers.normalization import NORMALIZATIONS, RMSNorm, _RootMeanSquare
from tests.layers.copied_weights import TOLERANCES, gradients, randomize

D = 23


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_each_position_alone_and_its_type_is_kept(name, dtype):
    """The weights stay float32 where the stack runs in bfloat16."""
    torch.manual_seed(1)
    norm = NORMALIZATIONS[name](D).to(torch.float64 if dtype == torch.float64 else torch.float32)
    x = torch.randn(3, 5, D, dtype=dtype, requires_grad=True)
    out = norm(x)
    assert out.dtype == dtype
    assert out.shape == x.shape
    torch.testing.assert_close(norm(x[1:2, 3:4]), out[1:2, 3:4])
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_the_size_of_a_vector_does_not_matter(name):
    torch.manual_seed(2)
    norm, x = NORMALIZATIONS[name](D).double(), torch.randn(3, D, dtype=torch.float64)
    torch.testing.assert_close(norm(1e3 * x), norm(x), rtol=1e-4, atol=1e-4)
    assert float(norm(x).detach().square().mean()) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_rms_is_torchs(dtype, tolerance):
    torch.manual_seed(3)
    theirs, ours = nn.RMSNorm(D, eps=1e-6, dtype=dtype), RMSNorm(D).to(dtype)
    randomize(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 5, D, dtype=dtype, requires_grad=True)
    found, expected = ours(x), theirs(x)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for a, b in zip(gradients(found, x, ours.weight), gradients(expected, x, theirs.weight), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=10 * tolerance)


def test_rms_in_bfloat16_is_rounded_and_no_more():
    torch.manual_seed(4)
    norm, x = RMSNorm(D), torch.randn(67, D)
    randomize(norm)
    near, exact = x.bfloat16().requires_grad_(), x.bfloat16().float().requires_grad_()
    found, expected = norm(near), norm(exact)
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.01)
    mine, other = gradients(found.float(), near, norm.weight), gradients(expected, exact, norm.weight)
    assert mine[1].dtype == torch.float32
    for a, b in zip(mine, other, strict=True):
        assert float((a.float() - b).norm() / b.norm()) < 0.02


def test_the_gradient_of_rms_is_that_of_its_formula():
    torch.manual_seed(5)
    x = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: _RootMeanSquare.apply(x, weight, 0.1), (x, weight))


def test_a_vector_of_zeros_stays_one():
    x = torch.zeros(2, D, requires_grad=True)
    out = RMSNorm(D)(x)
    out.sum().backward()
    assert not out.any()
    assert x.grad is not None
    assert x.grad.isfinite().all()
