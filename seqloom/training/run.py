"""A run folder from start to finish: start, resume, continue, and nothing else.

run.json       settings, versions and the key of the data: what a resumed run must match
data/          the prepared corpus
checkpoints/   see :mod:`seqloom.training.checkpoint`
model/         the best model so far, whole at every moment
log.jsonl      one object a line           tensorboard/   the same as curves
"""

import contextlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from seqloom.config import DataConfig, Section, TrainingConfig
from seqloom.errors import ModelFolderError, RunError
from seqloom.tasks.folder import read_config
from seqloom.tasks.task import Task
from seqloom.training.checkpoint import latest_whole
from seqloom.training.log import Display
from seqloom.training.loop import Trainer
from seqloom.training.process import choose_precision, environment

PASSES, FEWEST_STEPS = 20, 1_000
"""Of a run whose length is not given: fewer updates teach no model anything, however small the corpus."""

BEFORE_THE_FIRST_STEP = {"data", "data.new", "run.json.new"}
"""All that a run killed before its run.json was in place can have left."""

MAY_CHANGE = {"training.steps", "training.epochs", *(f"data.{key}" for key in DataConfig.FILES)}
"""A larger total is the only change allowed to a run. Of files the contents count, not the place."""


def train(task_class: type[Task], config: Any, folder: Path, device: torch.device, display: Display) -> dict[str, Any]:
    """Starts a run, resumes it, or says that it is finished; returns a summary.

    Raises:
        RunError: if the folder holds something else, or a run with other settings or data.
    """
    earlier = _read_run(folder)
    found = latest_whole(folder / "checkpoints", display.say)
    if earlier is not None:
        _require_same(folder, earlier, task_class, config)
        if found and earlier["data_key"] != task_class.data_key(config):
            raise RunError(
                f"{folder}: the data has changed since this run was started; start a new run in another folder"
            )
    try:
        task = task_class.prepare(config, folder / "data", display.say)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()  # nothing came of it: leave no empty folder behind
        raise
    display.say(f"Run folder: {folder}")
    training: TrainingConfig = config.training
    total = _steps_for(task, training)
    about = earlier or {
        "task": task.name,
        "precision": str(choose_precision(training.precision, device)).removeprefix("torch."),
        "seqloom": version("seqloom"),
        "environment": environment(),
    }
    if found and found[1]["step"] > total:
        raise RunError(
            f"{folder}: has made {found[1]['step']:,} steps already, more than the {total:,} asked for; "
            f"give a larger --steps"
        )
    if found and found[1].get("finished") and found[1]["total"] == total:
        display.say(f"This run is finished ({total:,} steps). Give a larger --steps to continue it.")
        return summary(folder)
    about |= {"config": config.model_dump(mode="json"), "data_key": task_class.data_key(config), "total": total}
    write_json(folder / "run.json", about)
    trainer = Trainer(task, training, folder, device, getattr(torch, about["precision"]), total, display)
    if found:
        trainer.resume(*found)
    trainer.run()
    return summary(folder)


def summary(folder: Path) -> dict[str, Any]:
    """The scores and the place of the best model of a run."""
    config = read_config(folder)
    return {"run": str(folder), "model": str(folder / "model"), **config["training"], "scores": config["scores"]}


def _steps_for(task: Task, training: TrainingConfig) -> int:
    if training.steps:
        return training.steps
    updates = len(task.training_batches().plan(0)) / training.accumulate
    if training.epochs:
        return max(1, round(training.epochs * updates))
    return max(FEWEST_STEPS, round(PASSES * updates))


def _read_run(folder: Path) -> dict[str, Any] | None:
    path = folder / "run.json"
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise RunError(f"{folder}: is a file, expected a folder for the run or a new name")
    if not path.exists():
        others = sorted(p.name for p in folder.iterdir() if p.name not in BEFORE_THE_FIRST_STEP)
        if others:
            raise RunError(
                f"{folder}: is not empty and not a run (it holds {others[0]}); "
                f"give a new folder, nothing is overwritten"
            )
        return None
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = about["task"], about["config"], about["precision"], about["data_key"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error!r}); the run cannot be resumed, start a new one") from None
    return about


def _require_same(folder: Path, earlier: dict[str, Any], task_class: type[Task], config: Section) -> None:
    if earlier["task"] != task_class.name:
        raise RunError(f"{folder}: is a run of the task {earlier['task']}, not {task_class.name}; give another folder")
    now = config.model_dump(mode="json")
    changed = [
        f"{section}.{key} was {earlier['config'].get(section, {}).get(key)!r} and is {value!r}"
        for section, table in now.items()
        for key, value in table.items()
        if f"{section}.{key}" not in MAY_CHANGE and earlier["config"].get(section, {}).get(key) != value
    ]
    if changed:
        raise RunError(
            f"{folder}: this run was started with other settings ({'; '.join(changed)}); "
            f"give the same ones to resume it, or another folder for a new run"
        )


def write_json(path: Path, value: Any) -> None:
    """Writes a small file whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def has_model(folder: Path) -> bool:
    """Whether the run has a model to use by now."""
    try:
        read_config(folder)
    except ModelFolderError:
        return False
    return True
