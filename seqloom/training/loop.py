"""The training loop: batches in, updates out, and everything written down on the way."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqloom.config import TrainingConfig
from seqloom.errors import DivergenceError
from seqloom.machine import give_back_memory
from seqloom.tasks.folder import MODEL, PREVIOUS, ModelFolder, write_model
from seqloom.tasks.task import Evaluation, Task
from seqloom.training import checkpoint
from seqloom.training.ahead import Ahead
from seqloom.training.budget import Budget
from seqloom.training.distributed import ALONE, Processes
from seqloom.training.log import Display, RunLog
from seqloom.training.schedules import rate_at
from seqloom.training.sharding import gathered, shard
from seqloom.training.timeline import Timeline
from seqloom.training.updates import Learnt, Updates
from seqloom.training.weights import RunningMean, freeze
from seqloom.training.workers import Workers

LOG_EVERY = 10

REVISED_FROM = 0.01
"""A new estimate of what is left counts where it differs by more than this share."""

CHECKPOINTS = 40
"""In a run by the clock: so many over all of it, whatever its steps are worth."""


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, has saved, and can be resumed."""


@dataclass
class Progress:
    """What is counted over the whole life of a run, also across restarts."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_loss: float = math.inf
    """Of the model with the best score."""
    best_step: int = 0
    worse_validations: int = 0
    finished: bool = False
    before_decay: int = 0
    """The step at which a schedule that stays flat began to fall; from there a run can be continued."""
    validated: float = 0.0
    """The seconds at the last validation."""
    step_seconds: float = 0.0
    """What a step takes, in a run by the clock."""


@dataclass
class Meter:
    """What is counted between two lines of the log."""

    loss: float = 0.0
    tokens: int = 0
    padding: int = 0
    positions: int = 0
    steps: int = 0
    waiting: float = 0.0
    exchanging: float = 0.0
    """Seconds with the other processes, or waiting for them."""
    started: float = field(default_factory=time.perf_counter)
    unread: list[tuple[int, Learnt]] = field(default_factory=list)
    """Steps and their losses, which are not in ``loss`` yet."""


class Trainer:
    """One run of one task; ``run`` goes from wherever it stands to the end of the timeline.

    Args:
        task, config: what is trained, and how.
        folder: the run folder.
        device, dtype: where, and the type of matrix products.
        timeline: how far the run is at each step.
        display: where a person watches.
        budget: for a run by the clock; it corrects the timeline.
        started: ``time.perf_counter()`` when this life of the run began.
        origin: the trained model to start from, if not from random weights.
        workers: threads that take a part of each batch; 1 leaves it whole, and the threads to torch.
        processes: those that train together, each with ``workers`` threads.
        made_by: what the model folder is to say of how it was made.
    """

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        timeline: Timeline,
        display: Display,
        budget: Budget | None = None,
        started: float | None = None,
        origin: ModelFolder | None = None,
        workers: int = 1,
        processes: Processes = ALONE,
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        self.task, self.config, self.folder = task, config, folder
        self.made_by = made_by
        self.device, self.dtype, self.display = device, dtype, display
        self.processes = processes
        self.timeline, self.budget = timeline, budget
        torch.manual_seed(config.seed)
        self.sharded = config.shard and processes.count > 1
        self.model = task.build_model()
        if origin is not None:
            task.adopt(self.model, origin, display.say)
        freeze(self.model, config.freeze)
        if config.recompute:
            task.recompute(self.model)
        if self.sharded:
            shard(self.model, task.layers(self.model), device)
        else:
            self.model.to(device)
        parted = workers > 1 or (processes.count > 1 and device.type == "cpu")
        team = Workers(self.model, workers, processes) if parted else None
        self.updates = Updates(task, config, self.model, device, dtype, team)
        self.mean = RunningMean(self.model, config.ema) if config.ema else None
        self.batches = task.training_batches()
        if processes.count > 1:
            self.batches.share(processes.rank, processes.count)
        if device.type != "cpu":  # a processor would have to make them itself in any case
            self.batches = Ahead(self.batches, pinned=device.type == "cuda")
        self.progress = Progress()
        self._last_seconds = time.perf_counter() if started is None else started
        self._stop_asked = threading.Event()
        self._stopping = False  # whether any of the processes was asked to

    def resume(self, path: Path, state: dict[str, Any]) -> None:
        """Takes up a checkpoint, to the bit."""
        mean = checkpoint.load_checkpoint(path, self.model, self.updates.optimizers)
        if self.mean is not None:
            self.mean.load(mean)
        self.batches.load_state_dict(state["batches"])
        known = {key: state[key] for key in asdict(self.progress) if state.get(key) is not None}
        self.progress = Progress(**{**known, "finished": False})

    def run(self) -> None:
        """Trains to the end, or until it is asked to stop."""
        progress = self.progress
        self.log = RunLog(self.folder, progress.step) if self.processes.first else None
        parameters = sum(p.numel() for p in self.model.parameters())
        precision = str(self.dtype).removeprefix("torch.")
        self.display.say(
            f"{parameters / 1e6:.1f} M parameters, matrix products in {precision}, {torch.get_num_threads()} threads."
        )
        self.display.start(progress.step, self.timeline.total)
        self.model.train()
        try:
            with self._stopping_gently():
                self._train()
                self._finish()
        finally:
            if self.log is not None:
                self.log.close()
            self.display.stop()
            self.close()

    def close(self) -> None:
        """Ends the threads of its workers."""
        if self.updates.workers is not None:
            self.updates.workers.close()

    def rehearse(self, updates: int = 4) -> tuple[float, float]:
        """Makes some updates to be thrown away; returns real target tokens and seconds of one."""
        stream, meter = iter(self.batches), Meter()
        self.model.train()
        self._update(stream, Meter())  # the first one also sets things up
        begun = time.perf_counter()
        for _ in range(updates):
            self._update(stream, meter)
        return meter.tokens / updates, (time.perf_counter() - begun) / updates

    def _train(self) -> None:
        stream = iter(self.batches)
        meter = Meter()
        progress, config = self.progress, self.config
        while not self.timeline.ends(progress.step) and not self._out_of_patience():
            begun = time.perf_counter()
            self._update(stream, meter)
            progress.step += 1
            if self.budget is not None:
                self.budget.step_took(time.perf_counter() - begun)
                self._look_ahead(self.budget)
            at_end = self.timeline.ends(progress.step)
            if config.schedule == "wsd" and self.timeline.passes(progress.step, 1 - config.decay):
                progress.before_decay = progress.step
            save = self._is_checkpoint(progress.step) or self._stopping
            if save or at_end:
                self._read(meter)  # nothing is kept of weights that came from no number
            # A resumed run starts a new line, so one ends where a checkpoint does.
            if progress.step % LOG_EVERY == 0 or save:
                self._log(meter)
                meter = Meter()
            learnt = time.perf_counter()
            if at_end or self._wants_validation():
                self._validate()
            if save:
                self._checkpoint()
            meter.started += time.perf_counter() - learnt
            if self._stopping and not at_end:
                raise Stopped

    def _is_checkpoint(self, step: int) -> bool:
        """Whether one belongs to the run after ``step``; an interrupt may add others."""
        if self.timeline.ends(step) or step == self.progress.before_decay:
            return True
        if self.timeline.validations is not None:
            return self.timeline.part_ends(step, CHECKPOINTS)
        return step % self.config.checkpoint_every == 0

    def _wants_validation(self) -> bool:
        step, validations = self.progress.step, self.timeline.validations
        if validations is None:
            return step % self.config.validate_every == 0
        if self.budget is None:  # the plan of an earlier run
            return step in validations
        return self.budget.wants_validation(self.progress.validated, self._seconds(), self.timeline.progress(step))

    def _look_ahead(self, budget: Budget) -> None:
        """Puts the end of the run where the time will be over, if that is no longer where it was."""
        step, timeline = self.progress.step, self.timeline
        last = budget.last_step(step, self._seconds(), timeline.progress(step), CHECKPOINTS)
        self.progress.step_seconds = budget.pace
        if abs(last - timeline.total) > REVISED_FROM * (timeline.total - step) or last == step:
            timeline.revise(step, last)

    def _update(self, stream: Iterator[Any], meter: Meter) -> None:
        """One update from ``accumulate`` batches, weighted by their real target tokens."""
        learnt = []
        if self.device.type == "cuda":  # dropout draws there, and goes on in a resumed run as if it had not stopped
            seeds = np.random.SeedSequence([self.config.seed, self.processes.rank, self.progress.step])
            torch.cuda.manual_seed(int(seeds.generate_state(1)[0]))
        for _ in range(self.config.accumulate):
            begun = time.perf_counter()
            batch = next(stream)
            meter.waiting += time.perf_counter() - begun
            learnt += self.updates.learn(batch, self.timeline.progress(self.progress.step))
            meter.padding += batch.padding
            meter.positions += batch.positions
        meter.unread += [(self.progress.step + 1, each) for each in learnt]
        if self.device.type == "cpu":
            self._read(meter)
        begun = time.perf_counter()
        own = sum(each.targets for each in learnt)
        count, asked = map(round, self.processes.added([own, self._stop_asked.is_set()]))
        self._stopping = asked > 0
        if not self.sharded:
            self.processes.add_gradients(self.model.parameters())
        meter.exchanging += time.perf_counter() - begun
        rate = rate_at(self.progress.step + 1, self.timeline, self.config, self.task.model_width)
        self.updates.apply(count, rate)
        if self.mean is not None:
            self.mean.update(self.progress.step)
        meter.steps += 1
        meter.tokens += count
        self.progress.tokens += count

    def _read(self, meter: Meter) -> None:
        """Takes the losses off the device, which has to be waited for; one that is no number ends the run."""
        for step, each in meter.unread:
            value = float(each.loss)
            if not math.isfinite(value):
                self._diverged(step, each.part, value)
            meter.loss += value
        meter.unread.clear()

    def _diverged(self, step: int, batch: Any, value: float) -> None:
        lines = self.task.where(batch)
        shown = ", ".join(lines[:5]) + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
        kept = self._checkpoints()
        last = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was written yet"
        raise DivergenceError(
            f"the loss became {value} at step {step:,} on the batch of {shown}; "
            f"a lower learning rate usually helps, {last}"
        )

    def _seconds(self) -> float:
        """Time that this run has been going, in all of its lives."""
        now = time.perf_counter()
        self.progress.seconds += now - self._last_seconds
        self._last_seconds = now
        return self.progress.seconds

    def _left(self, step_seconds: float) -> float:
        """Seconds to go."""
        if self.budget is not None:
            return max(0.0, self.budget.seconds - self._seconds())
        return step_seconds * (self.timeline.total - self.progress.step)

    def _log(self, meter: Meter) -> None:
        self._read(meter)
        loss, padding, positions = self.processes.added([meter.loss, meter.padding, meter.positions])
        if self.log is None:
            return
        passed = time.perf_counter() - meter.started
        record = {
            "step": self.progress.step,
            "total": self.timeline.total,
            "seconds": round(self._seconds(), 3),
            "loss": loss / meter.tokens,
            "learning_rate": self.updates.optimizers[0].param_groups[0]["lr"],
            "tokens_per_second": round(meter.tokens / passed, 1),
            "tokens": self.progress.tokens,
            "padding": round(padding / positions, 4),
            "data_wait": round(meter.waiting / passed, 4),
            **({"exchange": round(meter.exchanging / passed, 4)} if self.processes.count > 1 else {}),
            "left": round(self._left(passed / max(1, meter.steps)), 1),
        }
        self.log.write(record)
        self.display.step(record)

    def _validate(self) -> None:
        """Scores the model, and keeps it if it is the best so far; process 0 does, and tells the others."""
        weights = self._whole(checkpoint.own_weights(self.model))
        if self.processes.first:
            self._score(weights)
            self.processes.tell({"worse_validations": self.progress.worse_validations})
        else:
            self.progress.worse_validations = self.processes.told()["worse_validations"]
        give_back_memory()

    def _whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors put together for process 0, if they are in parts; then all processes have to ask."""
        return gathered(tensors, keep=self.processes.first)

    def _score(self, weights: dict[str, Tensor]) -> None:
        begun = self._seconds()
        model = self._with(weights) if self.sharded else self.model
        evaluation = self.task.evaluate(model, "valid")
        best = self._is_best(evaluation)
        self.progress.worse_validations = 0 if best else self.progress.worse_validations + 1
        self._record(evaluation, best)
        if best:
            self._keep(evaluation, weights)
        self.progress.validated = self._seconds()
        if self.budget is not None and self.timeline.validations is not None:
            self.budget.validation_seconds = self.progress.validated - begun
            self.timeline.validations.append(self.progress.step)

    def _merit(self, evaluation: Evaluation) -> tuple[float, float]:
        return evaluation.scores[self.task.best_by], evaluation.scores["valid_loss"]

    def _is_best(self, evaluation: Evaluation) -> bool:
        """Whether a model is better than all before: by a tenth of a point, or else by a hundredth of the loss.

        Less is chance; and as long as BLEU is about 0, the loss alone tells anything.
        """
        (score, loss), best, best_loss = self._merit(evaluation), self.progress.best, self.progress.best_loss
        return (round(score, 1), -round(loss, 2)) > (round(best, 1), -round(best_loss, 2))

    def _record(self, evaluation: Evaluation, best: bool) -> None:
        record = {"step": self.progress.step, "seconds": round(self._seconds(), 3), **evaluation.scores}
        if self.log is not None:
            self.log.write(record)
            self.log.samples(self.progress.step, evaluation.samples)
        self.display.validation(record, evaluation, best)

    def _keep(self, evaluation: Evaluation, weights: dict[str, Tensor]) -> None:
        """Makes ``weights`` the run's model."""
        self.progress.best, self.progress.best_loss = self._merit(evaluation)
        self.progress.best_step = self.progress.step
        about, files = self.task.describe()
        config = {
            "task": self.task.name,
            **about,
            "scores": {"valid": evaluation.scores, "signatures": evaluation.signatures},
            "training": {
                "steps": self.progress.step,
                "tokens": self.progress.tokens,
                "seconds": round(self._seconds(), 1),
                "parameters": sum(weight.numel() for weight in weights.values()),
            },
            "made_by": self.made_by,
        }
        files["README.md"] = self.task.card(config).encode()
        write_model(self.folder / MODEL, config, files, weights, self.folder / PREVIOUS)

    def _checkpoint(self) -> None:
        begun = self._seconds()
        weights = self._whole(checkpoint.own_weights(self.model))
        optimizers = self._whole(checkpoint.optimizer_tensors(self.model, self.updates.optimizers))
        mean = self._whole(self.mean.weights) if self.mean is not None else {}
        if not self.processes.first:
            return
        folder = self.folder / "checkpoints"
        state = {**asdict(self.progress), "timeline": self.timeline.as_dict(), "batches": self.batches.state_dict()}
        state |= {key: None for key in ("best", "best_loss") if not math.isfinite(state[key])}
        state["length"] = {"steps": self.timeline.total} if self.budget is None else {"seconds": self.budget.seconds}
        checkpoint.save_checkpoint(folder, weights, optimizers, mean, state)
        kept = self._last_checkpoints() | set(self._checkpoints()[-2:])
        checkpoint.remove_all_but(folder, kept | {checkpoint.path_of(folder, self.progress.before_decay)})
        if self.budget is not None:
            self.budget.checkpoint_seconds = self._seconds() - begun

    def _checkpoints(self) -> list[Path]:
        """Those of this run, oldest first: a longer run that went back has left others behind where it stands."""
        found = checkpoint.checkpoints(self.folder / "checkpoints")
        return [path for path in found if checkpoint.step_of(path) <= self.progress.step]

    def _last_checkpoints(self) -> set[Path]:
        """Those that are averaged at the end; one that an interrupt has added is none of them."""
        belonging = [path for path in self._checkpoints() if self._is_checkpoint(checkpoint.step_of(path))]
        return set(belonging[-self.config.average :])

    def _out_of_patience(self) -> bool:
        if not self.config.patience or self.progress.worse_validations < self.config.patience:
            return False
        self.display.say(f"No better {self.task.best_by} for {self.config.patience} validations: stopping early.")
        return True

    def _finish(self) -> None:
        """Tries the means of the weights, and marks the run as finished."""
        weights = self._whole(checkpoint.own_weights(self.model))
        mean = self._whole(self.mean.weights) if self.mean is not None else {}
        if self.processes.first:
            paths = sorted(self._last_checkpoints(), key=checkpoint.step_of)
            if len(paths) > 1:
                self._try(f"The mean of the last {len(paths)} checkpoints:", checkpoint.average_weights(paths))
            if mean:
                self._try("The running mean of the weights:", mean)
            if not math.isfinite(self.progress.best):  # the model of a finished run was damaged
                self._score(weights)
        self.progress.finished = True
        self._checkpoint()

    def _try(self, name: str, weights: dict[str, Tensor]) -> None:
        """Scores a model with other weights, and keeps it if it is better."""
        evaluation = self.task.evaluate(self._with(weights), "valid")
        best = self._is_best(evaluation)
        self.display.say(name)
        self._record(evaluation, best)
        if best:
            self._keep(evaluation, weights)

    def _with(self, weights: dict[str, Tensor]) -> nn.Module:
        """Another model, with these weights; what training draws does not depend on it."""
        with torch.random.fork_rng(devices=[]):
            model = self.task.build_model().to(self.device)
        checkpoint.load_weights(model, weights, self.folder)
        return model

    @contextmanager
    def _stopping_gently(self) -> Iterator[None]:
        """Ctrl-C finishes the step and saves; a second one stops at once."""

        def ask(number: int, frame: Any) -> None:
            if self._stop_asked.is_set():
                raise KeyboardInterrupt
            self._stop_asked.set()
            self.display.say("Stopping after this step and saving; once more stops at once ...")

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
