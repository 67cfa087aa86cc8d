"""The corpus doctor: reads a corpus once, looks at it on all cores, and says what is wrong with it."""

import multiprocessing
import signal
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqloom.data.checks.characters import SCRIPTS, Texts
from seqloom.data.checks.chunks import CHUNK, Chunk, Chunks, FileFacts, Shift
from seqloom.data.checks.drift import DriftFinder
from seqloom.data.checks.findings import KINDS, MOST_EXAMPLES, Example, Finding, Severity, excerpt, severity_of
from seqloom.data.checks.lines import LONGEST, Examined, examine
from seqloom.data.checks.overlap import HeldAgainst
from seqloom.data.checks.repeats import EXACT, PAIR, SRC, TGT, Repeated, Repeats
from seqloom.data.checks.sides import Sides
from seqloom.data.languages import CODES, detect, same_language, subtags
from seqloom.data.readers import Group
from seqloom.machine import cores

HEAD = 20_000
"""Pairs at the beginning of each group of files from which it is learnt what they are like."""

LOOK_ALIKE = (
    {"no", "nb", "nn", "da"},
    {"hr", "sr", "bs", "sh"},
    {"id", "ms"},
    {"cs", "sk"},
    {"pt", "gl"},
    {"hi", "mr"},
)
"""Languages that are taken for one another."""

TELLING = 2_000
"""Pairs of which it can be told whether the sides belong together; of fewer, much alike, it cannot."""

MARGIN = 20
"""Lines on either side of a place where the sides drift apart, which is known no better than that."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Misalignment:
    """From where on the two sides of a group are out of step."""

    group: int
    start: int
    """How many pairs are before the group."""
    where: str
    """``file:line`` of the target's first line out of step."""
    line: int
    """Of the target, from 1; the pair where one file holds both sides."""
    shift: int
    """Target line n belongs to source line n + shift."""
    until: int | None
    """The last such line; None where that is the end."""
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        about = {"where": self.where, "line": self.line, "shift": self.shift, "until": self.until}
        return {**about, "confidence": round(self.confidence, 3)}

    def __str__(self) -> str:
        end = f" to line {self.until:,}" if self.until else " on"
        return f"from {self.where}{end} the {lacking(self.shift)}"


@dataclass
class Statistics:
    """What the charts of a report are drawn from."""

    characters: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    scripts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, len(SCRIPTS) + 1), np.int64))
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 24), np.int64))
    ratios: NDArray[np.int64] = field(default_factory=lambda: np.zeros(41, np.int64))

    def add(self, examined: Examined) -> None:
        self.characters += examined.characters
        self.scripts += examined.scripts
        self.lengths += examined.lengths
        self.ratios += examined.ratios

    def as_dict(self) -> dict[str, Any]:
        return {
            "characters": self.characters.tolist(),
            "scripts": [
                {name: int(side[n]) for n, name in enumerate(SCRIPTS, start=1) if side[n]} for side in self.scripts
            ],
        }


@dataclass
class Diagnosis:
    """All that was found."""

    names: list[list[str]]
    pairs: int
    languages: list[tuple[str, str]]
    """What the sides of each group seem to be in."""
    findings: list[Finding]
    """The most serious first."""
    misalignments: list[Misalignment]
    rows: dict[str, NDArray[np.int64]]
    """Of each kind the pairs that have it, counted from 0 in the order in which ``chunks`` gives them."""
    statistics: Statistics
    chunks: Chunks
    """The pairs; where two files are out of step, their lines paired anew."""
    seconds: float = 0.0

    @property
    def worst(self) -> Severity:
        """Of the findings; a note where there is none."""
        return min((finding.severity for finding in self.findings), key=list(Severity).index, default=Severity.NOTE)

    def of(self, *severities: Severity) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity in severities]

    @property
    def flagged(self) -> int:
        """Pairs that have something fatal or a problem."""
        kinds = {finding.kind for finding in self.of(Severity.FATAL, Severity.PROBLEM)}
        rows = [self.rows[kind] for kind in kinds if kind in self.rows]
        return len(np.unique(np.concatenate(rows))) if rows else 0


