import math

import pytest
import torch
from torch import Tensor, nn

from seqloom.layers.attention import FEWEST_KEYS, GROWTH, Cache, MultiHeadAttention, PureCache, attend
from seqloom.layers.dropout import dropout
from seqloom.layers.masks import causal_mask, key_mask
from tests.layers.copied_weights import TOLERANCES, copy_attention, gradients, padding, randomize

B, H, Q, K, E = 2, 3, 5, 7, 11


def by_loop(q, k, v, allowed, bias):
    """Attention as it is written on paper, one number at a time."""
    out = torch.zeros_like(q)
    for b in range(q.size(0)):
        for h in range(q.size(1)):
            for i in range(q.size(2)):
                scores = {}
                for j in range(k.size(2)):
                    if allowed[b, h, i, j]:
                        dot = sum(float(q[b, h, i, e]) * float(k[b, h, j, e]) for e in range(q.size(3)))
                        scores[j] = dot / math.sqrt(q.size(3)) + float(bias[b, h, i, j])
                total = sum(math.exp(s) for s in scores.values())
                for j, s in scores.items():
                    out[b, h, i] += math.exp(s) / total * v[b, h, j]
    return out


MASKS: dict[str, Tensor | None] = {
    "none": None,
    "keys": key_mask(padding(7, 4)),
    "causal": causal_mask(7)[:, :, 2:],
    "keys and causal": key_mask(padding(7, 4)) & causal_mask(7)[:, :, 2:],
    "one a head": torch.rand(1, H, Q, K, generator=torch.Generator().manual_seed(3)) > 0.3,
    "full": torch.rand(B, H, Q, K, generator=torch.Generator().manual_seed(5)) > 0.3,
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("bias_shape", [None, (1, H, Q, K), (B, H, Q, K)])
def test_attend_is_the_formula(name, bias_shape):
    torch.manual_seed(1)
    q, k, v = (torch.randn(B, H, length, E, dtype=torch.float64) for length in (Q, K, K))
    bias = None if bias_shape is None else torch.randn(bias_shape, dtype=torch.float64)
    mask = MASKS[name]
    allowed = torch.ones(B, H, Q, K, dtype=torch.bool) if mask is None else mask.expand(B, H, Q, K)
    assert allowed.any(-1).all()
    added = torch.zeros(B, H, Q, K) if bias is None else bias.expand(B, H, Q, K)
    torch.testing.assert_close(attend(q, k, v, mask, bias), by_loop(q, k, v, allowed, added), rtol=1e-12, atol=1e-12)


def test_attend_agrees_with_torchs_fused_attention_on_long_inputs():
    torch.manual_seed(2)
    q, k, v = (torch.randn(2, 3, length, 13, dtype=torch.float64) for length in (307, 601, 601))
    mask = key_mask(padding(601, 211))
    theirs = nn.functional.scaled_dot_product_attention(q, k, v, mask)
    torch.testing.assert_close(attend(q, k, v, mask), theirs, rtol=1e-12, atol=1e-12)


def test_a_single_key_and_huge_scores_give_no_nan():
    torch.manual_seed(3)
    q, k, v = (torch.randn(2, 3, 5, 7, requires_grad=True) for _ in range(3))
    mask = padding(5, 1)[:, None, None]
    out = attend(1e4 * q, 1e4 * k, v, mask)
    out.sum().backward()
    assert out.isfinite().all()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (q, k, v))
    torch.testing.assert_close(out[1], v[1, :, :1].expand(3, 5, 7))


def test_what_is_masked_is_not_seen_at_all():
    torch.manual_seed(4)
    q, k, v = (torch.randn(2, 3, length, 7, dtype=torch.float64, requires_grad=True) for length in (5, 11, 11))
    mask = key_mask(padding(11, 4))
    out = attend(q, k, v, mask)
    out.sum().backward()
    for x in (k, v):
        assert x.grad is not None
        assert torch.count_nonzero(x.grad[1, :, 4:]) == 0
        assert torch.count_nonzero(x.grad[1, :, :4]) > 0
    with torch.no_grad():
        k[1, :, 4:], v[1, :, 4:] = 1e6, -1e6
    assert torch.equal(attend(q, k, v, mask), out)


