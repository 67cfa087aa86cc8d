"""What can be found in a chunk of pairs by themselves, and what tells them from others: work for one process."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seqloom.data.checks.agreement import addresses_differ, numbers_differ, placeholders_differ
from seqloom.data.checks.characters import CLASSES, NUM_SCRIPTS, Texts
from seqloom.data.checks.chunks import Chunk
from seqloom.data.checks.encoding import mojibake
from seqloom.data.checks.sides import Sides
from seqloom.data.languages import detect
from seqloom.writing import MARKS

Rows = NDArray[np.int64]

FARTHEST = 6
"""Spreads from the middle at which a ratio of lengths is that of no translation,"""

FARTHEST_RATIO = 3.0
"""if it is so many times the middle as well."""

LEAN = 3.0
"""Evidence, as a logarithm of odds, on both sides at once that these are swapped;"""

LEAN_ALONE, LEAN_OF_GROUP = 15.0, 0.35
"""on one side alone that it is in the other's language, in all and of each group of characters."""

FEWEST_FOREIGN = 6
"""Letters of a foreign script that make a text foreign; Chinese characters count more."""

FEWEST_COPIED = 4
"""Letters of a copied text; shorter ones are names and signs."""

LOST_TO_QUESTIONS = 4
"""Question marks, and half of the text of them, that stand for what another encoding could not say."""

BLOCK = 20
"""Lines whose language is told together,"""

SAMPLED, LONGEST = 5, 150
"""by the longest of them, and so many characters of each;"""

STRIDE = 3
"""of so many blocks one, and more around one that is odd."""

SURE = 0.9
"""That a block is in another language."""

OWN_WORDS = 0.5
"""Share of the words of a side that stand on the other as well, from which they are names and code."""

MARKUP = re.compile(
    r"</?(?:a|abbr|b|big|blockquote|body|br|center|code|div|em|font|form|h[1-6]|head|hr|html|i|img|input|li|link|meta|"
    r"ol|option|p|pre|script|select|small|span|strike|strong|style|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul)\b[^<>\n]*>"
    r"|<!--|<!\[CDATA\[|&(?:[A-Za-z]{2,8}|#\d{1,6}|#x[0-9A-Fa-f]{1,5});|\[\[[^\[\]\n]+\]\]|\{\{[A-Za-z][^{}\n]*\|",
    re.IGNORECASE,
)

WWW = re.compile(r"www\.")
WORD = re.compile(r"\w+")
NO_LETTERS, NO_ASCII_LETTERS = re.compile(rf"[^\w{MARKS}]+|_+"), re.compile(r"[\W_]+", re.ASCII)
DIGIT = re.compile(r"\d")
IN_NUMBERS = re.compile(r"(?<=\d)[.,](?=\d)(?!\d{3}(?!\d))|(?<!\S)[-\u2212](?=\d)")
"""A decimal point and a sign, without which a number is another one."""
KEPT = "\u02d1"
"""What stands for these: a letter that nobody writes."""


@dataclass
class Examined:
    """What was found in a chunk."""

    rows: dict[str, Rows] = field(default_factory=dict)
    """Of each kind; sorted, each once."""
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """How bad each of these rows is, where that can be said."""
    keys: NDArray[np.uint64] | None = None
    """[N, 4]: of the pair as it stands, and of its letters and digits alone: pair, source, target; 0 for none."""
    sentences: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """[N]; which sources are more than a greeting."""
    usable: int = 0
    """Pairs with text on both sides."""
    characters: tuple[int, int] = (0, 0)
    scripts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, NUM_SCRIPTS), np.int64))
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 24), np.int64))
    """[2, 24]; how many texts have from 2^(n/2) characters on."""
    ratios: NDArray[np.int64] = field(default_factory=lambda: np.zeros(41, np.int64))
    """How many pairs are how many spreads away from the middle ratio of lengths, by halves from -10 to 10."""


