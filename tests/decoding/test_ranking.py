"""Length and coverage in the scores of hypotheses, against brute force and equation 14 of Wu et al. 2016."""

import math
from typing import Any

import pytest
import torch

from seqloom.decoding.coverage import coverage
from seqloom.decoding.ranking import Ranking
from seqloom.decoding.search import Search
from seqloom.errors import UserError
from tests.decoding.tables import Table, agree, everything, search
from tests.layers.copied_weights import padding
from tests.models.configs import small_model


@pytest.fixture(scope="module")
def sources():
    src = torch.randint(3, 29, (7, 11), generator=torch.Generator().manual_seed(1))
    return src, padding(11, 3, 7, 1, 5, 11, 2)


def attended(table, sentence, said):
    """Equation 14's sum over the source, one number at a time."""
    steps = [table.attention(sentence, said[:t]) for t in range(len(said))]
    real = table.sources - sentence % 2
    return sum(math.log(min(sum(step[place] for step in steps), 1.0)) for place in range(real))


@pytest.mark.parametrize("formula", ["power", "gnmt"])
@pytest.mark.parametrize("beta", [0.0, 0.7])
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_a_wide_beam_finds_what_exhaustive_search_finds(alpha, beta, formula):
    table = Table(4, seed=7)

    def score(sentence):
        def of(log_prob, said):
            length = (5 + len(said)) / 6 if formula == "gnmt" else len(said)
            return log_prob / length**alpha + (beta * attended(table, sentence, said) if beta else 0)

        return of

    n_best = 1 if alpha == beta == 0 else 11
    ranking, mask = Ranking(alpha, formula, beta), torch.arange(5) < torch.tensor([[5], [4]])
    found = search(table, [0, 1], ranking=ranking, src_mask=mask, eos=2, beam=150, max_length=4, n_best=n_best)
    for sentence, hypotheses in enumerate(found):
        agree(hypotheses, everything(table, sentence, 2, 4, score(sentence))[:n_best])


def test_coverage_changes_the_order():
    settings: dict[str, Any] = {
        "src_mask": torch.ones(1, 5, dtype=torch.bool),
        "eos": 2,
        "beam": 5,
        "max_length": 6,
        "n_best": 5,
    }
    orders = {
        tuple(tuple(h.tokens) for h in search(Table(7, 3), [0], ranking=Ranking(1.0, "power", beta), **settings)[0])
        for beta in (0.0, 5.0)
    }
    assert len(orders) == 2


@pytest.mark.parametrize("beam", [1, 3])
def test_neighbours_do_not_matter_to_coverage(beam):
    """Not the batch either, whose source is padded where it is shorter."""
    table, ranking = Table(7, 5), Ranking(0.6, "gnmt", 0.4)
    mask = torch.arange(5) < torch.tensor([[5], [4]] * 3 + [[5]])
    settings = {"ranking": ranking, "eos": 2, "beam": beam, "max_length": 11}
    together = search(table, list(range(7)), src_mask=mask, **settings)
    for sentence in range(7):
        assert search(table, [sentence], src_mask=mask[[sentence]], **settings) == [together[sentence]]


def test_a_source_token_never_looked_at_costs_much_and_padding_nothing():
    looked = torch.tensor([[1.0, 0.5, 3.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    found = coverage(looked, torch.tensor([True, True, True, False]))
    assert found[0] == pytest.approx(math.log(0.5))
    assert -1000 < float(found[1]) < -80


def test_a_model_that_does_not_tell_its_attention_is_refused():
    class Silent(Table):
        def step(self, tokens, state):
            state.record_attention = False
            return super().step(tokens, state)

    with pytest.raises(UserError, match="needs a model that tells where it looks, and this one has no attention; set"):
        search(Silent(7), [0], ranking=Ranking(beta=0.1), src_mask=torch.ones(1, 5, dtype=torch.bool), eos=2)


# --- with a Transformer ---


def test_the_recorded_attention_is_the_decoders(sources):
    """Step by step, beams side by side, against what the last layer's projections give for the whole target at once."""
    model, (src, mask) = small_model(norm="pre", seed=3), sources
    tgt = torch.randint(3, 29, (7, 5), generator=torch.Generator().manual_seed(2))
    projected = {}
    across = model.decoder.layers()[-1].cross_attention
    across.query.register_forward_hook(lambda _, __, out: projected.update({"query": out}))
    with torch.no_grad():
        model(src, tgt, mask)
        projected["key"] = across.key(model.encode(src, mask))
        q, k = (projected[name].unflatten(-1, (across.num_heads, -1)).transpose(1, 2) for name in ("query", "key"))
        scores = (q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))).masked_fill(~mask[:, None, None], -math.inf)
        expected = scores.softmax(-1).mean(1)  # [B, T, S]
        state = model.start(src, mask)
        state.record_attention = True
        plain = model.start(src, mask)
        for step in range(tgt.size(1)):
            rows = torch.arange(7).repeat_interleave(2 if step > 1 else 1)
            logits = model.step(tgt[rows, step], state)
            assert torch.equal(logits, model.step(tgt[rows, step], plain))
            assert state.attention is not None
            assert torch.allclose(state.attention, expected[rows, step])
            if step == 1:
                state.reorder(torch.arange(7).repeat_interleave(2))
                plain.reorder(torch.arange(7).repeat_interleave(2))
    assert plain.attention is None


def test_coverage_of_a_transformer_is_equation_14(sources):
    model, (src, mask) = small_model(norm="pre", seed=3), sources
    settings: dict[str, Any] = {"bos": 1, "eos": 2, "beam": 3, "n_best": 3, "max_length": 13}
    with torch.no_grad():
        plain = Search(**settings, ranking=Ranking(1.0)).run(model.step, model.start(src, mask), 7)
        found = Search(**settings, ranking=Ranking(1.0, beta=0.3), src_mask=mask).run(
            model.step, model.start(src, mask), 7
        )
    for sentence, hypotheses in enumerate(found):
        assert {tuple(h.tokens): h.log_prob for h in hypotheses} == pytest.approx(
            {tuple(h.tokens): h.log_prob for h in plain[sentence]}
        )
        for h in hypotheses:
            said = torch.tensor([[1, *h.tokens, 2][: len(h.tokens) + h.finished]])
            state = model.start(src[[sentence]], mask[[sentence]])
            state.record_attention = True
            total = torch.zeros(1, src.size(1), dtype=torch.float64)
            for token in said[0]:
                with torch.no_grad():
                    model.step(token[None], state)
                assert state.attention is not None
                total += state.attention
            cover = sum(math.log(min(float(t), 1.0)) for t in total[0][mask[sentence]])
            assert h.score == pytest.approx(h.log_prob / said.size(1) + 0.3 * cover)
