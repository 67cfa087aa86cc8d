"""A run folder stays whole: killed at any moment, on a full disk, damaged, or trained in by two."""

import errno
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from seqloom.errors import ModelFolderError, RunError
from seqloom.tasks.folder import read_model
from seqloom.training.keeping import alone_in
from tests.training.test_run import LATEST, assert_same, last_weights, run, started, wait_for

NO_LOCKS = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")


@NO_LOCKS
def test_a_second_training_in_a_folder_is_refused(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    folder = tmp_path / "run"
    settings = {**toy_settings, "training.steps": 100_000}
    with started(folder, settings) as process:
        wait_for(folder / "log.jsonl", process)
        with pytest.raises(RunError, match=r"run: another process is training in this folder; wait for it or stop it"):
            run(folder, settings)
    with alone_in(folder), pytest.raises(RunError, match="another process is training"), alone_in(folder):
        pass  # the killed one has let go of it
    with alone_in(tmp_path / "new"):
        with pytest.raises(RunError, match="another process is training"), alone_in(tmp_path / "new"):
            pass
        assert (tmp_path / "new").is_dir()  # it is empty still, and the first one's
    assert not (tmp_path / "new").exists()


def test_what_a_killed_training_was_writing_is_removed(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    folder = tmp_path / "run"
    run(folder, toy_settings)
    for name in ("model.new-17", "model.old-17", "previous-model.old-17", "checkpoints/step-6.new-17"):
        (folder / name).mkdir()
        (folder / name / "half").write_text("x")
    run(folder, toy_settings, training__steps=30)
    assert not [*folder.glob("*model.*"), *folder.glob("checkpoints/*.new-*")]


def test_a_fine_tuning_that_could_not_begin_can_be_begun(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]
) -> None:
    start = {**toy_settings, "training.init_from": str(toy_run), "training.steps": 2}
    with pytest.raises(Exception, match="missing"):
        run(tmp_path / "run", start, data__src=[str(tmp_path / "missing")])
    assert (tmp_path / "run" / "origin").is_dir()
    run(tmp_path / "run", start)


def test_a_training_that_cannot_begin_leaves_no_folder(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="missing"):
        run(tmp_path / "run", toy_settings, data__src=[str(tmp_path / "missing")])
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process by prlimit")
def test_a_disk_that_is_full_is_told_of_and_the_run_goes_on(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    import resource

    settings = {**toy_settings, "training.steps": 31}
    run(tmp_path / "whole", settings)
    folder = tmp_path / "run"
    size = (tmp_path / "whole" / "checkpoints" / "step-31" / "optimizer.safetensors").stat().st_size
    with started(folder, settings) as process:
        wait_for(folder / "checkpoints" / "step-6", process)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size - 1, size - 1))
        said = process.communicate(timeout=LATEST)[1]
    assert process.returncode != 0
    assert f"{folder}: cannot be written to (File too large); what was saved before is whole: make room" in said
    assert (folder / "checkpoints" / "step-6").is_dir()
    assert not [*folder.glob("*.new-*"), *folder.glob("checkpoints/*.new-*")]
    run(folder, settings)
    assert_same(last_weights(tmp_path / "whole"), last_weights(folder))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=repr,
)
def test_a_full_disk_is_one_sentence(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(RunError, match=r"run: cannot be written to \(No space left on device\)"),
        alone_in(tmp_path / "run"),
    ):
        raise error


def test_a_folder_that_may_not_be_written_to_is_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    refused = PermissionError(errno.EACCES, "Permission denied", str(folder / "log.jsonl"))
    with pytest.raises(RunError, match=r"run: cannot be written to \(Permission denied\)"), alone_in(folder):
        raise refused
    above = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "runs"))
    inner = tmp_path / "runs" / "run"
    with pytest.raises(RunError, match=r"run: cannot be written to \(Permission denied\)"), alone_in(inner):
        raise above
    elsewhere = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "train.zh"))
    with pytest.raises(PermissionError), alone_in(folder):
        raise elsewhere


@pytest.mark.parametrize("average", [1, 5])
@pytest.mark.parametrize("harm", ["flipped", "truncated", "gone"])
def test_a_model_that_is_damaged_is_made_anew(
    tmp_path: Path, toy_settings: dict[str, Any], caplog: pytest.LogCaptureFixture, harm: str, average: int
) -> None:
    settings = {**toy_settings, "training.average": average}
    run(tmp_path / "run", settings)
    assert not caplog.messages
    weights = tmp_path / "run" / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if harm == "gone":
        shutil.rmtree(weights.parent)
    else:
        content[-3] ^= 4
        weights.write_bytes(content[: -7 if harm == "truncated" else None])
        with pytest.raises(ModelFolderError, match="give the command again that trained it, which makes it anew"):
            read_model(weights.parent)
    earlier = read_model(tmp_path / "run")  # which is what anybody gets until then, and is told of
    assert 0 < earlier.config["training"]["steps"] <= 24
    assert f"the model before it is used, {earlier.path}" in caplog.text
    said = run(tmp_path / "run", settings).said
    assert any("its next validation puts a model there" in line for line in said)
    assert read_model(tmp_path / "run").config["training"]["steps"] == 24
    assert any("finished (24 steps)" in line for line in run(tmp_path / "run", settings).said)


MOMENTS = [
    *((name, 0.0) for name in ("data.new", "data/prepared.json", "run.json", "log.jsonl")),
    *((f"checkpoints/step-{step}", delay) for step in (6, 12, 18, 24, 30) for delay in (0.0, 0.004)),
    *(("model/config.json", delay) for delay in (0.0, 0.003, 0.01, 0.03, 0.1, 0.2)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "delay"), MOMENTS)
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(
    tmp_path: Path, toy_settings: dict[str, Any], moment: str, delay: float
) -> None:
    settings = {**toy_settings, "training.steps": 31, "training.ema": 0.9}
    run(tmp_path / "whole", settings)
    folder = tmp_path / "killed"
    for _ in range(3):  # again, from wherever it had come to
        with started(folder, settings) as process:
            deadline = time.monotonic() + LATEST
            while not (folder / moment).exists() and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.0005)
            time.sleep(delay)
    run(folder, settings)
    assert_same(last_weights(tmp_path / "whole"), last_weights(folder))
    assert_same(read_model(tmp_path / "whole").weights, read_model(folder).weights)
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
