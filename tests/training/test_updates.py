"""What a device needs of an update: one program for all lengths."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from seqloom.config import load_config
from seqloom.tasks.translate import Translate, TranslateConfig

SHAPES = [(7, 11, 13), (5, 19, 17), (3, 23, 29), (11, 5, 7), (2, 31, 31), (13, 17, 3), (6, 12, 37), (9, 16, 16)]
"""Rows, source and target tokens of batches."""


@pytest.fixture
def task(tmp_path: Path, toy_settings: dict[str, Any]) -> Translate:
    config = load_config(TranslateConfig, flags={**toy_settings, "model.dropout": 0.0})
    return Translate.prepare(config, tmp_path / "data", lambda text: None)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own, while it traces
def test_one_program_serves_batches_of_all_shapes(task: Translate) -> None:
    """Tracing alone: what a compiler makes of the graph is its own affair."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(1)
    plain, fused = task.build_model(), task.build_model()
    fused.load_state_dict(plain.state_dict())
    for stack in task.stacks(fused):
        stack.compile(dynamic=True, backend="eager")
    vocab = task.setup.src_tokenizer.vocab_size
    for rows, source, target in SHAPES:
        src, tgt, targets = (torch.randint(3, vocab, (rows, length)) for length in (source, target, target))
        mask = torch.arange(source) < torch.randint(1, source + 1, (rows, 1))
        gradients = []
        for model in (plain, fused):
            model.zero_grad()
            model.loss(src, tgt, targets, mask, torch.arange(rows * target)).backward()
            gradients.append([p.grad for p in model.parameters()])
        torch.testing.assert_close(*gradients)
    # One for each stack, and one more of each for attention to less keys than a vector register holds.
    assert counters["stats"]["unique_graphs"] <= 6
    assert not counters["graph_break"]


def test_the_stacks_hold_nearly_all_of_a_model(task: Translate) -> None:
    model = task.build_model()
    inside = {id(p) for stack in task.stacks(model) for p in stack.parameters()}
    outside = {name for name, p in model.named_parameters() if id(p) not in inside}
    assert outside == {"src_embedding.table.weight"}
