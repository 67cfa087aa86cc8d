"""Draws against the probabilities that they should have, diverse search against a plain reading of its paper."""

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqloom.decoding import choice
from seqloom.decoding.choice import Diverse, Sampling, Walkers, greedy, top_k, top_p, uniform
from tests.decoding.tables import Table, agree, everything, search

EOS = 2


def keys(count):
    return np.arange(count, dtype=np.uint64) * np.uint64(977)


# --- random numbers by counting ---


def test_uniform_numbers_are_uniform_and_unrelated():
    drawn = uniform(1, keys(41)[:, None], np.arange(1009)[None, :], 1)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    cells = np.histogram(drawn, 50, (0, 1))[0]
    expected = drawn.size / 50
    assert ((cells - expected) ** 2 / expected).sum() < 85.4  # chi-square with 49 degrees of freedom, 0.1 %
    flat = drawn.ravel()
    others = [
        drawn[:, ::-1].ravel(),
        np.roll(flat, 1),
        drawn.T[:, ::-1].ravel(),
        uniform(2, keys(41)[:, None], np.arange(1009)[None, :], 1).ravel(),
        uniform(1, keys(41)[:, None], np.arange(1009)[None, :], 2).ravel(),
        uniform(1, keys(41)[:, None] + np.uint64(1), np.arange(1009)[None, :], 1).ravel(),
    ]
    for other in others:
        assert abs(np.corrcoef(flat, other)[0, 1]) < 4 / math.sqrt(flat.size)


def test_uniform_numbers_are_the_same_today_and_tomorrow():
    drawn = uniform(1, np.array([[5], [2**64 - 1]], np.uint64), np.array([[0, 3]]), 7)
    assert drawn.tolist() == [[0.21597689390182495, 0.009525835514068604], [0.7775227427482605, 0.9230484366416931]]


# --- sampling ---


def test_draws_are_as_frequent_as_they_are_probable():
    """Whole sequences: of 4 words and at most 3 of them: 1 + 3 + 9 + 27 outputs."""
    table, draws = Table(4, 1, sharpness=1.0), 20_000
    (found,) = search(table, [0], eos=EOS, beam=draws, n_best=draws, max_length=3, choice=Sampling(keys(1)))
    expected = everything(table, 0, EOS, 3, lambda log_prob, said: log_prob)
    assert sum(h.draws for h in found) == draws
    counts = {(tuple(h.tokens), h.finished): h.draws for h in found}
    distance = sum(
        (counts.get((tuple(h.tokens), h.finished), 0) - draws * math.exp(h.log_prob)) ** 2
        / (draws * math.exp(h.log_prob))
        for h in expected
    )
    assert len(expected) == 40
    assert distance < 72.1  # chi-square with 39 degrees of freedom, 0.1 %
    by_tokens = {(tuple(h.tokens), h.finished): h for h in expected}
    for h in found:  # the score is the model's, whatever it was drawn by
        assert h.log_prob == pytest.approx(by_tokens[tuple(h.tokens), h.finished].log_prob)
        assert h.score == pytest.approx(h.log_prob / (len(h.tokens) + h.finished))


def truncated(log_probs, temperature, k, p, least):
    """The distribution that is drawn from, one token at a time."""
    weights = {token: math.exp(log_prob / temperature) for token, log_prob in enumerate(log_probs)}
    ranked = sorted(weights, key=lambda token: -weights[token])
    if k:
        ranked = ranked[:k]
    total = sum(weights[token] for token in ranked)
    kept, reached = [], 0.0
    for token in ranked:
        if reached < p:
            kept.append(token)
        reached += weights[token] / total
    kept = [token for token in kept if weights[token] >= least * weights[kept[0]]]
    total = sum(weights[token] for token in kept)
    return [weights[token] / total if token in kept else 0.0 for token in range(len(log_probs))]


@given(
    seed=st.integers(0, 10**9),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    k=st.integers(0, 13),
    p=st.sampled_from([0.05, 0.5, 0.83, 0.999, 1.0]),
    least=st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    likely=st.sampled_from([1, 3, 32]),
)
def test_truncation_is_as_by_hand(seed, temperature, k, p, least, likely):
    log_probs = torch.tensor([Table(11, seed).log_probs(sentence, ()) for sentence in (0, 1)], dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "LIKELY", likely)
        weights = Sampling(keys(1), 1, temperature, k, p, least).weights(log_probs)
    for row in range(2):
        expected = truncated(log_probs[row].tolist(), temperature, k, p, least)
        assert (weights[row] / weights[row].sum()).tolist() == pytest.approx(expected, abs=1e-9)


def test_draws_follow_the_truncated_distribution():
    log_probs = torch.tensor(Table(11, 5).log_probs(0, ()))
    settings: dict[str, Any] = {"temperature": 1.7, "top_k": 7, "top_p": 0.9, "min_p": 0.05}
    draws = 30_000
    walkers = Walkers(torch.tensor([0]), torch.arange(draws)[None], torch.ones(1, draws, dtype=torch.bool), 1)
    drawn = Sampling(keys(1), 3, **settings)(log_probs.float().expand(1, draws, -1), walkers)
    counts = Counter(drawn[0].tolist())
    expected = truncated(log_probs.tolist(), 1.7, 7, 0.9, 0.05)
    possible = [token for token in range(11) if expected[token]]
    assert 3 <= len(possible) <= 7
    assert set(counts) <= set(possible)
    assert sum((counts[t] - draws * expected[t]) ** 2 / (draws * expected[t]) for t in possible) < 22.5  # 6 degrees


