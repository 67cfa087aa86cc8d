"""How fast a task trains on this machine, where the time goes, and how much of the machine's best that is.

The yardstick is model FLOPs utilisation (Chowdhery et al. 2022, "PaLM", appendix B). The
floating-point operations of a batch are those of its matrix products,

    2 x rows x inner x columns,

of the forward pass and twice as many on the way back, where each has one for the gradient of either
operand. Softmax, norms, dropout and optimizer count as nothing. The bound is the rate at which this
machine makes the same products, in the same precision and with as many threads and workers, when it
does nothing else (:mod:`seqloom.training.products`).
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqloom.config import TrainingConfig
from seqloom.tasks.task import Task
from seqloom.training.log import Display
from seqloom.training.loop import LOG_EVERY, Meter, Trainer
from seqloom.training.process import peak_memory, reset_peak_memory
from seqloom.training.products import Products, best_seconds, flops, made_alone, recorded, synchronize
from seqloom.training.timeline import Timeline

WINDOWS = 5
"""Parts of the time whose speeds are told apart, to show how much they differ."""

WARM_UP = 0.15
"""Of the time, and before it: what does not count yet."""

INSIDE = 0.2
"""Of the time, and after it: to see where the time of a step goes, and again for the products alone."""

SAMPLE = 4
"""Batches whose products are counted, and made alone, at most."""

MANY = 1_000_000
"""Steps of the run that this might be."""


@dataclass(frozen=True)
class Utilisation:
    """What matrix products come to while training, and what they would come to alone."""

    step_flops: float
    flops_per_second: float
    bound_flops_per_second: float
    bound_tokens_per_second: float
    reached: float
    """The share of the bound."""


@dataclass(frozen=True)
class Speed:
    """What was measured with one number of threads."""

    threads: int
    workers: int
    steps: int
    tokens_per_second: float
    """Real target tokens."""
    windows: list[float]
    """The same in each part of the time."""
    step_seconds: float
    shares: dict[str, float]
    """Of a step: data_wait, forward (with the loss), backward, optimizer, other."""
    padding: float
    """Share of all positions."""
    pass_steps: float
    """Of one pass over the data, like the next."""
    pass_seconds: float
    peak_memory: int | None
    """Bytes of the process, where the system tells."""
    device_memory: int | None
    """Bytes of the tensors on a GPU."""
    utilisation: Utilisation | None
    """None if it was stopped before, and then ``shares`` may have no more than the first."""


@dataclass
class _Window:
    """Some updates in a row."""

    meter: Meter = field(default_factory=Meter)
    seconds: float = 0.0


class _Alone(NamedTuple):
    """The products of some batches, made with nothing between them."""

    flops: int
    positions: int
    seconds: float


class _Watch:
    """Adds up the seconds that calls take, by name, while it is ``on``; since it waits for the device, only then."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.on = False
        self.seconds: dict[str, float] = defaultdict(float)

    def over(self, owner: object, name: str) -> None:
        """From now on the calls of this method of ``owner`` are timed."""
        method = getattr(owner, name)

        @wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = self._now()
            result = method(*args, **kwargs)
            if self.on:
                self.seconds[name] += self._now() - begun
            return result

        setattr(owner, name, timed)

    def _now(self) -> float:
        if self.on:
            synchronize(self.device)
        return time.perf_counter()


