"""Batches made ahead of time are those of the stream itself, at its own positions."""

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom.config import load_config
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training.ahead import DEPTH, Ahead

COUNT = 3 * DEPTH + 1


@pytest.fixture
def task(tmp_path: Path, toy_settings: dict[str, Any]) -> Translate:
    config = load_config(TranslateConfig, flags=toy_settings)
    return Translate.prepare(config, tmp_path / "data", lambda text: None)


def seen(batches: Any, count: int) -> list[tuple[list[int], dict[str, int]]]:
    """Rows of the next batches, each with the position behind it."""
    return [(batch.rows.tolist(), batches.state_dict()) for batch in itertools.islice(batches, count)]


def test_batches_and_positions_are_those_of_the_stream(task: Translate) -> None:
    assert seen(Ahead(task.training_batches(), pinned=False), COUNT) == seen(task.training_batches(), COUNT)


def test_it_goes_on_where_it_was(task: Translate) -> None:
    whole = seen(task.training_batches(), COUNT)
    again = Ahead(task.training_batches(), pinned=False)
    again.load_state_dict(whole[4][1])
    assert again.state_dict() == whole[4][1]
    assert seen(again, COUNT - 5) == whole[5:]


def test_no_thread_is_left_behind(task: Translate) -> None:
    seen(Ahead(task.training_batches(), pinned=False), 2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_an_error_comes_where_its_batch_would_have_been(task: Translate) -> None:
    class Broken:
        def __iter__(self) -> Any:
            yield from itertools.islice(task.training_batches(), 2)
            raise OSError("the disk is gone")

        def state_dict(self) -> dict[str, int]:
            return {}

    stream = iter(Ahead(Broken(), pinned=False))  # type: ignore[arg-type]
    assert next(stream).num_targets
    assert next(stream).num_targets
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)


def test_a_batch_can_be_made_for_any_device(task: Translate) -> None:
    batch = next(iter(Ahead(task.training_batches(), pinned=False)))
    assert batch.to(torch.device("meta")).real.device.type == "meta"
