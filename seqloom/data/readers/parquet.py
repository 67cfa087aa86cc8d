"""Parquet, read by pyarrow, which is installed only where it is wanted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqloom.data.readers.columns import languages_of, require_columns
from seqloom.data.readers.example import Example, Options
from seqloom.errors import DataError

ROWS_AT_ONCE = 4096


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
        row = 0
        try:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=wanted, use_threads=False):
                if nested:
                    batch = pyarrow.RecordBatch.from_struct_array(batch["translation"])
                for src, tgt in zip(*(batch[name].to_pylist() for name in columns), strict=True):
                    row += 1
                    yield Example(src or "", tgt or "", row)
        except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{path} row {row + 1}: the data from here on is damaged ({error})") from None


def parquet_languages(path: Path, options: Options) -> tuple[str, str]:
    """The languages that the columns are named after, if they are."""
    _, file = _open(path)
    with file:
        return languages_of(_names(file.schema_arrow)[0], options)


def _open(path: Path) -> tuple[Any, Any]:
    """The library and the file."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError:
        raise DataError(
            f"{path}: Parquet is read by pyarrow, which is not installed; `pip install 'seqloom[parquet]'` adds it"
        ) from None
    try:
        return pyarrow, ParquetFile(path)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not Parquet, or damaged ({error}); copy the file again") from None


def _names(schema: Any) -> tuple[list[str], Any]:
    """The names to choose from, and what has them: the schema, or the type of its column of translations."""
    if "translation" in schema.names:
        kind = schema.field("translation").type
        if hasattr(kind, "fields"):
            return [field.name for field in kind.fields], kind
    return schema.names, schema
