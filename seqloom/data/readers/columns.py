"""Which columns of a table, or which keys of an object, hold source and target."""

from collections.abc import Sequence

from seqloom.data.languages import CODES, find_language, is_code, settle, subtags
from seqloom.data.readers.example import PAIRS, Options
from seqloom.errors import DataError, listed

LIKELY_CODES = CODES - {"id"}
"""What a name is taken for a language; a column "id" has numbers, and Indonesian only where that is wanted."""


def find_columns(names: Sequence[str], options: Options) -> tuple[str, str] | None:
    """The names of both sides: such as src or source and tgt or target, else the codes of two languages."""
    roles, columns = {name.strip().lower(): name for name in reversed(names)}, options.columns
    src, tgt = (next((roles[role] for role in known if role in roles), None) for known in (columns.src, columns.tgt))
    if src is not None and tgt is not None:
        return src, tgt
    if columns != PAIRS:
        return None
    codes = [name for name in names if is_code(name)]
    if not all(options.languages):  # then any word could be a language
        codes = [name for name in codes if subtags(name)[0] in LIKELY_CODES or find_language(name, options.languages)]
    return settle(codes, *options.languages)


def require_columns(where: object, names: Sequence[str], options: Options) -> tuple[str, str]:
    """The same, or a DataError that says what is there instead."""
    columns = find_columns(names, options)
    if columns is None:
        codes = " and ".join(filter(None, options.languages)) or "the codes of two languages"
        expected = f"expected src and tgt, source and target, or {codes}"
        if options.columns != PAIRS:
            expected = f"expected {options.columns.src[0]} and {options.columns.tgt[0]}"
        raise DataError(f"{where}: has {listed(list(map(repr, names))) or 'nothing'}, {expected}")
    return columns


def languages_of(names: Sequence[str], options: Options) -> tuple[str, str]:
    """The languages that columns are named after; empty where they are named by their role."""
    columns = find_columns(names, options)
    return (
        columns if columns and all(is_code(name) and subtags(name)[0] in LIKELY_CODES for name in columns) else ("", "")
    )