def examine(chunk: Chunk, sides: Sides, whole: bool = True) -> Examined:
    """Looks at pairs by all that need not know others; the quick part leaves out repetitions and languages."""
    src, tgt = Texts(chunk.src), Texts(chunk.tgt)
    out = Examined()
    invalid, left_out = (np.array(rows, np.int64) for rows in (chunk.invalid, chunk.left_out))
    blank = [
        np.array([not text.strip(" \t\u2581") or text.isspace() for text in side.texts], bool) for side in (src, tgt)
    ]
    out.rows = {
        "invalid_utf8": invalid,
        "left_out": left_out,
        "empty": np.setdiff1d(np.flatnonzero(blank[0] & blank[1]), left_out),
        "one_sided": np.setdiff1d(np.flatnonzero(blank[0] ^ blank[1]), left_out),
    }
    usable = ~(blank[0] | blank[1])
    usable[invalid] = usable[left_out] = False
    _characters(out, src, tgt, sides)
    _languages(out, src, tgt, sides, usable)
    _lengths(out, src, tgt, sides, usable)
    if whole:
        _agreement(out, src, tgt)
        out.keys = _keys(chunk, usable)
        alike = (out.keys[:, 2] == out.keys[:, 3]) & (out.keys[:, 2] > 0)
        out.rows["copied"] = np.union1d(out.rows["copied"], np.flatnonzero(alike & _enough(src)))
        foreign = [_foreign(side, language) for side, language in zip((src, tgt), sides.languages, strict=True)]
        odd = np.setdiff1d(np.union1d(*foreign), np.union1d(out.rows["swapped_sides"], out.rows["mojibake"]))
        out.rows["wrong_language_block"] = odd
        for kind in ("wrong_language", "wrong_script"):
            out.rows[kind] = np.setdiff1d(out.rows[kind], odd)
    out.sentences = src.sentences
    out.usable = int(usable.sum())
    _describe(out, src, tgt)
    out.rows = {
        kind: rows if kind in ("invalid_utf8", "left_out", "empty", "one_sided") else rows[usable[rows]]
        for kind, rows in out.rows.items()
    }
    return out


def _characters(out: Examined, src: Texts, tgt: Texts, sides: Sides) -> None:
    """What is in either text that should not be."""
    broken = [mojibake(side, bool(own[CLASSES["Han"]])) for side, own in zip((src, tgt), sides.scripts, strict=True)]
    out.rows["mojibake"] = np.union1d(*broken)
    for kind, name in (
        ("replacement_characters", "replacement"),
        ("control_characters", "control"),
        ("line_separators", "separator"),
        ("invisible_characters", "invisible"),
    ):
        out.rows[kind] = np.setdiff1d(_either(src, tgt, name), out.rows["mojibake"])  # where these are its traces
    for side in (src, tgt):
        questions = side.counts(side.classes == CLASSES["question"])
        lost = np.flatnonzero((questions >= LOST_TO_QUESTIONS) & (2 * questions >= side.lengths))
        out.rows["replacement_characters"] = np.union1d(out.rows["replacement_characters"], lost)
    marked = [
        row
        for row in np.union1d(_either(src, tgt, "angle"), _either(src, tgt, "fill")).tolist()
        if MARKUP.search(src.texts[row]) or MARKUP.search(tgt.texts[row])
    ]
    out.rows["markup"] = np.array(marked, np.int64)


def _languages(out: Examined, src: Texts, tgt: Texts, sides: Sides, usable: NDArray[np.bool_]) -> None:
    """Texts that are in the script or the language of the other side, or of neither."""
    letters = [side.weights.sum(axis=1) for side in (src, tgt)]
    copied = np.array([one == other for one, other in zip(src.texts, tgt.texts, strict=True)], bool)
    out.rows["copied"] = np.flatnonzero(copied & _enough(src))

    swapped = np.zeros(len(src), bool)
    wrong = np.zeros(len(src), bool)
    if sides.evidence is not None:
        lean = [sides.lean(side) for side in (src, tgt)]
        (towards_tgt, _), (of_tgt, _) = lean
        swapped = (towards_tgt > LEAN) & (of_tgt < -LEAN)
        out.scores["swapped_sides"] = (towards_tgt - of_tgt)[swapped & usable].astype(np.float64)
        for (total, count), sign in zip(lean, (1, -1), strict=True):
            wrong |= (sign * total > LEAN_ALONE) & (sign * total > LEAN_OF_GROUP * count)
        wrong &= ~swapped & ~copied
        for row in np.flatnonzero(wrong).tolist():
            wrong[row] = not _share_words(src.texts[row], tgt.texts[row])
    foreign = np.zeros(len(src), bool)
    for side, own, weight in zip((src, tgt), sides.scripts, letters, strict=True):
        strange = side.weights[:, ~own].sum(axis=1)
        foreign |= (strange >= FEWEST_FOREIGN) & (2 * strange > weight)
    foreign[out.rows["mojibake"]] = wrong[out.rows["mojibake"]] = False
    out.rows["swapped_sides"] = np.flatnonzero(swapped)
    out.rows["wrong_language"] = np.flatnonzero(wrong)
    out.rows["wrong_script"] = np.flatnonzero(foreign & ~swapped & ~wrong)


def _enough(side: Texts) -> NDArray[np.bool_]:
    return side.weights.sum(axis=1) >= FEWEST_COPIED


def _share_words(src: str, tgt: str) -> bool:
    """Whether much of a pair is the same on both sides, such as names and code."""
    words = [set(WORD.findall(text.casefold())) for text in (src, tgt)]
    return len(words[0] & words[1]) >= OWN_WORDS * max(1, min(map(len, words)))


