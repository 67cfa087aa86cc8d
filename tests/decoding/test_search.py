"""Search against brute force and against an independent reading of CTranslate2's rule, on tables and Transformers."""

import math
import random
from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqloom.decoding.search import Hypothesis, Search
from tests.layers.copied_weights import padding
from tests.models.configs import small_model

BOS = 1
Prefix = tuple[int, ...]


class Table:
    """A model without a network: the logits after each prefix of each sentence are drawn once and kept."""

    def __init__(self, vocab: int, seed: int = 0, sharpness: float = 2.0, dtype: torch.dtype = torch.float64) -> None:
        self.vocab, self.seed, self.sharpness, self.dtype = vocab, seed, sharpness, dtype
        self.rows: list[int] = []  # hypotheses that each step received

    def logits(self, sentence: int, prefix: Prefix) -> list[float]:
        draw = random.Random(f"{self.seed} {sentence} {prefix}")
        return [draw.gauss(0, self.sharpness) for _ in range(self.vocab)]

    def log_probs(self, sentence: int, prefix: Prefix) -> list[float]:
        logits = self.logits(sentence, prefix)
        normalizer = math.log(sum(map(math.exp, logits)))
        return [logit - normalizer for logit in logits]

    def step(self, tokens: Tensor, state: "TableState") -> Tensor:
        self.rows.append(len(tokens))
        state.prefixes = [(*p, t) for p, t in zip(state.prefixes, tokens.tolist(), strict=True)]
        logits = [self.logits(s, p[1:]) for s, p in zip(state.owners, state.prefixes, strict=True)]
        return torch.tensor(logits, dtype=self.dtype)


class TableState:
    """Remembers what each hypothesis has said and which sentence it is of; checks what it is told."""

    def __init__(self, sentences: list[int]) -> None:
        self.sentences, self.owners = list(sentences), list(sentences)
        self.prefixes: list[Prefix] = [()] * len(sentences)

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        if sentences is not None:
            assert 0 < len(sentences) < len(self.sentences), "told to keep all or none"
            self.sentences = [self.sentences[s] for s in sentences.tolist()]
        self.owners = [self.owners[r] for r in rows.tolist()]
        self.prefixes = [self.prefixes[r] for r in rows.tolist()]
        width = len(self.owners) // len(self.sentences)
        assert self.owners == [s for s in self.sentences for _ in range(width)]


def search(table: Table, sentences: list[int], **settings: float) -> list[list[Hypothesis]]:
    found = Search(bos=BOS, **settings).run(table.step, TableState(sentences), len(sentences))  # type: ignore[arg-type]
    assert len(found) == len(sentences)
    return found


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
        Hypothesis(list(said[:-1] if said[-1] == eos else said), total / len(said) ** alpha, total)
        for total, said in ended
    ]
    return sorted(scored, key=lambda h: -h.score)[:n_best]


def agree(found: list[Hypothesis], expected: list[Hypothesis], tolerance: float = 1e-9) -> None:
    assert [h.tokens for h in found] == [h.tokens for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], rel=tolerance)
    assert [h.log_prob for h in found] == pytest.approx([h.log_prob for h in expected], rel=tolerance)


# --- against brute force ---


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_what_exhaustive_search_finds(seed, alpha):
    vocab, eos, longest = 4, 2, 4
    table = Table(vocab, seed)
    everything = []
    words = [token for token in range(vocab) if token != eos]
    for length in range(longest + 1):
        for said in product(words, repeat=length):
            full = said if length == longest else (*said, eos)
            total = sum(table.log_probs(0, full[:t])[full[t]] for t in range(len(full)))
            everything.append(Hypothesis(list(said), total / len(full) ** alpha, total))
    assert len(everything) == 1 + 3 + 9 + 27 + 81
    everything.sort(key=lambda h: -h.score)
    n_best = 1 if alpha == 0 else 7  # with alpha 0 a search ends as soon as the best is known
    found = search(table, [0], eos=eos, beam=150, length_penalty=alpha, max_length=longest, n_best=n_best)
    agree(found[0], everything[:n_best])


