"""One JSON object a line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqloom.data.readers.columns import languages_of, require_columns
from seqloom.data.readers.example import Example, Options
from seqloom.data.readers.lines import read_lines
from seqloom.errors import DataError, shown


def read_jsonl(path: Path, options: Options) -> Iterator[Example]:
    """Yields the pairs of ``{"src": ..., "tgt": ...}`` or ``{"translation": {"zh": ..., "en": ...}}`` lines."""
    names: tuple[str, str] | None = None
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            yield Example("", "", number)
            continue
        where = f"{path}:{number}"
        record = _record(line, where, options)
        if names is None or not record.keys() >= {*names}:
            names = require_columns(where, list(record), options)
        src, tgt = names
        yield Example(_text(record, src, where, line), _text(record, tgt, where, line), number)


def jsonl_languages(path: Path, options: Options) -> tuple[str, str]:
    """The languages that the keys of the first object are, if they are."""
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            return languages_of(list(_record(line, f"{path}:{number}", options)), options)
    return "", ""


def _record(line: str, where: str, options: Options) -> dict[str, Any]:
    """What a line says by language or role."""
    such = f'such as {{"{options.columns.src[0]}": "...", "{options.columns.tgt[0]}": "..."}} on each line'
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not JSON ({error}); expected an object {such}") from None
    if isinstance(record, dict):
        record = record.get("translation", record)
    if not isinstance(record, dict):
        raise DataError(f"{where}: is no object but {shown(line, 40)}, expected one {such}")
    return record


def _text(record: dict[str, Any], key: str, where: str, line: str) -> str:
    text = record[key]
    if text is None:
        return ""
    if not isinstance(text, str):
        raise DataError(f"{where}: {key!r} is {shown(text, 40)}, expected a text in quotes")
    if "\\u" in line:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{where}: {key!r} has half of a surrogate pair, which is no character; write it again as UTF-8"
            ) from None
    return text
