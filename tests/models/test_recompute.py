"""Calculated again on the way back, a layer has the same gradients, and keeps less."""

import copy

import pytest
import torch
from torch import Tensor, nn

from seqloom.config import ModelConfig
from seqloom.layers.dropout import Dropout, random_from
from seqloom.layers.positions import POSITIONS
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.recompute import layers_of, recompute

B, S, T, V = 3, 5, 7, 23
SIZES = {"d_model": 34, "d_ff": 67, "num_heads": 2, "num_layers": 2, "dropout": 0.3}


def gradients(model: EncoderDecoder, generator: torch.Generator | None) -> dict[str, Tensor]:
    torch.manual_seed(2)
    src, tgt, targets = (torch.randint(V, size) for size in ((B, S), (B, T), (B, T)))
    src_mask = torch.arange(S) < torch.tensor([[5], [3], [2]])
    model.zero_grad()
    model.loss(src, tgt, targets, src_mask, torch.arange(B * T), 0.1, random=generator).backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("own_generator", [True, False])
def test_gradients_are_the_same_to_the_bit(own_generator: bool, positions: str) -> None:
    torch.manual_seed(1)
    sizes = {**SIZES, "d_model": 36} if positions == "rotary" else SIZES
    model = EncoderDecoder(ModelConfig.model_validate({**sizes, "positions": positions}), V, V)
    again = copy.deepcopy(model)
    layers = layers_of([again.encoder, again.decoder])
    assert layers == [*again.encoder.blocks, *again.decoder.blocks]
    recompute(layers)
    again = copy.deepcopy(again)  # as each worker does
    found = [gradients(each, torch.Generator().manual_seed(3) if own_generator else None) for each in (model, again)]
    assert found[0].keys() == found[1].keys()
    without = {name for name, _ in model.named_parameters()} - found[0].keys()
    assert not without or (positions == "random" and all("positions.table" in name for name in without))
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name
    assert any(gradient.any() for gradient in found[1].values())


def test_only_inputs_are_kept() -> None:
    layer = nn.Sequential(*(nn.Sequential(nn.Linear(13, 13), nn.Tanh(), Dropout(0.5)) for _ in range(7)))
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    sizes = []
    for again in (False, True):
        layers = nn.ModuleList([copy.deepcopy(layer)])
        if again:
            recompute(layers)
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), random_from(torch.Generator()):
            layers[0](torch.ones(11, 13, requires_grad=True))
        sizes.append(sum(kept))
    assert sizes[1] <= 11 * 13 < sizes[0]


def test_without_gradients_nothing_changes() -> None:
    layers = nn.ModuleList([nn.Linear(5, 3)])
    x = torch.ones(2, 5)
    expected = layers[0](x)
    recompute(layers)
    with torch.no_grad():
        assert torch.equal(layers[0](x), expected)
