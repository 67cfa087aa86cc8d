"""A new run tries out what this machine can do before it makes up its mind."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from seqloom.tasks.plan import Plan
from seqloom.tasks.task import Task
from seqloom.training.log import Display
from seqloom.training.loop import Trainer
from seqloom.training.timeline import Timeline

TRIAL_PAIRS = 32
"""Validation pairs whose scoring is timed, and the fewest that are scored."""

ONE_VALIDATION = 0.01
"""Share of a budget that one validation may take, by a model that has learnt nothing and is slow to end."""


class Trial:
    """Makes updates and scores to be thrown away, to see how long they take."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype, display: Display) -> None:
        self._where = folder, device, dtype, Timeline.of_steps(1_000), display
        self._device = device
        self._most = torch.get_num_threads() if device.type == "cpu" else 1

    def plan(self, task: Task, configured: Callable[[Mapping[str, Any]], Any], seconds: float) -> Plan:
        """The task's plan for ``seconds`` of training; ``configured`` puts settings on top of the run's."""

        def speed(settings: Mapping[str, Any]) -> float:
            config = configured(settings)
            tokens, took = self._updates(task.reconfigured(config), config, config.training.workers or self._most)
            return tokens / took

        plan = task.plan_model(seconds, speed)
        once = {"training.validation_pairs": TRIAL_PAIRS}
        took = self._validation(task.reconfigured(configured({**plan.settings, **once})))
        pairs = max(TRIAL_PAIRS, round(TRIAL_PAIRS * ONE_VALIDATION * seconds / took))
        return plan + Plan(
            {"training.validation_pairs": pairs}, [f"at most {pairs:,} validation pairs are scored at a time"]
        )

    def step_seconds(self, task: Task, config: Any, workers: int) -> float:
        """What an update takes."""
        return self._updates(task, config, workers)[1]

    def workers(self, task: Task, config: Any) -> int:
        """As many as there are threads, or one that uses them all: whichever is faster here."""
        if self._most == 1 or config.training.compile == "on":  # which compiles one model, and not its copies
            return 1
        return min((self._most, 1), key=lambda count: self.step_seconds(task, config, count))

    def _updates(self, task: Task, config: Any, workers: int) -> tuple[float, float]:
        trainer = Trainer(task, config.training, *self._where, workers=workers)
        try:
            return trainer.rehearse()
        finally:
            trainer.close()

    def _validation(self, task: Task) -> float:
        model = task.build_model().to(self._device)
        begun = time.perf_counter()
        task.evaluate(model, "valid")
        return time.perf_counter() - begun
