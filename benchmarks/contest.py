"""A contest: programs that do the same work in turns, each in a process of its own, one at work at a time."""

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from contestants.stage import Terms, peak_memory

from seqloom.config import DataConfig
from seqloom.data.tokenizers import BOS, EOS, PAD, UNK
from seqloom.machine import processor
from seqloom.tasks.translate import Translate, TranslateConfig

DATA = Path(os.environ.get("SEQLOOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
SCRIPTS = Path(__file__).parent / "contestants"

MODELS: dict[str, dict[str, Any]] = {
    "small": {"d_model": 256, "d_ff": 1024, "num_heads": 8, "num_layers": 3, "vocab_size": 8000},
    "base": {"d_model": 512, "d_ff": 2048, "num_heads": 8, "num_layers": 6, "vocab_size": 32_000},
    "recurrent": {"kind": "recurrent", "d_model": 512, "num_layers": 1, "vocab_size": 8000},
}
"""Sizes; ``num_layers`` on each side."""

WARM_UP = range(1)
"""Batches at the start of each turn that do not count: memory is taken, code is chosen."""

BATCH_TOKENS = 4096

Turn = dict[str, float]
"""What a player answers; see :mod:`contestants.stage`."""


class MissedError(Exception):
    """A player who does not come, or gives up; says why."""


class Player:
    """A program that waits for its turns; ends with the ``with`` statement.

    Args:
        script: what to run; see :mod:`contestants.stage` and :mod:`contestants.booth`.
        python: the interpreter of its environment.
        terms: a dataclass, which the script reads.
        path: where it finds modules before anywhere else.

    Raises:
        MissedError: if it ends before it is ready.
    """

    def __init__(self, script: Path, python: str | Path, terms: Any, path: Path | None = None) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        command = [str(python), str(script), json.dumps(asdict(terms))]
        environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        begun = time.perf_counter()
        try:
            self._process = subprocess.Popen(command, **pipes, stderr=self._log, text=True, env=environment)
        except OSError as error:
            self._log.close()
            raise MissedError(f"{python}: {error.strerror}") from None
        self.about = self._answer()
        self.start_up = time.perf_counter() - begun
        """Seconds until it was ready."""

    @property
    def peak_memory(self) -> int:
        """Bytes of the largest resident size of the program so far; 0 where nobody tells that of another's."""
        return peak_memory(self._process.pid)

    def turn(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Has it do what ``question`` says to its script.

        Raises:
            MissedError: if it ends before it is through.
        """
        assert self._process.stdin is not None
        try:
            print(json.dumps(question), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise MissedError(self._last_words()) from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # whatever else its toolkit prints
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise MissedError(self._last_words())

    def _last_words(self) -> str:
        """Why it has ended, as far as it said so."""
        self._end()
        self._log.seek(0)
        said = [line for line in self._log.read().splitlines() if line.strip()]
        self.close()
        if self._process.returncode < 0:
            killer = signal.Signals(-self._process.returncode).name
            return f"killed by {killer}{', perhaps for want of memory' if killer == 'SIGKILL' else ''}"
        return said[-1] if said else f"ended with status {self._process.returncode}"

    def close(self) -> None:
        """Sends it home."""
        self._end()
        self._log.close()

    def _end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()

    def __enter__(self) -> "Player":
        return self

    def __exit__(self, *error: object) -> None:
        if any(error):
            self._process.kill()  # it may be in the middle of a turn
        self.close()


class Contest:
    """The terms, and the batches in a temporary folder; ends with the ``with`` statement.

    Args:
        model: a name in ``MODELS``, or sizes.
        rounds, steps: so many turns for each player, of so many updates.
        data: training text of two languages, source and target.
    """

    def __init__(
        self, model: Mapping[str, Any], threads: int, rounds: int, steps: int, data: tuple[Path, Path] | None = None
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="contest-")
        self.rounds, self.steps = rounds, steps
        folder = Path(self._temporary.name)
        src, tgt = data or (DATA / "multi30k/train.en.gz", DATA / "multi30k/train.de.gz")
        config = TranslateConfig(
            data=DataConfig(
                src=(str(src),), tgt=(str(tgt),), src_lang=src.suffixes[0][1:], tgt_lang=tgt.suffixes[0][1:],
                vocab_size=model["vocab_size"], batch_tokens=BATCH_TOKENS,
            )
        )  # fmt: skip
        task = Translate.prepare(config, folder / "data", lambda text: None)
        self.pieces = task.setup.src_tokenizer.vocab_size
        arrays = {}
        for number, batch in zip(range(len(WARM_UP) + rounds * steps), task.training_batches(), strict=False):
            arrays |= {f"src{number}": batch.src.numpy(), f"targets{number}": batch.targets.numpy()}
        np.savez(folder / "batches.npz", **arrays)
        self._terms: dict[str, Any] = {"batches": str(folder / "batches.npz"), "threads": threads, **model}
        self._terms |= {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS}

    def terms(self, precision: str, own_batches: bool = False) -> Terms:
        return Terms(**self._terms, precision=precision, own_batches=own_batches)

    def turns(self, players: Mapping[str, Player], missed: dict[str, str]) -> Iterator[dict[str, Turn]]:
        """Yields what each has made of a round; one that gives up is put down in ``missed``."""
        firsts = (len(WARM_UP) + number * self.steps for number in range(self.rounds))
        questions = ({"warm_up": list(WARM_UP), "batches": list(range(at, at + self.steps))} for at in firsts)
        for (answers,) in take_turns(players, missed, ([question] for question in questions)):
            yield answers

    def __enter__(self) -> "Contest":
        return self

    def __exit__(self, *error: object) -> None:
        self._temporary.cleanup()


def take_turns(
    players: Mapping[str, Player], missed: dict[str, str], rounds: Iterable[Sequence[Mapping[str, Any]]]
) -> Iterator[list[dict[str, Any]]]:
    """Yields what each has answered to each question of a round; one that gives up is put down in ``missed``.

    A question is put to one after the other before the next one is; another one begins in each round.
    """
    names = [name for name in players if name not in missed]
    for questions in rounds:
        answers: list[dict[str, Any]] = []
        for question in questions:
            answers.append({})
            for name in names:
                try:
                    answers[-1][name] = players[name].turn(question)
                except MissedError as error:
                    missed[name] = str(error)
            names = [name for name in names if name not in missed]
        names = names[1:] + names[:1]
        yield answers


def end_gently() -> None:
    """Has a request to end clear up, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def speed(turn: Turn) -> float:
    """Real target tokens a second."""
    return turn["tokens"] / turn["seconds"]


def spread(values: Sequence[float], shown: str = ",.0f") -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):{shown}} ({min(values):{shown}} to {max(values):{shown}})"


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield f"| {row[0].ljust(widths[0])} | {' | '.join(cells[1:])} |"
        if not number:
            yield f"|{'|'.join('-' * (width + 1) + ('-' if not place else ':') for place, width in enumerate(widths))}|"


def machine() -> str:
    """Its cores, and what its maker calls them."""
    return f"{os.cpu_count()} x {processor()}"
