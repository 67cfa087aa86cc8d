"""Constraints against brute force: what is found is the best of what is allowed, with the model's own score."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqloom.decoding.choice import Diverse
from seqloom.decoding.constraints import ForcedPrefix, MinLength, NoRepeat, Prefix, penalise_repetition
from tests.decoding.tables import Table, agree, everything, search

EOS = 2


class Allowed:
    """What may follow a prefix, one token at a time."""

    def __init__(self, vocab, no_repeat=0, least=0, prefix=(), spelling=""):
        self.vocab, self.no_repeat, self.least = vocab, no_repeat, least
        self.prefix, self.spelling = tuple(prefix), spelling

    def __call__(self, said):
        if len(said) < len(self.prefix):
            return {self.prefix[len(said)]}
        spelt = "".join(SPELT[token] for token in said[len(self.prefix) :])
        if len(spelt) < len(self.spelling):
            return spelling_tokens(self.spelling[len(spelt) :])
        fine = {
            token
            for token in range(self.vocab)
            if not (token == EOS and len(said) < self.least) and not self.repeats((*said, token))
        }
        return fine or {EOS}

    def repeats(self, said):
        size = self.no_repeat
        grams = [said[i : i + size] for i in range(len(said) - size + 1)]
        return size > 0 and said[-size:] in grams[:-1]

    def start(self):
        rows = [
            [token in spelling_tokens(self.spelling[at:]) for token in range(self.vocab)]
            for at in range(len(self.spelling))
        ]
        return Prefix(self.prefix, torch.tensor(rows) if rows else None, torch.tensor([len(text) for text in SPELT]))


SPELT = ["a", "b", "</s>", "ab"]


def spelling_tokens(rest):
    words = [token for token in range(4) if token != EOS]
    return {token for token in words if SPELT[token].startswith(rest) or rest.startswith(SPELT[token])}


def constraints(everyone):
    """Those of a batch."""
    size = everyone[0].no_repeat
    return [
        *([NoRepeat(size)] if size else []),
        MinLength(torch.tensor([each.least for each in everyone]), EOS),
        ForcedPrefix([each.start() for each in everyone]),
    ]


words = st.sampled_from([0, 1, 3])


starts = st.tuples(st.integers(0, 5), st.lists(words, max_size=3), st.sampled_from(["", "b", "aab", "ba", "abab"]))


@given(seed=st.integers(0, 10**9), no_repeat=st.integers(0, 3), start=starts)
def test_a_wide_beam_finds_what_exhaustive_search_finds(seed, no_repeat, start):
    table, allowed = Table(4, seed), Allowed(4, no_repeat, *start)
    expected = everything(table, 0, EOS, 4, lambda log_prob, said: log_prob / len(said) ** 0.6, allowed)[:7]
    found = search(table, [0], 0.6, eos=EOS, beam=150, n_best=7, max_length=4, constraints=constraints([allowed]))
    agree(found[0], expected)


@given(
    seed=st.integers(0, 10**9),
    beam=st.integers(1, 4),
    no_repeat=st.integers(0, 3),
    starts=st.lists(starts, min_size=1, max_size=4),
    diverse=st.booleans(),
)
def test_every_output_obeys_and_neighbours_do_not_matter(seed, beam, no_repeat, starts, diverse):
    table, everyone = Table(4, seed), [Allowed(4, no_repeat, *start) for start in starts]
    settings = {"eos": EOS, "beam": beam, "n_best": beam, "max_length": 8, "repetition_penalty": 1.3}
    if diverse:
        settings["choice"] = Diverse(0.5)

    def found(sentences):
        return search(table, sentences, constraints=constraints([everyone[s] for s in sentences]), **settings)

    together = found(list(range(len(everyone))))
    assert found(list(range(len(everyone)))[::-1]) == together[::-1]
    for sentence, hypotheses in enumerate(together):
        assert found([sentence]) == [hypotheses]
        for h in hypotheses:
            said = (*h.tokens, EOS) if h.finished else tuple(h.tokens)
            assert all(said[t] in everyone[sentence](said[:t]) for t in range(len(said)))


def test_a_prefix_wins_over_other_constraints():
    constraints = [NoRepeat(1), MinLength(torch.tensor([6]), EOS), ForcedPrefix([Prefix([3, 3, 0, 0])])]
    (found,) = search(Table(7, 1), [0], eos=EOS, beam=2, max_length=9, constraints=constraints)
    assert found[0].tokens[:4] == [3, 3, 0, 0]
    assert found[0].tokens[4] not in (0, 3)


def test_a_prefix_counts_in_the_score():
    table, prefix = Table(7, 1), [3, 0, 5]
    (found,) = search(table, [0], eos=EOS, beam=1, max_length=9, constraints=[ForcedPrefix([Prefix(prefix)])])
    said = [*found[0].tokens, *[EOS] * found[0].finished]
    assert said[:3] == prefix
    log_probs = [table.log_probs(0, tuple(said[:t]))[said[t]] for t in range(len(said))]
    assert found[0].log_prob == pytest.approx(sum(log_probs))


def test_where_nothing_is_allowed_the_end_is():
    constraints = [NoRepeat(1), MinLength(torch.tensor([9]), EOS)]
    (found,) = search(Table(5, 1), [0], eos=EOS, beam=3, max_length=9, constraints=constraints)
    assert sorted(found[0].tokens) == [0, 1, 3, 4]
    assert found[0].finished


@given(seed=st.integers(0, 99), penalty=st.sampled_from([1.0, 1.2, 3.0]), length=st.integers(0, 5))
def test_the_repetition_penalty_by_hand(seed, penalty, length):
    random = torch.Generator().manual_seed(seed)
    logits, said = torch.randn(3, 7, generator=random), torch.randint(7, (3, length), generator=random)
    found = penalise_repetition(logits, said, penalty)
    for row in range(3):
        for token in range(7):
            logit = float(logits[row, token])
            if token in said[row]:
                logit = logit / penalty if logit > 0 else logit * penalty
            assert float(found[row, token]) == pytest.approx(logit)


def test_a_repetition_penalty_ends_a_loop():
    class Loop(Table):
        def logits(self, sentence, prefix):
            return [0.0, 0.0, 0.5, 2.0, 1.0]

    said = {
        penalty: search(Loop(5), [0], eos=EOS, beam=1, max_length=9, repetition_penalty=penalty)[0][0].tokens
        for penalty in (1.0, 5.0)
    }
    assert said == {1.0: [3] * 9, 5.0: [3, 4]}
