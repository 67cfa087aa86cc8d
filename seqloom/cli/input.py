"""Standard input, line by line."""

import io
import sys
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import Annotated, BinaryIO

import typer

MAX_LINE_BYTES = 1 << 20
"""A book has as many, and no line of one."""


class Errors(StrEnum):
    STRICT = "strict"
    REPLACE = "replace"


ErrorsOption = Annotated[
    Errors,
    typer.Option("--errors", help="What to do with a line that is not UTF-8: stop, or replace the bytes by U+FFFD."),
]


def _standard_input() -> BinaryIO:
    from seqloom.errors import UserError

    if sys.stdin is None:
        raise UserError("standard input is closed; put the texts there, a line for each, such as with < FILE")
    # At its end Python waits for its own reader, which a thread may be waiting in: after an interrupt, for ever.
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except io.UnsupportedOperation:  # not a file, as in a test
        return sys.stdin.buffer


def standard_input(errors: Errors) -> Iterator[str]:
    """Yields each line without its end.

    Raises:
        DataError: for one that is not UTF-8, unless ``errors`` are replaced, or is too long to be a text.
    """
    from seqloom.data.readers import decode_line
    from seqloom.data.readers.lines import BOM
    from seqloom.errors import DataError

    offset = 0
    lines = iter(partial(_standard_input().readline, MAX_LINE_BYTES + len(b"\r\n")), b"")
    for number, raw in enumerate(lines, start=1):
        if len(raw) > MAX_LINE_BYTES and len(raw.rstrip(b"\r\n")) > MAX_LINE_BYTES:
            raise DataError(
                f"standard input:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes, expected a text; "
                f"put each paragraph on a line of its own"
            )
        text, start = raw.removesuffix(b"\n").removesuffix(b"\r"), offset
        if number == 1 and text.startswith(BOM):  # as at the start of a file
            text, start = text.removeprefix(BOM), len(BOM)
        yield (
            text.decode(errors="replace")
            if errors is Errors.REPLACE
            else decode_line(text, "standard input", number, start)
        )
        offset += len(raw)
