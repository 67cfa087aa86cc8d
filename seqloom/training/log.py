"""What a run tells: log.jsonl, TensorBoard, and lines or a progress bar for a person."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch.utils.tensorboard import SummaryWriter

from seqloom.errors import RunError, shown
from seqloom.files import lines_rewritten, parse_json
from seqloom.tasks.task import Evaluation

SHOWN = ("valid_loss", "bleu", "chrf", "accuracy", "f1")
"""Scores of a validation that have room on its line."""

MAX_LINE_BYTES = 1 << 16
"""A record has 300; a longer line is none."""


class Display(Protocol):
    """Where a person watches."""

    def say(self, text: str) -> None: ...
    def start(self, step: int, total: int) -> None: ...
    def step(self, record: dict[str, Any]) -> None: ...
    def validation(self, record: dict[str, Any], evaluation: Evaluation, best: bool) -> None: ...
    def stop(self) -> None: ...


class Silent:
    """Where nobody does."""

    def say(self, text: str) -> None: ...
    def start(self, step: int, total: int) -> None: ...
    def step(self, record: dict[str, Any]) -> None: ...
    def validation(self, record: dict[str, Any], evaluation: Evaluation, best: bool) -> None: ...
    def stop(self) -> None: ...


def _figures(record: dict[str, Any]) -> str:
    return (
        f"loss {record['loss']:.3f}  rate {record['learning_rate']:.1e}  {record['tokens_per_second']:,.0f} tokens/s  "
        f"data wait {record['data_wait']:.1%}"
    )


def _validation_line(record: dict[str, Any], best: bool) -> str:
    scores = "  ".join(f"{name} {record[name]:.2f}" for name in SHOWN if name in record)
    return f"step {record['step']:,}  validation: {scores}{'  (the best so far)' if best else ''}"


class LineDisplay:
    """Plain lines, for a pipe or a file: one about every ``seconds``."""

    def __init__(self, console: Console, seconds: float = 10.0) -> None:
        self.console = console
        self.seconds = seconds
        self._next = 0.0
        self._score = ""

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, step: int, total: int) -> None: ...

    def step(self, record: dict[str, Any]) -> None:
        step, total = record["step"], record["total"]
        if record["seconds"] >= self._next or step == total:
            self._next = record["seconds"] + self.seconds
            self.say(f"step {step:,}/{total:,}  {self._figures(record)}")

    def _figures(self, record: dict[str, Any]) -> str:
        return f"{_figures(record)}{self._score}  {clock(record['left'])} left"

    def validation(self, record: dict[str, Any], evaluation: Evaluation, best: bool) -> None:
        if best and evaluation.headline:
            self._score = f"  best {evaluation.headline}"
        self.say(_validation_line(record, best))
        for sample in evaluation.samples[:1]:
            self.say(f"    {_cut(sample.source)}\n -> {_cut(sample.answer)}\n  = {_cut(sample.reference)}")

    def stop(self) -> None: ...


class BarDisplay(LineDisplay):
    """A progress bar, for a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            TextColumn("{task.fields[steps]}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
        )
        self._task = self._progress.add_task("", total=1, steps="", figures="", visible=False)

    def start(self, step: int, total: int) -> None:
        self._progress.start()
        self._progress.update(self._task, total=total, completed=step, visible=True, steps=f"{step:,}/{total:,}")

    def step(self, record: dict[str, Any]) -> None:
        step, total = record["step"], record["total"]
        figures = self._figures(record)
        self._progress.update(self._task, completed=step, total=total, steps=f"{step:,}/{total:,}", figures=figures)

    def stop(self) -> None:
        self._progress.stop()


def _cut(text: str, width: int = 160) -> str:
    """A text for one line; a model that has learnt little yet may not stop."""
    return shown(text, width)


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class RunLog:
    """log.jsonl and TensorBoard of a run folder; taken up where a checkpoint stands."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "log.jsonl"
        if self._path.exists():  # what was logged after the checkpoint will be done again
            try:
                with lines_rewritten(self._path, MAX_LINE_BYTES) as (lines, keep):
                    for line in lines:
                        if _step_of(line) <= step:
                            keep(line if line.endswith(b"\n") else line + b"\n")  # cut off by a kill right there
            except OSError as error:
                raise RunError(f"{self._path}: cannot be gone on with ({error}); move it away") from None
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, record: dict[str, Any]) -> None:
        """One object on a line; its numbers as curves."""
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._board.add_scalar(name, value, record["step"])

    def samples(self, step: int, samples: Sequence[Any]) -> None:
        """Sample answers as a table under TensorBoard's text tab."""
        rows = "".join(f"| {_cell(s.source)} | {_cell(s.answer)} | {_cell(s.reference)} |\n" for s in samples)
        self._board.add_text("samples", f"| source | translation | reference |\n|---|---|---|\n{rows}", step)

    def close(self) -> None:
        self._file.close()
        self._board.close()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _step_of(line: bytes) -> float:
    try:
        return float(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line cut off by a kill
