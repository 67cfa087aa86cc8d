"""Small models and a batch for tests, in sizes that no axis can be swapped in."""

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from seqloom.config import MODEL_CONFIGS
from seqloom.layers.blocks import RESIDUALS
from seqloom.layers.feedforward import ACTIVATIONS
from seqloom.layers.linear import LINEARS
from seqloom.layers.normalization import NORMALIZATIONS
from seqloom.layers.positions import POSITIONS
from seqloom.layers.scoring import PRODUCT_SCORES, SCORES
from seqloom.models.kinds import build
from seqloom.models.recurrent import DECODERS
from tests.layers.copied_weights import padding

V, B, S, T = 29, 3, 7, 5

SIZES: dict[str, dict[str, Any]] = {
    "transformer": {"d_model": 34, "num_heads": 2, "d_ff": 53, "num_decoder_layers": 3, "norm": "post"},
    "recurrent": {"d_model": 22, "num_decoder_layers": 2},
}

RECURRENT_PARTS: list[dict[str, Any]] = [
    *({"decoder": name} for name in DECODERS),
    {"decoder": "luong", "input_feeding": False},
    *({"cell": name, "decoder": decoder} for name in ("rnn", "gru") for decoder in ("luong", "cho")),
    *({"score": name} for name in SCORES if name != "bilinear"),
    {"bidirectional": False},
    {"bidirectional": False, "shared_cells": True, "num_encoder_layers": 2},
    {"num_encoder_layers": 1, "num_decoder_layers": 3},
    {"tied_embeddings": "none", "output_bias": True, "decoder": "bahdanau"},
]
"""Each part once, as settings."""


def small_config(kind: str = "transformer", **settings: Any) -> Any:
    sizes = {"num_encoder_layers": 2, "dropout": 0, **SIZES[kind]}
    if settings.get("positions") == "rotary" or "num_kv_heads" in settings:  # pairs within a head, groups of heads
        sizes |= {"d_model": 60, "num_heads": 6}
    return MODEL_CONFIGS[kind].model_validate({**sizes, **settings})


def small_model(vocab: int = V, seed: int = 1, **settings: Any) -> Any:
    """A random float64 model whose biases and norms are not what they start as."""
    torch.manual_seed(seed)
    model = build(small_config(**settings), vocab, vocab).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.15)
    return model


def small_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Source ids [B, S], their mask, target ids [B, T]; every row of another length."""
    generator = torch.Generator().manual_seed(7)
    src, tgt = (torch.randint(3, V, (B, length), generator=generator) for length in (S, T))
    return src, padding(S, 4, 2), tgt


def assert_equal(found: Tensor, expected: Tensor) -> None:
    """Equal but for the order in which a product of another shape is summed."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def each_part() -> list[Any]:
    """Every encoding under pre- and post-norm, every other part once: settings, as parameters of a test."""
    settings: list[dict[str, Any]] = [{"positions": name, "norm": norm} for norm in RESIDUALS for name in POSITIONS]
    settings += [{"normalization": name} for name in NORMALIZATIONS]
    settings += [{"linear": name} for name in LINEARS]
    settings += [{"activation": name} for name in ACTIVATIONS]
    settings += [{"score": name} for name in PRODUCT_SCORES]
    settings += [{"num_kv_heads": number} for number in (1, 2)]
    return _cases(settings)


def each_recurrent_part() -> list[Any]:
    """Likewise of recurrent models."""
    return _cases({"kind": "recurrent", **settings} for settings in RECURRENT_PARTS)


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
