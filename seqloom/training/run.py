"""A run folder from start to finish: start, resume, continue, and nothing else.

run.json       settings, versions and the key of the data: what a resumed run must match
plan.json      of a run by the clock: what was chosen and when it ended, to make it again by steps
data/          the prepared corpus
checkpoints/   see :mod:`seqloom.training.checkpoint`
model/         the best model so far, whole at every moment
log.jsonl      one object a line           tensorboard/   the same as curves
"""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from seqloom.config import Section, TrainingConfig
from seqloom.errors import ConfigError, ModelFolderError, RunError, shown
from seqloom.files import links_out, read_json, write_text
from seqloom.tasks.folder import ModelFolder, read_config, read_model
from seqloom.tasks.plan import Plan
from seqloom.tasks.task import Task
from seqloom.training.budget import Budget
from seqloom.training.checkpoint import latest_whole, path_of, read_state
from seqloom.training.distributed import Processes, joined
from seqloom.training.keeping import alone_in
from seqloom.training.log import Display, Silent, clock
from seqloom.training.loop import CHECKPOINTS, Trainer
from seqloom.training.planning import Trial
from seqloom.training.process import choose_precision, could_be_faster, environment, missed
from seqloom.training.timeline import Timeline

PASSES, FEWEST_STEPS = 20, 1_000
"""Of a run whose length is not given: fewer updates teach no model anything, however small the corpus."""

BEFORE_THE_FIRST_STEP = {"data", "data.new", "run.json.new"}
"""All that a run killed before its run.json was in place can have left."""

PRECISIONS = ("float32", "bfloat16")

Configured = Callable[[Mapping[str, Any]], Any]
"""Defaults by ``section.key``, which whatever the user gave overrides -> a config."""


def train(
    task_class: type[Task],
    configured: Configured,
    folder: Path,
    device: torch.device,
    display: Display,
    started: float | None = None,
) -> dict[str, Any]:
    """Starts a run, resumes it, continues it, or says that it is finished; returns a summary.

    Raises:
        RunError: if the folder holds something else, or a run with other settings or data; if another process
            trains there, or nothing can be written there.
    """
    started = time.perf_counter() if started is None else started
    with joined(device) as (processes, device):
        if not processes.first:
            return _follow(task_class, configured, folder, device, processes)
        read_run(folder)  # nothing is made in a folder of something else
        with alone_in(folder):
            return _train(task_class, configured, folder, device, display, started, processes)


def _follow(
    task_class: type[Task], configured: Configured, folder: Path, device: torch.device, processes: Processes
) -> dict[str, Any]:
    """What a process does that has another one decide."""
    news = processes.told()
    if news["finished"]:
        return summary(folder)
    about, found = news["about"], news["found"]
    plan, display = Plan(**about["plan"]), Silent()
    config = configured(plan.settings)
    task = task_class.prepare(config, folder / "data", display.say)
    dtype = getattr(torch, about["precision"])
    timeline = Timeline(**news["timeline"])
    origin = None if found else _origin(task_class, config.training)
    trainer = Trainer(
        task,
        config.training,
        folder,
        device,
        dtype,
        timeline,
        display,
        origin=origin,
        workers=about["workers"],
        processes=processes,
    )
    if found:
        trainer.resume(Path(found[0]), found[1])
    trainer.run()
    return summary(folder)


