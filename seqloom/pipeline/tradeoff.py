"""Several models on one test set: how good, how fast and how large each is."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from safetensors import safe_open

from seqloom.machine import processor
from seqloom.metrics.translation import score_translations
from seqloom.pipeline.engines import engine_and_type
from seqloom.pipeline.translator import Translator
from seqloom.tasks.folder import WEIGHTS

ROUNDS = 3


@dataclass(frozen=True)
class System:
    """One model."""

    path: str
    layers: str
    """Of encoder and decoder."""
    d_model: int
    engine: str
    type: str
    """What it calculates in."""
    beam: int
    parameters: int
    bleu: float
    chrf: float
    tokens_per_second: float
    """Target tokens, of the fastest of several rounds."""
    bytes: int
    """Of its weights."""


@dataclass(frozen=True)
class Comparison:
    """All of them."""

    systems: list[System]
    sentences: int
    signatures: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"machine": processor(), "date": str(date.today())}

    def as_table(self) -> str:
        """For people; ratios to the first."""
        width = max(len(system.path) for system in self.systems)
        engines = [f"{system.engine} {system.type}" for system in self.systems]
        wide = max(map(len, engines)) + 2
        head = f"{'':<{width}}{'layers':>8}{'d_model':>9}{'parameters':>12}{'engine':>{wide}}{'beam':>6}"
        rows = [f"{head}{'BLEU':>8}{'chrF++':>8}{'tokens/s':>10}{'times':>8}"]
        first = self.systems[0].tokens_per_second
        rows += [
            f"{s.path:<{width}}{s.layers:>8}{s.d_model:>9}{s.parameters / 1e6:>10.1f} M{engine:>{wide}}{s.beam:>6}"
            f"{s.bleu:>8.2f}{s.chrf:>8.2f}{s.tokens_per_second:>10,.0f}{s.tokens_per_second / first:>8.2f}"
            for s, engine in zip(self.systems, engines, strict=True)
        ]
        rows += [f"{name}: {signature}" for name, signature in self.signatures.items()]
        return "\n".join(rows)


def weigh(
    translators: Sequence[Translator], sources: Sequence[str], references: Sequence[str], beam: int | None = None
) -> Comparison:
    """Translates the same sentences by each in turns, and scores what comes of them.

    Args:
        translators: models into one language.
        sources: what is translated.
        references: one of each.
        beam: of the search; each model's own unless given.
    """
    seconds = [float("inf")] * len(translators)
    texts: list[list[str]] = [[] for _ in translators]
    wanted: dict[str, Any] = {} if beam is None else {"beam": beam}
    for _ in range(ROUNDS):
        for number, translator in enumerate(translators):
            start = time.perf_counter()
            texts[number] = [each.text for each in translator.translate(sources, guard="off", **wanted)]
            seconds[number] = min(seconds[number], time.perf_counter() - start)
    systems, signatures = [], {}
    for translator, said, taken in zip(translators, texts, seconds, strict=True):
        scores = score_translations(said, references, translator.languages[1], ("bleu", "chrf"))
        signatures = {name: score.signature for name, score in scores.items()}
        config = translator.setup.model
        decoding = translator.setup.decoding.model_copy(update=wanted)
        file = Path(translator.path) / WEIGHTS
        tokens = sum(len(ids) + 1 for ids in translator.setup.tgt_tokenizer.encode(said))
        systems.append(
            System(
                str(translator.path.parent if translator.path.name == "model" else translator.path),
                f"{config.num_encoder_layers}+{config.num_decoder_layers}",
                config.d_model,
                *engine_and_type(translator.engine, decoding),
                decoding.beam,
                _parameters(file),
                scores["bleu"].value,
                scores["chrf"].value,
                tokens / taken,
                file.stat().st_size,
            )
        )
    return Comparison(systems, len(sources), signatures)


def _parameters(path: Path) -> int:
    """How many numbers a safetensors file holds."""
    with safe_open(path, "numpy") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118 - no dict
