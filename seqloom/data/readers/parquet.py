"""Parquet, read by pyarrow, which is installed only where it is wanted."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from seqloom.data.readers.columns import languages_of, require_columns
from seqloom.data.readers.compression import FREE_BYTES, MAX_EXPANSION
from seqloom.data.readers.example import Example, Options
from seqloom.data.readers.lines import MAX_LINE_BYTES
from seqloom.errors import DataError, shown

ROWS_AT_ONCE, BYTES_AT_ONCE = 4096, 1 << 26
"""The fewer of both: a text that stands once in a file may be that of every row."""


def read_parquet(path: Path, options: Options) -> Iterator[Example]:
    """Yields the pairs of two columns of text, or of a column ``translation`` with a text for each language."""
    pyarrow, file = _open(path)
    with file:
        names, outer = _names(file.schema_arrow)
        columns = require_columns(path, names, options)
        for name in columns:
            kind = outer.field(name).type
            if pyarrow.types.is_dictionary(kind):
                kind = kind.value_type
            if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
                raise DataError(f"{path}: the column {name!r} holds {kind}, expected text")
        nested = not isinstance(outer, pyarrow.Schema)
        wanted = [f"translation.{name}" if nested else name for name in columns]
        room = FREE_BYTES + MAX_EXPANSION * path.stat().st_size
        _require_room(path, file.metadata, room)
        row = 0
        try:
            for batch in _batches(path, file, wanted):
                if nested:
                    batch = pyarrow.RecordBatch.from_struct_array(batch["translation"])
                sides = [batch[name] for name in columns]
                longest = max(_longest(side) for side in sides)
                if longest > MAX_LINE_BYTES:
                    raise DataError(
                        f"{path} row {row + 1}: the text here or soon after is longer than {MAX_LINE_BYTES:,} bytes, "
                        f"expected a sentence"
                    )
                room -= batch.num_rows + sum(side.nbytes for side in sides)
                if room < 0:
                    raise _bomb(path)
                for src, tgt in zip(*(side.to_pylist() for side in sides), strict=True):
                    row += 1
                    yield Example(src or "", tgt or "", row)
        except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{path} row {row + 1}: the data from here on is damaged ({shown(error, 200)})") from None


def _require_room(path: Path, about: Any, room: int) -> None:
    """DataError if the columns are by their own account too large for such a small file.

    All of them together: what the file says of one column, pyarrow ends the process over if it is damaged.
    """
    groups = map(about.row_group, range(about.num_row_groups))
    if sum(max(0, group.total_byte_size) for group in groups) > room:
        raise _bomb(path)


def _bomb(path: Path) -> DataError:
    return DataError(
        f"{path}: each of its bytes becomes more than {MAX_EXPANSION} when it is unpacked, expected text, which "
        f"becomes 3 to 10; write the file again uncompressed if it is meant to"
    )


def _batches(path: Path, file: Any, columns: list[str]) -> Iterator[Any]:
    """Yields the rows, so many at once as can be held if all have the longest text of their dictionary."""
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    for group in range(file.num_row_groups):
        longest = 1
        with ParquetFile(path, read_dictionary=columns) as coded:
            for first in islice(coded.iter_batches(1, [group], columns, use_threads=False), 1):
                sides = [side for each in first.columns for side in _sides(each)]
                longest = max(_longest(getattr(side, "dictionary", side)) for side in sides)
        rows = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(1, longest)))
        yield from file.iter_batches(rows, [group], columns, use_threads=False)


def _sides(column: Any) -> list[Any]:
    """A column of text, or those in a column of translations."""
    return list(column.flatten()) if hasattr(column.type, "fields") else [column]


def _longest(texts: Any) -> int:
    """Bytes of the longest of an array of texts."""
    from pyarrow import compute  # type: ignore[import-untyped]

    texts = texts.dictionary_decode() if hasattr(texts, "dictionary_decode") else texts
    return compute.max(compute.binary_length(texts)).as_py() or 0


def parquet_languages(path: Path, options: Options) -> tuple[str, str]:
    """The languages that the columns are named after, if they are."""
    _, file = _open(path)
    with file:
        return languages_of(_names(file.schema_arrow)[0], options)


def _open(path: Path) -> tuple[Any, Any]:
    """The library and the file."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(
            f"{path}: Parquet is read by pyarrow, which is not installed; `pip install 'seqloom[parquet]'` adds it"
        ) from None
    try:
        return pyarrow, ParquetFile(path)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not Parquet, or damaged ({shown(error, 200)}); copy the file again") from None


def _names(schema: Any) -> tuple[list[str], Any]:
    """The names to choose from, and what has them: the schema, or the type of its column of translations."""
    if "translation" in schema.names:
        kind = schema.field("translation").type
        if hasattr(kind, "fields"):
            return [field.name for field in kind.fields], kind
    return schema.names, schema
