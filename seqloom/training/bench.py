"""From names and flags to figures: what ``seqloom bench train`` shows."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from seqloom.config import TrainingConfig, load_config
from seqloom.errors import RunError
from seqloom.tasks.device import device_named
from seqloom.tasks.folder import read_model
from seqloom.tasks.task import Task
from seqloom.training.log import Display, clock
from seqloom.training.measuring import Speed, measure_speed
from seqloom.training.planning import Trial
from seqloom.training.process import choose_precision, could_be_faster, environment, missed, name_of
from seqloom.training.run_folder import ORIGIN, VOCABULARY, kept_vocabulary, read_run
from seqloom.training.session import default_display, task_named

SHARES = {
    "data_wait": "waiting for data",
    "forward": "forward and loss",
    "backward": "backward",
    "optimizer": "optimizer",
    "other": "other",
}


@dataclass(frozen=True)
class Report:
    """The speed of one recipe on one machine."""

    task: str
    device: str
    device_name: str
    """As its maker calls it."""
    precision: str
    parameters: int
    environment: dict[str, str | int]
    missed: list[str]
    """What would make it faster and is not in use."""
    speeds: list[Speed]
    """For each number of threads; fewer where it was stopped."""
    interrupted: bool

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return asdict(self)

    def as_table(self) -> str:
        """The same for a person: a column for each number of threads."""
        columns = [_column(speed) for speed in self.speeds]
        lines = [
            f"{self.task} on {self.device} ({self.device_name}), {self.parameters / 1e6:.1f} M parameters, "
            f"matrix products in {self.precision}, memory from {self.environment['allocator']}"
        ]
        lines += [
            f"{row:<38}" + "".join(f"{column.get(row, ''):>24}" for column in columns)
            for row in max(columns, key=len, default={})
        ]
        if self.missed:
            lines.append(could_be_faster(self.missed))
        if self.interrupted:
            lines.append("Stopped before the end: this is what was measured until then.")
        return "\n".join(lines)


def _column(speed: Speed) -> dict[str, str]:
    """The figures of one number of threads by what they are."""
    shares = {
        f"  {SHARES[name]}": f"{share * speed.step_seconds:.3f} s  {share:6.1%}" for name, share in speed.shares.items()
    }
    workers = f" in {speed.workers} workers" if speed.workers > 1 else ""
    column = {
        "": f"{speed.threads} thread{'s' if speed.threads > 1 else ''}{workers}",
        "target tokens/s": f"{speed.tokens_per_second:,.0f}",
        "  least to most": f"{min(speed.windows):,.0f} to {max(speed.windows):,.0f}",
        "a step": f"{speed.step_seconds:.3f} s" + " " * 8,
        **shares,
        "a pass over the data": f"{speed.pass_steps:,.0f} steps, {clock(speed.pass_seconds)}",
        "padding": f"{speed.padding:.1%}",
    }
    for name, size in (("peak memory", speed.peak_memory), ("  of the GPU", speed.device_memory)):
        if size is not None:
            column[name] = f"{size / 1e9:.2f} GB"
    if speed.utilisation is not None:
        made = speed.utilisation
        column |= {
            "matrix products": f"{made.flops_per_second / 1e9:,.0f} GFLOP/s",
            "  made alone": f"{made.bound_flops_per_second / 1e9:,.0f} GFLOP/s",
            "  target tokens/s if they were all": f"{made.bound_tokens_per_second:,.0f}",
            "  share of that reached": f"{made.reached:.1%}",
        }
    return column


def bench_session(
    task: str,
    *,
    run: Path | None = None,
    recipe: Path | None = None,
    settings: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    device: str = "cpu",
    threads: Sequence[int] = (),
    seconds: float = 20.0,
    display: Display | None = None,
) -> Report:
    """Measures a training of ``task`` for ``seconds`` with each number of ``threads``; leaves nothing behind.

    Args:
        run: a run folder, whose task, settings and prepared data are taken; the other settings go before its own.
        recipe, settings, flags, device: as for ``seqloom train``.
        threads: as many as torch has now unless given.

    Raises:
        RunError: if there is no such run.
    """
    display, place, given = display or default_display(), device_named(device), tuple(settings)
    earlier = read_run(run) if run is not None else None
    if run is not None and earlier is None:
        raise RunError(f"{run}: is no run folder; give one that `seqloom train` has made, or the data of a new one")
    task_class = task_named(earlier["task"] if earlier else task)

    def configured(defaults: Mapping[str, Any]) -> Any:
        return load_config(task_class.Config, recipe=recipe, settings=given, flags=flags, defaults=defaults)

    config = configured(_settings_of(run, earlier) if run and earlier else {})
    if config.training.init_from and not earlier:
        config = configured(task_class.plan_start(read_model(Path(config.training.init_from)), config).settings)
    if config.training.budget and not earlier:
        display.say("A budget chooses sizes when a run starts; here they are as set, or those of a run folder.")
    counts, about = threads or [torch.get_num_threads()], environment()
    with tempfile.TemporaryDirectory(prefix="seqloom-bench-") as temporary:
        folder = Path(temporary)
        if run is not None and earlier and earlier["data_key"] == task_class.data_key(config):
            _borrow(run / "data", folder / "data")
        prepared = task_class.prepare(config, folder / "data", display.say)
        dtype = choose_precision(config.training.precision, place)
        speeds: list[Speed] = []
        with contextlib.suppress(KeyboardInterrupt):
            for speed in _speeds(counts, seconds, prepared, config, folder, place, dtype, display):
                speeds.append(speed)  # noqa: PERF402 - what was there before an interrupt is kept
    if not speeds:
        raise KeyboardInterrupt
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in prepared.build_model().parameters())
    return Report(
        task=task_class.name,
        device=str(place),
        device_name=name_of(place),
        precision=str(dtype).removeprefix("torch."),
        parameters=parameters,
        environment=about,
        missed=missed(place),
        speeds=speeds,
        interrupted=len(speeds) < len(counts) or speeds[-1].utilisation is None,
    )


def _speeds(
    counts: Sequence[int],
    seconds: float,
    task: Task,
    config: Any,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    display: Display,
) -> Iterator[Speed]:
    """One for each number of threads, up to the one that was stopped."""
    for count in counts:
        torch.set_num_threads(count)
        display.say(f"Measuring with {count} thread{'s' if count > 1 else ''} ...")
        workers = config.training.workers or Trial(folder, device, dtype, display).workers(task, config)
        speed = measure_speed(task, config.training, folder, device, dtype, display, workers, seconds)
        yield speed
        if speed.utilisation is None:
            break


def _borrow(data: Path, link: Path) -> None:
    """Lets the prepared ``data`` of a run stand at ``link`` too.

    If it is not whole, what is prepared anew takes the place of the link, and the run keeps what it has.
    """
    if (data / "prepared.json").is_file():  # without it, it is not known to be prepared data
        with contextlib.suppress(OSError):  # a system that makes no links prepares anew
            link.symlink_to(data.resolve(), target_is_directory=True)


def _settings_of(run: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run as settings by ``section.key``."""
    settings = {f"{section}.{key}": value for section, table in about["config"].items() for key, value in table.items()}
    lengths = {f"training.{key}" for key in TrainingConfig.ALTERNATIVES}  # of which an old run may have two
    settings = {name: value for name, value in settings.items() if name not in lengths}
    taken = all(Path(file).parent.name == ORIGIN for file in settings.get(VOCABULARY) or ())
    return settings | (kept_vocabulary(run, about["plan"]["settings"]) if taken else {})
