import pytest
import torch
from torch import Tensor

from seqloom.layers.pooling import POOLINGS, AttentionPooling, MaxPooling, MeanPooling

B, T, D = 3, 7, 5
LENGTHS = (7, 4, 1)


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(B, T, D, dtype=torch.float64)


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(T) < torch.tensor(LENGTHS)[:, None]


def made(name: str) -> torch.nn.Module:
    torch.manual_seed(2)
    return POOLINGS[name](D).double()


def test_attention_is_its_formula(x: Tensor, mask: Tensor) -> None:
    pooling = made("attention")
    assert isinstance(pooling, AttentionPooling)
    found = pooling(x, mask)
    v = pooling.query.weight[0]
    for row, length in enumerate(LENGTHS):
        scores = torch.stack([v @ torch.tanh(pooling.key.weight @ word + pooling.key.bias) for word in x[row, :length]])
        shares = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(found.weights[row, :length], shares)
        torch.testing.assert_close(found.x[row], shares @ x[row, :length])


def test_mean_and_max_are_those_of_the_real_positions(x: Tensor, mask: Tensor) -> None:
    mean, largest = MeanPooling(D)(x, mask), MaxPooling(D)(x, mask)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(mean.x[row], x[row, :length].mean(0))
        torch.testing.assert_close(largest.x[row], x[row, :length].amax(0))


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_a_mean_is_rounded_once(kind: torch.dtype) -> None:
    """Thirteenths, each rounded to the type, would not add up to 1."""
    found = MeanPooling(D)(torch.full((B, 13, D), 255 / 64, dtype=kind), torch.ones(B, 13, dtype=torch.bool))
    assert found.x.dtype == kind
    assert found.x.equal(torch.full((B, D), 255 / 64, dtype=kind))
    assert found.weights.equal(torch.full((B, 13), 1 / 13, dtype=torch.promote_types(kind, torch.float32)))


def test_max_weighs_a_position_by_how_many_numbers_it_gave() -> None:
    x = torch.tensor([[[5.0, 0.0, 3.0, 1.0, 9.0], [4.0, 2.0, 3.5, 0.0, 8.0], [99.0] * 5]])
    found = MaxPooling(D)(x, torch.tensor([[True, True, False]]))
    assert found.x.tolist() == [[5.0, 2.0, 3.5, 1.0, 9.0]]
    torch.testing.assert_close(found.weights, torch.tensor([[3 / 5, 2 / 5, 0.0]]))


@pytest.mark.parametrize("name", POOLINGS)
def test_weights_add_up_to_one_and_are_zero_at_padding(name: str, x: Tensor, mask: Tensor) -> None:
    weights = made(name)(x, mask).weights
    torch.testing.assert_close(weights.sum(1).double(), torch.ones(B, dtype=torch.float64))
    assert not weights[~mask].any()
    assert (weights >= 0).all()


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("junk", [torch.nan, torch.inf, 1e9])
def test_what_stands_at_padding_changes_nothing(name: str, x: Tensor, mask: Tensor, junk: float) -> None:
    pooling = made(name)
    clean, dirty = x.clone().requires_grad_(), x.masked_fill(~mask[:, :, None], junk).requires_grad_()
    found, other = pooling(clean, mask), pooling(dirty, mask)
    torch.testing.assert_close(other.x, found.x)
    if junk == 1e9:
        grads = [torch.autograd.grad(out.x.sum(), source)[0][mask] for out, source in ((found, clean), (other, dirty))]
        torch.testing.assert_close(*grads)


@pytest.mark.parametrize("name", POOLINGS)
def test_the_order_of_words_does_not_matter(name: str, x: Tensor, mask: Tensor) -> None:
    """Order is the encoder's business."""
    pooling, order = made(name), torch.tensor([3, 1, 0, 2, 4, 5, 6])
    shuffled = pooling(x[:2, order], mask[:2])
    torch.testing.assert_close(shuffled.x, pooling(x[:2], mask[:2]).x)
