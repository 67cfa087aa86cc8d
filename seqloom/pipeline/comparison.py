"""Two systems on one test set: which is better, surely or perhaps, and where."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from seqloom.data.languages import SURE, detect, same_language
from seqloom.data.readers import read_lines
from seqloom.errors import DataError, UserError, shown
from seqloom.metrics.significance import ROUNDING, Comparison, compare
from seqloom.metrics.translation import Metric
from seqloom.pipeline.evaluation import LABELS, require_references
from seqloom.pipeline.translator import Translator, load

TRANSLATED_TOGETHER = 1024

LEVEL = 0.05
"""Of significance, in the words of the table."""

LOWER_IS_BETTER = {"ter"}

MOST_SHOWN = 500
"""Characters of one text: a file may hold anything."""


class System(NamedTuple):
    """One of the two."""

    path: Path
    translations: list[str]
    languages: tuple[str, str] | None
    """Those of a model; None for a file of translations."""


class Sentence(NamedTuple):
    """One line of the test set; ``source`` is None where no sources were given."""

    line: int
    source: str | None
    reference: str
    a: str
    b: str
    a_chrf: float
    b_chrf: float

    @property
    def gain(self) -> float:
        return self.a_chrf - self.b_chrf


@dataclass(frozen=True)
class Report:
    """System A against system B."""

    paths: tuple[Path, Path]
    language: str
    metrics: dict[str, tuple[Comparison, str]]
    """With signatures."""
    sentences: list[Sentence]
    resamplings: int
    seed: int

    def wins(self) -> list[Sentence]:
        """Sentences that A translates better by chrF++, the clearest first."""
        return sorted((each for each in self.sentences if each.gain > ROUNDING), key=lambda each: -each.gain)

    def losses(self) -> list[Sentence]:
        """Those that B does."""
        return sorted((each for each in self.sentences if each.gain < -ROUNDING), key=lambda each: each.gain)

    def as_dict(self, top: int) -> dict[str, Any]:
        """What ``seqloom compare --json`` prints, with the ``top`` clearest wins and losses."""
        wins, losses = self.wins(), self.losses()
        return {
            "a": str(self.paths[0]),
            "b": str(self.paths[1]),
            "language": self.language,
            "sentences": len(self.sentences),
            "resamplings": self.resamplings,
            "seed": self.seed,
            "metrics": {
                name: {
                    "a": found.a,
                    "b": found.b,
                    "difference": found.difference,
                    "a_interval": found.a_interval,
                    "b_interval": found.b_interval,
                    "difference_interval": found.difference_interval,
                    "a_better": self._a_better(name),
                    "p_bootstrap": found.p_bootstrap,
                    "p_randomization": found.p_randomization,
                    "signature": signature,
                }
                for name, (found, signature) in self.metrics.items()
            },
            "wins": len(wins),
            "losses": len(losses),
            "ties": len(self.sentences) - len(wins) - len(losses),
            "largest_wins": [each._asdict() for each in wins[:top]],
            "largest_losses": [each._asdict() for each in losses[:top]],
        }

    def as_table(self, top: int) -> str:
        """The same for a person."""
        wins, losses = self.wins(), self.losses()
        a, b = self.paths
        lines = [
            f"{len(self.sentences):,} sentences",
            f"  A  {a}",
            f"  B  {b}",
            "",
            "               A       B   A - B  95 % of resamplings  A better  p bootstrap  p randomisation",
        ]
        for name, (found, _) in self.metrics.items():
            low, high = found.difference_interval
            lines.append(
                f"  {LABELS[name]:<7}{found.a:7.2f} {found.b:7.2f} {found.difference:+7.2f}"
                f"  {f'[{low:+.2f}, {high:+.2f}]':>20}  {self._a_better(name):8.1%}"
                f"  {found.p_bootstrap:11.4f}  {found.p_randomization:15.4f}"
            )
        lines += ["", *map(self._verdict, self.metrics), ""]
        lines.append(
            f"By sentence (chrF++): A wins {len(wins):,}, B wins {len(losses):,}, "
            f"{len(self.sentences) - len(wins) - len(losses):,} alike"
        )
        for title, chosen in (("Where A gains most", wins[:top]), ("Where B gains most", losses[:top])):
            if chosen:
                lines += ["", title, *(line for each in chosen for line in _shown(each))]
        lines += ["", *(f"{LABELS[name]} {signature}" for name, (_, signature) in self.metrics.items())]
        return "\n".join(lines)

    def _a_better(self, name: str) -> float:
        """Share of the resampled test sets on which A is better."""
        higher = self.metrics[name][0].a_higher
        return 1 - higher if name in LOWER_IS_BETTER else higher

    def _verdict(self, name: str) -> str:
        found = self.metrics[name][0]
        if max(found.p_bootstrap, found.p_randomization) >= LEVEL:
            return f"By {LABELS[name]} neither is surely better: such a difference may be chance."
        better = "A" if (found.difference > 0) != (name in LOWER_IS_BETTER) else "B"
        return f"By {LABELS[name]} {better} is better: chance alone would hardly make such a difference (p < {LEVEL})."


def compare_systems(
    a: Path,
    b: Path,
    ref: Path,
    src: Path | None = None,
    language: str = "",
    src_lang: str = "",
    metrics: Sequence[str] = ("bleu", "chrf"),
    resamplings: int = 1000,
    seed: int = 12345,
    opened: Callable[[Path], Translator] = load,
    **decoding: Any,
) -> Report:
    """Compares two systems, each a run or model folder, or a file with a translation on each line.

    Args:
        a: one system.
        b: the other.
        ref: a reference for each sentence.
        src: the sources; may be left out where both systems are files.
        language: target language, which chooses how text is cut for scoring; if not given, that of a
            model or, of two files, the one that the references are in.
        src_lang: source language, where a model knows several directions.
        metrics: of ``bleu``, ``chrf`` and ``ter``.
        resamplings: of each test.
        seed: everything random follows from it.
        opened: makes a translator of a run or model folder.
        **decoding: settings of the search of models.

    Raises:
        DataError: if the files are not line by line of one length, or a reference is empty.
        UserError: if the systems do not translate into one language, or it cannot be told.
    """
    references = list(read_lines(ref))
    require_references(ref, references)
    sources = _lines(src, "a source", ref, references) if src else None
    systems = [
        _system(path, sources, ref, references, lambda path: opened(path).towards(src_lang, language), decoding)
        for path in (a, b)
    ]
    language = _target_language(systems, language, ref, references)
    compared = {}
    by_sentence: list[list[float]] = []
    for name in dict.fromkeys([*metrics, "chrf"]):
        metric = Metric(name, language)
        of_a, of_b = (metric.statistics(system.translations, references) for system in systems)
        if name in metrics:
            compared[name] = compare(of_a, of_b, metric.score, resamplings, seed), metric.signature(resamplings)
        if name == "chrf":
            by_sentence = [list(map(metric.score, rows.tolist())) for rows in (of_a, of_b)]
    given: Sequence[str | None] = sources or [None] * len(references)
    columns = zip(given, references, *(system.translations for system in systems), *by_sentence, strict=True)
    sentences = [Sentence(line, *row) for line, row in enumerate(columns, start=1)]
    return Report((a, b), language, compared, sentences, resamplings, seed)


def _lines(path: Path, what: str, ref: Path, references: Sequence[str]) -> list[str]:
    lines = list(read_lines(path))
    if len(lines) != len(references):
        raise DataError(
            f"{path} has {len(lines):,} lines and {ref} has {len(references):,}; expected {what} for each reference"
        )
    return lines


def _system(
    path: Path,
    sources: list[str] | None,
    ref: Path,
    references: Sequence[str],
    loaded: Callable[[Path], Translator],
    decoding: dict[str, Any],
) -> System:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected a run, a model folder or a file of translations")
    if not path.is_dir():
        return System(path, _lines(path, "a translation", ref, references), None)
    if sources is None:
        raise UserError(f"{path} is a model, which needs sources to translate; give them with --src FILE")
    translator = loaded(path)
    chunks = [sources[i : i + TRANSLATED_TOGETHER] for i in range(0, len(sources), TRANSLATED_TOGETHER)]
    translations = [each.text for chunk in chunks for each in translator.translate(chunk, **decoding)]
    return System(path, translations, translator.languages)


def _target_language(systems: Sequence[System], given: str, ref: Path, references: Sequence[str]) -> str:
    known = [(system.path, system.languages) for system in systems if system.languages]
    if len(known) == 2:
        for side, what in ((0, "from"), (1, "into")):
            one, other = (languages[side] for _, languages in known)
            if not same_language(one, other):
                raise UserError(
                    f"{known[0][0]} translates {what} {one!r} and {known[1][0]} {what} {other!r}; "
                    f"two systems can be compared only on the same task"
                )
    if given or known:
        return given or known[0][1][1]
    language, confidence = detect(references)
    if confidence < SURE:
        raise UserError(
            f"{ref}: the target language cannot be told from it; give it with --tgt-lang, such as --tgt-lang en"
        )
    return language


def _shown(each: Sentence) -> list[str]:
    texts = {"source": each.source, "reference": each.reference, "A": each.a, "B": each.b}
    return [
        f"  line {each.line}: chrF++ {each.a_chrf:.1f} against {each.b_chrf:.1f}",
        *(f"    {name:<11}{shown(text, MOST_SHOWN)}" for name, text in texts.items() if text is not None),
    ]
