"""Ensembles against the mean of probabilities, and of one model with itself against that model."""

from typing import Any, cast

import pytest
import torch

from seqloom.config import DecodingConfig
from seqloom.decoding.decode import Sources, decode
from seqloom.decoding.ensemble import Ensemble
from tests.decoding.tables import agree
from tests.layers.copied_weights import padding
from tests.models.configs import small_model

BOS, EOS = 1, 2


@pytest.fixture(scope="module")
def sources():
    src = torch.randint(3, 29, (7, 11), generator=torch.Generator().manual_seed(1))
    return Sources(src, padding(11, 3, 7, 1, 5, 11, 2))


MODES = [
    DecodingConfig(beam=1, max_length=13),
    DecodingConfig(beam=3, length_penalty=0.6, max_length=13),
    DecodingConfig(beam=3, sample=True, max_length=13),
    DecodingConfig(beam=3, diversity=0.5, max_length=13),
    DecodingConfig(beam=3, repetition_penalty=1.5, max_length=13),
]


@pytest.mark.parametrize("config", MODES)
def test_a_model_with_itself_is_the_model(config, sources):
    model = small_model(norm="pre", seed=3)
    with torch.no_grad():
        alone = decode(model, sources, config, BOS, EOS, config.beam)
        thrice = decode(Ensemble([model] * 3), sources, config, BOS, EOS, config.beam)
    for a, b in zip(alone, thrice, strict=True):
        agree(a, b)


def test_each_step_is_the_mean_of_probabilities(sources):
    models = [small_model(seed=1), small_model(norm="pre", seed=2, num_decoder_layers=2)]
    together = Ensemble(models)
    with torch.no_grad():
        state, states = (each.start(sources.ids, sources.mask) for each in (together, Ensemble(models)))
        tokens = torch.full((7,), BOS)
        for step in range(4):
            found = together.step(tokens, state).softmax(-1)
            each = [m.step(tokens, s).softmax(-1) for m, s in zip(models, cast(Any, states.members), strict=True)]
            assert torch.allclose(found, (each[0] + each[1]) / 2, atol=1e-12)
            assert torch.allclose(found.sum(-1), torch.ones(len(found)).double())
            tokens = found.argmax(-1)
            if step == 1:  # two sentences end, and the others have two hypotheses each from now on
                going = torch.tensor([0, 1, 3, 4, 6])
                rows = going.repeat_interleave(2)
                tokens = tokens[rows]
                for each_state in (state, states):
                    each_state.reorder(rows, going)


def test_it_differs_from_its_members(sources):
    config, models = DecodingConfig(beam=2, max_length=13), [small_model(seed=seed) for seed in (1, 2)]
    with torch.no_grad():
        found = [decode(cast(Any, model), sources, config, BOS, EOS) for model in (*models, Ensemble(models))]
    assert found[2] != found[0]
    assert found[2] != found[1]
