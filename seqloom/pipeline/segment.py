"""Long text -> pieces that a model can read, and back.

A model translates what is like its training data: sentences. Text with more tokens than the
longest training sentence is cut at ends of sentences; a sentence that is still too long at clause
punctuation, then between words, then between characters.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from seqloom.writing import without_spaces

SENTENCE_END = re.compile(
    r"""(?<=[。！？…।॥۔؟։።])(?![。！？!?…।॥۔؟։።])[”’"'」』）)\]]*\s*   # an end, with what closes after it
    |(?<=[!?])[”’"')\]]*\s+                            # written with a space behind it
    |(?<=[.])[”’"')\]]*\s+(?=[^\sa-z])                # a full stop, not before a small letter
    """,
    re.VERBOSE,
)
ABBREVIATION = re.compile(r"(?:\b[A-Z]|\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|vs|etc|Inc|Ltd|e\.g|i\.e))\.\s*$")
LONGEST_ABBREVIATION = 20
"""Characters at the end of a part that are looked at, and more than enough for those above."""
CLAUSE_END = re.compile(r"(?<=[，、；：,;:])\s*")
WORD_END = re.compile(r"(?<=\s)(?=\S)")


def split_sentences(text: str) -> list[str]:
    """Cuts a text behind each sentence; the parts put together are the text."""
    sentences: list[list[str]] = []
    for part in _cut(text, SENTENCE_END):
        if sentences and ABBREVIATION.search(sentences[-1][-1][-LONGEST_ABBREVIATION:]):
            sentences[-1].append(part)
        else:
            sentences.append([part])
    return ["".join(parts) for parts in sentences]


def _cut(text: str, pattern: re.Pattern[str]) -> list[str]:
    ends = sorted({match.end() for match in pattern.finditer(text)} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(ends)]


def segment(text: str, limit: int, count: Callable[[Sequence[str]], list[int]]) -> list[str]:
    """Cuts ``text`` into parts of at most ``limit`` tokens; one that fits is left whole.

    Args:
        text: any text.
        limit: tokens that the model reads at once, at least 1.
        count: how many tokens each of several texts has.
    """
    if count([text])[0] <= limit:
        return [text]
    parts: list[str] = []
    for sentence in split_sentences(text):
        parts += _fit(sentence, limit, count, [CLAUSE_END, WORD_END])
    return parts


def _fit(
    text: str, limit: int, count: Callable[[Sequence[str]], list[int]], patterns: Sequence[re.Pattern[str]]
) -> list[str]:
    if count([text])[0] <= limit:
        return [text]
    if patterns:
        pieces = _cut(text, patterns[0])
    else:
        # A character is at most 4 bytes, so at most 4 tokens and the space before it.
        size = max(1, limit // 5)
        return [text[start : start + size] for start in range(0, len(text), size)]
    fitted: list[str] = []
    room = 0
    for piece, size in zip(pieces, count(pieces), strict=True):
        if size > limit:
            fitted += _fit(piece, limit, count, patterns[1:])
            room = 0
        elif size <= room:
            fitted[-1] += piece
            room -= size
        else:
            fitted.append(piece)
            room = limit - size
    return fitted


def join(parts: Sequence[str], language: str) -> str:
    """Puts translated parts together as ``language`` writes them."""
    space = "" if without_spaces(language) else " "
    return space.join(part for part in parts if part)
