"""One run several times: the seeds differ, nothing else does, and what was made is not made again."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from seqloom.errors import ConfigError, RunError
from seqloom.training.session import train_session
from tests.training.test_run import Quiet, assert_same, last_weights, run


def repeated(folder: Path, settings: dict[str, Any], count: int = 2) -> dict[str, Any]:
    return train_session(folder, "translate", flags=settings, display=Quiet(), repeat=count)


def test_mean_and_spread_of_runs_that_differ_in_their_seed(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    folder = tmp_path / "runs"
    summary = repeated(folder, {**toy_settings, "training.seed": 5})
    assert sorted(path.name for path in folder.iterdir()) == ["repeat.json", "seed-5", "seed-6"]
    run(tmp_path / "alone", toy_settings, training__seed=6)
    assert_same(last_weights(tmp_path / "alone"), last_weights(folder / "seed-6"))
    losses = [each["scores"]["valid"]["valid_loss"] for each in summary["runs"]]
    assert losses[0] != losses[1]
    spread = summary["scores"]["valid"]["valid_loss"]
    assert spread["values"] == losses
    assert (spread["mean"], spread["deviation"]) == (statistics.mean(losses), statistics.stdev(losses))
    assert json.loads((folder / "repeat.json").read_text(encoding="utf-8")) == summary
    assert summary["scores"]["signatures"]["bleu"]
    # One more run keeps the two that there are.
    before = (folder / "seed-5" / "log.jsonl").stat().st_mtime_ns
    assert len(repeated(folder, {**toy_settings, "training.seed": 5}, 3)["runs"]) == 3
    assert (folder / "seed-5" / "log.jsonl").stat().st_mtime_ns == before


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match=r"holds run.json, expected a new folder or one that --repeat has made"):
        repeated(tmp_path, toy_settings)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"--repeat makes its runs one after another in one process; leave torchrun"):
        repeated(tmp_path / "new", toy_settings)
