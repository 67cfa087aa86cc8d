"""Small models for tests, in sizes that no axis can be swapped in."""

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
import torch

from seqloom.config import ModelConfig
from seqloom.layers.blocks import RESIDUALS
from seqloom.layers.feedforward import ACTIVATIONS
from seqloom.layers.linear import LINEARS
from seqloom.layers.normalization import NORMALIZATIONS
from seqloom.layers.positions import POSITIONS
from seqloom.layers.scoring import PRODUCT_SCORES
from seqloom.models.encoder_decoder import EncoderDecoder


def small_config(**settings: Any) -> ModelConfig:
    sizes = {"d_model": 34, "num_heads": 2, "d_ff": 53, "num_encoder_layers": 2, "num_decoder_layers": 3, "dropout": 0}
    if settings.get("positions") == "rotary" or "num_kv_heads" in settings:  # pairs within a head, groups of heads
        sizes |= {"d_model": 60, "num_heads": 6}
    return ModelConfig.model_validate({**sizes, "norm": "post", **settings})


def small_model(vocab: int = 29, seed: int = 1, **settings: Any) -> EncoderDecoder:
    """A random float64 model whose biases and norms are not what they start as."""
    torch.manual_seed(seed)
    model = EncoderDecoder(small_config(**settings), vocab, vocab).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.15)
    return model


def each_part() -> list[Any]:
    """Every encoding under pre- and post-norm, every other part once: settings, as parameters of a test."""
    settings: list[dict[str, Any]] = [{"positions": name, "norm": norm} for norm in RESIDUALS for name in POSITIONS]
    settings += [{"normalization": name} for name in NORMALIZATIONS]
    settings += [{"linear": name} for name in LINEARS]
    settings += [{"activation": name} for name in ACTIVATIONS]
    settings += [{"score": name} for name in PRODUCT_SCORES]
    settings += [{"num_kv_heads": number} for number in (1, 2)]
    return _cases(settings)


def all_parts_together() -> list[Any]:
    """Every combination of parts, the positions and the scores taking turns."""
    names = ("norm", "normalization", "linear", "activation", "num_kv_heads")
    choices = itertools.product(RESIDUALS, NORMALIZATIONS, LINEARS, ACTIVATIONS, (1, 2, 6))
    positions, scores = itertools.cycle(POSITIONS), itertools.cycle(PRODUCT_SCORES)
    return _cases(
        {**dict(zip(names, each, strict=True)), "positions": next(positions), "score": next(scores)} for each in choices
    )


def _cases(settings: Iterable[dict[str, Any]]) -> list[Any]:
    return [pytest.param(each, id=" ".join(map(str, each.values()))) for each in settings]
