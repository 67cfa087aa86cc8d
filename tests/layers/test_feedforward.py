import pytest
import torch
from torch import nn

from seqloom.layers.dropout import dropout
from seqloom.layers.feedforward import ACTIVATIONS

# Swish with beta 1 is x sigmoid(x): Shazeer 2020, equation 6.
PLAIN = {"relu": torch.relu, "gelu": nn.functional.gelu, "silu": lambda x: x * torch.sigmoid(x)}
GATES = {"swiglu": lambda g: g * torch.sigmoid(g), "geglu": nn.functional.gelu}


def by_formula(layer, name, x):
    """What is inside of the layer, for one vector."""
    hidden = layer.hidden.weight @ x + layer.hidden.bias
    if name in PLAIN:
        return PLAIN[name](hidden)
    return GATES[name](layer.gate.weight @ x + layer.gate.bias) * hidden


def test_every_activation_has_its_formula():
    assert set(ACTIVATIONS) == set(PLAIN) | set(GATES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_feedforward_is_the_formula_at_each_position_alone(name):
    torch.manual_seed(1)
    layer = ACTIVATIONS[name](7, 13, 0.5).double().eval()
    x = torch.randn(2, 5, 7, dtype=torch.float64)
    out = layer(x)
    for b in range(2):
        for t in range(5):
            inside = by_formula(layer, name, x[b, t])
            assert inside.shape == (13,)  # d_ff is counted after the gate
            torch.testing.assert_close(out[b, t], layer.output.weight @ inside + layer.output.bias)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_an_activation_is_followed_by_dropout_while_training(name, p):
    torch.manual_seed(2)
    layer = ACTIVATIONS[name](7, 13, p).double()
    x = torch.randn(5, 7, dtype=torch.float64)
    inside = torch.stack([by_formula(layer, name, row) for row in x])
    torch.manual_seed(3)
    expected = layer.output(dropout(inside, p))
    torch.manual_seed(3)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.eval()(x), layer.output(inside), rtol=1e-12, atol=1e-12)