def _train(
    task_class: type[Task],
    configured: Configured,
    folder: Path,
    device: torch.device,
    display: Display,
    started: float,
    processes: Processes,
) -> dict[str, Any]:
    earlier = read_run(folder)
    require_no_links(folder)
    found = _with_model(folder, latest_whole(folder / "checkpoints", display.say), display)
    plan = Plan(**earlier["plan"]) if earlier else Plan()
    config = configured(plan.settings)
    if processes.count > 1 and config.training.budget:
        raise ConfigError("a budget is that of one process, got several; give --steps")
    replayed = _read_plan(config.training) if config.training.replay else None
    if earlier is not None:
        _require_same(folder, earlier, task_class, config)
        if found and earlier["data_key"] != task_class.data_key(config):
            raise RunError(
                f"{folder}: the data has changed since this run was started; start a new run in another folder"
            )
    origin = None if found else _origin(task_class, config.training)
    planning = bool(config.training.budget and not earlier and not replayed)
    if not earlier:
        plan = Plan(replayed["settings"], [f"as in {config.training.replay}"]) if replayed else Plan()
        plan += task_class.plan_data(config) if planning else Plan()
        plan += task_class.plan_start(origin) if origin else Plan()
        config = configured(plan.settings)
    task = task_class.prepare(config, folder / "data", display.say)
    display.say(f"Run folder: {folder}")
    about = earlier or {
        "task": task.name,
        "precision": str(choose_precision(config.training.precision, device)).removeprefix("torch."),
        "environment": environment(),
    }
    dtype = getattr(torch, about["precision"])
    trial = Trial(folder, device, dtype, display)
    if planning:
        left = config.training.budget - (time.perf_counter() - started)
        if left <= 0:
            raise RunError(
                f"the budget of {clock(config.training.budget)} was over when the data was prepared; give more time"
            )
        plan += trial.plan(task, lambda settings: configured({**plan.settings, **settings}), left)
        config = configured(plan.settings)
        task = task.reconfigured(config)
        for reason in plan.reasons:
            display.say(f"Plan: {reason}.")
    if not earlier:
        about["workers"] = config.training.workers or (1 if processes.count > 1 else trial.workers(task, config))
    pace = trial.step_seconds(task, config, about["workers"]) if config.training.budget and not found else 0.0
    length = _length(task, config.training, replayed)
    if earlier and found:
        found = _continued(folder, found, earlier, length, display)
        if found is None:
            processes.tell({"finished": True})
            return summary(folder)
    about |= {
        "config": config.model_dump(mode="json"),
        "data_key": task_class.data_key(config),
        "plan": dataclasses.asdict(plan),
        "length": length,
    }
    write_json(folder / "run.json", about)
    budget = Budget(config.training.budget, pace) if config.training.budget and not replayed else None
    timeline = _timeline(length, found, replayed, budget)
    processes.tell(
        {
            "finished": False,
            "about": about,
            "found": found and [str(found[0]), found[1]],
            "timeline": timeline.as_dict(),
        }
    )
    trainer = Trainer(
        task,
        config.training,
        folder,
        device,
        dtype,
        timeline,
        display,
        budget,
        started,
        origin,
        about["workers"],
        processes,
        {**environment(), "precision": about["precision"], "recipe": _recipe(config)},
    )
    if found:
        trainer.resume(*found)
        display.say(f"Resuming at step {trainer.progress.step:,} of {'about ' if budget else ''}{timeline.total:,}.")
    if hints := missed(device):
        display.say(could_be_faster(hints))
    try:
        trainer.run()
    finally:
        if timeline.validations is not None:
            settings = plan.settings | {f"training.{key}": about[key] for key in ("precision", "workers")}
            write_json(folder / "plan.json", {"settings": settings, "timeline": timeline.as_dict()})
    return summary(folder)


def _origin(task_class: type[Task], training: TrainingConfig) -> ModelFolder | None:
    """The trained model to start from, if there is one."""
    if not training.init_from:
        return None
    origin = read_model(Path(training.init_from))
    if origin.config["task"] != task_class.name:
        raise ConfigError(
            f"training.init_from: {origin.path} is a model for the task {shown(origin.config['task'])}, expected one "
            f"for {task_class.name}"
        )
    return origin


def _recipe(config: Section) -> dict[str, Any]:
    """The settings that a model does not state itself, but for the files of this machine that the data was in."""
    return {
        name: section.model_dump(mode="json", exclude=set(section.FILES))
        for name, section in config
        if name in ("data", "training")
    }


