"""What a translator's validation says and costs, and what its answers carry."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from seqloom.config import DecodingConfig, ModelConfig, load_config
from seqloom.data.batch import collate
from seqloom.data.batching import sample_rows
from seqloom.decoding.decode import Sources
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.tasks.translate import Translate, TranslateConfig


@pytest.fixture
def task(toy_settings: dict[str, Any], tmp_path: Path) -> Translate:
    return Translate.prepare(load_config(TranslateConfig, flags=toy_settings), tmp_path / "data", lambda said: None)


@pytest.mark.parametrize("validation_pairs", [7, None])
def test_a_validation_holds_each_answer_against_its_own_reference(
    task: Translate, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, validation_pairs: int | None
) -> None:
    """Whatever order the pairs come in: a model that says every reference has them all right."""
    corpus = task.prepared.valid
    references = {tuple(corpus.src[row].tolist()): corpus.tgt[row].tolist() for row in range(len(corpus))}
    seen: list[tuple[int, ...]] = []

    def oracle(model: Any, sources: Sources, *about: Any) -> list[list[Hypothesis]]:
        asked = [tuple(ids[mask].tolist()[:-1]) for ids, mask in zip(sources.ids, sources.mask, strict=True)]
        seen.extend(asked)
        return [[Hypothesis(references[src], 0.0, 0.0)] for src in asked]

    monkeypatch.setattr("seqloom.tasks.translate.decode", oracle)
    flags = {**toy_settings, "training.validation_pairs": validation_pairs, "data.batch_tokens": 41}
    task = task.reconfigured(load_config(TranslateConfig, flags=flags))
    model = task.build_model()
    found = task.evaluate(model, "valid")
    rows = sample_rows(len(corpus), validation_pairs)
    assert sorted(seen) == sorted(tuple(corpus.src[row].tolist()) for row in rows)
    assert len(set(seen)) == (validation_pairs or 31)
    assert found.scores["bleu"] == pytest.approx(100)
    assert found.scores["chrf"] == pytest.approx(100)
    assert found.headline == "BLEU 100.0"
    assert model.training
    model.eval()
    with torch.inference_mode():
        losses = [task._loss(model, collate(corpus, row[None])) for row in rows]
    assert found.scores["valid_loss"] == pytest.approx(
        sum(float(loss.sum) for loss in losses) / sum(loss.count for loss in losses), rel=1e-4
    )
    sides = [Path(toy_settings[f"data.valid_{side}"][0]).read_text(encoding="utf-8") for side in ("src", "tgt")]
    pairs = dict(zip(*(side.splitlines() for side in sides), strict=True))
    assert [sample.answer for sample in found.samples] == [pairs[sample.source] for sample in found.samples]
    assert [sample.reference for sample in found.samples] == [sample.answer for sample in found.samples]
    assert len(found.samples) == 5


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
