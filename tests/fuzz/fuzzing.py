"""Fuzzing: a few examples in every test run, and for as long as one likes when asked for.

``SEQLOOM_FUZZ=600 .venv/bin/python -m pytest tests/fuzz`` gives each test 600 seconds of new examples;
processor time of its own, for a machine may do other things as well.
What is found becomes an ordinary test beside what it is about.
"""

import copy
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("SEQLOOM_FUZZ", 0))
EXAMPLES, EXAMPLES_AT_ONCE = 25, 500

MOST_CHARACTERS = 3_000
"""Of a message: paths of temporary folders are long."""

SLOW = 30.0
"""Seconds of processor time that nothing so small may take."""


def fuzz(*strategies: st.SearchStrategy[Any], examples: int = EXAMPLES) -> Callable[[Callable[..., None]], Any]:
    """Makes a test of a check, whose last arguments are drawn; what comes before them are fixtures."""

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        def run(most: int, fixtures: tuple[Any, ...]) -> None:
            @settings(deadline=None, max_examples=most, suppress_health_check=list(HealthCheck), database=None)
            @given(st.tuples(*strategies))
            def once(drawn: tuple[Any, ...]) -> None:
                begun = time.process_time()
                check(*fixtures, *drawn)
                assert time.process_time() - begun < SLOW

            once()

        def for_a_while(*fixtures: Any) -> None:
            until = time.process_time() + SECONDS
            run(examples, fixtures)
            while time.process_time() < until:
                run(EXAMPLES_AT_ONCE, fixtures)

        return for_a_while

    return decorate


def require_sentence(error: Exception, lines: int = 1) -> None:
    """What was raised is for a person: not empty, not endless, and with nothing in it that steers a terminal."""
    said = str(error).split("\n")
    assert 0 < len(said) <= lines
    assert all(0 < len(line) < MOST_CHARACTERS and line.isprintable() for line in said)


# --- bytes ---

MARKS = [bytes([mark]) for mark in b"\0\n\r\t\"'<>&[]{}\\"]
BROKEN = [b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xff" * 4, b"\x80" * 9 + b"\x01", b"\0" * 64]
LARGE = [b"1e999", b"NaN", b"9" * 400, b"[" * 2000, b"{" * 2000, b"<a>" * 300, b'{"a":' * 1500, b"a" * 70_000]
PIECES = st.sampled_from([b"", b"&a;", b"\\u", b"-1", b"../../x", *MARKS, *BROKEN, *LARGE])

EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.one_of(PIECES, st.binary(max_size=8)), st.integers(0, 12), st.booleans()),
    min_size=1,
    max_size=6,
)
"""What is changed in a file: where, what is put there, how many bytes it replaces, and whether the file ends there."""


def edited(content: bytes, edits: list[tuple[float, bytes, int, bool]]) -> bytes:
    """``content`` with ``EDITS``."""
    for place, new, length, ends in edits:
        at = int(place * len(content))
        content = content[:at] + new + (b"" if ends and length == 0 else content[at + length :])
    return content


# --- JSON ---

NUMBERS = [-1, 0, 1, 2, 7, 10**6, 10**9, 2**31, 2**63, 2**64 + 1, 10**30, -(10**18), 0.5, -0.0, 1e308]
TEXTS = ["", "a", "a" * 5000, "../../x", "/etc/passwd", "\0", "\x1b[31m", "\ud800", "1", "…"]
LISTS: list[Any] = [[], {}, [[]], [None], [1, 2, 3], ["a"] * 3000, {"a": {}}, {"a" * 300: 1}]
HOSTILE = st.sampled_from([None, True, False, float("inf"), float("nan"), *NUMBERS, *TEXTS, *LISTS])

CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), HOSTILE, st.booleans()), min_size=1, max_size=4)
"""What is changed in a JSON value: which of its nodes, the new value, and whether the node is taken out instead."""


def changed(value: Any, changes: list[tuple[int, Any, bool]]) -> Any:
    """``value`` with ``CHANGES``."""
    value = copy.deepcopy(value)
    for number, new, removed in changes:
        nodes = list(_nodes(value))
        if not nodes:
            return new
        holder, key = nodes[number % len(nodes)]
        if removed:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(new)
    return value


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """(what holds a value, its key or place) of each value inside of ``value``."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(inside):
        yield value, key
        yield from _nodes(inner)
