"""How an exported model runs fastest on this machine: measured once, and kept beside it."""

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from seqloom.config import DecodingConfig
from seqloom.data.tokenizers import EOS, NUM_SPECIAL
from seqloom.export.ctranslate2_engine import CTranslate2Engine, Shape
from seqloom.export.store import Export, user_cache
from seqloom.files import read_json, write_text
from seqloom.machine import cores, processor
from seqloom.tasks.setup import TranslatorSetup

KEPT = "machines.json"
SENTENCES, LENGTH = 64, 8
"""What is translated to measure: so many for each thread, of so many tokens, to as many at most."""
BATCHES = (16, 32, 64)
MOST_THREADS, MOST_BATCH = 4096, 4096
"""No choice has more; a file may say so."""
SECONDS = 0.5
"""A way that has taken so long is not tried again."""


@dataclass(frozen=True)
class Choice:
    """The fastest way that was found."""

    variant: str
    shape: Shape
    tokens_per_second: float


def shapes(threads: int) -> Iterator[tuple[int, int]]:
    """Workers and threads of each that together use ``threads``, as far as both divide them."""
    for workers in range(threads, 0, -1):
        if threads % workers == 0:
            yield workers, threads // workers


def choose(
    exports: list[Export],
    setup: TranslatorSetup,
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Choice:
    """The choice among ``exports`` that was made on this machine before, or one that is made now."""
    threads = threads or cores()
    variants = sorted(export.variant for export in exports)
    key = f"{processor()}, {threads} threads, {'/'.join(variants)}"
    places = [export.path / KEPT for export in exports]
    cache = user_cache(exports[0].weights)
    places += [cache / KEPT] if cache else []
    for path in places:
        choice = _kept(path, key)
        if choice is not None and choice.variant in variants:
            return choice
    say(f"Trying out how this machine translates fastest with {threads} thread{'s' if threads > 1 else ''}, once.")
    found = measure(exports, setup, threads)
    best = max(found, key=lambda choice: choice.tokens_per_second)
    for path in (places[0], places[-1]):
        if _keep(path, key, best):
            break
    return best


def measure(exports: list[Export], setup: TranslatorSetup, threads: int) -> list[Choice]:
    """Tries the shapes with one batch size, the batch sizes with the best shape, and then the other types with both."""
    first, *others = exports
    tried = [_timed(first, setup, Shape(workers, each, BATCHES[1])) for workers, each in shapes(threads)]
    best = max(tried, key=lambda choice: choice.tokens_per_second)
    others_of_it = [replace(best.shape, batch=batch) for batch in BATCHES if batch != best.shape.batch]
    tried += [_timed(first, setup, shape) for shape in others_of_it]
    best = max(tried, key=lambda choice: choice.tokens_per_second)
    return tried + [_timed(export, setup, best.shape) for export in others]


def _timed(export: Export, setup: TranslatorSetup, shape: Shape) -> Choice:
    engine = CTranslate2Engine(export, setup, shape)
    generator = random.Random(1)
    vocab = setup.vocab_sizes[0]
    sentences = [
        [*(generator.randrange(NUM_SPECIAL, vocab) for _ in range(LENGTH)), EOS]
        for _ in range(SENTENCES * shape.workers * shape.threads)
    ]
    task = DecodingConfig(beam=1, max_length=LENGTH)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        found = engine.search(sentences, task)
        seconds = time.perf_counter() - start
        best = min(best, seconds)
        if seconds > SECONDS:
            break
    tokens = sum(len(hypotheses[0].tokens) + 1 for hypotheses in found)
    return Choice(export.variant, shape, tokens / best)


def _kept(path: Path, key: str) -> Choice | None:
    try:
        about: dict[str, Any] = read_json(path)[key]
        shape = Shape(**{name: int(value) for name, value in about["shape"].items()})
        if min(asdict(shape).values()) < 1 or shape.workers * shape.threads > MOST_THREADS or shape.batch > MOST_BATCH:
            return None
        return Choice(str(about["variant"]), shape, float(about["tokens_per_second"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(path: Path, key: str, choice: Choice) -> bool:
    """Whether it could be written down."""
    try:
        about = read_json(path)
    except (OSError, ValueError):
        about = {}
    if not isinstance(about, dict):
        about = {}
    about[key] = {**asdict(choice), "date": str(date.today())}
    if path.parent.is_symlink():  # that is not the model's folder
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(about, indent=1) + "\n")
    except OSError:
        return False
    return True