def check(
    groups: Sequence[Group],
    against: Sequence[HeldAgainst] = (),
    declared: tuple[str, str] = ("", ""),
    *,
    processes: int | None = None,
    progress: Progress = lambda pairs: None,
) -> Diagnosis:
    """Looks at all pairs of ``groups``.

    Args:
        groups: the files.
        against: lines that should not be among them.
        declared: the languages that the user says they are in, if any.
        processes: at work side by side; one for each core unless given.
        progress: is told now and then how many pairs are done.

    Raises:
        DataError: if a file cannot be read at all.
    """
    start = time.perf_counter()
    diagnosis = _examine_all(Chunks(groups), against, declared, processes, progress)
    shifts = _shifts(groups, diagnosis.misalignments)
    if shifts:  # lines out of step would say nothing of each other
        again = _examine_all(Chunks(groups, shifts, MARGIN), against, declared, processes, progress)
        again.misalignments = diagnosis.misalignments
        again.findings = _by_severity(
            [*again.findings, *(finding for finding in diagnosis.findings if finding.kind == "misalignment")]
        )
        diagnosis = again
    diagnosis.seconds = time.perf_counter() - start
    return diagnosis


def _shifts(groups: Sequence[Group], misalignments: Sequence[Misalignment]) -> dict[int, list[Shift]]:
    """How the lines of the groups of two files that are out of step belong together."""
    found: dict[int, list[Shift]] = {}
    for each in misalignments:
        if len(groups[each.group].paths) != 2:
            continue
        shifts = found.setdefault(each.group, [])
        if shifts and shifts[-1].line == each.line:  # where the one before ends
            shifts.pop()
        shifts.append(Shift(each.line, each.shift))
        if each.until is not None:
            shifts.append(Shift(each.until + 1, 0))
    return found


def _examine_all(
    chunks: Chunks,
    against: Sequence[HeldAgainst],
    declared: tuple[str, str],
    processes: int | None,
    progress: Progress,
) -> Diagnosis:
    record = _Record(chunks, against, declared)
    try:
        for chunk, sides, examined in _examined(record.watched(), processes or cores()):
            record.add(chunk, sides, examined)
            progress(chunk.start + len(chunk.src))
        return record.diagnosis()
    finally:
        record.repeats.close()


def _by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """The most serious first; of one severity as the table of kinds has them."""
    order = list(KINDS)
    return sorted(findings, key=lambda each: (list(Severity).index(each.severity), order.index(each.kind)))


