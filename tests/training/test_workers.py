"""Workers that share a batch make the update of one that takes it whole."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom.config import load_config
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training.loop import Meter, Trainer
from seqloom.training.timeline import Timeline
from seqloom.training.workers import Workers
from tests.training.test_loop import Silent
from tests.training.test_run import assert_same, last_weights, run


def trainer(folder: Path, settings: dict[str, Any], workers: int) -> Trainer:
    config = load_config(TranslateConfig, flags=settings)
    task = Translate.prepare(config, folder / "data", lambda text: None)
    timeline = Timeline.of_steps(24)
    return Trainer(
        task, config.training, folder, torch.device("cpu"), torch.float32, timeline, Silent(), workers=workers
    )


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("frozen", [[], ["encoder.*"]])
def test_the_update_is_that_of_the_whole_batch(
    tmp_path: Path, toy_settings: dict[str, Any], workers: int, frozen: list[str]
) -> None:
    settings = {**toy_settings, "model.dropout": 0.0, "training.freeze": frozen}
    whole, shared = (trainer(tmp_path, settings, count) for count in (1, workers))
    for each in (whole, shared):
        each.model.double()
    shared.updates.workers = Workers(shared.model, workers)
    for view in shared.updates.workers._views:
        assert [p.data_ptr() for p in view.parameters()] == [p.data_ptr() for p in shared.model.parameters()]
    for _ in range(3):
        meters = Meter(), Meter()
        for each, meter in zip((whole, shared), meters, strict=True):
            each._update(iter(each.batches), meter)
            each.progress.step += 1
        assert meters[0].tokens == meters[1].tokens
        assert meters[0].loss == pytest.approx(meters[1].loss)
    for (name, a), (_, b) in zip(whole.model.named_parameters(), shared.model.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=name)


def test_their_random_numbers_follow_from_the_state_of_the_run(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    settings = {**toy_settings, "training.workers": 2}
    run(tmp_path / "whole", settings)
    run(tmp_path / "again", settings)
    assert_same(last_weights(tmp_path / "whole"), last_weights(tmp_path / "again"))
    assert json.loads((tmp_path / "whole" / "run.json").read_text(encoding="utf-8"))["workers"] == 2


def test_dropout_differs_between_the_workers(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    shared = trainer(tmp_path, {**toy_settings, "model.dropout": 0.3}, 2)
    assert shared.updates.workers is not None
    batch = next(iter(shared.batches)).parts(2)[0]
    first, second = shared.updates.workers.run(shared.updates.learn_part, [batch, batch])
    assert first.loss != second.loss
