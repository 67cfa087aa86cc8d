import math

import pytest
import torch
from torch import nn

from seqloom.layers.attention import MultiHeadAttention
from seqloom.layers.reused import Reused
from seqloom.layers.scoring import PRODUCT_SCORES, SCORES, ScoredAttention
from tests.layers.copied_weights import padding, randomize

B, Q, K, D = 2, 3, 5, 7


def by_formula(name, score, q, k):
    """The score of one query and one key, as its paper has it."""
    if name == "dot":
        return q @ k
    if name == "scaled_dot":
        return q @ k / math.sqrt(D)
    if name == "bilinear":
        return q @ score.key.weight @ k
    if name == "additive":
        return (score.value.weight @ (score.query.weight @ q + score.key.weight @ k + score.key.bias).tanh())[0]
    return score.log_temperature.exp() * nn.functional.cosine_similarity(q, k, dim=0)


def made(name):
    torch.manual_seed(1)
    score = SCORES[name](D, D).double()
    randomize(score)
    return score, torch.randn(B, Q, D, dtype=torch.float64), torch.randn(B, K, D, dtype=torch.float64)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_its_formula_for_each_query_and_key(name):
    score, q, memory = made(name)
    found = score(q, score.keys(memory))
    assert found.shape == (B, Q, K)
    for b in range(B):
        for i in range(Q):
            for j in range(K):
                torch.testing.assert_close(found[b, i, j], by_formula(name, score, q[b, i], memory[b, j]))


@pytest.mark.parametrize("name", PRODUCT_SCORES)
def test_what_is_compared_in_a_product_has_one_width(name):
    with pytest.raises(ValueError, match="needs one width, got 7 and 11"):
        SCORES[name](7, 11)


@pytest.mark.parametrize("name", sorted(SCORES.keys() - PRODUCT_SCORES.keys()))
def test_other_scores_compare_any_widths(name):
    score = SCORES[name](7, 11)
    assert score(torch.randn(B, Q, 7), score.keys(torch.randn(B, K, 11))).shape == (B, Q, K)


def test_the_temperature_of_the_cosine_starts_at_ten_and_is_learnt():
    score = SCORES["cosine"](D, D)
    q = torch.randn(1, 1, D)
    found = score(q, score.keys(3 * q))
    torch.testing.assert_close(found, torch.full((1, 1, 1), 10.0))
    found.sum().backward()
    assert score.log_temperature.grad is not None
    torch.testing.assert_close(score.log_temperature.grad, torch.tensor(10.0))


def test_an_additive_score_without_its_tanh_cancels_under_the_softmax():
    """v (W q + U k) = v W q + v U k: the first term is the same for all keys, whatever the query asks for."""
    score, q, memory = made("additive")
    linear = (score.query(q)[:, :, None] + score.key(memory)[:, None]) @ score.value.weight[0]  # [B, Q, K]
    weights = linear.softmax(-1)
    by_key_alone = (score.key(memory) @ score.value.weight[0]).softmax(-1)
    for i in range(Q):
        torch.testing.assert_close(weights[:, i], by_key_alone)
    with_tanh = score(q, score.keys(memory)).softmax(-1)
    assert (with_tanh[:, 0] - with_tanh[:, 1]).abs().max() > 0.01

    # So the weights of its queries never learn anything.
    seen = weights @ memory
    to_query = torch.autograd.grad(seen.square().sum(), score.query.weight, retain_graph=True)[0]
    torch.testing.assert_close(to_query, torch.zeros_like(to_query))
    to_query = torch.autograd.grad((with_tanh @ memory).square().sum(), score.query.weight)[0]
    assert to_query.abs().max() > 0.01


@pytest.mark.parametrize("name", SCORES)
def test_attention_is_the_mean_of_what_may_be_seen(name):
    score, q, memory = made(name)
    mask = padding(K, 2)
    attention = ScoredAttention(score)
    seen, weights = attention(q, attention.memorise(memory, mask))
    expected = score(q, score.keys(memory)).masked_fill(~mask[:, None], -math.inf).softmax(-1)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(seen, expected @ memory)
    assert not weights[1, :, 2:].any()


def test_scaled_dot_is_torchs():
    score, q, memory = made("scaled_dot")
    attention = ScoredAttention(score)
    seen, _ = attention(q, attention.memorise(memory))
    torch.testing.assert_close(seen, nn.functional.scaled_dot_product_attention(q, memory, memory))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", PRODUCT_SCORES)
def test_each_head_of_a_transformer_can_have_any_product(name, grad):
    """By the explicit softmax where gradients are wanted, and by torch's kernel where not."""
    torch.manual_seed(1)
    attention = MultiHeadAttention(14, 2, score=PRODUCT_SCORES[name]).double()
    randomize(attention)
    x = torch.randn(B, K, 14, dtype=torch.float64)
    with torch.set_grad_enabled(grad):
        found = attention(x, x)
    heads = []
    projected = [linear(x).chunk(2, -1) for linear in (attention.query, attention.key, attention.value)]
    for q, k, v in zip(*projected, strict=True):
        heads.append(attention.score(q, attention.score.keys(k)).softmax(-1) @ v)
    torch.testing.assert_close(found, attention.output(torch.cat(heads, -1)))


# --- one matrix in a loop ---


@pytest.mark.parametrize("batched", [False, True])
def test_gradients_made_once_are_those_of_autograd(batched):
    """Of the matrix, its bias and what went in, when each step depends on the one before."""
    torch.manual_seed(1)
    shape = (B, D, D) if batched else (D, D)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    bias = None if batched else torch.randn(D, dtype=torch.float64, requires_grad=True)
    x = torch.randn(B, Q, D, dtype=torch.float64) if batched else torch.randn(Q, D, dtype=torch.float64)
    x.requires_grad_()
    wanted = [each for each in (x, weight, bias) if each is not None]
    found = []
    plain = lambda h: h @ weight.transpose(-2, -1) + (0 if bias is None else bias)  # noqa: E731
    for product in (Reused(weight, bias), plain):
        h = x
        for _ in range(4):
            h = product(h).tanh()
        found.append([h, *torch.autograd.grad(h.square().sum(), wanted)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)


def test_what_is_used_elsewhere_too_learns_from_both():
    weight = torch.randn(D, D, dtype=torch.float64, requires_grad=True)
    x = torch.randn(Q, D, dtype=torch.float64)
    reused = Reused(weight)
    (found,) = torch.autograd.grad(reused(x).square().sum() + reused.weight.exp().sum(), weight)
    (expected,) = torch.autograd.grad((x @ weight.t()).square().sum() + weight.exp().sum(), weight)
    torch.testing.assert_close(found, expected)


def test_a_frozen_matrix_is_only_applied():
    weight, x = torch.randn(D, D), torch.randn(Q, D, requires_grad=True)
    (gradient,) = torch.autograd.grad(Reused(weight)(x).sum(), x)
    torch.testing.assert_close(gradient, weight.sum(0).expand(Q, D))
