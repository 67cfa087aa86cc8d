"""Tab- and comma-separated values."""

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from seqloom.data.readers.columns import find_columns, languages_of
from seqloom.data.readers.example import PAIRS, Example, Options
from seqloom.data.readers.lines import MAX_LINE_BYTES, read_lines, read_whole_lines
from seqloom.errors import DataError, listed, shown

DELIMITERS = ",;\t"


def read_tsv(path: Path, options: Options) -> Iterator[Example]:
    """Yields the pairs of a file with source, tab, target on each line; or whatever ``options.columns`` are."""
    src, tgt = options.columns.order
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split("\t", 2) if line.strip() else ["", ""]  # an empty line is an empty pair
        if len(fields) != 2:
            count = line.count("\t") + 1
            raise DataError(f"{path}:{number}: {count} tab-separated fields, expected 2: {options.columns}")
        yield Example(fields[src], fields[tgt], number)


def read_csv(path: Path, options: Options) -> Iterator[Example]:
    """Yields the pairs of a file of comma-separated values (RFC 4180); a quoted field may hold line ends.

    The first row names the columns, or is the first pair of two columns without names. Semicolons or
    tabs separate where the first line has no comma.
    """
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        return
    (src, tgt), width = options.columns.order, len(first[1])
    columns = find_columns(first[1], options)
    if columns:
        src, tgt = map(first[1].index, columns)
    elif width != 2 or any(name.strip().lower() in options.columns.src + options.columns.tgt for name in first[1]):
        raise _wrong_columns(path, first[1], options)
    else:
        rows = chain([first], rows)
    for line, row in rows:
        if row and len(row) != width:
            raise DataError(f"{path}:{line}: {len(row)} columns, expected {width} as in the first line")
        yield Example(row[src], row[tgt], line) if row else Example("", "", line)


def _wrong_columns(path: Path, names: list[str], options: Options) -> DataError:
    columns = options.columns
    expected = "expected source and target alone, or a first line that names them src and tgt, or by their languages"
    if columns != PAIRS:
        expected = f"expected a first line that names {columns.src[0]} and {columns.tgt[0]}"
    return DataError(f"{path}:1: the columns are {listed(list(map(repr, names))) or 'empty'}; {expected}")


def csv_languages(path: Path, options: Options) -> tuple[str, str]:
    """The languages that the columns are named after, if they are."""
    return languages_of(next(_rows(path), (1, []))[1], options)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields each row with the line that it begins on."""
    lines = read_whole_lines(path)
    first = next(lines, None)
    if first is None:
        return
    delimiter = next((mark for mark in DELIMITERS if mark in first), ",")
    line = 1
    size = 0

    def measured() -> Iterator[str]:
        nonlocal size
        for text in chain([first], lines):
            size += len(text)
            if size > MAX_LINE_BYTES:
                raise DataError(
                    f"{path}:{line}: the row that begins here is longer than {MAX_LINE_BYTES:,} characters; "
                    f"a quotation mark that is not closed makes all that follows a part of it"
                )
            yield text

    rows = csv.reader(measured(), delimiter=delimiter, strict=True)
    while True:
        line, size = rows.line_num + 1, 0
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(
                f"{path}:{line}: the row that begins here is not CSV ({shown(error)}); a field that holds quotes, "
                f"separators or line ends must stand in double quotes, and quotes in it be doubled"
            ) from None
        if row is None:
            return
        yield line, row
