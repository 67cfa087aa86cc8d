"""What can be seen to be wrong with a translation without knowing a right one.

Every check compares the answer with its source, so that what the source itself repeats, and the
names and addresses in it, may be in the answer as well. None asks the model.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from seqloom.data.lengths import LengthRatio
from seqloom.pipeline.numbers import numbers_differ
from seqloom.writing import MARKS, subtags

FAULTS = {
    "loop": "says the same again and again",
    "too_long": "is far longer than a translation of its source",
    "too_short": "is far shorter, or empty",
    "cut": "came to the greatest length before its end",
    "copy": "is the source itself",
    "numbers": "lacks a number of the source, or has another instead",
}

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts without spaces: Thai, Lao, Burmese, Khmer, kana, Chinese characters; for a character class."""

SPACELESS_CHARACTER = re.compile(f"[{SPACELESS}]")

UNIT = re.compile(rf"[{SPACELESS}]|\d+|(?:[^\W\d{SPACELESS}][{MARKS}]*)+|[^\w\s]")
"""A word, a character of a script without spaces, a number or a mark."""

REPEATED = re.compile(r"(.{1,50}?)\1{2,}", re.DOTALL)
REPEATED_IN_WORD = re.compile(r"([^\W\d_]{1,10}?)\1{2,}")

FEWEST_WORDS, FEWEST_CHARACTERS, FEWEST_MARKS = 3, 4, 10
"""How often in a row words, one character of a script without spaces, or marks alone make a loop,"""

FEWEST_IN_WORD, FEWEST_LETTERS = 4, 5
"""and several letters, or one letter, inside a word,"""

ABOVE_SOURCE = 2
"""if that is so much more often than anything in the source is repeated."""

REPEATED_SHARE = 0.4
"""Share of trigrams of words said before, above that of the source, which makes a loop with gaps."""

FEWEST_TRIGRAMS = 10

ASCII_RUN = re.compile(r"[!-~]+")
ADDRESS = re.compile(r"://|@|\w\.\w|[\d_]")
"""What a link, a mail address, a file or a name in a program has: right where it is copied."""

COPIED_SHARE = 0.8
FEWEST_COPIED = 3

RELATED = (
    {"da", "nb", "nn", "no", "sv"},
    {"bs", "hr", "me", "sh", "sr"},
    {"ast", "ca", "es", "gl", "oc", "pt"},
    {"cs", "sk"},
    {"be", "bg", "mk", "ru", "uk"},
    {"id", "ms"},
    {"af", "nl"},
    {"ja", "lzh", "wuu", "yue", "zh"},
)
"""Languages that have many a sentence in common; between them nothing is called a copy."""


def is_loop(source: str, answer: str) -> bool:
    """Whether the answer repeats something in a row, or all over, much more than the source does."""
    ours = _units(answer)
    if len(ours) - len(set(ours)) < FEWEST_WORDS - 1 and not REPEATED_IN_WORD.search(answer):
        return False
    theirs = _units(source)
    in_source = [times for times, _ in (*_rows(theirs), *_rows_in_words(source))]
    allowed = max(in_source, default=1) + ABOVE_SOURCE
    if any(times >= max(fewest, allowed) for times, fewest in (*_rows(ours), *_rows_in_words(answer))):
        return True
    return _said_before(ours) > _said_before(theirs) + REPEATED_SHARE


def _units(text: str) -> list[str]:
    return UNIT.findall(unicodedata.normalize("NFKC", text).casefold())


def _rows(units: Sequence[str]) -> list[tuple[int, int]]:
    """How often each thing comes that is repeated in a row, and how often makes a loop of it."""
    codes: dict[str, str] = {}
    text = "".join([codes.setdefault(unit, chr(0x10000 + len(codes))) for unit in units])
    rows = []
    for match in REPEATED.finditer(text):
        repeated = units[match.start(1) : match.end(1)]
        if not any(unit[0].isalnum() for unit in repeated):
            fewest = FEWEST_MARKS
        elif len(repeated) == 1 and SPACELESS_CHARACTER.match(repeated[0]):
            fewest = FEWEST_CHARACTERS
        else:
            fewest = FEWEST_WORDS
        rows.append((len(match[0]) // len(match[1]), fewest))
    return rows


def _rows_in_words(text: str) -> list[tuple[int, int]]:
    matches = REPEATED_IN_WORD.finditer(text.casefold())
    return [
        (len(match[0]) // len(match[1]), FEWEST_IN_WORD if len(match[1]) > 1 else FEWEST_LETTERS) for match in matches
    ]


def _said_before(units: Sequence[str]) -> float:
    """Share of trigrams that have come before (seq-rep-3 of Welleck et al. 2020); 0 where there are but a few."""
    words = [unit for unit in units if unit[0].isalnum()]
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if len(trigrams) >= FEWEST_TRIGRAMS else 0.0


def is_copy(source: str, answer: str, languages: tuple[str, str]) -> bool:
    """Whether the answer is the source, or nearly so, between languages that are not written alike.

    Only words that may differ between languages count: none with a capital, which may be a name, and
    no address.
    """
    one, other = (subtags(language)[0] for language in languages)
    if len(set(source.split()) & set(answer.split())) < FEWEST_COPIED and not SPACELESS_CHARACTER.search(answer):
        return False  # of what is not copied, most is told here
    if one == other or any({one, other} <= group for group in RELATED):
        return False
    theirs, ours = Counter(_words(source)), Counter(_words(answer))
    longer = max(theirs.total(), ours.total())
    return (theirs & ours).total() >= max(FEWEST_COPIED, COPIED_SHARE * longer)


def _words(text: str) -> list[str]:
    text = ASCII_RUN.sub(lambda run: " " if ADDRESS.search(run[0]) else run[0], text)
    return [unit for unit in UNIT.findall(text) if unit[0].isalpha() and unit == unit.lower()]


def wrong_length(source: str, answer: str, sizes: tuple[int, int], ratio: LengthRatio) -> str:
    """``too_long``, ``too_short`` or nothing; ``sizes`` are tokens of the source and of the answer."""
    if not answer:
        return "too_short" if any(map(str.isalnum, source)) else ""
    shortest, longest = ratio.possible(sizes[0])
    return "too_long" if sizes[1] > longest else "too_short" if sizes[1] < shortest else ""


def faults_of(
    source: str,
    answer: str,
    sizes: tuple[int, int],
    cut: bool,
    languages: tuple[str, str],
    ratio: LengthRatio,
    exact_numbers: bool = False,
) -> tuple[str, ...]:
    """The names in ``FAULTS`` of all that is wrong with the translation of one sentence.

    Args:
        source: what was translated.
        answer: its translation.
        sizes: tokens of source and answer, without end tokens.
        cut: whether the answer has no end token.
        languages: codes of source and target.
        ratio: what the training data showed.
        exact_numbers: whether every number has to be there in digits.
    """
    length = wrong_length(source, answer, sizes, ratio)
    found = {
        "loop": is_loop(source, answer),
        "too_long": length == "too_long",
        "too_short": length == "too_short",
        "cut": cut,
        "copy": is_copy(source, answer, languages),
        "numbers": numbers_differ(source, answer, languages, exact_numbers),
    }
    return tuple(name for name in FAULTS if found[name])


def count_faults(found: Iterable[Sequence[str]]) -> dict[str, int]:
    """How often each fault is in ``found``, in the order of ``FAULTS``; those that are not are left out."""
    counts = Counter(name for faults in found for name in faults)
    return {name: counts[name] for name in FAULTS if counts[name]}
