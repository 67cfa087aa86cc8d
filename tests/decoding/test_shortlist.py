"""A search among likely pieces is the search of a model to which all others are impossible, sentence by sentence."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqloom.config import DecodingConfig, ModelConfig
from seqloom.data.tokenizers import BOS, EOS
from seqloom.decoding.ensemble import Ensemble
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.decoding.shortlist import Shortlist
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.transformer import DecoderState
from seqloom.tasks.torch_engine import TorchEngine

VOCAB = 29
SOURCES = [[5, 7, 11, EOS], [EOS], [22, 4, 4, 9, 13, 6, 17, EOS], [8, 20, EOS], [5, 7, 11, EOS], [28, 19, 12, 5, EOS]]
SHORTLIST = Shortlist(
    [np.array([(7 * i) % 25 + 4, (11 * i) % 25 + 4, (3 * i) % 25 + 4][: i % 4], np.int64) for i in range(VOCAB)],
    np.array([0, 1, 2, 3, 17, 26]),
)


class Closed(EncoderDecoder):
    """Scores the whole vocabulary, and then forbids what is not on the list of the one sentence there is."""

    own: Tensor

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        logits = super().step(tokens, state)
        return torch.where(self.own, logits, -math.inf)


def model(cls: type[EncoderDecoder] = EncoderDecoder, output_bias: bool = False) -> EncoderDecoder:
    torch.manual_seed(3)
    sizes = {"d_model": 14, "d_ff": 29, "num_heads": 2, "num_encoder_layers": 2, "num_decoder_layers": 1}
    made = cls(ModelConfig.model_validate(sizes | {"output_bias": output_bias}), VOCAB, VOCAB)
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.4)
    return made


def expected(source: list[int], decoding: DecodingConfig, n_best: int, output_bias: bool) -> list[Hypothesis]:
    closed = model(Closed, output_bias)
    ids = np.unique(np.concatenate([SHORTLIST.always, *(SHORTLIST.each[i] for i in source)]))
    closed.own = torch.zeros(VOCAB, dtype=torch.bool)
    closed.own[torch.from_numpy(ids)] = True
    return TorchEngine(closed).search([source], decoding, n_best)[0]


def require_same(found: list[Hypothesis], wanted: list[Hypothesis]) -> None:
    assert [each.tokens for each in found] == [each.tokens for each in wanted]
    assert [each.score for each in found] == pytest.approx([each.score for each in wanted], abs=1e-5)


@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"beam": 1},
        {"beam": 3},
        {"beam": 3, "no_repeat_ngram": 2, "min_length": 3},
        {"beam": 2, "coverage_penalty": 0.2, "repetition_penalty": 1.3},
        {"beam": 3, "sample": True, "seed": 5},
    ],
    ids=str,
)
def test_each_sentence_has_its_own_list_in_any_company(settings: dict[str, float], output_bias: bool) -> None:
    decoding = DecodingConfig.model_validate({"max_length": 11, **settings})
    n_best = 1 if decoding.beam == 1 else 2
    engine = TorchEngine(model(output_bias=output_bias), SHORTLIST)
    together = engine.search(SOURCES, decoding, n_best)
    alone = [engine.search([source], decoding, n_best)[0] for source in SOURCES]
    for source, found, single in zip(SOURCES, together, alone, strict=True):
        wanted = expected(source, decoding, n_best, output_bias)
        require_same(found, wanted)
        require_same(single, wanted)
    said = {token for found in together for each in found for token in each.tokens}
    assert said - set(SHORTLIST.always.tolist()), "nothing was taken from the lists of the sources"


def test_the_list_matters() -> None:
    decoding = DecodingConfig(max_length=11)
    listed, free = (TorchEngine(model(), each).search(SOURCES, decoding) for each in (SHORTLIST, None))
    assert [each[0].tokens for each in listed] != [each[0].tokens for each in free]


def test_a_list_of_everything_changes_nothing() -> None:
    everything = Shortlist([np.array([], np.int64)] * VOCAB, np.arange(VOCAB))
    decoding = DecodingConfig(max_length=11)
    for found, wanted in zip(
        *(TorchEngine(model(), each).search(SOURCES, decoding) for each in (everything, None)), strict=True
    ):
        require_same(found, wanted)


def test_of_names_the_pieces_of_all_and_of_each() -> None:
    pieces, own = SHORTLIST.of([[5, EOS], [10, 11, EOS]])
    lists = [{0, 1, 2, 3, 17, 26, *SHORTLIST.each[5]}, {0, 1, 2, 3, 17, 26, *SHORTLIST.each[10], *SHORTLIST.each[11]}]
    lists = [each | {*SHORTLIST.each[EOS]} for each in lists]
    assert pieces.tolist() == sorted(lists[0] | lists[1])
    assert [set(pieces[row].tolist()) for row in own] == lists
    assert BOS in pieces


def test_an_ensemble_has_none() -> None:
    with pytest.raises(ValueError, match="a shortlist is that of one model, got several"):
        TorchEngine(Ensemble([model(), model()]), SHORTLIST)
