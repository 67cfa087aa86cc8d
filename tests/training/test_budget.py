"""A budget is kept: first in made-up time, then in real time, then continued and made again."""

import itertools
import json
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqloom.config import DataConfig
from seqloom.errors import RunError
from seqloom.training.budget import CLOSING, Budget
from seqloom.training.checkpoint import checkpoints, read_state, step_of
from seqloom.training.loop import CHECKPOINTS, REVISED_FROM, Trainer
from seqloom.training.run import _timeline
from seqloom.training.timeline import Timeline
from tests.training.test_run import LATEST, assert_same, last_weights, run, started, wait_for

LOOSELY = 5.0
"""Seconds by which a few may be missed on a machine that has other work; how well minutes are kept is measured."""


def simulate(
    seconds: float, trial: float, step: float, drift: float, validation: float, checkpoint: float
) -> tuple[float, float]:
    """The time that a run takes whose steps become slower by ``drift`` over it, and how far its schedule was before
    the last of them; by the trainer's own rules."""
    noise = random.Random(7)
    budget = Budget(seconds, trial)
    timeline = Timeline.by_clock(max(1, budget.last_step(0, 0.0, 0.0, CHECKPOINTS)))
    spent, validated, done, behind = 0.02 * seconds, 0.0, 0, 0.0
    while not timeline.ends(done):
        behind = timeline.progress(done)
        took = step * (1 + drift * spent / seconds) * noise.uniform(0.7, 1.4)
        spent, done = spent + took, done + 1
        budget.step_took(took)
        last = budget.last_step(done, spent, timeline.progress(done), CHECKPOINTS)
        if abs(last - timeline.total) > REVISED_FROM * (timeline.total - done) or last == done:
            timeline.revise(done, last)
        if not timeline.ends(done) and budget.wants_validation(validated, spent, timeline.progress(done)):
            spent, budget.validation_seconds = spent + validation, validation
            validated = spent
        if timeline.part_ends(done, CHECKPOINTS):
            spent, budget.checkpoint_seconds = spent + checkpoint, checkpoint
    return spent + CLOSING * (validation + checkpoint), behind


@settings(deadline=None, max_examples=40)
@given(
    trial=st.floats(0.2, 3.0),
    drift=st.floats(-0.4, 0.6),
    validation=st.floats(0.2, 12.0),
    checkpoint=st.floats(0.05, 2.0),
)
def test_the_end_comes_in_time_whatever_the_trial_said(
    trial: float, drift: float, validation: float, checkpoint: float
) -> None:
    took, behind = simulate(1200, trial * 0.5, 0.5, drift, validation, checkpoint)
    assert took == pytest.approx(1200, rel=0.02)
    assert behind > 0.97  # the rate comes down to zero, and does not break off


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory, toy_settings: dict[str, Any]) -> tuple[Path, float]:
    folder = tmp_path_factory.mktemp("clocked") / "run"
    begun = time.perf_counter()
    run(folder, without_length(toy_settings), training__budget="6s")
    return folder, time.perf_counter() - begun


def without_length(toy_settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in toy_settings.items() if key not in ("training.steps", "training.epochs")}


def test_a_run_takes_its_budget(clocked: tuple[Path, float]) -> None:
    folder, took = clocked
    assert took == pytest.approx(6, abs=LOOSELY)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert records[-1]["seconds"] == pytest.approx(took, rel=0.2)
    steps = [record for record in records if "loss" in record]
    learning = sum(b["tokens"] - a["tokens"] for a, b in itertools.pairwise(steps)) / sum(
        (b["tokens"] - a["tokens"]) / b["tokens_per_second"] for a, b in itertools.pairwise(steps)
    )
    assert 0.3 < learning * steps[-1]["seconds"] / steps[-1]["tokens"] < 5  # the pauses between are no part of it
    rates = [record["learning_rate"] for record in records if "learning_rate" in record]
    assert rates[-1] < 0.5 * max(rates)  # where the end comes sooner than was foreseen it is not zero yet


