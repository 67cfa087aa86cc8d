"""A test set translated and scored, as a whole and by domain."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqloom.data.readers import read_lines, read_pairs
from seqloom.errors import DataError, shown
from seqloom.metrics.translation import Score, score_translations
from seqloom.pipeline.faults import count_faults
from seqloom.pipeline.guard import Mode
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
    guard: dict[str, Any]
    """How often what was found wrong, how many answers were mended, and the seconds of both."""

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
            "guard": self.guard,
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
            width = max(len(shown(domain)) for domain in self.domains)
            lines.append(f"  {'domain':<{width}}  sentences" + "".join(f"{LABELS[name]:>9}" for name in self.scores))
            for domain, (count, scores) in self.domains.items():
                lines.append(
                    f"  {shown(domain):<{width}}  {count:>9,}"
                    + "".join(f"{score.value:9.2f}" for score in scores.values())
                )
        if self.guard["mode"] != "off":
            lines.append(self._guard_line())
        return "\n".join(lines)

    def _guard_line(self) -> str:
        guard, seconds = self.guard, self.guard["seconds"]
        faults = ", ".join(f"{count:,} {name}" for name, count in guard["faults"].items())
        found = f"{guard['caught']:,} answers caught" + (f" ({faults}), {guard['mended']:,} mended" if faults else "")
        return f"  guard    {found}; {seconds['checking']:.1f} s to check, {seconds['retrying']:.1f} s to try again"


def evaluate(
    translator: Translator,
    src: Path,
    ref: Path,
    domains: Path | None = None,
    bootstrap: int = 1000,
    guard: Mode = "retry",
    **decoding: Any,
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
    require_references(ref, [pair.tgt for pair in pairs])
    before = dict(translator.guard.seconds)
    start = time.perf_counter()
    chunks = [pairs[i : i + 1024] for i in range(0, len(pairs), 1024)]
    results = [
        result
        for chunk in chunks
        for result in translator.translate([pair.src for pair in chunk], guard=guard, **decoding)
    ]
    translations = [result.text for result in results]
    seconds = time.perf_counter() - start
    spent = {name: round(value - before[name], 3) for name, value in translator.guard.seconds.items()}
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
        guard={
            "mode": guard,
            "caught": sum(bool(result.caught) for result in results),
            "mended": sum(bool(result.caught) and not result.flags for result in results),
            "faults": count_faults(result.caught for result in results),
            "seconds": spent,
        },
    )


def require_references(ref: Path, references: Sequence[str]) -> None:
    """DataError if there is none, or an empty one."""
    if not references:
        raise DataError(f"{ref}: is empty, expected reference translations")
    for line, reference in enumerate(references, start=1):
        if not reference.strip():
            raise DataError(f"{ref}:{line}: the reference is empty, expected a translation to compare with")
