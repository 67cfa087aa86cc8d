"""Search against brute force and against an independent reading of CTranslate2's rule, on tables and Transformers."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqloom.decoding.hypothesis import Hypothesis
from seqloom.decoding.ranking import Ranking
from seqloom.decoding.search import Search
from tests.decoding.tables import BOS, Prefix, Table, TableState, agree, everything, search
from tests.layers.copied_weights import padding
from tests.models.configs import small_model


def ctranslate2(
    log_probs: Callable[[Prefix], list[float]], eos: int, beam: int, alpha: float, max_length: int, n_best: int
) -> list[Hypothesis]:
    """CTranslate2's BeamSearch::search (decoding.cc), one sentence, one candidate at a time."""
    alive: list[tuple[float, Prefix]] = [(0.0, ())]
    ended: list[tuple[float, Prefix]] = []
    top_ended = False
    for length in range(1, max_length + 1):
        continuations = [
            (total + log_prob, (*prefix, token))
            for total, prefix in alive
            for token, log_prob in enumerate(log_probs(prefix))
        ]
        candidates = sorted(continuations, reverse=True)[: 2 * beam]
        reserve = [candidate for candidate in candidates[beam:] if candidate[1][-1] != eos]
        alive = []
        for rank, candidate in enumerate(candidates[:beam]):
            if candidate[1][-1] == eos or length == max_length:
                ended.append(candidate)
                top_ended = top_ended or rank == 0
                if reserve:
                    alive.append(reserve.pop(0))
            else:
                alive.append(candidate)
        if (top_ended and len(ended) >= n_best) if alpha == 0 else len(ended) >= beam:
            break
    scored = [
        Hypothesis(list(said[: -1 if said[-1] == eos else None]), total / len(said) ** alpha, total, said[-1] == eos)
        for total, said in ended
    ]
    return sorted(scored, key=lambda h: -h.score)[:n_best]


# --- against brute force ---


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_what_exhaustive_search_finds(seed, alpha):
    table = Table(4, seed)
    expected = everything(table, 0, 2, 4, lambda log_prob, said: log_prob / len(said) ** alpha)
    assert len(expected) == 1 + 3 + 9 + 27 + 81
    n_best = 1 if alpha == 0 else 7  # with alpha 0 a search ends as soon as the best is known
    found = search(table, [0], alpha, eos=2, beam=150, max_length=4, n_best=n_best)
    agree(found[0], expected[:n_best])


@given(
    seed=st.integers(0, 10**9),
    vocab=st.integers(3, 11),
    eos=st.integers(0, 2),
    beam=st.integers(2, 5),
    n_best=st.integers(1, 5),
    alpha=st.sampled_from([0.0, 0.6, 1.0]),
    longest=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    sharpness=st.sampled_from([0.3, 1.0, 3.0]),
)
def test_beam_search_is_ctranslate2s(seed, vocab, eos, beam, n_best, alpha, longest, sharpness):
    """Each sentence with a greatest length of its own."""
    n_best = min(n_best, beam)
    table = Table(vocab, seed, sharpness)
    limits = torch.tensor(longest)
    found = search(table, list(range(len(limits))), alpha, eos=eos, beam=beam, max_length=limits, n_best=n_best)
    for sentence, hypotheses in enumerate(found):

        def log_probs(prefix, sentence=sentence):
            return table.log_probs(sentence, prefix)

        agree(hypotheses, ctranslate2(log_probs, eos, beam, alpha, longest[sentence], n_best))


@given(
    seed=st.integers(0, 10**9), vocab=st.integers(3, 11), longest=st.lists(st.integers(1, 7), min_size=1, max_size=4)
)
def test_a_beam_of_one_is_greedy(seed, vocab, longest):
    table, eos, batch = Table(vocab, seed), 2, len(longest)
    limits = torch.tensor(longest)
    found = search(table, list(range(batch)), 0.6, eos=eos, beam=1, max_length=limits)
    wanted = Search(BOS, eos, 1, ranking=Ranking(0.6))
    beam = wanted._beam(table.step, TableState(list(range(batch))), limits)
    for sentence, hypotheses in enumerate(found):
        said: list[int] = []
        total = 0.0
        while len(said) < longest[sentence] and said[-1:] != [eos]:
            log_probs = table.log_probs(sentence, tuple(said))
            said.append(max(range(vocab), key=log_probs.__getitem__))
            total += log_probs[said[-1]]
        finished = said[-1] == eos
        expected = Hypothesis([token for token in said if token != eos], total / len(said) ** 0.6, total, finished)
        agree(hypotheses, [expected])
        agree(beam[sentence], [expected])


# --- what a user relies on ---


@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_neighbours_do_not_matter(beam, alpha):
    table, sentences = Table(7, seed=3), list(range(13))
    settings = {"eos": 2, "beam": beam, "alpha": alpha, "max_length": 11, "n_best": min(beam, 3)}
    together = search(table, sentences, **settings)
    for sentence in sentences:
        assert search(table, [sentence], **settings) == [together[sentence]]
    order = sentences[5:] + sentences[:5]
    assert search(table, order, **settings) == [together[sentence] for sentence in order]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_n_best_are_sorted_and_distinct(alpha):
    for hypotheses in search(Table(7), list(range(20)), eos=2, beam=5, alpha=alpha, max_length=9, n_best=5):
        assert len({tuple(h.tokens) for h in hypotheses}) == len(hypotheses) == 5
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert all(2 not in h.tokens for h in hypotheses)