@given(
    seed=st.integers(0, 10**9),
    vocab=st.integers(3, 11),
    eos=st.integers(0, 2),
    beam=st.integers(2, 5),
    n_best=st.integers(1, 5),
    alpha=st.sampled_from([0.0, 0.6, 1.0]),
    longest=st.integers(1, 7),
    sharpness=st.sampled_from([0.3, 1.0, 3.0]),
    batch=st.integers(1, 3),
)
def test_beam_search_is_ctranslate2s(seed, vocab, eos, beam, n_best, alpha, longest, sharpness, batch):
    n_best = min(n_best, beam)
    table = Table(vocab, seed, sharpness)
    found = search(
        table, list(range(batch)), eos=eos, beam=beam, length_penalty=alpha, max_length=longest, n_best=n_best
    )
    for sentence, hypotheses in enumerate(found):

        def log_probs(prefix, sentence=sentence):
            return table.log_probs(sentence, prefix)

        agree(hypotheses, ctranslate2(log_probs, eos, beam, alpha, longest, n_best))


@given(seed=st.integers(0, 10**9), vocab=st.integers(3, 11), longest=st.integers(1, 7), batch=st.integers(1, 4))
def test_a_beam_of_one_is_greedy(seed, vocab, longest, batch):
    table, eos = Table(vocab, seed), 2
    found = search(table, list(range(batch)), eos=eos, beam=1, length_penalty=0.6, max_length=longest)
    beam = Search(BOS, eos, 1, 0.6, longest)._beam(table.step, TableState(list(range(batch))), batch, None)
    for sentence, hypotheses in enumerate(found):
        said: list[int] = []
        total = 0.0
        while len(said) < longest and said[-1:] != [eos]:
            log_probs = table.log_probs(sentence, tuple(said))
            said.append(max(range(vocab), key=log_probs.__getitem__))
            total += log_probs[said[-1]]
        expected = Hypothesis([token for token in said if token != eos], total / len(said) ** 0.6, total)
        agree(hypotheses, [expected])
        agree(beam[sentence], [expected])


# --- what a user relies on ---


@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_neighbours_do_not_matter(beam, alpha):
    table, sentences = Table(7, seed=3), list(range(13))
    settings = {"eos": 2, "beam": beam, "length_penalty": alpha, "max_length": 11, "n_best": min(beam, 3)}
    together = search(table, sentences, **settings)
    for sentence in sentences:
        assert search(table, [sentence], **settings) == [together[sentence]]
    order = sentences[5:] + sentences[:5]
    assert search(table, order, **settings) == [together[sentence] for sentence in order]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_n_best_are_sorted_and_distinct(alpha):
    for hypotheses in search(Table(7), list(range(20)), eos=2, beam=5, length_penalty=alpha, max_length=9, n_best=5):
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
            assert h.score == pytest.approx(h.log_prob / longest)
    assert len(table.rows) == longest


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_an_end_at_once_is_an_empty_answer(beam, alpha):
    for hypotheses in search(AtOnce(7), [0, 1, 2], eos=2, beam=beam, length_penalty=alpha, max_length=5):
        assert hypotheses[0].tokens == []
        assert hypotheses[0].score == hypotheses[0].log_prob == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("beam", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_vocabulary_smaller_than_the_beam(beam, alpha):
    for hypotheses in search(Table(2, sharpness=0.5), [0, 1], eos=0, beam=beam, length_penalty=alpha, max_length=3):
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
    wanted = Search(BOS, 2, beam, 0.6, 37, min(beam, 3))
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
    wanted = Search(BOS, 2, beam, 1.0, 23, min(beam, 2))
    with torch.no_grad():
        together = wanted.run(model.step, model.start(src, mask), len(src))
        for b in range(len(src)):
            length = int(mask[b].sum())
            agree(wanted.run(model.step, model.start(src[[b], :length], mask[[b], :length]), 1)[0], together[b])
        order = torch.tensor([4, 2, 6, 0, 1, 5, 3])
        shuffled = wanted.run(model.step, model.start(src[order], mask[order]), len(src))
    for b, hypotheses in zip(order.tolist(), shuffled, strict=True):
        agree(hypotheses, together[b])
