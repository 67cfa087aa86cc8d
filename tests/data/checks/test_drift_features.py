import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.checks import drift_features
from seqloom.data.checks.drift_features import MOST_CHARACTERS, WORDS_KEPT, Extractor, Features


def extract(*lines: str) -> Features:
    return Extractor().extract(lines)


def words(line: str) -> set[int]:
    return set(extract(line).words[0].tolist()) - {0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "straße"),
        ("Café au lait", "CAFE AU LAIT"),
        ("ＡＢＣ １２", "abc 12"),
        ("你好。", "你 好 ."),
        ("“Was”, fragte", "「was」，FRAGTE"),
        ("Arbeiter", "Arbeitern"),
        ("٣٤", "34"),
    ],
)
def test_what_is_the_same_word(one, other):
    assert words(one) & words(other) == min(words(one), words(other), key=len)


def test_what_is_not():
    assert not words("Haus") & words("Maus")
    assert not words("1994") & words("1995")
    assert not words("ab") & words("ba")


def test_characters_count_as_words_and_so_do_two_together():
    assert len(words("你好吗")) == 3 + 2
    assert len(words("你 好")) == 2
    assert len(words("안녕 하세요")) == 2
    assert not words("한") & words("하")


def test_lengths_are_those_without_blanks():
    assert extract("a b\tc", "", "  ", "你好", "x" * 100_000).lengths.tolist() == [3, 0, 0, 2, 65_535]


def test_numbers_are_found_wherever_they_are():
    numbers = extract("im Jahr 1994 waren es 12", "1994年有12个", "none", "1995").numbers
    assert numbers[0] == numbers[1] != 0
    assert numbers[2] == 0
    assert np.bitwise_count(numbers[0]) == 2
    assert numbers[3] != numbers[0]


def test_names_are_rare_words():
    side = Extractor()
    names = side.extract(["the house"] * 900 + ["the Zanzibar"]).names
    assert names[0] == 0
    assert np.bitwise_count(names[-1]) == 1
    assert names[-1] == Extractor().extract(["ZANZIBAR"]).names[0]


def test_of_long_lines_the_rare_words_are_kept():
    frequent = " ".join(f"{a}{b}" for a in "abcd" for b in "efghi")
    side = Extractor()
    side.extract([frequent] * 500 + ["needle"] * 5)
    kept = side.extract([f"{frequent} needle"]).words[0]
    assert np.count_nonzero(kept) == WORDS_KEPT
    assert words("needle") <= set(kept.tolist())


def test_a_word_counts_once_and_the_end_of_a_long_line_for_its_length_alone():
    assert len(words("so so so so")) == 1
    assert not words("a" * MOST_CHARACTERS + " needle") & words("needle")


def test_lines_stay_apart_however_many_are_looked_at_together(monkeypatch):
    lines = [f"word{n} und\nmehr\x00 {n}" for n in range(29)]
    whole = extract(*lines)
    monkeypatch.setattr(drift_features, "LINES_TOGETHER", 7)
    parts = extract(*lines)
    for name in Features._fields:
        np.testing.assert_array_equal(np.sort(getattr(whole, name)), np.sort(getattr(parts, name)))


@given(st.lists(st.text(st.characters(), max_size=30), max_size=30))
def test_any_text(lines):
    features = Extractor().extract(lines)
    assert {len(part) for part in features} == {len(lines)}
    again = Extractor().extract(lines)
    for one, other in zip(features, again, strict=True):
        np.testing.assert_array_equal(one, other)
