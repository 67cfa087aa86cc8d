"""How fast a trained translator translates on this machine: what ``seqloom bench decode`` shows."""

import random
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

from seqloom.config import DecodingConfig
from seqloom.data.corpus import Corpus
from seqloom.data.readers import read_lines
from seqloom.data.tokenizers import EOS, NUM_SPECIAL
from seqloom.errors import DataError
from seqloom.machine import cores, processor
from seqloom.pipeline.engines import Running, open_each
from seqloom.tasks.engine import Engine
from seqloom.tasks.setup import TranslatorSetup

MOST_SENTENCES = 1000
MADE_UP = 256, 16
"""Sentences of random tokens, and tokens of each, where there are no others."""

WARM_UP = 0.2
"""Of the time, and before it: to see how fast each engine is. The slowest one says how much all translate."""

WHOLE = 1 << 30
"""Tokens of a batch that torch does not cut."""

Batches = Sequence[Sequence[Sequence[int]]]
"""Sentences that are given at once, in token ids."""


@dataclass(frozen=True)
class Cell:
    """One engine at one beam and batch."""

    engine: str
    beam: int
    batch: int
    """Sentences given at once."""
    sentences: int
    """That were translated, again and again: as many as the slowest engine can in the time, the same for all."""
    measurements: int
    """Batches that were timed."""
    tokens_per_second: float
    """Of the target, ends counted."""
    sentences_per_second: float
    median_ms: float
    """From a batch to its translations."""
    p95_ms: float


@dataclass(frozen=True)
class Report:
    """All that was measured of one model."""

    path: str
    machine: str
    threads: int
    sentences: int
    source: str
    """Where they are from."""
    load_seconds: dict[str, float]
    """Of each engine."""
    cells: list[Cell]
    interrupted: bool

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return asdict(self) | {"date": str(date.today())}

    def as_table(self) -> str:
        """The same for a person."""
        width = max(len(cell.engine) for cell in self.cells)
        lines = [
            f"{self.path} on {self.machine}, threads: {self.threads}; {self.sentences:,} sentences, {self.source}",
            f"{'engine':<{width}}{'beam':>6}{'batch':>7}{'sentences':>11}{'measurements':>14}{'tokens/s':>10}"
            f"{'sentences/s':>13}{'median, ms':>12}{'p95, ms':>10}",
        ]
        lines += [
            f"{c.engine:<{width}}{c.beam:>6}{c.batch:>7}{c.sentences:>11,}{c.measurements:>14,}"
            f"{c.tokens_per_second:>10,.0f}{c.sentences_per_second:>13,.1f}{c.median_ms:>12,.1f}{c.p95_ms:>10,.1f}"
            for c in self.cells
        ]
        lines += [f"{name}: ready after {seconds:.2f} s" for name, seconds in self.load_seconds.items()]
        if self.interrupted:
            lines.append("Stopped before the end: this is what was measured until then.")
        return "\n".join(lines)


def bench_decode(
    path: Path,
    src: Path | None = None,
    beams: Sequence[int] = (1, 4),
    batches: Sequence[int] = (1, 16, 64),
    seconds: float = 3.0,
    languages: tuple[str, str] = ("", ""),
    running: Running | None = None,
) -> Report:
    """Translates the same sentences by each engine that can run the model, for ``seconds`` in each cell.

    Args:
        path: a run or model folder.
        src: sentences to translate; unless given, those that the run was validated with.
        beams: to try.
        batches: numbers of sentences given at once.
        seconds: of each cell, and a little more to see what fits in.
        languages: which direction, where the model knows several.
        running: device and threads; the defaults unless given.

    Raises:
        DataError: if ``src`` has no sentences.
    """
    running = replace(running or Running(), scores=False)  # as a translation that shows none
    cells: list[Cell] = []
    load_seconds: dict[str, float] = {}
    engines: dict[str, Engine] = {}
    sentences: list[list[int]] = []
    source, finished = "", False
    with suppress(KeyboardInterrupt):
        begun = time.perf_counter()
        for name, setup, engine in open_each(path, running):
            load_seconds[name], engines[name] = time.perf_counter() - begun, engine
            if not sentences:
                directed = setup.towards(*languages)
                sentences, source = _sentences(path, directed, src)
            begun = time.perf_counter()
        for beam, batch in product(beams, batches):
            decoding = _search(directed, beam)
            parts = [sentences[start : start + batch] for start in range(0, len(sentences), batch)]
            slowest = max(_batch_seconds(engine, parts, decoding, WARM_UP * seconds) for engine in engines.values())
            same = parts[: max(1, int(seconds / slowest))]
            for name, engine in engines.items():
                cells.append(_cell(name, engine, same, decoding, batch, seconds))
        finished = True
    if not cells:
        raise KeyboardInterrupt
    threads = running.threads or cores()
    return Report(str(path), processor(), threads, len(sentences), source, load_seconds, cells, not finished)


