"""From names and flags to a run: what the command line and the Python function share."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from seqloom.config import load_config
from seqloom.errors import ConfigError, did_you_mean
from seqloom.tasks.device import device_named
from seqloom.tasks.registry import TASKS
from seqloom.tasks.task import Task
from seqloom.training.log import BarDisplay, Display, LineDisplay
from seqloom.training.repeat import train_repeatedly
from seqloom.training.run import train


def task_named(name: str) -> type[Task]:
    """Looks a task up in ``TASKS``."""
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r}; {did_you_mean(name, TASKS)}")
    return TASKS[name]


def train_session(
    folder: Path,
    task: str,
    *,
    recipe: Path | None = None,
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    device: str = "cpu",
    display: Display | None = None,
    repeat: int = 1,
    started: float | None = None,
) -> dict[str, Any]:
    """Builds the config and starts, resumes or continues the run in ``folder``.

    Args:
        defaults: what is better here than the defaults of the sections.
        repeat: how many such runs to make, each with a seed of its own, in folders in ``folder``.
        started: ``time.perf_counter()`` when a budget began, if that was before now.
    """
    task_class = task_named(task)

    def configured(planned: Mapping[str, Any]) -> Any:
        better = {**(defaults or {}), **planned}
        return load_config(task_class.Config, recipe=recipe, settings=settings, flags=flags, defaults=better)

    if repeat > 1:

        def train_seed(run: Path, seed: int) -> dict[str, Any]:
            own = {**(flags or {}), "training.seed": seed}
            return train_session(
                run,
                task,
                recipe=recipe,
                settings=settings,
                flags=own,
                defaults=defaults,
                device=device,
                display=display,
            )

        first = configured({}).training.seed
        return train_repeatedly(train_seed, folder, range(first, first + repeat))

    return train(task_class, configured, folder, device_named(device), display or default_display(), started)


class _Console(Console):
    """One whose reader may go, such as `head` or a closed terminal: the training goes on, and its log tells."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def default_display() -> Display:
    """A progress bar on a terminal, lines anywhere else; always on standard error."""
    console = _Console(file=sys.stderr, highlight=False)
    return BarDisplay(console) if console.is_terminal else LineDisplay(console)