def _with_model(
    folder: Path, found: tuple[Path, dict[str, Any]] | None, display: Display
) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from; one without a best score where the model that had it is not whole any more."""
    if found is None or found[1]["best"] is None:
        return found
    try:
        read_model(folder)
    except ModelFolderError as error:
        display.say(f"{error}. The run goes on without it; its next validation puts a model there.")
        return found[0], {**found[1], "best": None, "finished": False}
    return found


def _length(task: Task, training: TrainingConfig, replayed: dict[str, Any] | None) -> dict[str, Any]:
    """How long the run is to be: one of seconds and steps."""
    if replayed:
        return {"steps": Timeline(**replayed["timeline"]).total}
    return {"seconds": training.budget} if training.budget else {"steps": _steps_for(task, training)}


def _timeline(
    length: dict[str, Any],
    found: tuple[Path, dict[str, Any]] | None,
    replayed: dict[str, Any] | None,
    budget: Budget | None,
) -> Timeline:
    if replayed:
        return Timeline(**replayed["timeline"])
    if budget is None:
        return Timeline.of_steps(length["steps"])
    if found is None:
        return Timeline.by_clock(max(1, budget.last_step(0, 0.0, 0.0, CHECKPOINTS)))
    state = found[1]
    step, spent = state["step"], state["seconds"]
    timeline = Timeline(**state["timeline"])
    budget.step_seconds = spent / max(1, step)
    if state.get("continued"):
        last = max(step + 1, budget.last_step(step, spent, spent / budget.seconds, CHECKPOINTS))
        timeline.revise(step, last, progress=spent / budget.seconds)
    return timeline


def _continued(
    folder: Path, found: tuple[Path, dict[str, Any]], earlier: dict[str, Any], length: dict[str, Any], display: Display
) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from; None if the run is finished."""
    path, state = found
    if earlier["length"] == length:
        if state["finished"]:
            display.say(f"This run is finished ({state['step']:,} steps). Give more steps or time to continue it.")
            return None
        return found
    before = path_of(path.parent, state["before_decay"])
    if 0 < state["before_decay"] < state["step"] and before.exists():
        best = {key: state[key] for key in ("best", "best_step")}
        path, state = before, {**read_state(before), **best}
        display.say(f"Going back to step {state['step']:,}, where the rate began to fall, for a longer run.")
    spent = ("seconds", state["seconds"], clock) if "seconds" in length else ("steps", state["step"], "{:,}".format)
    unit, used, shown = spent
    if used > length[unit]:
        raise RunError(
            f"{folder}: has taken {shown(used)} {'' if unit == 'seconds' else unit + ' '}already, more than the "
            f"{shown(length[unit])} asked for; give a larger {'--budget' if unit == 'seconds' else '--steps'}"
        )
    return path, {**state, "finished": False, "continued": True, "worse_validations": 0}


def _read_plan(training: TrainingConfig) -> dict[str, Any]:
    """The plan that an earlier run has written down."""
    path = Path(training.replay)
    path = path / "plan.json" if path.is_dir() else path
    try:
        plan: dict[str, Any] = read_json(path)
        if Timeline(**plan["timeline"]).total < 1:
            raise ValueError("it has no steps")
        _ = plan["settings"].items()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path}: is not the plan of a run ({shown(error, 200)}); expected the plan.json that a run with --budget "
            f"writes"
        ) from None
    if training.budget or training.steps or training.epochs:
        raise RunError(f"{path} says how long the run is to be; leave out --budget, --steps and training.epochs")
    return plan


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


def read_run(folder: Path) -> dict[str, Any] | None:
    """The run.json of a run folder; None where there is no run, but may be one.

    Raises:
        RunError: if the folder holds something else.
    """
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
        about: dict[str, Any] = read_json(path)
        _ = about["task"], about["data_key"]
        plan = Plan(**about["plan"])
        _ = plan.settings.items(), [table.items() for table in about["config"].values()], [*plan.reasons]
        if about["precision"] not in PRECISIONS or type(about["workers"]) is not int or about["workers"] < 1:
            raise ValueError("precision or workers")
        if not all(isinstance(about["length"][unit], int | float) for unit in about["length"]):
            raise ValueError("length")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = shown(repr(error), 200)
        raise RunError(f"{path}: cannot be read ({reason}); the run cannot be resumed, start a new one") from None
    return about


def require_no_links(folder: Path) -> None:
    """RunError if a link in a run folder leads out of it: what the run writes or deletes would be elsewhere."""
    for link in links_out(folder):
        raise RunError(
            f"{link}: is a link that leads out of the run folder, where nothing is written; put what it leads to in "
            f"its place"
        )


def _require_same(folder: Path, earlier: dict[str, Any], task_class: type[Task], config: Section) -> None:
    if earlier["task"] != task_class.name:
        raise RunError(f"{folder}: is a run of the task {earlier['task']}, not {task_class.name}; give another folder")
    # A key that is newer than the run had its default's effect.
    before = type(config).model_construct().model_dump(mode="json")
    before = {name: {**before[name], **earlier["config"].get(name, {})} for name in before}
    changed = [
        f"{name}.{key} was {before[name][key]!r} and is {value!r}"
        for name, section in config
        for key, value in section.model_dump(mode="json").items()
        if before[name][key] != value and not section.may_follow(key, before[name][key])
    ]
    if changed:
        raise RunError(
            f"{folder}: this run was started with other settings ({'; '.join(changed)}); "
            f"give the same ones to resume it, or another folder for a new run"
        )


def write_json(path: Path, value: Any) -> None:
    """Writes a small file whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def has_model(folder: Path) -> bool:
    """Whether the run has a model to use by now."""
    try:
        read_config(folder)
    except ModelFolderError:
        return False
    return True
