"""Texts as arrays of characters, against counting them one by one."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.checks.characters import CJK_WEIGHT, CLASSES, OTHERS, SCRIPTS, Texts, class_table

TEXTS = st.lists(st.text(st.sampled_from("aZéßЖα中あ한ا1٣?�\u2028\r\x00\u200b <&%{@. \U00020001")), max_size=9)


@given(TEXTS)
def test_counts_are_those_of_each_text(texts):
    side = Texts(texts)
    for name, ranges in (SCRIPTS | OTHERS).items():
        expected = [
            len(re.findall(f"[{re.escape(ranges) if name in ('fill', 'angle', 'question') else ranges}]", text))
            for text in texts
        ]
        assert side.counts(side.classes == CLASSES[name]).tolist() == expected, name
        assert side.rows_of(name).tolist() == [row for row, count in enumerate(expected) if count]


@given(TEXTS)
def test_weights_count_characters_of_words_without_letters_more(texts):
    side = Texts(texts)
    han = [sum("\u4e00" <= c <= "\u9fff" or c > "\U0001ffff" for c in text) * CJK_WEIGHT for text in texts]
    assert side.weights[:, CLASSES["Han"]].tolist() == han
    assert side.weights[:, CLASSES["Cyrillic"]].tolist() == [text.count("Ж") for text in texts]


@given(TEXTS)
def test_sums_and_patterns_belong_to_their_text(texts):
    side = Texts(texts)
    values = np.arange(len(side.characters), dtype=np.float32)
    expected, start = [], 0
    for text in texts:
        expected.append(float(sum(range(start, start + len(text) + 1))))
        start += len(text) + 1
    assert side.sums(values).tolist() == expected
    assert side.rows_with(re.compile("a.")).tolist() == [row for row, text in enumerate(texts) if re.search("a.", text)]


def test_no_character_is_in_two_classes():
    seen = np.zeros(len(class_table()), int)
    for ranges in (SCRIPTS | OTHERS).values():
        for first, last in re.findall(r"(.)(?:-(.))?", ranges, re.DOTALL):
            seen[ord(first) : ord(last or first) + 1] += 1
    assert seen.max() == 1


@pytest.mark.parametrize(
    ("name", "script"),
    [("LATIN", "Latin"), ("CYRILLIC", "Cyrillic"), ("GREEK", "Greek"), ("HANGUL", "Hangul"), ("HIRAGANA", "kana"),
     ("CJK UNIFIED", "Han"), ("ARABIC LETTER", "Arabic"), ("HEBREW LETTER", "Hebrew"), ("THAI CHARACTER", "Thai"),
     ("DEVANAGARI LETTER", "Devanagari"), ("GEORGIAN", "Georgian")],
)  # fmt: skip
def test_letters_are_of_the_script_in_their_names(name, script):
    letters = [chr(c) for c in range(0x3000) if unicodedata.category(chr(c)) in ("Lu", "Ll", "Lo")]
    letters += [chr(c) for c in range(0x3000, 0xD7A4, 7) if unicodedata.category(chr(c)) == "Lo"]
    named = [c for c in letters if unicodedata.name(c).startswith(f"{name} ")]
    named += [c for c in letters if unicodedata.name(c).startswith(f"{name}-")]
    assert named
    inside = sum(class_table()[ord(c)] == CLASSES[script] for c in named)
    assert inside / len(named) > 0.97
