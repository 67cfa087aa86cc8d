"""The quick part of the corpus doctor, which every training begins with: is there something fatal?

A corpus of any size is looked at by ``MOST`` pairs of each group of files: stretches of ``STRETCH``
consecutive pairs from all over it. What is fatal is there too, for it is wrong with at least half of the
pairs, or with all from some line on.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from seqloom.data.checks.characters import Texts
from seqloom.data.checks.chunks import Chunk
from seqloom.data.checks.diagnosis import lacking
from seqloom.data.checks.drift import Drift, DriftFinder
from seqloom.data.checks.findings import KINDS, Severity, severity_of
from seqloom.data.checks.lines import examine
from seqloom.data.checks.record import TELLING
from seqloom.data.checks.sides import Sides
from seqloom.data.languages import SURE, detect, is_other_way_round
from seqloom.data.readers import Example, Group
from seqloom.errors import DataError

MOST = 40_000
STRETCH = 1_000

LONGEST = 2_000
"""Characters of a text that are looked at."""

TOLD_BY = 200
"""Lines of each side by which its language is told."""

SEEN_LATE = 20
"""Lines after the beginning of a stretch in which a drift from before it is seen."""

CONFIDENT = 0.5
"""A drift that is less probable does not keep anybody from training."""

WAY_OUT = "to train on it all the same, set data.check to false"

Stretch = tuple[int, list[Example]]
"""How many pairs are before it, and its pairs."""


def refuse_unfit(groups: Sequence[Group], declared: Sequence[tuple[str, str]], say: Callable[[str], None]) -> None:
    """Looks a training corpus over.

    Args:
        groups: its files.
        declared: the languages that the user says each is in; empty where they were not given.
        say: is told what is odd but not fatal.

    Raises:
        DataError: if it must not be trained on, or cannot be read.
    """
    for group, languages in zip(groups, declared, strict=True):
        _refuse_group(group, languages, say)


def _refuse_group(group: Group, declared: tuple[str, str], say: Callable[[str], None]) -> None:
    names = " and ".join(group.names())
    stretches = sample(group)
    src = [example.src for _, stretch in stretches for example in stretch]
    tgt = [example.tgt for _, stretch in stretches for example in stretch]
    left_out = [row for row, example in enumerate(e for _, part in stretches for e in part) if example.left_out]
    if all(declared) and is_other_way_round(_told(src), _told(tgt), declared):
        raise DataError(
            f"{names}: the source is in {declared[1]} and the target in {declared[0]}, the other way round than said; "
            f"exchange the files or the languages, or {WAY_OUT}"
        )
    chunk = Chunk(0, 0, src, tgt, [(0, 0)] * len(src), [], left_out)
    sides = Sides.of(Texts(src), Texts(tgt), languages=False)
    for kind, rows in examine(chunk, sides, whole=False).rows.items():
        share = len(rows) / max(1, len(src))
        if len(rows) and severity_of(kind, len(rows), share) is Severity.FATAL:
            raise DataError(
                f"{names}: {share:.0%} of the pairs have this: {KINDS[kind].title}; look at them with `seqloom check`, "
                f"or {WAY_OUT}"
            )
    finder = DriftFinder()
    finder.add(src, tgt)
    if len(src) >= TELLING and finder.unrelated:
        say(f"{names}: the sides seem to be no translations of one another; look at them with `seqloom check`.")
    drifts = [drift for drift in finder.drifts() if drift.confidence >= CONFIDENT]
    if drifts:
        line, unseen = _place(drifts[0], stretches)
        here = f"at most {unseen:,} lines before here" if unseen else "here"
        raise DataError(
            f"{group.names()[-1]}:{line}: from {here} on the {lacking(drifts[0].shift)}, so source and target are out "
            f"of step; find the line with `seqloom check`, or {WAY_OUT}"
        )


def sample(group: Group, most: int = MOST) -> list[Stretch]:
    """Stretches from all over a group of files, all of it where it is small; reads it to its end."""
    stretches: list[Stretch] = []
    examples, start, apart = iter(group), 0, 1
    while stretch := [_cut(example) for example in islice(examples, STRETCH)]:
        stretches.append((start, stretch))
        start += len(stretch)
        if len(stretches) * STRETCH > most:
            stretches, apart = stretches[::2], 2 * apart
        start += _skip(examples, stretches[-1][0] + apart * STRETCH - start)
    return stretches


def _cut(example: Example) -> Example:
    if max(len(example.src), len(example.tgt)) <= LONGEST:
        return example
    return example._replace(src=example.src[:LONGEST], tgt=example.tgt[:LONGEST])


def _skip(examples: Iterator[Example], count: int) -> int:
    """Passes over some pairs, as many as there are."""
    return sum(1 for _ in islice(examples, max(0, count)))


def _told(texts: list[str]) -> str:
    language, confidence = detect(texts[:: max(1, len(texts) // TOLD_BY)])
    return language if confidence >= SURE else ""


def _place(drift: Drift, stretches: Sequence[Stretch]) -> tuple[int, int]:
    """The line where a drift that begins in the sample was first seen, and how many were not looked at just before."""
    row, end = drift.line - 1, 0
    for start, stretch in stretches:
        if row < len(stretch):
            return stretch[row].line, start - end if row < 2 * abs(drift.shift) + SEEN_LATE else 0
        row -= len(stretch)
        end = start + len(stretch)
    return stretches[-1][1][-1].line, 0
