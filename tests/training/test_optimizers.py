"""Which weights an optimizer decays, and which it orthogonalises."""

from typing import Any

import pytest
import torch

from seqloom.config import TrainingConfig
from seqloom.training.optimizers import OPTIMIZERS
from tests.models.configs import small_model

PARTS: dict[str, Any] = {"positions": "learned", "max_positions": 13, "tied_embeddings": "none", "output_bias": True}
TABLES = {"src_embedding.table.weight", "tgt_embedding.table.weight", "output.weight"}


def is_matrix(name: str) -> bool:
    return name.endswith(".weight") and ".norm." not in name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_matrices_alone_decay(name: str) -> None:
    """Where no gradient is, nothing but decay moves a weight."""
    model = small_model(**PARTS)
    before = {each: weight.detach().clone() for each, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    for optimizer in OPTIMIZERS[name](model, TrainingConfig(learning_rate=0.1, weight_decay=0.5)):
        optimizer.step()
    after = dict(model.named_parameters())
    decayed = {each for each in before if not torch.equal(before[each], after[each])}
    assert decayed == ({each for each in before if is_matrix(each)} if name != "adam" else set())
    for each in decayed:
        torch.testing.assert_close(after[each], 0.95 * before[each])


def test_muon_takes_the_matrices_inside_the_stack() -> None:
    model = small_model(**PARTS)
    names = {id(weight): each for each, weight in model.named_parameters()}
    model.decoder.requires_grad_(False)
    muon, adamw = OPTIMIZERS["muon"](model, TrainingConfig())
    taken, rest = (
        {names[id(weight)] for group in optimizer.param_groups for weight in group["params"]}
        for optimizer in (muon, adamw)
    )
    inside = {each for each in names.values() if each.startswith("encoder.blocks.")}
    assert taken == {each for each in inside if is_matrix(each)}
    trained = {each for each in names.values() if not each.startswith("decoder.")}
    assert rest == trained - taken
    assert rest >= TABLES