def _examined(chunks: Iterator[tuple[Chunk, Sides]], processes: int) -> Iterator[tuple[Chunk, Sides, Examined]]:
    """What is found in each chunk, in their order."""
    first = list(islice(chunks, HEAD // CHUNK + 1))
    if processes == 1 or len(first) <= HEAD // CHUNK:  # processes take longer to start than so few pairs to look at
        for chunk, sides in chain(first, chunks):
            yield chunk, sides, examine(chunk, sides)
        return
    # Not forked: the libraries of a training have threads.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_leave_interrupts)
    at_work: deque[tuple[Chunk, Sides, Future[Examined]]] = deque()
    try:
        for chunk, sides in chain(first, chunks):
            with _uninterrupted():  # this may start a process, which takes that over from us
                at_work.append((chunk, sides, pool.submit(examine, chunk, sides)))
            if len(at_work) > 2 * processes:
                done, of, future = at_work.popleft()
                yield done, of, future.result()
        for done, of, future in at_work:
            yield done, of, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the end of it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_interrupts() -> None:
    """Ctrl-C is the parent's affair, which ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Record:
    """What was seen so far."""

    def __init__(self, chunks: Chunks, against: Sequence[HeldAgainst], declared: tuple[str, str]) -> None:
        self.chunks = chunks
        self.against = against
        self.declared = declared
        self.repeats = Repeats()
        self.sentences: list[NDArray[np.bool_]] = []
        self.statistics = Statistics()
        self.finders: dict[int, DriftFinder] = {}
        self.starts: dict[int, int] = {}
        self.languages: dict[int, tuple[str, str]] = {}
        self.rows: defaultdict[str, list[NDArray[np.int64]]] = defaultdict(list)
        self.examples: defaultdict[str, list[tuple[float, Example]]] = defaultdict(list)
        self.overlaps: defaultdict[int, list[Example]] = defaultdict(list)
        self.usable = 0

    def watched(self) -> Iterator[tuple[Chunk, Sides]]:
        """All chunks, each with what the beginning of its group is like."""
        for number, of_group in groupby(self.chunks, key=lambda chunk: chunk.group):
            head = list(islice(of_group, HEAD // CHUNK))
            src = Texts([text for chunk in head for text in chunk.src])
            tgt = Texts([text for chunk in head for text in chunk.tgt])
            sides = Sides.of(src, tgt)
            self.languages[number] = sides.languages
            self.starts[number] = head[0].start
            if not self.chunks.shifts:
                self.finders[number] = DriftFinder()
            for chunk in chain(head, of_group):
                if number in self.finders:
                    self.finders[number].add(chunk.src, chunk.tgt)
                yield chunk, sides

    def add(self, chunk: Chunk, sides: Sides, examined: Examined) -> None:
        self.statistics.add(examined)
        self.usable += examined.usable
        for kind, rows in examined.rows.items():
            if len(rows):
                self.rows[kind].append(chunk.start + rows)
                self._show(kind, chunk, rows, examined.scores.get(kind))
        assert examined.keys is not None
        self.repeats.add(examined.keys, chunk.start)
        self.sentences.append(examined.sentences)
        self._compare(chunk, examined.keys)

    def _show(self, kind: str, chunk: Chunk, rows: NDArray[np.int64], scores: NDArray[np.float64] | None) -> None:
        """Keeps the worst examples, or else the first."""
        kept = self.examples[kind]
        if scores is None:
            rows = rows[: MOST_EXAMPLES - len(kept)]
            scores = np.zeros(len(rows))
        else:
            order = np.argsort(-scores, kind="stable")[:MOST_EXAMPLES]
            rows, scores = rows[order], scores[order]
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            kept.append((score, self._example(kind, chunk, row)))
        kept.sort(key=lambda each: -each[0])
        del kept[MOST_EXAMPLES:]

    def _example(self, kind: str, chunk: Chunk, row: int) -> Example:
        src, tgt = chunk.src[row], chunk.tgt[row]
        why = WHY[kind](src, tgt) if kind in WHY else ""
        return Example(self.chunks.where(chunk, row), excerpt(src), excerpt(tgt), why)

    def _compare(self, chunk: Chunk, keys: NDArray[np.uint64]) -> None:
        """With the lines that should not be in the corpus."""
        found = np.zeros(len(keys), bool)
        for number, held in enumerate(self.against):
            for side, column in enumerate((SRC, TGT)):
                if side not in held.sides:
                    continue
                lines = held.find(keys[:, column])
                found |= lines > 0
                for row in np.flatnonzero(lines)[: MOST_EXAMPLES - len(self.overlaps[number])].tolist():
                    why = f"{held.name}:{lines[row]}"
                    example = self._example("overlap", chunk, row)
                    self.overlaps[number].append(example._replace(why=f"the {('source', 'target')[side]} is {why}"))
        if found.any():
            self.rows["overlap"].append(chunk.start + np.flatnonzero(found))

    def diagnosis(self) -> Diagnosis:
        rows = {kind: np.concatenate(parts) for kind, parts in self.rows.items()}
        groups, pairs = self.chunks.groups, self.chunks.pairs
        findings = [*self._of_files(), *self._of_languages()]
        misalignments = self._misalignments()
        for misalignment in misalignments:
            end = misalignment.until or self._length(misalignment.group)
            findings.append(self._finding("misalignment", end - misalignment.line + 1, message=str(misalignment)))
        findings += [
            self._finding("unrelated", self._length(number), message=" and ".join(groups[number].names()))
            for number, finder in self.finders.items()
            if self._length(number) >= TELLING and finder.unrelated
        ]
        findings += [
            self._finding(kind, len(rows[kind]), [example for _, example in self.examples[kind]])
            for kind in rows
            if kind != "overlap"
        ]
        repeated = self._repeated()
        rows |= {kind: each.rows for kind, each in repeated.items() if len(each.rows)}
        findings += self._of_repeats(repeated)
        for number, held in enumerate(self.against):
            if held.found:
                message = f"{held.found:,} of {held.size:,} lines of {held.name} are in the corpus"
                findings.append(
                    self._finding(
                        "overlap", held.found, self.overlaps[number], message, held.size, held.found_sentences
                    )
                )
        if not self.usable:
            findings.append(self._finding("no_pairs", 0, message="no pair has text on both sides"))
        languages = [self.languages.get(number, ("", "")) for number in range(len(groups))]
        names = [group.names() for group in groups]
        return Diagnosis(
            names, pairs, languages, _by_severity(findings), misalignments, rows, self.statistics, self.chunks
        )

    def _finding(
        self,
        kind: str,
        count: int,
        examples: Sequence[Example] = (),
        message: str = "",
        of: int | None = None,
        serious: int | None = None,
    ) -> Finding:
        """One of so many ``of`` all, of which ``serious`` count for how serious it is."""
        total = max(1, self.chunks.pairs if of is None else of)
        counted = count if serious is None else serious
        said = message or f"{count:,} {'pair' if count == 1 else 'pairs'}: {KINDS[kind].title}"
        return Finding(kind, severity_of(kind, counted, counted / total), count, count / total, list(examples), said)

    def _length(self, number: int) -> int:
        """Pairs in a group."""
        following = [start for other, start in self.starts.items() if other > number]
        return min(following, default=self.chunks.pairs) - self.starts[number]

    def _of_files(self) -> Iterator[Finding]:
        for facts in self.chunks.facts.values():
            src, tgt = facts
            if src.lines != tgt.lines:
                message = (
                    f"{src.path} has {src.lines:,} lines and {tgt.path} has {tgt.lines:,}; "
                    f"what both have was checked, line by line"
                )
                yield self._finding("line_counts", abs(src.lines - tgt.lines), message=message)
            yield from (self._of_ends(each) for each in facts if each.odd_ends[0])
            for each in facts:
                if each.bom:
                    yield self._finding("byte_order_mark", 1, message=f"{each.path} begins with a byte order mark")

    def _of_ends(self, facts: FileFacts) -> Finding:
        count, first = facts.odd_ends
        end = r"\r\n" if count == facts.crlf else r"\n"
        message = (
            f"lines of {facts.path} that end in {end}, unlike the others: {count:,} of {facts.lines:,} "
            f"(the first: {facts.path}:{first})"
        )
        return self._finding("mixed_line_ends", count, message=message, of=facts.lines)

    def _of_languages(self) -> Iterator[Finding]:
        """Where the texts are in other languages than the user says."""
        for number, found in self.languages.items():
            names = " and ".join(self.chunks.groups[number].names())
            count = self._length(number)
            if is_other_way_round(*found, self.declared):
                said = (
                    f"{names}: the source is in {found[0]} and the target in {found[1]}, the other way round than said"
                )
                yield self._finding("swapped_sides", count, message=said)
                continue
            for role, told, language in zip(("source", "target"), found, self.declared, strict=True):
                if told and language in CODES and not alike(told, language):
                    said = f"{names}: the {role} seems to be in {told} and not in {language}"
                    yield self._finding("other_language", count, message=said)

    def _misalignments(self) -> list[Misalignment]:
        found = []
        for number, finder in self.finders.items():
            names = self.chunks.groups[number].names()
            for drift in finder.drifts():
                where = f"{names[-1]}:{drift.line}"
                found.append(
                    Misalignment(
                        number, self.starts[number], where, drift.line, drift.shift, drift.until, drift.confidence
                    )
                )
        return found

    def _repeated(self) -> dict[str, Repeated]:
        exact = self.repeats.duplicates(EXACT)
        return {
            "duplicates": exact,
            "near_duplicates": self.repeats.duplicates(PAIR, exact.rows),
            "many_targets": self.repeats.variants(SRC),
            "many_sources": self.repeats.variants(TGT),
        }

    def _of_repeats(self, repeated: dict[str, Repeated]) -> Iterator[Finding]:
        shown = {kind: each.worst[:MOST_EXAMPLES] for kind, each in repeated.items()}
        wanted = {index for worst in shown.values() for again, first, _ in worst for index in (again, first)}
        texts = self._read(wanted)
        sentences = np.concatenate([np.zeros(0, bool), *self.sentences])
        for kind, worst in shown.items():
            examples = [
                texts[again]._replace(why=REPEATED[kind].format(times=times, first=texts[first].where))
                for again, first, times in worst
            ]
            if len(repeated[kind].rows):
                # Of greetings and the like no clean corpus is free.
                serious = int(sentences[repeated[kind].rows].sum())
                yield self._finding(kind, len(repeated[kind].rows), examples, serious=serious)

    def _read(self, wanted: set[int]) -> dict[int, Example]:
        """Some pairs once more, as examples."""
        found: dict[int, Example] = {}
        again = Chunks(self.chunks.groups, self.chunks.shifts, self.chunks.margin)
        last = max(wanted, default=-1)
        for chunk in again:
            if chunk.start > last:
                break
            for index in [each for each in wanted if 0 <= each - chunk.start < len(chunk.src)]:
                found[index] = self._example("", chunk, index - chunk.start)
        return found


def lacking(shift: int) -> str:
    """Which side has fewer lines, and how many, where target line n belongs to source line n + ``shift``."""
    return f"{'target' if shift > 0 else 'source'} lacks {abs(shift):,} {'line' if abs(shift) == 1 else 'lines'}"


def alike(one: str, other: str) -> bool:
    """Whether two codes mean one language, or two that are taken for one another."""
    return same_language(one, other) or any({subtags(one)[0], subtags(other)[0]} <= group for group in LOOK_ALIKE)


def is_other_way_round(src: str, tgt: str, declared: tuple[str, str]) -> bool:
    """Whether the languages that were told are those ``declared``, but in each other's place."""
    return (
        bool(src and tgt and all(declared))
        and not alike(*declared)
        and alike(src, declared[1])
        and alike(tgt, declared[0])
    )


def _language(src: str, tgt: str) -> str:
    return " and ".join(detect([text[:LONGEST]])[0] or "?" for text in (src, tgt))


WHY: dict[str, Callable[[str, str], str]] = {
    "length_ratio": lambda src, tgt: f"{len(src):,} characters and {len(tgt):,}",
    "long": lambda src, tgt: f"{max(len(src), len(tgt)):,} characters",
    "wrong_language_block": lambda src, tgt: f"looks like {_language(src, tgt)}",
}
"""What an example says of itself."""

REPEATED = {
    "duplicates": "{times:,} times in all, first at {first}",
    "near_duplicates": "{times:,} times in all, first at {first}",
    "many_targets": "{times:,} targets, another at {first}",
    "many_sources": "{times:,} sources, another at {first}",
}
