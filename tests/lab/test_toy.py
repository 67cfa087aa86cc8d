"""The loop that trains toys."""

import pytest
import torch
from torch import Tensor, nn

from seqloom.lab.toy import optimise


def steps_of(gradient: float, warmup: int = 0, clip: float = 0.0) -> list[float]:
    """How far a weight goes in each of five updates under a constant gradient: by Adam, as far as the rate is."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    seen = []

    def loss() -> Tensor:
        seen.append(float(model.weight.detach()))
        return gradient * model.weight.sum()

    losses = optimise(model, loss, 5, 0.01, warmup, clip)
    assert losses == pytest.approx([gradient * weight for weight in seen])
    assert model.weight.grad is None
    weights = torch.tensor([*seen, float(model.weight.detach())])
    return (-weights.diff()).tolist()


def test_the_rate_rises_and_falls_in_lines() -> None:
    assert steps_of(3.0) == pytest.approx([0.01, 0.008, 0.006, 0.004, 0.002], rel=1e-3)
    assert steps_of(3.0, warmup=2) == pytest.approx([0.005, 0.01, 0.01, 0.02 / 3, 0.01 / 3], rel=1e-3)


def test_gradients_are_clipped() -> None:
    # Adam's epsilon is 1e-8: of a gradient as small as that, half is left.
    assert steps_of(3.0, clip=1e-8)[0] == pytest.approx(0.005, rel=0.01)
