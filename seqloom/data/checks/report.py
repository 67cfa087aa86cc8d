"""What the doctor found, for a screen and for programs."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from seqloom.data.checks.diagnosis import Diagnosis
from seqloom.data.checks.findings import VERDICTS, Example, Finding, Severity, visible
from seqloom.data.checks.page import as_page
from seqloom.errors import ConfigError
from seqloom.files import write_text

SHOWN_EXAMPLES = 3
"""Of each finding that is more than a note, on the screen."""

WIDTH = 100
"""Characters of a text on the screen."""

NOT_OF_PAIRS = ("line_counts", "mixed_line_ends", "byte_order_mark", "overlap")
"""Kinds whose count is no number of pairs, or whose message tells a share itself."""

FORMATS = (".json", ".html")


def as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """All of it, but for the texts of pairs beyond the examples."""
    first = next(iter(diagnosis.misalignments), None)
    return {
        "verdict": "clean" if diagnosis.worst is Severity.NOTE else str(diagnosis.worst),
        "pairs": diagnosis.pairs,
        "flagged": diagnosis.flagged,
        "files": diagnosis.names,
        "languages": [list(each) for each in diagnosis.languages],
        "misalignment": None if first is None else {"line": first.line, "shift": first.shift},
        "misalignments": [each.as_dict() for each in diagnosis.misalignments],
        "findings": [finding.as_dict() for finding in diagnosis.findings],
        "statistics": diagnosis.statistics.as_dict(),
        "date": date.today().isoformat(),
        "seconds": round(diagnosis.seconds, 1),
    }


def as_json(diagnosis: Diagnosis, indent: int | None = None) -> str:
    """The same as text; of what UTF-8 cannot say, such as half a surrogate pair, the escape of JSON is left."""
    text = json.dumps(as_dict(diagnosis), ensure_ascii=False, indent=indent)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_text(diagnosis: Diagnosis) -> str:
    """The verdict, what is serious with its worst lines, and a line for each note."""
    return "\n".join(_lines(diagnosis))


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    serious = diagnosis.of(Severity.FATAL, Severity.PROBLEM)
    count, pairs = diagnosis.flagged, diagnosis.pairs  # it may be whole files alone that something is wrong with
    flagged = f" {count:,} of {pairs:,} pairs ({count / pairs:.2%}) are in question." if count else ""
    yield f"{VERDICTS[diagnosis.worst]}{flagged}"
    for names, languages in zip(diagnosis.names, diagnosis.languages, strict=True):
        told = f" ({languages[0] or '?'}, {languages[1] or '?'})" if any(languages) else ""
        yield f"  {' and '.join(map(visible, names))}{told}"
    yield f"  {pairs:,} {'pair' if pairs == 1 else 'pairs'}, {diagnosis.seconds:.1f} s"
    if diagnosis.chunks.shifts:
        yield "  For all that follows, the lines that are out of step were paired anew."
    for finding in serious:
        yield ""
        yield f"{str(finding.severity).upper():<8} {_said(finding)}"
        for example in finding.examples[:SHOWN_EXAMPLES]:
            yield from _example(example)
        yield f"         {finding.advice}"
    notes = diagnosis.of(Severity.NOTE)
    if notes:
        yield ""
        yield from (f"note     {_said(finding)}" for finding in notes)


def _said(finding: Finding) -> str:
    told = finding.share >= 0.0001 and finding.kind not in NOT_OF_PAIRS
    share = f" ({finding.share:.2%})" if told else ""
    return f"{visible(finding.message)}{share}"


def _example(example: Example) -> Iterator[str]:
    why = f": {visible(example.why)}" if example.why else ""
    yield f"         {visible(example.where)}{why}"
    for text in (example.src, example.tgt):
        seen = visible(text)
        yield f"           | {seen if len(seen) <= WIDTH else seen[:WIDTH] + '…'}"


def require_format(path: Path) -> None:
    """Raises ConfigError if no report can be written under this name."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path}: a report is written as {' or '.join(FORMATS)}; give a name that ends so")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: no such folder for a report; make it first")


def write_report(diagnosis: Diagnosis, path: Path) -> None:
    """As JSON or as a page, by the ending of the name.

    Raises:
        ConfigError: if it cannot be written there.
    """
    page = path.suffix.lower() == ".html"
    content = as_page(diagnosis) if page else as_json(diagnosis, indent=1)
    try:
        write_text(path, content + "\n")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); give a name elsewhere for the report"
        ) from None
