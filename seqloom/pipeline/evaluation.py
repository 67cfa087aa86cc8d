"""A test set translated and scored, as a whole and by domain."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from seqloom.data.readers import read_lines, read_pairs
from seqloom.errors import DataError
from seqloom.metrics.translation import Score, score_translations
from seqloom.pipeline.translator import Translator

METRICS = ("bleu", "chrf", "ter")
LABELS = {"bleu": "BLEU", "chrf": "chrF++", "ter": "TER"}


@dataclass(frozen=True)
class Report:
    """Scores of one model on one test set."""

    scores: dict[str, Score]
    domains: dict[str, tuple[int, dict[str, Score]]]
    """Sentences and scores of each domain."""
    translations: list[str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """What ``seqloom evaluate --json`` prints."""
        return {
            **{name: score.value for name, score in self.scores.items()},
            "signature": {name: score.signature for name, score in self.scores.items()},
            "confidence": {
                name: [score.low, score.high] for name, score in self.scores.items() if score.low is not None
            },
            "sentences": len(self.translations),
            "seconds": round(self.seconds, 2),
            "domains": {
                domain: {"sentences": count, **{name: score.value for name, score in scores.items()}}
                for domain, (count, scores) in self.domains.items()
            },
        }

    def as_table(self) -> str:
        """The same for a person."""
        lines = [f"{len(self.translations):,} sentences in {self.seconds:.1f} s"]
        for name, score in self.scores.items():
            interval = "" if score.low is None else f"  [{score.low:.2f}, {score.high:.2f}]"
            lines.append(f"  {LABELS[name]:<7}{score.value:7.2f}{interval}  {score.signature}")
        if self.domains:
            width = max(map(len, self.domains))
            lines.append(f"  {'domain':<{width}}  sentences" + "".join(f"{LABELS[name]:>9}" for name in self.scores))
            for domain, (count, scores) in self.domains.items():
                lines.append(
                    f"  {domain:<{width}}  {count:>9,}" + "".join(f"{score.value:9.2f}" for score in scores.values())
                )
        return "\n".join(lines)


def evaluate(
    translator: Translator, src: Path, ref: Path, domains: Path | None = None, bootstrap: int = 1000, **decoding: Any
) -> Report:
    """Translates ``src`` and scores it against ``ref``; ``domains`` has a name for each line.

    Raises:
        DataError: if the files are not line by line of one length, or are empty.
    """
    pairs = list(read_pairs(src, ref))
    if not pairs:
        raise DataError(f"{src}: is empty, expected sentences to score")
    names = list(read_lines(domains)) if domains else []
    if domains and len(names) != len(pairs):
        raise DataError(
            f"{domains} has {len(names):,} lines and {src} has {len(pairs):,}; expected a domain for each sentence"
        )
    for example in pairs:
        if not example.tgt.strip():
            raise DataError(f"{ref}:{example.line}: the reference is empty, expected a translation to compare with")
    start = time.perf_counter()
    chunks = [pairs[i : i + 1024] for i in range(0, len(pairs), 1024)]
    results = chain.from_iterable(translator.translate([pair.src for pair in chunk], **decoding) for chunk in chunks)
    translations = [result.text for result in results]
    seconds = time.perf_counter() - start
    references = [pair.tgt for pair in pairs]
    language = translator.languages[1]

    def scored(rows: Sequence[int], resamplings: int) -> dict[str, Score]:
        chosen = [translations[row] for row in rows], [references[row] for row in rows]
        return score_translations(*chosen, language, METRICS, resamplings)

    by_domain: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        by_domain.setdefault(name.strip(), []).append(row)
    return Report(
        scores=scored(range(len(pairs)), bootstrap),
        domains={name: (len(rows), scored(rows, 0)) for name, rows in sorted(by_domain.items())},
        translations=translations,
        seconds=seconds,
    )
