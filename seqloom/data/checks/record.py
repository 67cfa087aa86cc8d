"""What the corpus doctor has seen so far, and what follows from it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby, islice

import numpy as np
from numpy.typing import NDArray

from seqloom.data.checks.characters import Texts
from seqloom.data.checks.chunks import CHUNK, Chunk, Chunks, FileFacts
from seqloom.data.checks.diagnosis import Diagnosis, Misalignment, Statistics, by_severity
from seqloom.data.checks.drift import DriftFinder
from seqloom.data.checks.findings import KINDS, MOST_EXAMPLES, Example, Finding, excerpt, severity_of
from seqloom.data.checks.lines import LONGEST, Examined
from seqloom.data.checks.overlap import HeldAgainst
from seqloom.data.checks.repeats import EXACT, PAIR, SRC, TGT, Repeated, Repeats
from seqloom.data.checks.sides import Sides
from seqloom.data.languages import CODES, alike, detect, is_other_way_round
from seqloom.writing import subtags

HEAD = 20_000
"""Pairs at the beginning of each group of files from which it is learnt what they are like."""

TELLING = 2_000
"""Pairs of which it can be told whether the sides belong together; of fewer, much alike, it cannot."""


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


class Record:
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
        keys = examined.keys.copy()
        for kind, rows in examined.rows.items():
            if KINDS[kind].dropped:
                keys[rows] = 0  # or with what repeats it both would be dropped
        self.repeats.add(keys, chunk.start)
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
        if not self.usable and "invalid_utf8" not in rows:  # which says why
            findings.append(self._finding("no_pairs", 0, message="no pair has text on both sides"))
        languages = [self.languages.get(number, ("", "")) for number in range(len(groups))]
        names = [group.names() for group in groups]
        return Diagnosis(
            names, pairs, languages, by_severity(findings), misalignments, rows, self.statistics, self.chunks
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
                if told and subtags(language)[0] in CODES and not alike(told, language):
                    said = f"{names}: the {role} seems to be in {told} and not in {language}"
                    yield self._finding("other_language", count, message=said)

    def _misalignments(self) -> list[Misalignment]:
        found = []
        for number, finder in self.finders.items():
            names = self.chunks.groups[number].names()
            for drift in finder.drifts():
                where = f"{names[-1]}:{drift.line}"
                if len(names) == 1:  # whose pairs need not be a line each
                    row = self.starts[number] + drift.line - 1
                    where = self._read({row})[row].where
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
