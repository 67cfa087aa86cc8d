"""XLIFF 1.2 and 2.0, what translation tools send back and forth."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from seqloom.data.languages import is_reversed
from seqloom.data.readers.example import Example, Options
from seqloom.data.readers.markup import line_of, local_name, read_elements, remember, text_of
from seqloom.errors import DataError, listed, shown

UNITS_LOOKED_AT = 1000
"""Enough to know the languages of a file."""

UNFINISHED = {"initial", "new"}
"""States of what is no translation yet; those that begin with ``needs-`` are none either."""

NEEDS = {f"needs-{what}" for what in ("adaptation", "l10n", "translation")}
NEEDS |= {f"needs-review-{what}" for what in ("adaptation", "l10n", "translation")}
"""Those of them that there are; a file may make up others without end, and each reason is counted."""


def read_xliff(path: Path, options: Options) -> Iterator[Example]:
    """Yields the pairs of all segments; one without target, or with one that is not finished, is left out.

    Raises:
        DataError: if there is no target at all, or none in the languages that are wanted.
    """
    wanted = options.languages if all(options.languages) else xliff_languages(path, options)
    keep = options.inline_tags == "keep"
    segments = targets = fitting = 0
    found: dict[tuple[str, str], None] = {}
    for unit in _units(path):
        languages = _languages(unit)
        remember(found, [languages], path)
        turned = is_reversed(languages, wanted)
        for place, source, target, state in _segments(unit):
            texts = ["" if side is None else text_of(side, keep, path) for side in (source, target)]
            left_out = ""
            if not texts[1].strip():
                left_out = "no target"
            elif state in UNFINISHED or state.startswith("needs-"):
                left_out = f"a target in state {state if state in UNFINISHED | NEEDS else 'needs-...'}"
            elif turned is None:
                left_out = f"the languages {_named(languages)}"
            segments, targets = segments + 1, targets + (left_out != "no target")
            fitting += turned is not None
            example = Example(texts[0], texts[1], line_of(place), left_out)
            yield example.turned() if turned else example
    if segments and not targets:
        raise DataError(f"{path}: has {segments:,} segments and not one target; export it again with its translations")
    if segments and not fitting:
        raise DataError(
            f"{path}: is in {listed(list(map(_named, found)))}, expected {_named(wanted)}; "
            f"correct --src-lang and --tgt-lang, or leave the file out"
        )


def xliff_languages(path: Path, options: Options) -> tuple[str, str]:
    """Source and target as the file names them; the target is empty if it does not.

    Raises:
        DataError: if it has several pairs of languages, or lacks one that is wanted.
    """
    found = dict.fromkeys(_languages(unit) for unit in islice(_units(path), UNITS_LOOKED_AT))
    fitting = [
        languages[::-1] if turned else languages
        for languages in found
        if (turned := is_reversed(languages, options.languages)) is not None
    ]
    if found and len(fitting) != 1:
        raise DataError(
            f"{path}: is in {listed(list(map(_named, found)))}; say with --src-lang and --tgt-lang which is meant"
        )
    src, tgt = fitting[0] if fitting else ("", "")
    return options.src_lang or src, options.tgt_lang or tgt


def _named(languages: tuple[str, str]) -> str:
    return "-".join(shown(language) or "?" for language in languages)


def _units(path: Path) -> Iterator[Any]:
    return read_elements(path, "xliff", ["trans-unit", "unit"])


def _languages(unit: Any) -> tuple[str, str]:
    """What the file around a unit says (1.2), or the whole document (2.0)."""
    for element in unit.iterancestors("{*}file", "{*}xliff"):
        for src, tgt in (("source-language", "target-language"), ("srcLang", "trgLang")):
            if element.get(src):
                return element.get(src), element.get(tgt) or ""
    return "", ""


def _segments(unit: Any) -> Iterator[tuple[Any, Any, Any, str]]:
    """Yields (where it stands, source, target or None, state) of each segment of a unit."""
    if local_name(unit) == "unit":
        for segment in unit.iterfind("{*}segment"):
            yield segment, segment.find("{*}source"), segment.find("{*}target"), segment.get("state", "")
        return
    source, target = unit.find("{*}source"), unit.find("{*}target")
    state = "" if target is None else target.get("state", "")
    sources, targets = _marked(unit.find("{*}seg-source")), _marked(target)
    if sources and sources.keys() == targets.keys():
        for number, part in sources.items():
            yield part, part, targets[number], state
    else:
        yield unit, source, target, state


def _marked(side: Any) -> dict[str, Any]:
    """The sentences that a side is cut into, by their number."""
    marks = () if side is None else side.iter("{*}mrk")
    return {mark.get("mid", ""): mark for mark in marks if mark.get("mtype") == "seg"}