class _WatchedTrainer(Trainer):
    """A run's own trainer, whose updates are timed."""

    def __init__(
        self, task: Task, config: TrainingConfig, folder: Path, device: torch.device, *rest: Any, **options: Any
    ) -> None:
        task, self._watch = copy(task), _Watch(device)
        self._watch.over(task, "loss")
        super().__init__(task, config, folder, device, *rest, **options)
        self._watch.over(self.updates, "learn")
        self._watch.over(self.updates, "apply")
        self._sample: list[Any] = []
        self._stream = self._sampled()

    def _sampled(self) -> Iterator[Any]:
        for batch in self.batches:
            if len(self._sample) < SAMPLE:
                self._sample.append(batch)
            yield batch

    def fill(self, window: _Window, seconds: float, fewest: int = 1) -> None:
        """Updates for ``seconds``; what an interrupt cuts off is not counted."""
        synchronize(self.device)
        begun = time.perf_counter()
        while window.meter.steps < fewest or window.seconds < seconds:
            self._update(self._stream, window.meter)
            self.progress.step += 1
            if self.progress.step % LOG_EVERY == 0:
                self._read(window.meter)
            window.seconds = time.perf_counter() - begun
        synchronize(self.device)
        window.seconds = time.perf_counter() - begun

    def look_inside(self, seconds: float) -> dict[str, float]:
        """Where the time of a step goes beside its wait for data, as shares of 1."""
        self._watch.on, window = True, _Window()
        self.fill(window, seconds)
        self._watch.on = False
        whole = window.seconds - window.meter.waiting
        loss, learn, apply = (self._watch.seconds[name] / whole for name in ("loss", "learn", "apply"))
        forward = loss / (self.updates.workers.count if self.updates.workers else 1)  # they do it side by side
        return {"forward": forward, "backward": learn - forward, "optimizer": apply, "other": 1 - learn - apply}

    def products_alone(self, seconds: float) -> _Alone:
        """The products of a few batches, made by as many workers at once."""
        workers = self.updates.workers
        products, positions, begun = (
            [Products() for _ in range(workers.count if workers else 1)],
            0,
            time.perf_counter(),
        )
        with torch.compiler.set_stance("force_eager"):  # what is compiled may make them unseen
            for batch in self._sample:
                for made, part in zip(products, batch.parts(len(products)), strict=False):
                    made += recorded(partial(self.updates.learn_part, self.model, part))
                positions += batch.positions
                if time.perf_counter() - begun > seconds:
                    break
        work = [made_alone(made, self.dtype, self.device) for made in products]
        make = partial(workers.run, lambda model, share, random: share(), work) if workers else work[0]
        return _Alone(sum(map(flops, products)), positions, best_seconds(make, self.device, seconds))


def measure_speed(
    task: Task,
    config: TrainingConfig,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    display: Display,
    workers: int,
    seconds: float,
) -> Speed:
    """Trains for about ``seconds`` and half as long again, with the threads that torch has now; writes nothing.

    All but ``seconds`` is as for :class:`~seqloom.training.loop.Trainer`.

    Raises:
        KeyboardInterrupt: if it is stopped before there is anything to tell; later, it tells what there is.
    """
    reset_peak_memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trainer = _WatchedTrainer(task, config, folder, device, dtype, Timeline.of_steps(MANY), display, workers=workers)
    windows: list[_Window] = []
    memory: dict[str, int | None] = {}
    inside: dict[str, float] = {}
    alone: _Alone | None = None
    try:
        pass_steps = len(trainer.batches.plan(0)) / config.accumulate
        trainer.fill(_Window(), WARM_UP * seconds, fewest=3)
        while sum(window.seconds for window in windows) < seconds:
            windows.append(_Window())
            trainer.fill(windows[-1], seconds / WINDOWS)
        memory = _memory(device)
        inside = trainer.look_inside(INSIDE * seconds)
        alone = trainer.products_alone(INSIDE * seconds)
    except KeyboardInterrupt:
        windows = [window for window in windows if window.meter.steps]
        if not windows:
            raise
    finally:
        trainer.close()
    took = sum(window.seconds for window in windows)
    steps, tokens, positions, padding, waiting = (
        sum(getattr(window.meter, name) for window in windows)
        for name in ("steps", "tokens", "positions", "padding", "waiting")
    )
    wait = waiting / took
    return Speed(
        threads=torch.get_num_threads(),
        workers=workers,
        steps=steps,
        tokens_per_second=tokens / took,
        windows=[window.meter.tokens / window.seconds for window in windows],
        step_seconds=took / steps,
        shares={"data_wait": wait, **{name: (1 - wait) * share for name, share in inside.items()}},
        padding=padding / positions,
        pass_steps=pass_steps,
        pass_seconds=pass_steps * took / steps,
        **(memory or _memory(device)),
        utilisation=_utilisation(alone, positions / steps, tokens / steps, took / steps) if alone else None,
    )


def _utilisation(alone: _Alone, positions: float, tokens: float, seconds: float) -> Utilisation:
    """Of steps with so many ``positions`` and target ``tokens``, which take so many ``seconds``."""
    step_flops = alone.flops / alone.positions * positions
    bound = alone.flops / alone.seconds
    return Utilisation(
        step_flops, step_flops / seconds, bound, bound / step_flops * tokens, step_flops / seconds / bound
    )


def _memory(device: torch.device) -> dict[str, int | None]:
    on_device = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"peak_memory": peak_memory(), "device_memory": on_device}
