"""The training loop: batches in, updates out, and everything written down on the way."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqloom.config import TrainingConfig
from seqloom.errors import DivergenceError
from seqloom.tasks.folder import write_model
from seqloom.tasks.task import Evaluation, Task
from seqloom.training import checkpoint
from seqloom.training.log import Display, RunLog
from seqloom.training.optimizers import OPTIMIZERS
from seqloom.training.schedules import SCHEDULES

LOG_EVERY = 10


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, has saved, and can be resumed."""


@dataclass
class Progress:
    """What is counted over the whole life of a run, also across restarts."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_step: int = 0
    worse_validations: int = 0
    finished: bool = False
    total: int = 0


@dataclass
class Meter:
    """What is counted between two lines of the log."""

    loss: float = 0.0
    tokens: int = 0
    padding: int = 0
    positions: int = 0
    waiting: float = 0.0
    started: float = field(default_factory=time.perf_counter)


class Trainer:
    """One run of one task; ``run`` goes from wherever it stands to ``total`` steps."""

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        total: int,
        display: Display,
    ) -> None:
        self.task, self.config, self.folder, self.device, self.dtype, self.display = (
            task,
            config,
            folder,
            device,
            dtype,
            display,
        )
        torch.manual_seed(config.seed)
        self.model = task.build_model().to(device)
        self.optimizers = OPTIMIZERS[config.optimizer](self.model, config)
        self.batches = task.training_batches()
        self.progress = Progress(total=total)
        self._stop_asked = threading.Event()

    def resume(self, path: Path, state: dict[str, Any]) -> None:
        """Takes up a checkpoint, to the bit."""
        checkpoint.load_checkpoint(path, self.model, self.optimizers)
        self.batches.load_state_dict(state["batches"])
        total = self.progress.total
        known = {key: state[key] for key in asdict(self.progress)}
        self.progress = Progress(**{**known, "total": total, "finished": False})
        if self.progress.best is None:
            self.progress.best = -math.inf
        self.display.say(f"Resuming at step {self.progress.step:,} of {total:,}.")

    def run(self) -> None:
        """Trains to the end, or until it is asked to stop."""
        progress = self.progress
        self.log = RunLog(self.folder, progress.step)
        parameters = sum(p.numel() for p in self.model.parameters())
        precision = str(self.dtype).removeprefix("torch.")
        self.display.say(
            f"{parameters / 1e6:.1f} M parameters, matrix products in {precision}, {torch.get_num_threads()} threads."
        )
        self.display.start(progress.step, progress.total)
        self.model.train()
        self._last_seconds = time.perf_counter()
        try:
            with self._stopping_gently():
                self._train()
                self._finish()
        finally:
            self.log.close()
            self.display.stop()

    def _train(self) -> None:
        stream = iter(self.batches)
        meter = Meter()
        progress, config = self.progress, self.config
        while progress.step < progress.total and not self._out_of_patience():
            self._update(stream, meter)
            progress.step += 1
            at_end = progress.step == progress.total
            save = progress.step % config.checkpoint_every == 0 or at_end or self._stop_asked.is_set()
            # A resumed run starts a new line, so one ends where a checkpoint does.
            if progress.step % LOG_EVERY == 0 or save:
                self._log(meter)
                meter = Meter()
            if progress.step % config.validate_every == 0 or at_end:
                self._validate()
                meter.started = time.perf_counter()
            if save:
                self._checkpoint()
            if self._stop_asked.is_set() and not at_end:
                raise Stopped

    def _update(self, stream: Iterator[Any], meter: Meter) -> None:
        """One update from ``accumulate`` batches, weighted by their real target tokens."""
        total, count = 0.0, 0
        for _ in range(self.config.accumulate):
            asked = time.perf_counter()
            batch = next(stream)
            meter.waiting += time.perf_counter() - asked
            with self._autocast():
                loss = self.task.loss(self.model, batch.to(self.device))
            value = float(loss.sum.detach())
            if not math.isfinite(value):
                self._diverged(batch, value)
            loss.sum.backward()
            total, count = total + value, count + loss.count
            meter.padding += batch.padding
            meter.positions += batch.positions
        self._scale_gradients(count)
        rate = self._rate()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        meter.loss += total
        meter.tokens += count
        self.progress.tokens += count

    def _rate(self) -> float:
        return SCHEDULES[self.config.schedule](
            self.progress.step + 1, self.config, self.progress.total, self.task.model_width
        )

    def _scale_gradients(self, count: int) -> None:
        """Sum of losses -> mean over ``count`` tokens, and the norm clipped, in one pass."""
        gradients: list[Tensor] = [p.grad for p in self.model.parameters() if p.grad is not None]
        factor = 1 / count
        if self.config.clip:
            norm = float(torch.stack(torch._foreach_norm(gradients)).norm()) / count
            factor *= min(1.0, self.config.clip / (norm + 1e-6))
        torch._foreach_mul_(gradients, factor)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _diverged(self, batch: Any, value: float) -> None:
        lines = self.task.where(batch)
        shown = ", ".join(lines[:5]) + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
        kept = checkpoint.checkpoints(self.folder / "checkpoints")
        last = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was written yet"
        raise DivergenceError(
            f"the loss became {value} at step {self.progress.step + 1:,} on the batch of {shown}; "
            f"a lower learning rate usually helps, {last}"
        )

    def _seconds(self) -> float:
        """Time that this run has been going, in all of its lives."""
        now = time.perf_counter()
        self.progress.seconds += now - self._last_seconds
        self._last_seconds = now
        return self.progress.seconds

    def _log(self, meter: Meter) -> None:
        passed = time.perf_counter() - meter.started
        record = {
            "step": self.progress.step,
            "seconds": round(self._seconds(), 3),
            "loss": meter.loss / meter.tokens,
            "learning_rate": self.optimizers[0].param_groups[0]["lr"],
            "tokens_per_second": round(meter.tokens / passed, 1),
            "tokens": self.progress.tokens,
            "padding": round(meter.padding / meter.positions, 4),
            "data_wait": round(meter.waiting / passed, 4),
        }
        self.log.write(record)
        self.display.step(record)

    def _validate(self) -> None:
        """Scores the model, and keeps it if it is the best so far."""
        evaluation = self.task.evaluate(self.model, "valid")
        best = evaluation.scores[self.task.best_by] > self.progress.best
        self.progress.worse_validations = 0 if best else self.progress.worse_validations + 1
        self._record(evaluation, best)
        if best:
            self._keep(evaluation, checkpoint.own_weights(self.model))

    def _record(self, evaluation: Evaluation, best: bool) -> None:
        record = {"step": self.progress.step, "seconds": round(self._seconds(), 3), **evaluation.scores}
        self.log.write(record)
        self.log.samples(self.progress.step, evaluation.samples)
        self.display.validation(record, evaluation, best)

    def _keep(self, evaluation: Evaluation, weights: dict[str, Tensor]) -> None:
        """Makes ``weights`` the run's model."""
        self.progress.best = evaluation.scores[self.task.best_by]
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
        }
        files["README.md"] = self.task.card(config).encode()
        write_model(self.folder / "model", config, files, weights)

    def _checkpoint(self) -> None:
        self._seconds()
        folder = self.folder / "checkpoints"
        state = {**asdict(self.progress), "batches": self.batches.state_dict()}
        if not math.isfinite(self.progress.best):
            state["best"] = None
        checkpoint.save_checkpoint(folder, self.model, self.optimizers, state)
        checkpoint.remove_old(folder, keep=max(2, self.config.average))

    def _out_of_patience(self) -> bool:
        if not self.config.patience or self.progress.worse_validations < self.config.patience:
            return False
        self.display.say(f"No better {self.task.best_by} for {self.config.patience} validations: stopping early.")
        return True

    def _finish(self) -> None:
        """Tries the mean of the last checkpoints, and marks the run as finished."""
        paths = checkpoint.checkpoints(self.folder / "checkpoints")[-self.config.average :]
        if len(paths) > 1:
            averaged = checkpoint.average_weights(paths)
            model = self.task.build_model().to(self.device)
            checkpoint.load_weights(model, averaged, self.folder)
            evaluation = self.task.evaluate(model, "valid")
            best = evaluation.scores[self.task.best_by] > self.progress.best
            self.display.say(f"The mean of the last {len(paths)} checkpoints:")
            self._record(evaluation, best)
            if best:
                self._keep(evaluation, checkpoint.own_weights(model))
        self.progress.finished = True
        self._checkpoint()

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
