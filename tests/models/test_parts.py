"""The parts of a model, together: what a config can name, and that any of them go with any others."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load, save

from seqloom.config import ModelConfig
from seqloom.errors import UserError
from seqloom.layers.blocks import RESIDUALS, PostNorm
from seqloom.layers.feedforward import ACTIVATIONS
from seqloom.layers.linear import LINEARS, WeightNormLinear
from seqloom.layers.normalization import NORMALIZATIONS
from seqloom.layers.positions import POSITIONS
from seqloom.layers.scoring import PRODUCT_SCORES
from seqloom.models.encoder_decoder import EncoderDecoder
from tests.layers.copied_weights import padding, places_of
from tests.models.configs import (
    B,
    S,
    T,
    V,
    all_parts_together,
    assert_equal,
    each_part,
    small_batch,
    small_config,
    small_model,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"
REGISTRIES: dict[str, Mapping[str, Any]] = {
    "positions": POSITIONS,
    "score": PRODUCT_SCORES,
    "norm": RESIDUALS,
    "normalization": NORMALIZATIONS,
    "linear": LINEARS,
    "activation": ACTIVATIONS,
}


@pytest.mark.parametrize("field", REGISTRIES)
def test_the_config_offers_exactly_the_parts_there_are(field):
    assert set(get_args(ModelConfig.model_fields[field].annotation)) == set(REGISTRIES[field])


def test_the_page_lists_exactly_the_parts_there_are():
    rows = re.findall(r"^\| `model\.(\w+)` \| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = {(field, name) for field, parts in REGISTRIES.items() for name in parts}
    tied = get_args(ModelConfig.model_fields["tied_embeddings"].annotation)
    assert sorted(rows) == sorted(named | {("tied_embeddings", name) for name in tied})


# --- any of them with any others ---


@pytest.mark.parametrize("settings", all_parts_together())
def test_any_parts_make_a_model(settings):
    """It sees no padding, no neighbour, nothing to come; it steps as it reads; all of it learns."""
    src, mask, tgt = small_batch()
    model = small_model(**settings)
    model.loss(src, tgt, tgt.roll(-1, 1), mask, places_of(padding(3, T, 1)), 0.1).backward()
    idle = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert idle == []
    with torch.no_grad():
        logits = model(src, tgt, mask)
        for b, length in enumerate((S, 4, 2)):
            alone = model(src[b : b + 1, :length], tgt[b : b + 1, : b + 2])
            assert_equal(alone, logits[b : b + 1, : b + 2])
        state = model.start(src, mask)
        steps = torch.stack([model.step(tgt[:, t], state) for t in range(T)], 1)
    assert_equal(steps, logits)


@pytest.mark.parametrize("settings", each_part())
def test_the_weights_by_name_are_the_whole_model(settings):
    src, mask, tgt = small_batch()
    model, other = small_model(**settings, seed=1), small_model(**settings, seed=2)
    before = other(src, tgt, mask)
    saved = load(save({name: weight.detach() for name, weight in model.named_parameters()}))
    with torch.no_grad():
        for name, weight in other.named_parameters():
            weight.copy_(saved.pop(name))
    assert not saved
    assert torch.equal(other(src, tgt, mask), model(src, tgt, mask))
    assert not torch.equal(other(src, tgt, mask), before)


@pytest.mark.parametrize("settings", each_part())
def test_no_step_waits_for_the_device(settings, monkeypatch):
    """A meta tensor has no value that the host could ask for."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # it knows no meta device
    with torch.device("meta"):
        model = EncoderDecoder(small_config(**settings), V, V)
        src, mask = torch.zeros(B, S, dtype=torch.long), torch.ones(B, S, dtype=torch.bool)
        assert model(src, src, mask).shape == (B, S, V)
        state = model.start(src, mask)
        for _ in range(2):
            assert model.step(src[:, 0], state).shape == (B, V)


# --- what a part does to the model ---


def turn(x):
    return x.roll(1, 1)


def mirror(x):
    return x.flip(1)


@pytest.mark.parametrize("name", POSITIONS)
def test_word_order_is_seen_by_all_encodings_but_none(name):
    src, _, tgt = small_batch()
    model = small_model(positions=name)
    memory = model.encode(src)
    turned, mirrored = (model.encode(change(src)) for change in (turn, mirror))
    assert torch.allclose(turned, turn(memory)) == (name == "none")
    # ALiBi knows how far, not on which side: a sentence read backwards is the same to its encoder.
    assert torch.allclose(mirrored, mirror(memory)) == (name in ("none", "alibi"))
    # A decoder without encoding still sees which tokens came before.
    assert not torch.allclose(model.decode(mirror(tgt), memory), mirror(model.decode(tgt, memory)))


@pytest.mark.parametrize("name", POSITIONS)
def test_longer_than_any_sentence_seen(name):
    model = small_model(positions=name, max_positions=11)
    src = torch.randint(3, V, (1, 307), generator=torch.Generator().manual_seed(3))
    if name not in ("learned", "random"):
        assert model.longest is None
        assert model(src, src).isfinite().all()
        return
    assert model.longest == 11
    refusal = rf"^the model has places for 11 tokens \({name} positions\), got 12; cut the text or train with larger "
    model(src[:, :11], src[:, :11])
    with pytest.raises(UserError, match=refusal):
        model.encode(src[:, :12])
    with pytest.raises(UserError, match=refusal):
        model.decode(src[:, :12], model.encode(src[:, :11]))
    state = model.start(src[:, :11])
    for t in range(11):
        model.step(src[:, t], state)
    with pytest.raises(UserError, match=refusal):
        model.step(src[:, 11], state)


def test_grouped_queries_keep_fewer_keys():
    src, mask, tgt = small_batch()
    model = small_model(num_kv_heads=2)
    state = model.start(src, mask)
    model.step(tgt[:, 0], state)
    for past, sources in zip(state.past, state.sources, strict=True):
        assert (past.so_far()[0].size(1), sources.keys.size(1)) == (2, 2)


def test_all_inner_layers_are_weight_normalised_and_the_tied_table_is_not():
    model = EncoderDecoder(small_config(linear="weight_norm"), V, V)
    blocks = [*model.encoder.blocks, *model.decoder.blocks]
    assert sum(isinstance(module, WeightNormLinear) for block in blocks for module in block.modules()) == 2 * 6 + 3 * 10
    assert not any(isinstance(module, torch.nn.Linear) for block in blocks for module in block.modules())
    assert model.output.weight is model.src_embedding.table.weight


PLACES = {
    "dropout": {"residual", "embedding"},
    "embedding_dropout": {"embedding"},
    "attention_dropout": {"attention"},
    "feedforward_dropout": {"feedforward"},
}


@pytest.mark.parametrize("setting", PLACES)
def test_dropout_by_place(setting):
    model = EncoderDecoder(small_config("transformer", **{setting: 0.5}), V, V)
    found = set()
    for stack in (model.encoder, model.decoder):
        found |= {"embedding"} if stack.dropout.p else set()
        for name, module in stack.blocks.named_modules():
            if getattr(module, "drop", 0):
                found.add(name.rpartition(".")[2].rpartition("_")[2])
    assert found == PLACES[setting]


def test_embeddings_may_be_dropped_less_than_all_else():
    model = EncoderDecoder(small_config(dropout=0.5, embedding_dropout=0.0), V, V)
    assert (model.encoder.dropout.p, model.decoder.dropout.p) == (0, 0)
    assert {module.drop for module in model.modules() if isinstance(module, PostNorm)} == {0.5}