@pytest.mark.parametrize("keys", [1, FEWEST_KEYS - 1, FEWEST_KEYS, FEWEST_KEYS + 1])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_few_keys_are_filled_up_without_a_trace(keys, masked, biased):
    """Where gradients are wanted, and only there; each value and gradient is that of the definition."""
    torch.manual_seed(6)
    shapes = (2, 6, 5, 7), (2, 3, keys, 7), (2, 3, keys, 7), (1, 6, 5, keys)
    q, k, v, bias = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    mask = (torch.rand(2, 1, 5, keys) < 0.5) if masked else torch.ones(2, 1, 5, keys, dtype=torch.bool)
    mask[..., 0] = True
    out = attend(q, k, v, mask if masked else None, bias if biased else None)
    scores = q @ k.repeat_interleave(2, 1).transpose(-2, -1) / 7**0.5 + (bias if biased else 0)
    plain = scores.masked_fill(~mask, -math.inf).softmax(-1) @ v.repeat_interleave(2, 1)
    wanted = [q, k, v, *([bias] if biased else [])]
    torch.testing.assert_close(out, plain, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients(out, *wanted), gradients(plain, *wanted), rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        unfilled = attend(q, k, v, mask, bias if biased else None)
    torch.testing.assert_close(unfilled, plain, rtol=1e-10, atol=1e-10)


def test_dropout_falls_on_the_weights():
    torch.manual_seed(5)
    q, k, v = (torch.randn(2, 3, length, 7, dtype=torch.float64) for length in (5, 17, 17))
    weights = (q @ k.transpose(2, 3) / math.sqrt(7)).softmax(-1)
    torch.manual_seed(6)
    expected = dropout(weights, 0.4) @ v
    torch.manual_seed(6)
    torch.testing.assert_close(attend(q, k, v, drop=0.4), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lengths", [None, (7, 4, 1)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_parity_with_torch(dtype, tolerance, causal, lengths):
    torch.manual_seed(7)
    theirs = nn.MultiheadAttention(15, 3, batch_first=True, dtype=dtype)
    randomize(theirs)
    ours = MultiHeadAttention(15, 3).to(dtype)
    copy_attention(ours, theirs)
    memory = torch.randn(3, 7, 15, dtype=dtype, requires_grad=True)
    x = memory if causal else torch.randn(3, 5, 15, dtype=dtype, requires_grad=True)
    keys = padding(*lengths) if lengths else None
    mask = None if keys is None else key_mask(keys)
    if causal:
        mask = causal_mask(7) if mask is None else mask & causal_mask(7)
    expected, _ = theirs(
        x,
        memory,
        memory,
        key_padding_mask=None if keys is None else ~keys,
        attn_mask=~causal_mask(7)[0, 0] if causal else None,
    )
    found = ours(x, memory, mask)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    mine = gradients(found, x, memory, ours.output.weight, ours.query.weight, ours.key.weight, ours.value.weight)
    other = gradients(expected, x, memory, theirs.out_proj.weight, theirs.in_proj_weight)
    for a, b in zip([*mine[:3], torch.cat(mine[3:])], other, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"d_model \(16\) must be a multiple of num_heads \(3\)"):
        MultiHeadAttention(16, 3)


def test_weights_are_dropped_only_while_training():
    torch.manual_seed(8)
    module, x = MultiHeadAttention(14, 2, drop=0.5), torch.randn(3, 5, 14)
    assert not torch.equal(module(x, x), module(x, x))
    module.eval()
    assert torch.equal(module(x, x), module(x, x))


# --- grouped queries ---


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("groups", [1, 3])
def test_grouped_heads_of_keys_are_as_if_repeated(name, groups):
    torch.manual_seed(12)
    heads, mask = 6, MASKS[name]
    if mask is not None and mask.size(1) != 1:
        mask = mask.repeat(1, 2, 1, 1)
    q = torch.randn(B, heads, Q, E, dtype=torch.float64)
    k, v = (torch.randn(B, groups, K, E, dtype=torch.float64) for _ in range(2))
    bias = torch.randn(heads, Q, K, dtype=torch.float64)
    all_k, all_v = (x.repeat_interleave(heads // groups, 1) for x in (k, v))
    expected = attend(q, all_k, all_v, mask, bias)
    torch.testing.assert_close(attend(q, k, v, mask, bias), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kv_heads", [1, 2, 3])
def test_grouped_queries_are_heads_whose_keys_and_values_are_alike(kv_heads):
    """With each head's weights repeated for its group: Ainslie et al. 2023, figure 2."""
    torch.manual_seed(13)
    grouped, full = MultiHeadAttention(30, 6, num_kv_heads=kv_heads).double(), MultiHeadAttention(30, 6).double()
    weights = grouped.state_dict()
    for name in ("key.weight", "key.bias", "value.weight", "value.bias"):
        each = weights[name].unflatten(0, (kv_heads, 5))
        weights[name] = each.repeat_interleave(6 // kv_heads, 0).flatten(0, 1)
    full.load_state_dict(weights)
    x, memory = (torch.randn(3, length, 30, dtype=torch.float64, requires_grad=True) for length in (5, 7))
    mask = key_mask(padding(7, 4, 2))
    found, expected = grouped(x, memory, mask), full(x, memory, mask)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(found, x, memory), gradients(expected, x, memory), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert [each.shape for each in grouped.keys_values(memory)] == [(3, kv_heads, 7, 5)] * 2


def test_heads_must_be_shared_out_evenly():
    with pytest.raises(ValueError, match=r"num_heads \(6\) must be a multiple of num_kv_heads \(4\)"):
        MultiHeadAttention(30, 6, num_kv_heads=4)


# --- the cache ---


def appended(cache: Cache, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    for t in range(keys.size(2)):
        cache.append(torch.cat([keys, values], 1)[:, :, t : t + 1])
    return cache.so_far()


@pytest.mark.parametrize("steps", [GROWTH - 1, GROWTH, GROWTH + 1, 2 * GROWTH + 3])
def test_a_cache_returns_all_that_was_appended(steps):
    torch.manual_seed(9)
    keys, values = torch.randn(2, 3, steps, 5), torch.randn(2, 3, steps, 5)
    cache = Cache()
    for t in range(steps):
        k, v = cache.append(torch.cat([keys, values], 1)[:, :, t : t + 1])
        assert torch.equal(k, keys[:, :, : t + 1])
        assert torch.equal(v, values[:, :, : t + 1])
    assert cache.length == steps


def test_a_pure_cache_goes_on_from_what_is_given_and_leaves_it_alone():
    torch.manual_seed(10)
    keys, values = torch.randn(2, 3, 71, 5), torch.randn(2, 3, 71, 5)
    given = keys[:, :, :2].clone(), values[:, :, :2].clone()
    cache = PureCache(*given)
    k, v = appended(cache, keys[:, :, 2:], values[:, :, 2:])
    assert torch.equal(k, keys)
    assert torch.equal(v, values)
    assert torch.equal(given[0], keys[:, :, :2])


def test_a_pure_cache_is_reordered():
    torch.manual_seed(12)
    keys, values = torch.randn(3, 2, 5, 7), torch.randn(3, 2, 5, 7)
    cache, rows = PureCache(keys[:, :, :3], values[:, :, :3]), torch.tensor([2, 0, 2, 1])
    cache.reorder(rows)
    k, v = appended(cache, keys[rows, :, 3:], values[rows, :, 3:])
    assert torch.equal(k, keys[rows])
    assert torch.equal(v, values[rows])


def test_a_cache_grows_rarely():
    cache, storages = Cache(), set()
    for _ in range(3 * GROWTH):
        cache.append(torch.zeros(1, 2, 1, 1))
        assert cache.store is not None
        storages.add(cache.store.size(2))
    assert storages == {GROWTH, 2 * GROWTH, 3 * GROWTH}


def test_a_cache_is_reordered_with_repeats_and_fewer_rows():
    torch.manual_seed(11)
    keys, values = torch.randn(3, 2, 35, 5), torch.randn(3, 2, 35, 5)
    cache = Cache()
    appended(cache, keys[:, :, :33], values[:, :, :33])
    rows = torch.tensor([2, 0, 2, 2])
    cache.reorder(rows)
    k, v = appended(cache, keys[rows, :, 33:], values[rows, :, 33:])
    assert torch.equal(k, keys[rows])
    assert torch.equal(v, values[rows])


def test_an_empty_cache_can_be_reordered():
    cache = Cache()
    cache.reorder(torch.tensor([0]))
    assert cache.length == 0


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_batch_of_no_rows_goes_through(kv_heads):
    """What one of many processes has of a small batch."""
    attention = MultiHeadAttention(12, 4, 0.1, num_kv_heads=kv_heads)
    x = torch.zeros(0, 5, 12, requires_grad=True)
    found = attention(x, x)
    found.sum().backward()
    assert found.shape == (0, 5, 12)
    assert attention.query.weight.grad is not None
    assert not attention.query.weight.grad.any()
