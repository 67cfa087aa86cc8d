"""The course of a run: start, resume, continue, and nothing else; what it leaves lies in its folder.

See :mod:`seqloom.training.run_folder`.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqloom.config import Section, TrainingConfig
from seqloom.errors import ConfigError, ModelFolderError, RunError, shown
from seqloom.tasks.folder import MODEL, ModelFolder, read_model, whole
from seqloom.tasks.plan import Plan
from seqloom.tasks.task import Task
from seqloom.training.budget import CLOSING, Budget
from seqloom.training.checkpoint import latest_whole, path_of, read_state
from seqloom.training.distributed import Processes, joined
from seqloom.training.keeping import alone_in
from seqloom.training.log import Display, Silent, clock
from seqloom.training.loop import CHECKPOINTS, Trainer
from seqloom.training.planning import Trial
from seqloom.training.process import choose_precision, could_be_faster, environment, missed
from seqloom.training.run_folder import (
    after_origin,
    keep_origin,
    kept_vocabulary,
    read_plan,
    read_run,
    require_no_links,
    require_same,
    summary,
    write_plan,
    write_run,
)
from seqloom.training.sharding import require_support
from seqloom.training.timeline import Timeline

LENGTHS = ("replay", "budget", "steps", "epochs")
"""Settings that say how long a run is; the first that is given."""

PASSES, FEWEST_STEPS = 20, 1_000
"""Of a run whose length is not given: fewer updates teach no model anything, however small the corpus."""

Configured = Callable[[Mapping[str, Any]], Any]
"""Defaults by ``section.key``, which whatever the user gave overrides -> a config."""

Found = tuple[Path, dict[str, Any]]
"""A checkpoint and its state."""


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
            _Life(task_class, configured, folder, device, Silent(), started, processes).follow()
            return summary(folder)
        read_run(folder)  # nothing is made in a folder of something else
        with alone_in(folder):
            _Life(task_class, configured, folder, device, display, started, processes).lead()
            return summary(folder)


@dataclass(frozen=True)
class _Life:
    """One life of a run, to its end or to an interrupt, in one of its processes."""

    task_class: type[Task]
    configured: Configured
    folder: Path
    device: torch.device
    display: Display
    started: float
    processes: Processes

    def lead(self) -> None:
        """Decides how the run goes on, tells the other processes, and takes part."""
        earlier = read_run(self.folder)
        require_no_links(self.folder)
        found = self._last_checkpoint()
        plan = Plan(**earlier["plan"]) if earlier else Plan()
        config = self._config(plan, earlier)
        if self.processes.count > 1 and config.training.budget:
            raise ConfigError("a budget is that of one process, got several; give --steps")
        if self.processes.count > 1 and config.training.shard:
            require_support()
        replayed = read_plan(config.training) if config.training.replay else None
        if replayed and earlier is None:
            config = self._planned_config(replayed["settings"])
        if earlier is not None:
            require_same(self.folder, earlier, self.task_class, config)
            if found and earlier["data_key"] != self.task_class.data_key(config):
                raise RunError(
                    f"{self.folder}: the data has changed since this run was started; start a new run in another folder"
                )
        origin = None if found else self._origin(config.training)
        if earlier:
            task, about = self._prepared(config), earlier
        else:
            task, config, plan, about = self._planned(config, replayed, origin)
        measured = config.training.budget and not found
        pace = self._trial(about["precision"]).step_seconds(task, config, about["workers"]) if measured else 0.0
        length = _length(task, config.training, replayed)
        if earlier and found:
            found = self._continued(found, found[1].get("length", earlier["length"]), length)
            if found is None:
                self.processes.tell({"finished": True})
                return
        data_key = self.task_class.data_key(config)
        if replayed and replayed.get("data_key", data_key) != data_key:  # an earlier program wrote none
            raise RunError(f"{config.training.replay}: is the plan of a run with other data; give the same files")
        about |= {
            "config": config.model_dump(mode="json"),
            "data_key": data_key,
            "plan": dataclasses.asdict(plan),
            "length": length,
        }
        write_run(self.folder, about)
        closing = CLOSING + bool(config.training.ema)
        budget = Budget(config.training.budget, pace, closing) if config.training.budget and not replayed else None
        timeline = _timeline(length, found, replayed, budget)
        self.processes.tell(
            {
                "finished": False,
                "about": about,
                "found": found and [str(found[0]), found[1]],
                "timeline": timeline.as_dict(),
            }
        )
        trainer = self._trainer(task, config, about, found, timeline, origin, budget)
        if found:
            step, total = trainer.progress.step, timeline.total
            self.display.say(f"Resuming at step {step:,} of {'about ' if budget else ''}{total:,}.")
        if hints := missed(self.device):
            self.display.say(could_be_faster(hints))
        try:
            trainer.run()
        finally:
            if timeline.validations is not None:
                write_plan(self.folder, config, about, timeline)

    def _config(self, plan: Plan, earlier: dict[str, Any] | None) -> Any:
        """The settings of this life; the run is as long as it was unless another length is given."""
        config = self._planned_config(plan.settings)
        if earlier is None or any(getattr(config.training, key) for key in LENGTHS):
            return config
        before = earlier["config"].get("training", {})
        kept = [(f"training.{key}", before[key]) for key in LENGTHS if before.get(key)]
        return self._planned_config({**plan.settings, **dict(kept[:1])})

    def _planned_config(self, settings: Mapping[str, Any]) -> Any:
        return self.configured({**settings, **kept_vocabulary(self.folder, settings)})

    def follow(self) -> None:
        """Takes part in what another process decides."""
        news = self.processes.told()
        if news["finished"]:
            return
        about, found = news["about"], news["found"] and (Path(news["found"][0]), news["found"][1])
        config = self._planned_config(about["plan"]["settings"])
        task = self._task(config)
        origin = None if found else self._origin(config.training)
        self._trainer(task, config, about, found, Timeline(**news["timeline"]), origin).run()

    def _trainer(
        self,
        task: Task,
        config: Any,
        about: dict[str, Any],
        found: Found | None,
        timeline: Timeline,
        origin: ModelFolder | None,
        budget: Budget | None = None,
    ) -> Trainer:
        """One that stands where the run does."""
        trainer = Trainer(
            task,
            config.training,
            self.folder,
            self.device,
            getattr(torch, about["precision"]),
            timeline,
            self.display,
            budget,
            self.started,
            origin,
            about["workers"],
            self.processes,
            {**environment(), "precision": about["precision"], "recipe": _recipe(config)},
        )
        if found:
            trainer.resume(*found)
        return trainer

    def _prepared(self, config: Any) -> Task:
        task = self._task(config)
        self.display.say(f"Run folder: {self.folder}")
        return task

    def _task(self, config: Any) -> Task:
        task = self.task_class.prepare(config, self.folder / "data", self.display.say)
        return after_origin(self.folder, task) if config.training.init_from else task

    def _trial(self, precision: str) -> Trial:
        return Trial(self.folder, self.device, getattr(torch, precision), self.display)

    def _planned(
        self, config: Any, replayed: dict[str, Any] | None, origin: ModelFolder | None
    ) -> tuple[Task, Any, Plan, dict[str, Any]]:
        """What a new run is made of: its task, config and plan, and the beginning of its run.json."""
        planning = config.training.budget and not replayed
        plan = self.task_class.plan_data(config) if planning else Plan()
        plan += keep_origin(self.folder, origin, self.task_class.plan_start(origin, config)) if origin else Plan()
        plan += Plan(replayed["settings"], [f"as in {config.training.replay}"]) if replayed else Plan()
        config = self._planned_config(plan.settings)
        task = self._prepared(config)
        about: dict[str, Any] = {
            "task": task.name,
            "precision": str(choose_precision(config.training.precision, self.device)).removeprefix("torch."),
            "environment": environment(),
        }
        trial = self._trial(about["precision"])
        if planning:
            left = config.training.budget - (time.perf_counter() - self.started)
            if left <= 0:
                raise RunError(
                    f"the budget of {clock(config.training.budget)} was over when the data was prepared; give more time"
                )
            plan += trial.plan(task, lambda settings: self._planned_config({**plan.settings, **settings}), left)
            config = self._planned_config(plan.settings)
            task = task.reconfigured(config)
            for reason in plan.reasons:
                self.display.say(f"Plan: {reason}.")
        alone = self.processes.count == 1
        about["workers"] = config.training.workers or (trial.workers(task, config) if alone else 1)
        return task, config, plan, about

    def _origin(self, training: TrainingConfig) -> ModelFolder | None:
        """The trained model to start from, if there is one."""
        if not training.init_from:
            return None
        origin = read_model(Path(training.init_from))
        if origin.config["task"] != self.task_class.name:
            raise ConfigError(
                f"training.init_from: {origin.path} is a model for the task {shown(origin.config['task'])}, expected "
                f"one for {self.task_class.name}"
            )
        return origin

    def _last_checkpoint(self) -> Found | None:
        """The one to go on from, with the best score of the model that is there, if it is whole."""
        found = latest_whole(self.folder / "checkpoints", self.display.say)
        if found is None:
            return None
        path, state = found
        try:
            best = self._best_since(state)
        except ModelFolderError as error:
            if state["best"] is None:
                return found
            self.display.say(f"{error}. The run goes on without it; its next validation puts a model there.")
            best = {"best": None, "best_loss": None, "finished": False}
        return path, {**state, **best}

    def _best_since(self, state: dict[str, Any]) -> dict[str, Any]:
        """What a run by the clock knows of its best model, which may be of after its last checkpoint.

        It will not be validated at those steps again; by steps the same model comes once more.

        Raises:
            ModelFolderError: if there is no model, or it is not whole.
        """
        model = read_model(self.folder / MODEL)
        with whole(model.path / "config.json"):
            if state["timeline"]["validations"] is None:
                return {}
            made, scores = model.config["training"]["steps"], model.config["scores"]["valid"]
            best, loss = float(scores[self.task_class.best_by]), float(scores["valid_loss"])
            return {"best": best, "best_loss": loss, "best_step": int(made)}

    def _continued(self, found: Found, before: dict[str, Any], length: dict[str, Any]) -> Found | None:
        """The checkpoint to go on from; None if the run is finished."""
        path, state = found
        if before == length:
            if state["finished"]:
                steps = f"{state['step']:,} steps"
                self.display.say(f"This run is finished ({steps}). Give more steps or time to continue it.")
                return None
            return found
        spent = ("seconds", state["seconds"], clock) if "seconds" in length else ("steps", state["step"], "{:,}".format)
        unit, used, told = spent
        if used > length[unit]:
            raise RunError(
                f"{self.folder}: has taken {told(used)} {'' if unit == 'seconds' else unit + ' '}already, more than "
                f"the {told(length[unit])} asked for; give a larger {'--budget' if unit == 'seconds' else '--steps'}"
            )
        flat = path_of(path.parent, state["before_decay"])
        if 0 < state["before_decay"] < state["step"] and flat.exists():
            best = {key: state.get(key) for key in ("best", "best_loss", "best_step")}
            path, state = flat, {**read_state(flat), **best}
            self.display.say(f"Going back to step {state['step']:,}, where the rate began to fall, for another end.")
        return path, {**state, "finished": False, "continued": True, "worse_validations": 0}


def _recipe(config: Section) -> dict[str, Any]:
    """The settings that a model does not state itself, but for the files of this machine that the data was in."""
    return {
        name: section.model_dump(mode="json", exclude=set(section.FILES))
        for name, section in config
        if name in ("data", "training")
    }


def _length(task: Task, training: TrainingConfig, replayed: dict[str, Any] | None) -> dict[str, Any]:
    """How long the run is to be: one of seconds and steps."""
    if replayed:
        return {"steps": Timeline(**replayed["timeline"]).total}
    return {"seconds": training.budget} if training.budget else {"steps": _steps_for(task, training)}


def _steps_for(task: Task, training: TrainingConfig) -> int:
    if training.steps:
        return training.steps
    updates = len(task.training_batches().plan(0)) / training.accumulate
    if training.epochs:
        return max(1, round(training.epochs * updates))
    return max(FEWEST_STEPS, round(PASSES * updates))


def _timeline(
    length: dict[str, Any], found: Found | None, replayed: dict[str, Any] | None, budget: Budget | None
) -> Timeline:
    if replayed:
        return Timeline(**replayed["timeline"])
    if budget is None:
        return Timeline.of_steps(length["steps"], Timeline(**found[1]["timeline"]).first_total if found else None)
    if found is None:
        return Timeline.by_clock(max(1, budget.last_step(0, 0.0, 0.0, CHECKPOINTS)))
    state = found[1]
    step, spent = state["step"], state["seconds"]
    timeline = Timeline(**state["timeline"])
    timeline.validations = timeline.validations or []  # the clock decides about them from here on
    budget.step_seconds = state.get("step_seconds") or spent / max(1, step)
    if state.get("continued"):
        last = max(step + 1, budget.last_step(step, spent, spent / budget.seconds, CHECKPOINTS))
        timeline.revise(step, last, progress=spent / budget.seconds)
    return timeline
