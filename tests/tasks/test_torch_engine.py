"""Teacher forcing against the plain definition, against search, and in any company."""

import math

import pytest
import torch
from torch import nn

from seqloom.config import ModelConfig
from seqloom.data.tokenizers import BOS, EOS
from seqloom.decoding.ensemble import Ensemble
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.tasks import torch_engine
from seqloom.tasks.torch_engine import TorchEngine

VOCAB = 23
SOURCES = [[5, 7, 11, EOS], [EOS], [22, 4, 4, 9, 13, 6, 17, EOS], [8, EOS], [5, 7, 11, EOS]]
TARGETS = [[9, 21, EOS], [4, EOS], [EOS], [6, 7, 8, 9, 10, 11, 12, 13, 14, EOS], [9, 21, EOS]]


def model(seed: int = 3) -> EncoderDecoder:
    torch.manual_seed(seed)
    config = {"d_model": 14, "d_ff": 29, "num_heads": 2, "num_encoder_layers": 2, "num_decoder_layers": 1}
    made = EncoderDecoder(ModelConfig.model_validate(config), VOCAB, VOCAB)
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.4)
    return made


def plain(each: EncoderDecoder, source: list[int], target: list[int]) -> list[float]:
    """Token by token, one sentence alone."""
    each.eval()
    with torch.no_grad():
        logits = each(torch.tensor([source]), torch.tensor([[BOS, *target[:-1]]]))[0].double()
    return [float(row[token] - row.exp().sum().log()) for row, token in zip(logits, target, strict=True)]


@pytest.mark.parametrize("batch_tokens", [1, 13, 4096])
@pytest.mark.parametrize("chunk", [2, 512])
def test_log_probs_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch, batch_tokens: int, chunk: int) -> None:
    monkeypatch.setattr(torch_engine, "CHUNK", chunk)
    each = model()
    found = TorchEngine(each).score(SOURCES, TARGETS, batch_tokens)
    assert [scores.tokens for scores in found] == TARGETS
    for scores, source, target in zip(found, SOURCES, TARGETS, strict=True):
        assert scores.log_probs == pytest.approx(plain(each, source, target), abs=1e-5)
    assert found[0].log_probs == pytest.approx(found[4].log_probs, abs=1e-5)


def test_an_ensemble_has_the_mean_probability() -> None:
    members = [model(3), model(5)]
    found = TorchEngine(Ensemble(members)).score(SOURCES, TARGETS)
    for scores, source, target in zip(found, SOURCES, TARGETS, strict=True):
        each = [plain(member, source, target) for member in members]
        mean = [math.log((math.exp(one) + math.exp(other)) / 2) for one, other in zip(*each, strict=True)]
        assert scores.log_probs == pytest.approx(mean, abs=1e-5)


def test_a_model_in_training_is_not_asked_with_dropout() -> None:
    each = model().train()
    one, other = ([s.log_probs for s in TorchEngine(each).score(SOURCES, TARGETS, 64)] for _ in range(2))
    assert one == other


def test_nothing_to_score() -> None:
    assert TorchEngine(model()).score([], [], 64) == []
