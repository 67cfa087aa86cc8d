import pytest
import torch
from torch import nn

from seqloom.errors import ConfigError
from seqloom.training.weights import RunningMean, freeze


def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.ModuleDict({"encoder": nn.Linear(5, 3), "decoder": nn.Linear(3, 7)})


def test_frozen_weights_are_chosen_by_name() -> None:
    frozen = model()
    assert freeze(frozen, ["encoder.*"]) == ["encoder.weight", "encoder.bias"]
    assert [name for name, weight in frozen.named_parameters() if weight.requires_grad] == [
        "decoder.weight",
        "decoder.bias",
    ]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["encodr.*"], r"no weight is named 'encodr\.\*'; names are such as encoder\.weight, encoder\.bias, decoder"),
        (["*"], "leaves no weight that learns, so there is nothing to train"),
    ],
)
def test_patterns_that_cannot_be_meant(patterns: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        freeze(model(), patterns)


def test_what_never_learns_is_nothing_left_to_train() -> None:
    frozen = model()
    frozen.register_parameter("counted", nn.Parameter(torch.zeros(11), requires_grad=False))
    with pytest.raises(ConfigError, match="leaves no weight that learns, so there is nothing to train"):
        freeze(frozen, ["encoder.*", "decoder.*"])


def test_the_running_mean_is_the_recurrence() -> None:
    trained = model()
    mean = RunningMean(trained, 0.9)
    expected = {name: weight.detach().clone() for name, weight in trained.named_parameters()}
    for step in range(150):
        with torch.no_grad():
            for weight in trained.parameters():
                weight.add_(torch.randn_like(weight))
        mean.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = {
            name: decay * expected[name] + (1 - decay) * weight.detach() for name, weight in trained.named_parameters()
        }
    torch.testing.assert_close(mean.weights, expected)
    again = RunningMean(model(), 0.9)
    again.load(mean.weights)
    assert all(torch.equal(again.weights[name], weight) for name, weight in mean.weights.items())
