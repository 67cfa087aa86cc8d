"""A run folder: what lies in it, and what its records say.

run.json       settings, versions and the key of the data: what a resumed run must match
plan.json      of a run by the clock: what was chosen and when it ended, to make it again by steps
data/          the prepared corpus
origin/        of a fine-tuning: config.json and the vocabulary of the model that it started from
checkpoints/   see :mod:`seqloom.training.checkpoint`
model/         the best model so far, whole at every moment
previous-model/   the one that was the best before, for when that is damaged
log.jsonl      one object a line           tensorboard/   the same as curves
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqloom.config import Section, TrainingConfig
from seqloom.errors import RunError, shown
from seqloom.files import links_out, read_json, write_json
from seqloom.tasks.folder import ModelFolder, read_config, whole
from seqloom.tasks.plan import Plan
from seqloom.tasks.task import Task
from seqloom.training.timeline import Timeline

ORIGIN = "origin"
VOCABULARY = "data.tokenizer_file"
"""What a fine-tuning takes from its origin and needs again whenever it goes on."""

BEFORE_THE_FIRST_STEP = {"data", "data.new", ORIGIN, "run.json.new"}
"""All that a run killed before its run.json was in place can have left."""

PRECISIONS = ("float32", "bfloat16")


def read_run(folder: Path) -> dict[str, Any] | None:
    """The run.json of a run folder; None where there is no run, but may be one.

    Raises:
        RunError: if the folder holds something else.
    """
    path = folder / "run.json"
    if not folder.exists():
        for parent in folder.parents:
            if parent.exists() and not parent.is_dir():
                raise RunError(f"{folder}: cannot be made, because {parent} is a file; give another folder")
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
        if not all(isinstance(amount, int | float) for _, amount in about["length"].items()):
            raise ValueError("length")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = shown(repr(error), 200)
        raise RunError(f"{path}: cannot be read ({reason}); the run cannot be resumed, start a new one") from None
    return about


def write_run(folder: Path, about: dict[str, Any]) -> None:
    """Writes what :func:`read_run` reads."""
    write_json(folder / "run.json", about)


def keep_origin(folder: Path, origin: ModelFolder, plan: Plan) -> Plan:
    """Copies what a fine-tuning needs of its origin, which may be moved or deleted; the plan then names the copies."""
    kept = folder / ORIGIN
    kept.mkdir(exist_ok=True)
    write_json(kept / "config.json", origin.config)
    paths = [Path(path) for path in plan.settings[VOCABULARY]]
    for path in paths:
        shutil.copyfile(path, kept / path.name)
    return plan + Plan({VOCABULARY: [f"{ORIGIN}/{path.name}" for path in paths]})


def after_origin(folder: Path, task: Task) -> Task:
    """The task with what is known of the origin of a fine-tuning; an earlier program kept nothing of it.

    Raises:
        ModelFolderError: if what was kept is damaged.
    """
    path = folder / ORIGIN / "config.json"
    if not path.is_file():
        return task
    with whole(path):
        return task.after(read_json(path))


def kept_vocabulary(folder: Path, settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """The setting that a plan has of it, if any, as of a run folder that may have been moved since."""
    names = settings.get(VOCABULARY, [])
    names = [names] if isinstance(names, str) else names
    if not names or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return {}  # what is no list of names is told of where all settings are checked
    return {VOCABULARY: [str(folder / name) for name in names]}


def require_no_links(folder: Path) -> None:
    """RunError if a link in a run folder leads out of it: what the run writes or deletes would be elsewhere."""
    for link in links_out(folder):
        raise RunError(
            f"{link}: is a link that leads out of the run folder, where nothing is written; put what it leads to in "
            f"its place"
        )


def require_same(folder: Path, earlier: dict[str, Any], task_class: type[Task], config: Section) -> None:
    """RunError if a run was started with another task or with settings that may not change."""
    if earlier["task"] != task_class.name:
        raise RunError(f"{folder}: is a run of the task {earlier['task']}, not {task_class.name}; give another folder")
    # A key that is newer than the run had its default's effect.
    before = {
        name: {**type(section).model_validate({}).model_dump(mode="json"), **earlier["config"].get(name, {})}
        for name, section in config
    }
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


def read_plan(training: TrainingConfig) -> dict[str, Any]:
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


def write_plan(folder: Path, config: Section, about: dict[str, Any], timeline: Timeline) -> None:
    """Writes what :func:`read_plan` reads: all settings but the files, whoever chose them."""
    settings = {
        f"{name}.{key}": value
        for name, section in config
        for key, value in section.model_dump(
            mode="json", exclude={*section.FILES, *section.ALTERNATIVES, "replay"}
        ).items()
    }
    settings |= {f"training.{key}": about[key] for key in ("precision", "workers")}
    plan = {"settings": settings, "data_key": about["data_key"], "timeline": timeline.as_dict()}
    write_json(folder / "plan.json", plan)


def summary(folder: Path) -> dict[str, Any]:
    """The scores and the place of the best model of a run."""
    config = read_config(folder)
    return {"run": str(folder), "model": str(folder / "model"), **config["training"], "scores": config["scores"]}