def _search(setup: TranslatorSetup, beam: int) -> DecodingConfig:
    """The model's own search, so wide, without what not all engines have."""
    plain = {"sample": False, "diversity": 0.0, "mbr": "none", "beam": beam}
    return setup.bounded(setup.decoding).model_copy(update=plain)


def _batch_seconds(engine: Engine, batches: Batches, decoding: DecodingConfig, seconds: float) -> float:
    """What a batch takes on average, tried out for ``seconds``; one before that sets things up."""
    engine.search(batches[0], decoding, batch_tokens=WHOLE)
    times: list[float] = []
    for sources in batches:
        start = time.perf_counter()
        engine.search(sources, decoding, batch_tokens=WHOLE)
        times.append(time.perf_counter() - start)
        if sum(times) >= seconds:
            break
    return statistics.mean(times)


def _cell(name: str, engine: Engine, batches: Batches, decoding: DecodingConfig, batch: int, seconds: float) -> Cell:
    """From as many whole passes over ``batches`` as fit into ``seconds``, one at least."""
    times: list[float] = []
    tokens = passes = 0
    while not passes or sum(times) / passes * (passes + 1) <= seconds:
        for sources in batches:
            start = time.perf_counter()
            found = engine.search(sources, decoding, batch_tokens=WHOLE)
            times.append(time.perf_counter() - start)
            tokens += sum(len(best[0].tokens) + 1 for best in found)
        passes += 1
    total, sentences = sum(times), sum(map(len, batches))
    ordered = sorted(1000 * each for each in times)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return Cell(
        engine=name,
        beam=decoding.beam,
        batch=batch,
        sentences=sentences,
        measurements=len(times),
        tokens_per_second=tokens / total,
        sentences_per_second=passes * sentences / total,
        median_ms=statistics.median(ordered),
        p95_ms=p95,
    )


def _sentences(path: Path, setup: TranslatorSetup, src: Path | None) -> tuple[list[list[int]], str]:
    """What is translated, in token ids, and where it is from."""
    tag = setup.tag()
    if src is not None:
        texts = [line for line in read_lines(src) if line.strip()][:MOST_SENTENCES]
        if not texts:
            raise DataError(f"{src}: is empty, expected sentences to translate")
        limit = max(len(tag) + setup.longest_source, 24)
        fitting = [ids for ids in setup.sources(texts) if len(ids) <= limit + 1]
        if not fitting:
            raise DataError(f"{src}: all lines are longer than any sentence of the training, {limit} tokens; cut them")
        left_out = len(texts) - len(fitting)
        return fitting, f"{src}{f', {left_out:,} too long ones left out' if left_out else ''}"
    with suppress(OSError, EOFError, ValueError, KeyError):
        corpus = Corpus(path / "data" / "valid")
        kept = [corpus.src[row].tolist() for row in range(min(len(corpus), MOST_SENTENCES))]
        kept = [ids for ids in kept if ids]
        if kept and max(map(max, kept)) < setup.vocab_sizes[0]:
            return [[*ids, EOS] for ids in kept], "the run's validation sources"
    generator = random.Random(1)
    count, length = MADE_UP
    return [
        [*tag, *(generator.randrange(NUM_SPECIAL, setup.vocab_sizes[0]) for _ in range(length)), EOS]
        for _ in range(count)
    ], "made of random tokens; give --src for real ones"
