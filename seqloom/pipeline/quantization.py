"""What it costs to run a model in fewer bits, measured on sentences; only what was measured is used by default."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from seqloom.data.languages import Direction
from seqloom.data.readers import Example, read_pairs
from seqloom.errors import ConfigError, DataError, UserError
from seqloom.export.ctranslate2_engine import CTranslate2Engine, Shape, supported_types
from seqloom.export.store import SHORTLIST, Export
from seqloom.machine import processor
from seqloom.metrics.translation import score_translations
from seqloom.pipeline.evaluation import require_references
from seqloom.pipeline.translator import Translator
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.setup import TranslatorSetup

MOST_BLEU = 0.5
"""A type that loses more than this is refused, unless told otherwise."""

TELLING = 5
"""A score judges only if it is more than so many times what may be lost: nearer to 0, a ruined type loses little."""

ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """An export at work on a set of sentences."""

    texts: list[str]
    bleu: float
    chrf: float
    tokens_per_second: float
    """Target tokens, the fastest of several rounds."""
    bytes: int


@dataclass(frozen=True)
class Proof:
    """One type beside float32."""

    variant: str
    plain: Measured
    quantized: Measured
    signatures: dict[str, str]
    sentences: int
    most_bleu: float
    source: str
    direction: Direction

    @property
    def changed(self) -> float:
        """Share of sentences that are translated otherwise."""
        pairs = zip(self.plain.texts, self.quantized.texts, strict=True)
        return sum(a != b for a, b in pairs) / self.sentences

    @property
    def accepted(self) -> bool:
        """Whether it loses no more than is allowed, and could have."""
        return bool(self.judge) and self.lost <= self.most_bleu

    @property
    def judge(self) -> str:
        """BLEU; chrF++ where float32 has too little BLEU to tell, as of short sentences; empty where neither tells."""
        scores = {"BLEU": self.plain.bleu, "chrF++": self.plain.chrf}
        return next((name for name, score in scores.items() if score > TELLING * self.most_bleu), "")

    @property
    def lost(self) -> float:
        """Points of the judge."""
        plain, quantized = self.plain, self.quantized
        return plain.bleu - quantized.bleu if self.judge == "BLEU" else plain.chrf - quantized.chrf

    def as_dict(self) -> dict[str, Any]:
        """What is kept beside the export, and printed by ``--json``."""

        def numbers(measured: Measured) -> dict[str, float]:
            return {
                "bleu": measured.bleu,
                "chrf": measured.chrf,
                "tokens_per_second": measured.tokens_per_second,
                "bytes": measured.bytes,
            }

        return {
            "variant": self.variant,
            "accepted": self.accepted,
            "most_bleu": self.most_bleu,
            "judge": self.judge,
            "float32": numbers(self.plain),
            self.variant: numbers(self.quantized),
            "changed": self.changed,
            "sentences": self.sentences,
            "source": self.source,
            "direction": str(self.direction),
            "signatures": self.signatures,
            "machine": processor(),
            "date": str(date.today()),
        }

    def as_table(self) -> str:
        """For people."""
        rows = [f"{'':<18}{'float32':>12}{self.variant:>20}{'change':>12}"]
        for name, key, digits in (("BLEU", "bleu", 2), ("chrF++", "chrf", 2)):
            a, b = getattr(self.plain, key), getattr(self.quantized, key)
            rows.append(f"{name:<18}{a:>12.{digits}f}{b:>20.{digits}f}{b - a:>+12.{digits}f}")
        a, b = self.plain.tokens_per_second, self.quantized.tokens_per_second
        rows.append(f"{'tokens/s':<18}{a:>12,.0f}{b:>20,.0f}{f'x {b / a:.2f}':>12}")
        a, b = self.plain.bytes / 1e6, self.quantized.bytes / 1e6
        rows.append(f"{'size, MB':<18}{a:>12,.1f}{b:>20,.1f}{f'x {b / a:.2f}':>12}")
        rows.append(f"{'sentences changed':<18}{self.changed:>44.1%}")
        return "\n".join(rows)


def prove(
    folder: ModelFolder,
    setup: TranslatorSetup,
    plain: Export,
    quantized: Export,
    shape: Shape,
    pairs: Sequence[Example],
    source: str,
    most_bleu: float = MOST_BLEU,
) -> Proof:
    """Translates a set of sentences by both exports, in turns, and compares; ``source`` is what it is called."""
    sources, references = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    engines = [CTranslate2Engine(each, setup, shape) for each in (plain, quantized)]
    texts: list[list[str]] = [[], []]
    seconds = [float("inf")] * 2
    for _ in range(ROUNDS):
        for number, engine in enumerate(engines):
            start = time.perf_counter()
            texts[number] = [each.text for each in Translator(folder, setup, engine).translate(sources, guard="off")]
            seconds[number] = min(seconds[number], time.perf_counter() - start)
    scores = [score_translations(each, references, setup.languages[1], ("bleu", "chrf")) for each in texts]
    measured = [
        Measured(
            text,
            score["bleu"].value,
            score["chrf"].value,
            _tokens(setup, text) / taken,
            (export.path / "model.bin").stat().st_size,
        )
        for text, score, taken, export in zip(texts, scores, seconds, (plain, quantized), strict=True)
    ]
    signatures = {name: score.signature for name, score in scores[0].items()}
    direction = Direction(*setup.languages)
    return Proof(quantized.variant, measured[0], measured[1], signatures, len(pairs), most_bleu, source, direction)


def read_measured(src: Path, ref: Path) -> list[Example]:
    """The sentences to measure with.

    Raises:
        DataError: if there are none, or not line by line as many references, or an empty one.
    """
    pairs = list(read_pairs(src, ref))
    if not pairs:
        raise DataError(f"{src}: is empty, expected sentences to measure with")
    require_references(ref, [pair.tgt for pair in pairs])
    return pairs


def require_type(variant: str) -> None:
    """ConfigError if this processor does not calculate in the type of a variant."""
    kind = variant.removesuffix(SHORTLIST)
    if kind not in supported_types():
        known = ", ".join(sorted(supported_types()))
        raise ConfigError(f"this processor does not calculate in {kind}, only in {known}")


def require_accepted(proof: Proof, before: bool = False) -> None:
    """UserError if it costs too much, or that could not be told; ``before`` says that it was used until now."""
    if proof.accepted:
        return
    if not proof.judge:
        raise UserError(
            f"{proof.source} proves nothing of {proof.variant}: float32 has BLEU {proof.plain.bleu:.2f} and chrF++ "
            f"{proof.plain.chrf:.2f} on it, expected more than {TELLING} times the {proof.most_bleu:g} that may be "
            f"lost; give sentences that the model translates well, or a smaller --max-loss"
        )
    raise UserError(
        f"{proof.variant} costs {proof.lost:.3f} {proof.judge} on {proof.source}, more than {proof.most_bleu:g}; "
        f"it is not used{' any more' if before else ''}. --max-loss allows more, up to {100 // TELLING} % of what "
        f"float32 has"
    )


def _tokens(setup: TranslatorSetup, texts: Sequence[str]) -> int:
    return sum(len(ids) + 1 for ids in setup.tgt_tokenizer.encode(texts))
