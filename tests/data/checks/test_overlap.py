"""Lines of a test set that are in a corpus."""

import numpy as np
import pytest

from seqloom.data.checks.lines import keys_of, letters_of
from seqloom.data.checks.overlap import held_against
from seqloom.errors import DataError


def test_case_width_punctuation_and_spaces_do_not_count():
    assert letters_of("Ｈello,  WORLD! 1２") == letters_of("hello world 12") == "helloworld12"
    keys = keys_of(["Straße", "STRASSE", "...", "", "x"])
    assert keys[0] == keys[1] != keys[4]
    assert keys[2] == keys[3] == 0


def test_a_plain_file_is_compared_with_both_sides(tmp_path):
    path = tmp_path / "test.en"
    path.write_text("One line.\n\nTwo lines.\none LINE\n", encoding="utf-8")
    (held,) = held_against([path])
    assert (held.size, held.found) == (3, 0)
    assert held.find(keys_of(["other", "one line", "", "two lines"])).tolist() == [0, 1, 0, 3]
    assert held.found == 3  # the same line twice is two lines of the test
    held.find(keys_of(["ONE LINE"]))
    assert held.found == 3


@pytest.mark.parametrize(
    ("name", "content"), [("t.tsv", "eins\tone\nzwei\ttwo\n"), ("t.txt", "eins\tone\nzwei\ttwo\n")]
)
def test_a_file_of_both_sides_is_two(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    src, tgt = held_against([tmp_path / name])
    assert src.find(keys_of(["zwei", "two"])).tolist() == [2, 0]
    assert tgt.find(keys_of(["zwei", "two"])).tolist() == [0, 2]


def test_a_txt_without_a_tab_is_lines(tmp_path):
    (tmp_path / "t.txt").write_text("eins\nzwei\n", encoding="utf-8")
    (held,) = held_against([tmp_path / "t.txt"])
    assert held.size == 2


def test_nothing_is_in_an_empty_file(tmp_path):
    (tmp_path / "t.en").write_text("", encoding="utf-8")
    (held,) = held_against([tmp_path / "t.en"])
    assert held.find(np.array([1, 2], np.uint64)).tolist() == [0, 0]
    assert held.found == held.found_sentences == 0


def test_greetings_are_told_apart_from_sentences(tmp_path):
    (tmp_path / "t.en").write_text("Hello!\nThis is a whole sentence of some length.\n谢谢你们。\n", encoding="utf-8")
    (held,) = held_against([tmp_path / "t.en"])
    held.find(keys_of(["hello", "谢谢你们"]))
    assert (held.found, held.found_sentences) == (2, 0)
    held.find(keys_of(["this is a whole sentence of some length"]))
    assert (held.found, held.found_sentences) == (3, 1)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.en: no such file"):
        held_against([tmp_path / "none.en"])
