import pytest
import torch

from seqloom.layers.consistency import consistency_loss, projection_consistency
from seqloom.layers.projection import smoothed_cross_entropy


def leaves(n: int = 13, d: int = 7, v: int = 11) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    tensors = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((n, d), (n, d), (v, d))]
    targets = torch.randint(v, (n,), generator=generator)
    return (*(tensor.requires_grad_() for tensor in tensors), targets)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [0.0, 5.0])
@pytest.mark.parametrize("chunk", [5, 512])
def test_loss_and_gradients_are_those_of_the_definition(
    smoothing: float, weight: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqloom.layers.projection.CHUNK", chunk)
    fused, plain = leaves(), leaves()
    a, b, output, targets = fused
    loss = projection_consistency(a, b, output, targets, smoothing, weight)
    a, b, output, _ = plain
    expected = consistency_loss(a @ output.t(), b @ output.t(), targets, smoothing, weight)
    torch.testing.assert_close(loss, expected)
    (3 * loss).backward()
    (3 * expected).backward()
    for ours, theirs in zip(fused[:3], plain[:3], strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_two_passes_that_agree_cost_what_one_does() -> None:
    a, _, output, targets = leaves()
    loss = projection_consistency(a, a.detach().clone(), output, targets, 0.1, 5.0)
    torch.testing.assert_close(loss, smoothed_cross_entropy(a @ output.t(), targets, 0.1))


def test_in_bfloat16_it_is_about_the_same() -> None:
    a, b, output, targets = (each.detach() for each in leaves())
    exact = projection_consistency(a, b, output, targets, 0.1, 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        rough = projection_consistency(a.float(), b.float(), output.float(), targets, 0.1, 2.0)
    assert float(rough) == pytest.approx(float(exact), rel=0.02)
