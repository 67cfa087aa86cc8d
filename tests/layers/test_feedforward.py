import pytest
import torch
from torch import nn

from seqloom.layers.dropout import dropout
from seqloom.layers.feedforward import ACTIVATIONS, FeedForward

PLAIN = {"relu": torch.relu, "gelu": nn.functional.gelu}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_an_activation_is_followed_by_dropout(name, p):
    torch.manual_seed(1)
    x = torch.randn(7, 11, dtype=torch.float64)
    torch.manual_seed(2)
    expected = dropout(PLAIN[name](x), p)
    torch.manual_seed(2)
    torch.testing.assert_close(ACTIVATIONS[name](x, p), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_feedforward_is_the_formula_at_each_position_alone(name):
    torch.manual_seed(3)
    layer = FeedForward(7, 13, 0.5, name).double().eval()
    x = torch.randn(2, 5, 7, dtype=torch.float64)
    out = layer(x)
    for b in range(2):
        for t in range(5):
            hidden = PLAIN[name](layer.hidden.weight @ x[b, t] + layer.hidden.bias)
            torch.testing.assert_close(out[b, t], layer.output.weight @ hidden + layer.output.bias)
    layer.train()
    assert not torch.equal(layer(x), layer(x))