def test_a_very_low_temperature_is_greedy():
    table, sentences = Table(7, 3), list(range(11))
    settings = {"eos": EOS, "beam": 3, "n_best": 3, "max_length": 9}
    drawn = search(table, sentences, choice=Sampling(keys(11), temperature=1e-3), **settings)
    for sentence, hypotheses in enumerate(search(table, sentences, eos=EOS, beam=1, max_length=9)):
        (only,) = drawn[sentence]
        assert only.draws == 3
        agree([only], hypotheses)


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.8, "temperature": 1.5}, {"min_p": 0.1}])
def test_draws_depend_on_their_sentence_and_the_seed_alone(settings):
    table, own = Table(7, 3), keys(13)

    def found(sentences, draws, seed=1):
        sampling = Sampling(own[sentences], seed, **settings)
        return search(table, sentences, eos=EOS, beam=draws, n_best=draws, max_length=11, choice=sampling)

    together = found(list(range(13)), 5)
    assert found(list(range(13))[::-1], 5) == together[::-1]
    for sentence in range(13):
        assert found([sentence], 5) == [together[sentence]]
    assert found(list(range(13)), 5, seed=2) != together
    for few, more in zip(together, found(list(range(13)), 8), strict=True):  # and not on how many there are
        more_counts = {tuple(h.tokens): h.draws for h in more}
        assert all(more_counts[tuple(h.tokens)] >= h.draws for h in few)


def test_sentences_with_one_key_draw_the_same():
    table = Table(7, 3)
    settings = {"eos": EOS, "beam": 4, "n_best": 4, "max_length": 9}
    same = search(table, [0, 0], choice=Sampling(np.array([5, 5], np.uint64)), **settings)
    other = search(table, [0, 0], choice=Sampling(np.array([5, 6], np.uint64)), **settings)
    assert same[0] == same[1]
    assert other[0] != other[1]


def test_draws_that_have_ended_leave_the_batch():
    table = Table(7, 5, sharpness=1.0)
    search(table, list(range(5)), eos=EOS, beam=9, max_length=40, choice=Sampling(keys(5)))
    assert table.rows[:2] == [5, 45]
    assert table.rows == [5, *sorted(table.rows[1:], reverse=True)]
    assert len(set(table.rows)) > 5


def test_top_k_and_top_p_keep_at_least_one_and_at_most_all():
    scores = torch.tensor([[0.0, 3.0, 1.0], [5.0, 5.0, -2.0]])
    assert torch.equal(top_k(scores, 99), scores)
    assert torch.isfinite(top_k(scores, 1)).sum(1).tolist() == [1, 1]
    assert torch.isfinite(top_p(scores, 1e-6)).sum(1).tolist() == [1, 1]


# --- diverse search ---


@pytest.mark.parametrize("penalty", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("seed", range(3))
def test_diverse_search_is_algorithm_1(seed, penalty):
    """Groups of one, one after the other at each step."""
    groups, longest, table = 3, 6, Table(7, seed, sharpness=1.0)
    settings = {"eos": EOS, "beam": groups, "n_best": groups, "max_length": longest}
    for sentence, found in enumerate(search(table, [0, 1, 2], choice=Diverse(penalty), **settings)):
        said: list[list[int]] = [[] for _ in range(groups)]
        for _ in range(longest):
            taken: Counter[int] = Counter()
            for group in said:
                if group[-1:] == [EOS]:
                    continue
                log_probs = table.log_probs(sentence, tuple(group))
                token = max(range(7), key=lambda t: log_probs[t] - penalty * taken[t])
                taken[token] += 1
                group.append(token)
        assert sum(h.draws for h in found) == groups
        assert {(tuple(h.tokens), h.finished) for h in found} == {
            (tuple(t for t in group if t != EOS), group[-1] == EOS) for group in said
        }
        for h in found:
            own = [*h.tokens, *[EOS] * h.finished]
            log_prob = sum(table.log_probs(sentence, tuple(own[:t]))[own[t]] for t in range(len(own)))
            assert h.log_prob == pytest.approx(log_prob)


def test_the_first_of_diverse_search_is_greedy_and_the_others_differ():
    table, sentences = Table(11, 1), list(range(7))
    alone = search(table, sentences, eos=EOS, beam=1, max_length=9)
    found = search(table, sentences, eos=EOS, beam=4, n_best=4, max_length=9, choice=Diverse(50.0))
    for best, hypotheses in zip(alone, found, strict=True):
        assert tuple(best[0].tokens) in {tuple(h.tokens) for h in hypotheses}
        starts = [(*h.tokens, EOS)[0] for h in hypotheses]
        assert len(set(starts)) == 4
        for a, b in itertools.combinations(hypotheses, 2):
            assert all(x != y for x, y in zip(a.tokens, b.tokens, strict=False))


@pytest.mark.parametrize("beam", [1, 4])
def test_diverse_neighbours_do_not_matter(beam):
    table, sentences = Table(7, seed=3), list(range(13))
    settings = {"eos": EOS, "beam": beam, "n_best": beam, "max_length": 11, "choice": Diverse(0.7)}
    together = search(table, sentences, **settings)
    assert search(table, sentences[::-1], **settings) == together[::-1]
    for sentence in sentences:
        assert search(table, [sentence], **settings) == [together[sentence]]


def test_a_penalty_of_nothing_is_greedy_many_times():
    table = Table(7, 3)
    (found,) = search(table, [0], eos=EOS, beam=3, n_best=3, max_length=9, choice=Diverse(0.0))
    (same,) = search(table, [0], eos=EOS, beam=3, n_best=3, max_length=9, choice=greedy)
    assert found == same
    assert [h.draws for h in found] == [3]
