"""A contest: programs that make the same updates in turns, each in a process of its own, one at work at a time."""

import json
import os
import platform
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from contestants.stage import Terms

from seqloom.config import DataConfig
from seqloom.data.tokenizers import BOS, EOS, PAD, UNK
from seqloom.tasks.translate import Translate, TranslateConfig

DATA = Path(os.environ.get("SEQLOOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
SCRIPTS = Path(__file__).parent / "contestants"

MODELS: dict[str, dict[str, int]] = {
    "small": {"d_model": 256, "d_ff": 1024, "num_heads": 8, "num_layers": 3, "vocab_size": 8000},
    "base": {"d_model": 512, "d_ff": 2048, "num_heads": 8, "num_layers": 6, "vocab_size": 32_000},
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
        script: what to run; see :mod:`contestants.stage`.
        python: the interpreter of its environment.
        path: where it finds modules before anywhere else.

    Raises:
        MissedError: if it ends before it is ready.
    """

    def __init__(self, script: Path, python: str | Path, terms: Terms, path: Path | None = None) -> None:
        self._log = Path(terms.batches).with_name(f"{id(self)}.log")
        command = [str(python), str(script), json.dumps(asdict(terms))]
        environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        try:
            with self._log.open("w") as log:
                self._process = subprocess.Popen(command, **pipes, stderr=log, text=True, env=environment)
        except OSError as error:
            raise MissedError(f"{python}: {error.strerror}") from None
        self.about = self._answer()

    def turn(self, batches: Sequence[int]) -> Turn:
        """Has it make an update with each of the batches of these numbers.

        Raises:
            MissedError: if it ends before it is through.
        """
        assert self._process.stdin is not None
        asked = {"warm_up": list(WARM_UP), "batches": list(batches)}
        try:
            print(json.dumps(asked), file=self._process.stdin, flush=True)
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
        self.close()
        if self._process.returncode < 0:
            killer = signal.Signals(-self._process.returncode).name
            return f"killed by {killer}{', perhaps for want of memory' if killer == 'SIGKILL' else ''}"
        said = [line for line in self._log.read_text().splitlines() if line.strip()]
        return said[-1] if said else f"ended with status {self._process.returncode}"

    def close(self) -> None:
        """Sends it home."""
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
        self, model: Mapping[str, int], threads: int, rounds: int, steps: int, data: tuple[Path, Path] | None = None
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
        names = list(players)
        for number in range(self.rounds):
            first = len(WARM_UP) + number * self.steps
            answers = {}
            for name in names:
                try:
                    answers[name] = players[name].turn(range(first, first + self.steps))
                except MissedError as error:
                    missed[name] = str(error)
            names = [name for name in names[1:] + names[:1] if name not in missed]  # another one begins
            yield answers

    def __enter__(self) -> "Contest":
        return self

    def __exit__(self, *error: object) -> None:
        self._temporary.cleanup()


def end_gently() -> None:
    """Has a request to end clear up, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def speed(turn: Turn) -> float:
    """Real target tokens a second."""
    return turn["tokens"] / turn["seconds"]


def spread(values: Sequence[float], shown: str = ",.0f") -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):{shown}} ({min(values):{shown}} to {max(values):{shown}})"


def machine() -> str:
    """The processor, as it calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"
