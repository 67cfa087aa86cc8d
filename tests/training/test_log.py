"""What a run tells is seen: as a bar on a terminal, as curves and tables in TensorBoard."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqloom.tasks.task import Evaluation, Sample
from seqloom.tasks.translate import Translate
from seqloom.training.log import BarDisplay, RunLog
from seqloom.training.session import train_session


def test_a_bar_tells_how_far_and_how_good_a_run_is(
    tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Evaluation({"valid_loss": 1.0, "bleu": 7.3}, headline="BLEU 7.3")
    monkeypatch.setattr(Translate, "evaluate", lambda *about: found)
    screen = StringIO()
    display = BarDisplay(Console(file=screen, force_terminal=True, width=200))
    train_session(tmp_path / "run", "translate", flags=toy_settings, display=display)
    bar = [line for line in screen.getvalue().splitlines() if "24/24" in line][-1]
    for part in ("loss ", "rate ", "tokens/s", "data wait", "best BLEU 7.3", "0:00 left"):
        assert part in bar, part
    assert "Run folder: " in screen.getvalue()


def test_tensorboard_has_curves_and_sample_answers(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0)
    for step in (3, 5):
        log.write({"step": step, "loss": step / 2, "name": "x"})
    log.samples(5, [Sample("a|b", "its reference", "the answer")])
    log.close()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert board.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [(3, 1.5), (5, 2.5)]
    (event,) = board.Tensors("samples/text_summary")
    assert event.step == 5
    (table,) = (text.decode() for text in event.tensor_proto.string_val)
    assert table.splitlines()[0] == "| source | translation | reference |"
    assert table.splitlines()[2] == "| a\\|b | the answer | its reference |"