def _lengths(out: Examined, src: Texts, tgt: Texts, sides: Sides, usable: NDArray[np.bool_]) -> None:
    scores = sides.lengths.scores(src.sizes, tgt.sizes)
    far = (abs(scores) > FARTHEST) & (abs(scores) * sides.lengths.spread > np.log(FARTHEST_RATIO)) & usable
    far[out.rows["swapped_sides"]] = far[out.rows["mojibake"]] = False  # which is the reason
    out.rows["length_ratio"] = np.flatnonzero(far)
    out.scores["length_ratio"] = abs(scores[far])
    out.rows["long"] = np.flatnonzero(np.maximum(src.sizes, tgt.sizes) > sides.long)
    out.ratios = np.bincount(np.clip(np.rint(2 * scores[usable]) + 20, 0, 40).astype(np.int64), minlength=41)


def _agreement(out: Examined, src: Texts, tgt: Texts) -> None:
    """Where one side has what the other must have as well."""
    webs = np.union1d(src.rows_with(WWW), tgt.rows_with(WWW))
    for kind, rows, differ in (
        ("numbers", _either(src, tgt, "digit"), numbers_differ),
        ("urls", np.union1d(webs, _either(src, tgt, "address")), addresses_differ),
        ("placeholders", _either(src, tgt, "fill"), placeholders_differ),
    ):
        found = [row for row in rows.tolist() if differ(src.texts[row], tgt.texts[row])]
        out.rows[kind] = np.array(found, np.int64)


def _either(src: Texts, tgt: Texts, name: str) -> Rows:
    """The pairs with a character of a class on either side."""
    return np.union1d(src.rows_of(name), tgt.rows_of(name))


def letters_of(text: str) -> str:
    """Its letters and digits alone, in one case and width, with what makes a number another one."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.casefold()
    if DIGIT.search(text):
        text = IN_NUMBERS.sub(KEPT, text)
    return (NO_ASCII_LETTERS if text.isascii() else NO_LETTERS).sub("", text)


def key_of(text: str) -> int:
    """A number of 64 bits that stands for a text; never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1


def keys_of(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Of the letters and digits of each text; 0 where there are none."""
    bare = map(letters_of, texts)
    return np.fromiter((key_of(text) if text else 0 for text in bare), np.uint64, len(texts))


def _keys(chunk: Chunk, usable: NDArray[np.bool_]) -> NDArray[np.uint64]:
    src, tgt = keys_of(chunk.src), keys_of(chunk.tgt)
    exact = np.fromiter(
        (key_of(f"{one}\0{other}") for one, other in zip(chunk.src, chunk.tgt, strict=True)), np.uint64, len(src)
    )
    with np.errstate(over="ignore"):
        pair = (src * np.uint64(0x9E3779B97F4A7C15)) ^ tgt
    pair[(src == 0) | (tgt == 0)] = 0
    keys = np.stack([exact, pair, src, tgt], axis=1)
    keys[~usable] = 0
    return keys


def _foreign(side: Texts, expected: str) -> Rows:
    """The texts in another language, where most around them are as well: one alone is often too short to tell."""
    if not expected:
        return np.zeros(0, np.int64)
    starts = range(0, len(side), BLOCK)
    told: dict[int, str] = {}

    def language_of(row: int) -> str:
        return detect([side.texts[row][:LONGEST]])[0]

    def is_odd(block: int) -> bool:
        if block not in told:
            lines = sorted(side.texts[starts[block] : starts[block] + BLOCK], key=len)[-SAMPLED:]
            language, confidence = detect([line[:LONGEST] for line in lines])
            told[block] = language if language != expected and confidence > SURE else ""
        return bool(told[block])

    for block in range(0, len(starts), STRIDE):
        if is_odd(block):  # and so may be those around it
            for step in (-1, 1):
                neighbour = block + step
                while 0 <= neighbour < len(starts) and is_odd(neighbour):
                    neighbour += step
    rows: set[int] = set()
    for block in (block for block in sorted(told) if told[block]):
        lines = range(starts[block], min(starts[block] + BLOCK, len(side)))
        odd = [row for row in lines if language_of(row) != expected]
        if 2 * len(odd) < len(lines):
            continue
        rows |= set(odd)
        for row, step in ((lines[0] - 1, -1), (lines[-1] + 1, 1)):  # it may begin or end in a block that is not odd
            while 0 <= row < len(side) and not told.get(row // BLOCK) and language_of(row) == told[block]:
                rows.add(row)
                row += step
    return np.array(sorted(rows), np.int64)


def _describe(out: Examined, src: Texts, tgt: Texts) -> None:
    """What the charts are drawn from."""
    out.characters = int(src.sizes.sum()), int(tgt.sizes.sum())
    for number, side in enumerate((src, tgt)):
        out.scripts[number] = side.weights.sum(axis=0)
        size = np.clip(2 * np.log2(np.maximum(side.sizes, 1)), 0, 23).astype(np.int64)
        out.lengths[number] = np.bincount(size, minlength=24)
