"""What a translator's validation costs, and what its answers carry."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from seqloom.config import DecodingConfig, ModelConfig, load_config
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.tasks.translate import Translate, TranslateConfig


@pytest.fixture
def task(toy_settings: dict[str, Any], tmp_path: Path) -> Translate:
    return Translate.prepare(load_config(TranslateConfig, flags=toy_settings), tmp_path / "data", lambda said: None)


class Endless(EncoderDecoder):
    """Says one word again and again; counts its steps."""

    steps = 0

    def step(self, tokens: torch.Tensor, state: Any) -> torch.Tensor:
        self.steps += 1
        logits = super().step(tokens, state)
        return torch.zeros_like(logits).index_fill(1, torch.tensor([300]), 9.0)


def test_a_validation_does_not_wait_for_a_model_that_never_ends(task: Translate) -> None:
    torch.manual_seed(1)
    task_sizes = task.setup.src_tokenizer.vocab_size, task.setup.tgt_tokenizer.vocab_size
    model = Endless(cast(ModelConfig, task.setup.model), *task_sizes)
    assert task.evaluate(model, "valid").scores["bleu"] < 5
    longest = int(task.prepared.valid.tgt.lengths.max())
    assert longest < model.steps < 5 * longest + 10
    assert task.setup.decoding.max_length > 2 * model.steps


def test_answers_tell_whether_they_came_to_their_end(task: Translate) -> None:
    model = Endless(cast(ModelConfig, task.setup.model), *task.setup.vocab_sizes)
    (answer, empty) = task.predict(model, ["1 2", ""], DecodingConfig(beam=2, max_length=5), n_best=2)
    assert answer.finished == [False, False]
    assert empty.finished == [True]
    assert model.steps == 5
