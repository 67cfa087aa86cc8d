"""Answers are checked, and searched for again where something is wrong with them.

For what was found, the rungs of ``LADDER`` that may mend it are tried one after another. A rung's
candidates are checked like any answer; of those without a fault, the one that is most probable to
the model, without the rung's penalties, is taken. Where no rung has one, the first answer stays
and is flagged. An answer that nothing is wrong with is never touched.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from seqloom.config import DecodingConfig
from seqloom.data.lengths import LengthRatio
from seqloom.decoding.ranking import Ranking
from seqloom.pipeline.engines import WithTorch
from seqloom.pipeline.faults import FAULTS, faults_of
from seqloom.tasks.answers import Answer, translate
from seqloom.tasks.engine import Engine
from seqloom.tasks.setup import TranslatorSetup

Mode = Literal["off", "flag", "retry"]
MODES: tuple[Mode, ...] = ("off", "flag", "retry")

WIDEST = 1000
"""The largest beam there is."""


@dataclass(frozen=True)
class Rung:
    """Another search, for answers that have one of ``faults``."""

    faults: frozenset[str]
    settings: Callable[[LengthRatio], dict[str, Any]]
    """What it changes in the search that was asked for, beside a beam twice as wide and an end to what runs on."""


ENDLESS = frozenset({"loop", "too_long", "cut"})

LADDER = (
    Rung(frozenset(FAULTS), lambda ratio: {}),
    Rung(frozenset({"numbers"}), lambda ratio: {"repetition_penalty": 1.2}),
    Rung(ENDLESS, lambda ratio: {"repetition_penalty": 1.5}),
    # Fast engines leave these two to torch, so that they take longer: they are for what is rare.
    Rung(frozenset({"copy"}), lambda ratio: {"diversity": 1.0}),
    Rung(frozenset({"too_short"}), lambda ratio: {"min_length_ratio": ratio.low}),
)


@dataclass
class Searched:
    """Sentences, and what was asked for them, so that it can be asked differently."""

    setup: TranslatorSetup
    engine: Engine
    sources: Sequence[str]
    tokens: Sequence[list[int]]
    """Of each source, without tag and end."""
    prefixes: Sequence[str] | None
    decoding: DecodingConfig
    n_best: int
    batch_tokens: int

    def search(self) -> list[Answer]:
        """The answers to all of them."""
        asked = self.decoding, self.n_best, self.batch_tokens, self.prefixes
        return translate(self.setup, self.engine, self.tokens, *asked)

    def again(self, rows: Sequence[int], settings: dict[str, Any]) -> list[Answer]:
        """All that a beam twice as wide finds for some within the usual length, with ``settings`` on top."""
        beam = min(WIDEST, 2 * max(self.decoding.beam, self.setup.decoding.beam))
        asked = self.setup.bounded(self.decoding).max_length_ratio
        longest = min(self.setup.length_ratio.high, asked or math.inf)
        # What was asked for stands where it is the stronger.
        stronger = {key: max(value, getattr(self.decoding, key)) for key, value in settings.items()}
        changed = {"beam": beam, "mbr": "none", "max_length_ratio": longest, **stronger}
        decoding = self.decoding.model_copy(update=changed)
        prefixes = [self.prefixes[row] for row in rows] if self.prefixes else None
        engine = self.engine.quiet() if isinstance(self.engine, WithTorch) else self.engine
        tokens = [self.tokens[row] for row in rows]
        return translate(self.setup, engine, tokens, decoding, beam, self.batch_tokens, prefixes)

    def rate(self, rows: Sequence[int], texts: Sequence[str]) -> list[float]:
        """The score of each of ``texts`` as the translation of its row, without constraints and coverage."""
        ranking = Ranking(self.decoding.length_penalty, self.decoding.length_formula)
        sources = self.setup.framed([self.tokens[row] for row in rows])
        scores = self.engine.score(sources, self.setup.targets(texts), self.batch_tokens)
        return [ranking.score(sum(each.log_probs), len(each.tokens)) for each in scores]


class Guarded(NamedTuple):
    """An answer that was checked."""

    answer: Answer
    flags: tuple[str, ...] = ()
    """What is wrong with it, by the names in ``FAULTS``."""
    caught: tuple[str, ...] = ()
    """What was wrong with the first answer."""


class Candidate(NamedTuple):
    """One text of an answer."""

    text: str
    score: float
    length: int
    finished: bool


@dataclass
class Guard:
    """Checks what comes from one model; ``seconds`` tells what that has taken so far."""

    ratio: LengthRatio
    seconds: dict[str, float] = field(default_factory=lambda: {"checking": 0.0, "retrying": 0.0})

    def watch(self, searched: Searched, mode: Mode = "retry") -> list[Guarded]:
        """Searches, and checks the best text of each answer; what is wrong is flagged, or retried first."""
        answers = searched.search()
        if mode == "off":
            return [Guarded(answer) for answer in answers]
        start = time.perf_counter()
        caught = {
            row: faults
            for row, answer in enumerate(answers)
            if (faults := self._faults(searched, row, answer, _candidates(answer)[0]))
        }
        checked = time.perf_counter()
        mended = self._retry(searched, answers, caught) if mode == "retry" else {}
        self.seconds["checking"] += checked - start
        self.seconds["retrying"] += time.perf_counter() - checked
        return [
            Guarded(mended[row], (), caught[row])
            if row in mended
            else Guarded(answer, caught.get(row, ()), caught.get(row, ()))
            for row, answer in enumerate(answers)
        ]

    def _faults(
        self, searched: Searched, row: int, answer: Answer, candidate: Candidate, exact_numbers: bool = False
    ) -> tuple[str, ...]:
        source = searched.sources[row]
        if not source:
            return ()
        sizes = answer.source_length, candidate.length
        cut = not candidate.finished
        return faults_of(source, candidate.text, sizes, cut, searched.setup.languages, self.ratio, exact_numbers)

    def _retry(
        self, searched: Searched, answers: Sequence[Answer], caught: dict[int, tuple[str, ...]]
    ) -> dict[int, Answer]:
        """For each of the rows ``caught`` an answer without a fault, where there is one."""
        mended: dict[int, Answer] = {}
        for rung in LADDER:
            rows = [row for row, faults in caught.items() if row not in mended and not rung.faults.isdisjoint(faults)]
            if not rows:
                continue
            passing = [
                (row, candidate)
                for row, answer in zip(rows, searched.again(rows, rung.settings(self.ratio)), strict=True)
                for candidate in _candidates(answer)
                # What a number became is doubtful once: among many, some would seem right by chance.
                if not self._faults(searched, row, answer, candidate, "numbers" in caught[row])
            ]
            scores = searched.rate([row for row, _ in passing], [candidate.text for _, candidate in passing])
            found: dict[int, list[Candidate]] = {}
            for (row, candidate), score in zip(passing, scores, strict=True):
                found.setdefault(row, []).append(candidate._replace(score=score))
            mended |= {row: _led_by(each, answers[row], searched.n_best) for row, each in found.items()}
        return mended


def _candidates(answer: Answer) -> list[Candidate]:
    return list(map(Candidate, answer.texts, answer.scores, answer.lengths, answer.finished))


def _led_by(candidates: list[Candidate], first: Answer, n_best: int) -> Answer:
    """An answer of ``candidates``, best first, and of what ``first`` has beside them, up to ``n_best``."""
    known = {candidate.text for candidate in candidates}
    ranked = sorted(candidates, key=lambda candidate: -candidate.score)
    ranked += [candidate for candidate in _candidates(first) if candidate.text not in known]
    texts, scores, lengths, finished = map(list, zip(*ranked[:n_best], strict=True))
    return first._replace(texts=texts, scores=scores, lengths=lengths, finished=finished)