def test_the_plan_makes_the_same_run_again(
    clocked: tuple[Path, float], tmp_path: Path, toy_settings: dict[str, Any]
) -> None:
    run(tmp_path / "again", without_length(toy_settings), training__replay=str(clocked[0]))
    assert_same(last_weights(clocked[0]), last_weights(tmp_path / "again"))
    steps = [[path.name for path in checkpoints(folder / "checkpoints")] for folder in (clocked[0], tmp_path / "again")]
    assert steps[0] == steps[1]
    validations = [scores(clocked[0]), scores(tmp_path / "again")]
    assert validations[0] == validations[1]
    assert len({step for step, *_ in validations[0]}) > 1


def scores(folder: Path) -> list[tuple[int, float, float]]:
    """Of each validation its step, BLEU and loss."""
    records = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return [(record["step"], record["bleu"], record["valid_loss"]) for record in records if "bleu" in record]


def test_a_plan_has_all_settings_and_wants_the_same_data(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    settings = without_length(toy_settings)
    own = {"training__seed": 7, "model__dropout": 0.31, "training__budget": "3s"}
    run(tmp_path / "first", settings, **own)
    files = {key: value for key, value in settings.items() if key.split(".")[1] in DataConfig.FILES}
    run(tmp_path / "again", files, training__replay=str(tmp_path / "first" / "plan.json"))
    assert_same(last_weights(tmp_path / "first"), last_weights(tmp_path / "again"))
    other = {**files, "data.src": files["data.tgt"], "data.tgt": files["data.src"]}
    with pytest.raises(RunError, match=r"first: is the plan of a run with other data; give the same files"):
        run(tmp_path / "other", other, training__replay=str(tmp_path / "first"))


def test_a_run_by_steps_goes_on_by_the_clock(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    run(tmp_path / "run", toy_settings)
    begun = time.perf_counter()
    spent = read_state(checkpoints(tmp_path / "run" / "checkpoints")[-1])["seconds"]
    run(tmp_path / "run", without_length(toy_settings), training__budget=f"{spent + 4:.2f}s")
    assert time.perf_counter() - begun == pytest.approx(4, abs=LOOSELY)
    state = read_state(checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert state["timeline"]["validations"][-1] == state["step"] > 24
    assert (tmp_path / "run" / "plan.json").is_file()


def test_the_scores_at_the_end_have_their_time() -> None:
    left = [Budget(100.0, 0.1, closing, validation_seconds=3.0).last_step(0, 0.0, 0.0, 0) for closing in (2, 3)]
    assert left[0] - left[1] == 30


def test_more_time_goes_on_from_before_the_decay(
    clocked: tuple[Path, float], tmp_path: Path, toy_settings: dict[str, Any]
) -> None:
    folder = shutil.copytree(clocked[0], tmp_path / "run")
    state = read_state(checkpoints(folder / "checkpoints")[-1])
    assert 0 < state["before_decay"] < state["step"]
    spent = read_state(folder / "checkpoints" / f"step-{state['before_decay']}")["seconds"]
    begun = time.perf_counter()
    said = run(folder, without_length(toy_settings), training__budget="9s").said
    assert any(f"Going back to step {state['before_decay']:,}" in line for line in said)
    took = time.perf_counter() - begun
    assert took == pytest.approx(9 - spent, abs=LOOSELY)
    assert read_state(checkpoints(folder / "checkpoints")[-1])["seconds"] == pytest.approx(spent + took, abs=1)
    said = run(folder, without_length(toy_settings), training__budget="9s").said
    assert any("This run is finished" in line for line in said)
    with pytest.raises(
        RunError, match=r"has taken 0:0\d already, more than the 0:0\d asked for; give a larger --budget"
    ):  # although the rate began to fall before
        run(folder, without_length(toy_settings), training__budget=f"{spent + 1:.1f}s")


def interrupted(folder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, updates: int) -> None:
    """Goes on with a run and asks it to stop after so many updates; before the first one it is killed."""
    update, made = Trainer._update, itertools.count(1)

    def counted(trainer: Trainer, *given: Any) -> None:
        if trainer.budget is not None and not updates:
            raise KeyboardInterrupt
        update(trainer, *given)
        if trainer.budget is not None and next(made) == updates:  # a trial before the run has none
            trainer._stopping = True

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", counted)
        with pytest.raises(KeyboardInterrupt):
            run(folder, settings)


def test_a_longer_run_that_is_stopped_goes_on_from_there(
    clocked: tuple[Path, float], tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(clocked[0], tmp_path / "run")
    mine = shutil.copytree(checkpoints(folder / "checkpoints")[0], folder / "checkpoints" / "keep-this")
    before = read_state(checkpoints(folder / "checkpoints")[-1])
    longer = {**without_length(toy_settings), "training.budget": "9s"}
    interrupted(folder, longer, monkeypatch, 0)  # killed before it has saved anything
    assert read_state(checkpoints(folder / "checkpoints")[-1]) == before
    interrupted(folder, longer, monkeypatch, 3)  # before the step at which the shorter run had ended
    stopped = before["before_decay"] + 3
    assert [step_of(path) for path in checkpoints(folder / "checkpoints")][-1] == stopped < before["step"]
    said = run(folder, longer).said
    assert any(f"Resuming at step {stopped:,} of about" in line for line in said)
    assert read_state(checkpoints(folder / "checkpoints")[-1])["finished"]
    assert (mine / "state.json").is_file()  # what is the user's stays


def test_without_a_length_a_run_is_as_long_as_before(
    clocked: tuple[Path, float], tmp_path: Path, toy_settings: dict[str, Any]
) -> None:
    folder = shutil.copytree(clocked[0], tmp_path / "run")
    said = run(folder, without_length(toy_settings)).said
    assert any("This run is finished" in line for line in said)


def test_an_early_stop_does_not_bring_the_end_nearer(
    tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing took long, and each step little: what a step took before is known in the next life."""
    settings = {**without_length(toy_settings), "training.budget": "60s"}
    interrupted(tmp_path / "run", settings, monkeypatch, 2)
    (path,) = checkpoints(tmp_path / "run" / "checkpoints")
    state = read_state(path)
    assert 0 < state["step_seconds"] < 2
    late = {**state, "seconds": 30.0}
    timeline, budget = Timeline(**state["timeline"]), Budget(60.0, 0.0)
    again = _timeline({"seconds": 60.0}, (path, late), None, budget)
    assert again.as_dict() == timeline.as_dict()
    assert budget.last_step(2, 30.0, 0.0, CHECKPOINTS) > 2 + 10 / state["step_seconds"]


def test_a_model_that_was_validated_after_the_last_checkpoint_is_not_forgotten(
    clocked: tuple[Path, float], tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(clocked[0], tmp_path / "run")
    last, about = checkpoints(folder / "checkpoints")[-1], folder / "model" / "config.json"
    state, model = (json.loads(path.read_text(encoding="utf-8")) for path in (last / "state.json", about))
    state |= {"finished": False, "best": 1.0, "best_step": 1}
    (last / "state.json").write_text(json.dumps(state), encoding="utf-8")
    known: list[float] = []
    monkeypatch.setattr(Trainer, "run", lambda trainer: known.append(trainer.progress.best))
    run(folder, without_length(toy_settings), training__budget="6s")
    assert known == [model["scores"]["valid"]["bleu"]]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows delivers no SIGINT to one process")
def test_time_in_which_the_run_is_down_does_not_count(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    settings = {**without_length(toy_settings), "training.budget": "6s"}
    with started(tmp_path / "run", settings) as process:
        wait_for(tmp_path / "run" / "log.jsonl", process)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LATEST)
    spent = read_state(checkpoints(tmp_path / "run" / "checkpoints")[-1])["seconds"]
    time.sleep(1)
    begun = time.perf_counter()
    said = run(tmp_path / "run", settings).said
    assert any(line.startswith("Resuming at step") and "of about" in line for line in said)
    took = time.perf_counter() - begun
    assert took == pytest.approx(6 - spent, abs=LOOSELY)
    assert read_state(checkpoints(tmp_path / "run" / "checkpoints")[-1])["seconds"] == pytest.approx(
        spent + took, abs=1
    )


def test_a_budget_that_preparing_uses_up(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="the budget of 0:00 was over when the data was prepared; give more time"):
        run(tmp_path / "run", without_length(toy_settings), training__budget="0.001s")