@pytest.mark.parametrize("beam", [1, 3])
def test_finished_sentences_leave_the_batch(beam):
    table = Table(7, seed=5, sharpness=1.0)
    settings = {"eos": 2, "beam": beam, "max_length": 40}
    alone = []
    for sentence in range(17):
        table.rows = []
        search(table, [sentence], **settings)
        alone.append(table.rows)
    table.rows = []
    search(table, list(range(17)), **settings)
    steps = max(map(len, alone))
    assert table.rows == [sum(rows[t] for rows in alone if t < len(rows)) for t in range(steps)]
    assert len({len(rows) for rows in alone}) > 3, "the sentences should end at different times"


class Never(Table):
    """A model that never ends by itself."""

    def logits(self, sentence: int, prefix: Prefix) -> list[float]:
        return [-math.inf if token == 2 else logit for token, logit in enumerate(super().logits(sentence, prefix))]


class AtOnce(Table):
    """A model with nothing to say."""

    def logits(self, sentence: int, prefix: Prefix) -> list[float]:
        return [9.0 if token == 2 else -5.0 - token for token in range(self.vocab)]


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("longest", [1, 2, 5])
def test_max_length_cuts(beam, longest):
    table = Never(7)
    for hypotheses in search(table, [0, 1, 2], eos=2, beam=beam, max_length=longest, n_best=beam):
        assert len(hypotheses) == beam
        for h in hypotheses:
            assert len(h.tokens) == longest
            assert not h.finished
            assert h.score == pytest.approx(h.log_prob / longest)
    assert len(table.rows) == longest


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_an_end_at_once_is_an_empty_answer(beam, alpha):
    for hypotheses in search(AtOnce(7), [0, 1, 2], eos=2, beam=beam, alpha=alpha, max_length=5):
        assert hypotheses[0].tokens == []
        assert hypotheses[0].score == hypotheses[0].log_prob == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("beam", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_vocabulary_smaller_than_the_beam(beam, alpha):
    for hypotheses in search(Table(2, sharpness=0.5), [0, 1], eos=0, beam=beam, alpha=alpha, max_length=3):
        assert len(hypotheses) == 1
        assert math.isfinite(hypotheses[0].score)


@pytest.mark.parametrize("beam", [1, 3])
def test_even_a_broken_model_gives_every_sentence_an_answer(beam):
    class Broken(Table):
        def logits(self, sentence: int, prefix: Prefix) -> list[float]:
            return [math.nan] * self.vocab

    found = search(Broken(7), [0, 1, 2], eos=2, beam=beam, max_length=4)
    assert all(len(hypotheses) == 1 for hypotheses in found)


@pytest.mark.parametrize("beam", [1, 3])
def test_half_precision_logits_are_summed_in_float32(beam):
    table = Table(7, dtype=torch.bfloat16)
    (hypothesis,) = search(table, [0], eos=2, beam=beam, max_length=9)[0]
    said = [*hypothesis.tokens, 2]
    exact = sum(
        float(torch.tensor(table.logits(0, tuple(said[:t]))).bfloat16().double().log_softmax(0)[said[t]])
        for t in range(len(said))
    )
    assert hypothesis.log_prob == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam": 2, "n_best": 3}, "3 best hypotheses need a beam at least as wide, got 2"),
        ({"beam": 0}, "got 0"),
        ({"n_best": 0}, "must be at least 1"),
        ({"max_length": 0}, "must be at least 1"),
        ({"max_length": torch.tensor([5, 0, 7])}, "must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Search(bos=BOS, eos=2, **settings)


# --- with a Transformer ---


class Uncached:
    """The decoder step protocol by reading everything again at every step."""

    def __init__(self, model, src, mask):
        self.model, self.memory, self.mask = model, model.encode(src, mask), mask
        self.owners = torch.arange(len(src))
        self.said = torch.empty(len(src), 0, dtype=torch.long)

    def step(self, tokens, state):
        self.said = torch.cat([self.said, tokens[:, None]], 1)
        hidden = self.model.decode(self.said, self.memory[self.owners], self.mask[self.owners])
        return self.model.output(hidden[:, -1])

    def reorder(self, rows, sentences=None):
        self.said, self.owners = self.said[rows], self.owners[rows]


@pytest.fixture(scope="module")
def sources():
    src = torch.randint(3, 29, (7, 11), generator=torch.Generator().manual_seed(1))
    return src, padding(11, 3, 7, 1, 5, 11, 2)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize("seed", [1, 2])
def test_cached_is_uncached(seed, beam, norm, sources):
    model, (src, mask) = small_model(norm=norm, seed=seed), sources
    wanted = Search(BOS, 2, beam, min(beam, 3), 37, Ranking(0.6))
    with torch.no_grad():
        found = wanted.run(model.step, model.start(src, mask), len(src))
        plain = Uncached(model, src, mask)
        expected = wanted.run(plain.step, plain, len(src))
    for a, b in zip(found, expected, strict=True):
        agree(a, b)
    assert max(len(h.tokens) for best in found for h in best) > 3


@pytest.mark.parametrize("beam", [1, 4])
def test_a_transformers_neighbours_do_not_matter(beam, sources):
    model, (src, mask) = small_model(norm="pre", seed=3), sources
    wanted = Search(BOS, 2, beam, min(beam, 2), 23)
    with torch.no_grad():
        together = wanted.run(model.step, model.start(src, mask), len(src))
        for b in range(len(src)):
            length = int(mask[b].sum())
            agree(wanted.run(model.step, model.start(src[[b], :length], mask[[b], :length]), 1)[0], together[b])
        order = torch.tensor([4, 2, 6, 0, 1, 5, 3])
        shuffled = wanted.run(model.step, model.start(src[order], mask[order]), len(src))
    for b, hypotheses in zip(order.tolist(), shuffled, strict=True):
        agree(hypotheses, together[b])
