import math

import pytest
import torch

from seqloom.layers.positions import POSITIONS, Sinusoidal

D, T = 22, 13


def by_formula(position, d_model):
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos(pos / 10000^(2i/D))."""
    return [(math.sin if d % 2 == 0 else math.cos)(position / 10000 ** ((d - d % 2) / d_model)) for d in range(d_model)]


# --- the contract of every entry ---


@pytest.mark.parametrize("name", POSITIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("positions", [torch.arange(T), torch.arange(T).expand(3, T)])
def test_shape_and_type_are_kept(name, dtype, positions):
    torch.manual_seed(1)
    x = torch.randn(3, T, D, dtype=dtype)
    out = POSITIONS[name](D).embed(x, positions)
    assert out.shape == x.shape
    assert out.dtype == dtype


@pytest.mark.parametrize("name", POSITIONS)
def test_one_position_at_a_time_equals_all_at_once(name):
    torch.manual_seed(2)
    x = torch.randn(3, T, D, dtype=torch.float64)
    encoding = POSITIONS[name](D)
    steps = [encoding.embed(x[:, t : t + 1], torch.tensor([t])) for t in range(T)]
    assert torch.equal(torch.cat(steps, 1), encoding.embed(x, torch.arange(T)))


@pytest.mark.parametrize("name", POSITIONS)
def test_each_row_has_its_own_positions(name):
    torch.manual_seed(3)
    x = torch.randn(2, T, D, dtype=torch.float64)
    encoding = POSITIONS[name](D)
    positions = torch.stack([torch.arange(T), torch.arange(T).flip(0) + 5])
    out = encoding.embed(x, positions)
    for b in range(2):
        assert torch.equal(out[b : b + 1], encoding.embed(x[b : b + 1], positions[b]))


@pytest.mark.parametrize("name", POSITIONS)
def test_nothing_is_stored_with_the_weights(name):
    assert not POSITIONS[name](D).state_dict()


# --- the sinusoids ---


def test_sinusoidal_is_the_papers_formula():
    positions = torch.tensor([0, 1, 2, 67, 511, 512, 1023, 1031, 4099])
    out = Sinusoidal(D).embed(torch.zeros(1, len(positions), D, dtype=torch.float64), positions)
    expected = torch.tensor([[by_formula(p, D) for p in positions.tolist()]], dtype=torch.float64)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


def test_sinusoidal_does_not_change_as_it_grows():
    encoding, x = Sinusoidal(D), torch.zeros(1, 3, D, dtype=torch.float64)
    before = encoding.embed(x, torch.arange(3))
    encoding.embed(x, torch.tensor([0, 1, 5003]))
    assert torch.equal(encoding.embed(x, torch.arange(3)), before)


def test_casting_the_model_does_not_round_the_sinusoids():
    encoding = Sinusoidal(D).bfloat16().double()
    out = encoding.embed(torch.zeros(1, 1, D, dtype=torch.float64), torch.tensor([307]))
    torch.testing.assert_close(out[0, 0], torch.tensor(by_formula(307, D), dtype=torch.float64), rtol=0, atol=1e-12)
    encoding.embed(torch.zeros(1, 1, D, dtype=torch.bfloat16), torch.tensor([307]))
    assert torch.equal(encoding.embed(torch.zeros(1, 1, D, dtype=torch.float64), torch.tensor([307])), out)


def test_a_table_that_grew_in_inference_serves_training():
    encoding = Sinusoidal(D)
    with torch.inference_mode():
        encoding.embed(torch.zeros(1, 1, D), torch.tensor([1511]))
    x = torch.zeros(1, 2, D, requires_grad=True)
    encoding.embed(x, torch.tensor([3, 1511])).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones_like(x))
