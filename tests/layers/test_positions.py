import math

import pytest
import torch
from torch import Tensor

from seqloom.errors import UserError
from seqloom.layers.positions import POSITIONS, T5, ALiBi, Index, Learned, Places, Positions, Random
from tests.layers.copied_weights import gradients

B, H, T, E = 3, 5, 13, 6
D = H * E
# Past these distances T5 and Shaw tell none apart.
FAR = 20_011

# What each is trained of, by name; of all others nothing is stored with the weights.
WEIGHTS: dict[str, dict[str, tuple[int, ...]]] = {
    "learned": {"table.weight": (131, D)},
    "random": {"table.weight": (131, D)},
    "t5": {"table.weight": (32, H)},
    "shaw": {"table.weight": (33, E)},
    "index": {"direction": (D,)},
}
RELATIVE = ["rotary", "alibi", "t5", "shaw"]
LIMITED = ["learned", "random"]


def encoding(name: str, bidirectional: bool = True, seed: int = 1) -> Positions:
    torch.manual_seed(seed)
    return POSITIONS[name](D, H, bidirectional, 131).double()


def queries(length: int = T, heads: int = H, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, heads, length, E, dtype=torch.float64, generator=generator)


def inputs(length: int = T) -> Tensor:
    return torch.randn(B, length, D, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def scores(each: Positions, q: Tensor, k: Tensor, positions: Tensor, k_positions: Tensor) -> Tensor:
    """What attention makes of two lists of places, [B, H, Q, K]."""
    q = each.rotate(q, positions)
    product = q @ each.rotate(k, k_positions).transpose(2, 3) / math.sqrt(E)
    bias = each.bias(q, positions, k_positions)
    return product if bias is None else product + bias


# --- the contract of every entry ---


@pytest.mark.parametrize("name", POSITIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("positions", [torch.arange(T), torch.arange(T).expand(B, T)])
def test_shape_and_type_are_kept(name, dtype, positions):
    each = encoding(name).to(dtype)
    x, q = inputs().to(dtype), queries().to(dtype)
    assert each.embed(x, positions).shape == x.shape
    assert each.rotate(q, positions).shape == q.shape
    bias = each.bias(q, positions, positions)
    assert bias is None or torch.broadcast_shapes(bias.shape, (B, H, T, T)) == (B, H, T, T)
    found = [each.embed(x, positions), each.rotate(q, positions), *([] if bias is None else [bias])]
    assert {every.dtype for every in found} == {dtype}


@pytest.mark.parametrize("name", POSITIONS)
def test_it_does_something_and_in_one_place(name):
    """Adding to the embeddings, turning, or adding to the scores."""
    each, x, q, positions = encoding(name), inputs(), queries(), torch.arange(T)
    done = [
        not torch.equal(each.embed(x, positions), x),
        not torch.equal(each.rotate(q, positions), q),
        each.bias(q, positions, positions) is not None,
    ]
    assert sum(done) == (name != "none")


@pytest.mark.parametrize("name", POSITIONS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_one_position_at_a_time_equals_all_at_once(name, bidirectional):
    """As a decoder does: a query at place t, keys at 0 to t, of which only the last is new."""
    each, x, q, k = encoding(name, bidirectional), inputs(), queries(), queries(seed=5)
    positions = torch.arange(T)
    embedded, whole = each.embed(x, positions), scores(each, q, k, positions, positions)
    turned: list[Tensor] = []
    for t in range(T):
        here = torch.tensor([t])
        assert torch.equal(each.embed(x[:, t : t + 1], here), embedded[:, t : t + 1])
        places = Places(each, here, positions[: t + 1])
        query = places.rotate(q[:, :, t : t + 1])
        turned.append(places.rotate(k[:, :, t : t + 1]))
        row = query @ torch.cat(turned, 2).transpose(2, 3) / math.sqrt(E)
        bias = places.bias(query)
        torch.testing.assert_close(row if bias is None else row + bias, whole[:, :, t : t + 1, : t + 1])


@pytest.mark.parametrize("name", POSITIONS)
def test_each_row_has_its_own_positions(name):
    each, x, q, k = encoding(name), inputs(), queries(), queries(seed=5)
    positions = torch.stack([torch.arange(T) * step + start for step, start in ((1, 0), (-1, 17), (3, 5))])
    embedded, whole = each.embed(x, positions), scores(each, q, k, positions, positions)
    for b in range(B):
        assert torch.equal(embedded[b : b + 1], each.embed(x[b : b + 1], positions[b]))
        row = scores(each, q[b : b + 1], k[b : b + 1], positions[b], positions[b])
        torch.testing.assert_close(whole[b : b + 1], row)


@pytest.mark.parametrize("name", POSITIONS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_relative_is_what_a_common_shift_does_not_change(name, bidirectional):
    each, q, k, positions = encoding(name, bidirectional), queries(), queries(seed=5), torch.arange(T)
    here, there = (scores(each, q, k, at, at) for at in (positions, positions + 67))
    torch.testing.assert_close(there, here)
    moved = scores(each, q, k, positions + 1, positions)
    assert (name in RELATIVE) == (not torch.allclose(moved, here))
    x = torch.zeros(1, T, D, dtype=torch.float64)
    absolute = not torch.equal(each.embed(x, positions), each.embed(x, positions + 1))
    assert absolute == (name not in (*RELATIVE, "none"))


@pytest.mark.parametrize("name", POSITIONS)
def test_far_beyond_any_training_length_it_works_or_refuses(name):
    each, positions = encoding(name), torch.tensor([0, 1, FAR - 1])
    if name in LIMITED:
        each.check(131)
        with pytest.raises(UserError) as refused:
            each.check(1132)
        assert str(refused.value) == (
            f"the model has places for 131 tokens ({name} positions), got 1,132; "
            "cut the text or train with larger model.max_positions"
        )
    else:
        each.check(FAR)
        assert each.embed(inputs(3), positions).isfinite().all()
        assert scores(each, queries(3), queries(3), positions, positions).isfinite().all()


@pytest.mark.parametrize("name", POSITIONS)
def test_what_is_stored_with_the_weights(name):
    each = encoding(name)
    assert {key: tuple(weight.shape) for key, weight in each.named_parameters()} == WEIGHTS.get(name, {})
    assert each.state_dict().keys() == WEIGHTS.get(name, {}).keys()


@pytest.mark.parametrize("name", sorted(WEIGHTS.keys() - {"random"}))
def test_every_weight_learns(name):
    each, x, q, positions = encoding(name), inputs(2), queries(2), torch.tensor([0, 130])
    bias = each.bias(q, positions, positions)
    out = each.embed(x, positions).sum() if bias is None else bias.sum()
    for gradient in gradients(out, *each.parameters()):
        assert gradient.any()


@pytest.mark.parametrize("name", POSITIONS)
def test_casting_the_model_does_not_round_what_is_not_a_weight(name):
    each, cast, positions = encoding(name), encoding(name).bfloat16().double(), torch.tensor([0, 3, 130])
    cast.load_state_dict(each.state_dict())
    x, q = inputs(3), queries(3)
    cast.rotate(q.bfloat16(), positions)  # what it kept of another type does not serve this one
    assert torch.equal(cast.embed(x, positions), each.embed(x, positions))
    assert torch.equal(scores(cast, q, q, positions, positions), scores(each, q, q, positions, positions))


@pytest.mark.parametrize("name", POSITIONS)
def test_what_inference_has_seen_serves_training(name):
    each, positions = encoding(name), torch.tensor([3, 130])
    x, q = inputs(2).requires_grad_(), queries(2).requires_grad_()
    with torch.inference_mode():
        each.embed(x, positions)
        scores(each, q, q, positions, positions)
    out = scores(each, q, q, positions, positions).sum() + each.embed(x, positions).sum()
    assert all(gradient.any() for gradient in gradients(out, x, q))


@pytest.mark.parametrize("name", POSITIONS)
def test_a_bias_for_all_layers_is_made_once(name, monkeypatch):
    each, q, positions, made = encoding(name), queries(), torch.arange(T), []
    monkeypatch.setattr(each, "bias", lambda *given: made.append(given))
    places = Places(each, positions)
    for _ in range(3):
        places.bias(q)
    assert len(made) == (3 if name == "shaw" else 1)
    assert made[0] == (q, positions, positions)


# --- the formulas ---


def sinusoid(position: int) -> list[float]:
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos(pos / 10000^(2i/D))."""
    return [(math.sin if d % 2 == 0 else math.cos)(position / 10000 ** ((d - d % 2) / D)) for d in range(D)]


def test_sinusoidal_is_the_papers_formula():
    positions = torch.tensor([0, 1, 2, 67, 511, 512, 1023, 1031, 4099])
    out = encoding("sinusoidal").embed(torch.zeros(1, len(positions), D, dtype=torch.float64), positions)
    expected = torch.tensor([[sinusoid(p) for p in positions.tolist()]], dtype=torch.float64)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [Learned, Random])
def test_a_place_is_a_vector_of_the_size_of_a_token(kind):
    torch.manual_seed(1)
    each = kind(67, 1, True, 1009)
    out = each.embed(torch.zeros(1, 1009, 67), torch.arange(1009)).detach()
    assert float(out.std()) == pytest.approx(1, abs=0.02)
    assert len(out[0].unique(dim=0)) == 1009
    assert each.table.weight.requires_grad == (kind is Learned)


def test_the_index_is_one_direction_and_grows():
    each = Index(D)
    out = each.embed(torch.zeros(1, 3, D), torch.tensor([0, 50, 300]))
    torch.testing.assert_close(out[0], torch.stack([0 * each.direction, each.direction / 2, 3 * each.direction]))


@pytest.mark.parametrize("heads", [H, 1])
def test_rotary_is_a_product_of_complex_numbers(heads):
    each, x = encoding("rotary"), queries(heads=heads)
    positions = torch.tensor([0, 1, 2, 3, 5, 7, 11, 13, 67, 307, 1009, 4099, 20011])
    out = each.rotate(x, positions)
    for b in range(B):
        for h in range(heads):
            for t, position in enumerate(positions.tolist()):
                for i in range(E // 2):
                    number = complex(float(x[b, h, t, 2 * i]), float(x[b, h, t, 2 * i + 1]))
                    angle = position / 10000 ** (2 * i / E)
                    turned = number * complex(math.cos(angle), math.sin(angle))
                    found = complex(float(out[b, h, t, 2 * i]), float(out[b, h, t, 2 * i + 1]))
                    assert abs(found - turned) < 1e-11


def test_rotary_changes_no_length():
    each, x = encoding("rotary"), queries()
    torch.testing.assert_close(each.rotate(x, torch.arange(T)).norm(dim=-1), x.norm(dim=-1))


def test_rotary_in_bfloat16_is_rounded_once():
    each, x = encoding("rotary"), queries().bfloat16()
    exact = each.rotate(x.double(), torch.arange(T))
    torch.testing.assert_close(each.rotate(x, torch.arange(T)), exact.bfloat16(), rtol=2**-7, atol=1e-6)


# Press et al. 2022, section 3: for 8 heads 1/2, 1/2^2, ..., 1/2^8; for 16, 1/2^0.5, 1/2, 1/2^1.5, ..., 1/2^8.
SLOPES = {8: [2.0**-i for i in range(1, 9)], 16: [2 ** (-i / 2) for i in range(1, 17)], 1: [2.0**-8]}


@pytest.mark.parametrize("heads", SLOPES)
def test_alibi_has_the_slopes_of_the_paper(heads):
    q = torch.zeros(1, heads, 4, 1, dtype=torch.float64)
    positions = torch.tensor([0, 1, 2, 5])
    bias = ALiBi(heads, heads).bias(q, positions, positions)
    for h, slope in enumerate(SLOPES[heads]):
        # The last row is the one of figure 3; what stands above the diagonal is the encoder's mirror of it.
        assert bias[h, 3].tolist() == pytest.approx([-5 * slope, -4 * slope, -3 * slope, 0])
        assert torch.equal(bias[h], bias[h].T)


def t5_bucket(offset: int, bidirectional: bool) -> int:
    """The range of one distance, said directly: 32 in all, half of them exact, the rest on a logarithmic scale to 128.

    Whole powers instead of logarithms, which round.
    """
    if bidirectional and offset > 0:
        return 16 + t5_bucket(-offset, True)
    buckets, distance = (16 if bidirectional else 32), max(-offset, 0)
    exact = longer = buckets // 2
    if distance < exact:
        return distance
    # The largest i < longer for which distance >= exact * (128 / exact)^(i / longer).
    reached = [i for i in range(longer) if (distance / exact) ** longer >= (128 / exact) ** i]
    return exact + max(reached)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_t5_has_the_ranges_of_the_paper(bidirectional):
    each = T5(D, H, bidirectional)
    offsets = torch.arange(-307, 308)
    found = each.bucket(offsets).tolist()
    assert found == [t5_bucket(offset, bidirectional) for offset in offsets.tolist()]
    # The decoder's mask leaves it no key after the query.
    seen = set(found) if bidirectional else set(found[:308])
    assert seen == set(range(32)) - ({16} if bidirectional else set())


def test_t5_adds_its_number_for_head_and_range():
    each, positions, k_positions = encoding("t5"), torch.tensor([4, 90]), torch.tensor([0, 5, 300])
    table, bias = each.get_parameter("table.weight").detach(), each.bias(queries(2), positions, k_positions)
    assert bias is not None
    for h in range(H):
        for i, q in enumerate(positions.tolist()):
            for j, k in enumerate(k_positions.tolist()):
                assert float(bias[h, i, j].detach()) == float(table[t5_bucket(k - q, True), h])


def test_shaw_is_a_vector_added_to_each_key():
    """Equation 4: x_i W^Q (x_j W^K + a_ij)^T / sqrt(E)."""
    each, q, k = encoding("shaw"), queries(3), queries(5, seed=5)
    positions, k_positions = torch.tensor([0, 9, 40]), torch.tensor([0, 3, 8, 26, 39])
    table, found = each.get_parameter("table.weight").detach(), scores(each, q, k, positions, k_positions).detach()
    for b in range(B):
        for h in range(H):
            for i, at in enumerate(positions.tolist()):
                for j, k_at in enumerate(k_positions.tolist()):
                    vector = table[max(-16, min(16, k_at - at)) + 16]
                    expected = sum(float(q[b, h, i, e]) * float(k[b, h, j, e] + vector[e]) for e in range(E))
                    assert float(found[b, h, i, j]) == pytest.approx(expected / math.sqrt(E), rel=1e-11)
