"""What is found out about a corpus."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqloom.data.checks.characters import SCRIPTS
from seqloom.data.checks.chunks import Chunks
from seqloom.data.checks.findings import KINDS, Finding, Severity
from seqloom.data.checks.lines import Examined


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
        if self.until is None:
            return f"from {self.where} on the {lacking(self.shift)}"
        again = f"has {abs(self.shift):,} too many where it ends"
        return f"from {self.where} to line {self.until:,} the {lacking(self.shift)} where this begins, and {again}"


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


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """The most serious first; of one severity as the table of kinds has them."""
    order = list(KINDS)
    return sorted(findings, key=lambda each: (list(Severity).index(each.severity), order.index(each.kind)))


def lacking(shift: int) -> str:
    """Which side has fewer lines, and how many, where target line n belongs to source line n + ``shift``."""
    return f"{'target' if shift > 0 else 'source'} lacks {abs(shift):,} {'line' if abs(shift) == 1 else 'lines'}"
