"""TMX, the exchange format of translation memories (versions 1.1 to 1.4b)."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import Any

from seqloom.data.languages import find_language, settle
from seqloom.data.readers.example import Example, Options
from seqloom.data.readers.markup import line_of, read_elements, remember, text_of
from seqloom.errors import LISTED, DataError, listed, shown

UNITS_LOOKED_AT = 1000
"""Enough to know the languages of a file."""

MAX_PAIRS = 10_000
"""That one unit may make: of 200 texts in each of two languages it would be four times as many."""

MAX_CODE = 100
"""Characters of a language code."""

LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def read_tmx(path: Path, options: Options) -> Iterator[Example]:
    """Yields the pairs of a translation memory; a unit without one of the two languages is left out.

    Of a unit with several texts in one language each makes a pair.
    """
    wanted = options.languages if all(options.languages) else tmx_languages(path, options)
    found: dict[str, None] = {}
    paired = False
    for unit in _units(path):
        line = line_of(unit)
        texts: dict[str, list[str]] = {}
        for variant in unit.iterfind("{*}tuv"):
            segment = variant.find("{*}seg")
            if segment is not None:
                text = text_of(segment, options.inline_tags == "keep", path)
                texts.setdefault(_language(variant), []).append(text)
        remember(found, texts, path)
        src, tgt = (_find(language, tuple(texts)) for language in wanted)
        for language, codes in zip(wanted, (src, tgt), strict=True):
            if len(codes) > 1:
                meanings = " or ".join(map(shown, codes[:LISTED]))
                raise DataError(f"{path}:{line}: {language} may be {meanings} here; say which is meant")
        if src and src == tgt:
            raise DataError(
                f"{path}:{line}: {wanted[0]} and {wanted[1]} are both {src[0]} here, expected two languages"
            )
        if not src or not tgt:
            yield Example("", "", line, f"no text in {wanted[bool(src)] or 'any language'}")
            continue
        paired = True
        if len(texts[src[0]]) * len(texts[tgt[0]]) > MAX_PAIRS:
            raise DataError(
                f"{path}:{line}: the unit has {len(texts[src[0]]):,} texts in {src[0]} and {len(texts[tgt[0]]):,} in "
                f"{tgt[0]}, which are more than {MAX_PAIRS:,} pairs; expected a few texts a unit"
            )
        for pair in product(texts[src[0]], texts[tgt[0]]):
            yield Example(*pair, line)
    if found and not paired:
        raise DataError(
            f"{path}: no unit has a text in both {wanted[0]} and {wanted[1]}; the languages are {listed(found)}"
        )


def tmx_languages(path: Path, options: Options) -> tuple[str, str]:
    """Source and target as the file names them.

    Raises:
        DataError: if it has more than two, or lacks one that is wanted.
    """
    source = ""
    found: dict[str, None] = {}
    for element in islice(read_elements(path, "tmx", ["header", "tu"]), UNITS_LOOKED_AT):
        source = source or element.get("srclang", "")
        remember(found, map(_language, element.iterfind("{*}tuv")), path)
    if not found:
        return options.languages
    first = find_language(source, found)[:1]  # none for *all*
    languages = settle([*first, *(code for code in found if code not in first)], *options.languages)
    if languages is None:
        raise DataError(
            f"{path}: has texts in {listed(found)}; say with --src-lang and --tgt-lang which two of them are meant"
        )
    return languages


def _units(path: Path) -> Iterator[Any]:
    return read_elements(path, "tmx", ["tu"])


def _language(variant: Any) -> str:
    return (variant.get(LANGUAGE) or variant.get("lang") or "")[:MAX_CODE]


@lru_cache(1024)
def _find(wanted: str, found: tuple[str, ...]) -> list[str]:
    return find_language(wanted, found)
