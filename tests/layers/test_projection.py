import pytest
import torch
from torch import nn

from seqloom.layers import linear
from seqloom.layers.projection import CHUNK, projection_loss, smoothed_cross_entropy

D, V = 13, 31
LENGTHS = [1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 67]
BOTH = [(torch.float64, 1e-10), (torch.float32, 1e-5)]


def problem(count, dtype, d_model=D, vocab=V):
    torch.manual_seed(count)
    hidden = torch.randn(count, d_model, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocab, d_model, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(vocab, (count,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.37])
@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
@pytest.mark.parametrize("count", LENGTHS)
def test_loss_and_gradients_are_those_of_the_definition(count, dtype, tolerance, smoothing):
    hidden, weight, targets = problem(count, dtype)
    upstream = 3 / count
    found = projection_loss(hidden, weight, targets, smoothing) * upstream
    plain = smoothed_cross_entropy(hidden @ weight.t(), targets, smoothing) * upstream
    theirs = nn.functional.cross_entropy(hidden @ weight.t(), targets, label_smoothing=smoothing) * 3
    gradients = [torch.autograd.grad(loss, [hidden, weight]) for loss in (found, plain, theirs)]
    for other, other_gradients in ((plain, gradients[1]), (theirs, gradients[2])):
        torch.testing.assert_close(found, other, rtol=tolerance, atol=tolerance)
        for a, b in zip(gradients[0], other_gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_gradients_the_loss_is_the_same_number(smoothing):
    hidden, weight, targets = problem(CHUNK + 7, torch.float32)
    with torch.no_grad():
        alone = projection_loss(hidden, weight, targets, smoothing)
    assert torch.equal(alone, projection_loss(hidden, weight, targets, smoothing))


def test_no_tokens_cost_nothing():
    hidden, weight, targets = problem(0, torch.float32)
    loss = projection_loss(hidden, weight, targets, 0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.mark.parametrize("size", [1e3, 1e18])
def test_huge_logits_do_not_overflow(size):
    hidden, weight, targets = problem(101, torch.float32)
    with torch.no_grad():
        hidden *= size
    loss = projection_loss(hidden, weight, targets, 0.1)
    loss.backward()
    assert loss.isfinite()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()
    torch.testing.assert_close(loss, smoothed_cross_entropy(hidden @ weight.t(), targets, 0.1))


def test_the_same_twice():
    hidden, weight, targets = problem(CHUNK + 3, torch.float32)
    first, second = (
        (loss, *torch.autograd.grad(loss, [hidden, weight]))
        for loss in (projection_loss(hidden, weight, targets, 0.1) for _ in range(2))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("confidence", [0.05, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("fills", [True, False])
def test_bfloat16_is_near_at_the_size_of_a_real_model(monkeypatch, smoothing, confidence, fills):
    """From an untrained model to a sure one (8 to 0.004 nats a token): within 0.3 % of float32's loss and 2 % of
    its gradient, which is what torch's own autocast reaches by way of float32 logits.
    """
    monkeypatch.setattr(linear, "_kernels_take_long", lambda: fills)
    torch.manual_seed(5)
    count, d_model, vocab = 701, 256, 4001
    weight = (torch.randn(vocab, d_model) * d_model**-0.5).requires_grad_()
    targets = torch.randint(vocab, (count,))
    # Hidden states that point to their target more or less, as those of a trained model do.
    hidden = (torch.randn(count, d_model) + confidence * 16 * weight.detach()[targets]).requires_grad_()
    exact = projection_loss(hidden, weight, targets, smoothing)
    wanted = torch.autograd.grad(exact, [hidden, weight])
    with torch.autocast("cpu", torch.bfloat16):
        near = projection_loss(hidden.bfloat16(), weight, targets, smoothing)
        logits = nn.functional.linear(hidden.bfloat16(), weight).float()
    torchs = nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
    found, usual = torch.autograd.grad(near, [hidden, weight]), torch.autograd.grad(torchs, [hidden, weight])
    assert near.dtype == torch.float32
    assert abs(float((near / exact).detach()) - 1) < 0.003
    for a, b, c in zip(found, wanted, usual, strict=True):
        error = float((a - b).norm() / b.norm())
        assert error < 0.02
        assert error < 1.1 * float((c - b).norm() / b.norm())


def test_the_gradient_is_scaled_exactly_in_bfloat16():
    """A loss divided by its tokens must not have its gradient divided by their bfloat16 rounding."""
    hidden, weight, targets = problem(67, torch.float32)
    half = hidden.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = projection_loss(half, weight, targets)
    (whole,) = torch.autograd.grad(loss, half, retain_graph=True)
    (divided,) = torch.autograd.grad(loss / 3011, half)
    assert torch.equal(divided, (whole.float() / 3011).bfloat16())
