"""What is wrong with a translation: every fault is seen, and what the source itself does is none."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.lengths import GENERIC, LengthRatio
from seqloom.pipeline.faults import FAULTS, count_faults, faults_of, is_copy, is_loop, wrong_length

EN_DE, ZH_EN, EN_ZH = ("en", "de"), ("zh", "en"), ("en", "zh")


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("a green salad", "grüner Salat Salat Salat"),
        ("一盘沙拉", "salad salad salad"),
        ("a green salad", "沙拉沙拉沙拉"),
        ("he likes it", "他喜欢喜欢喜欢喜欢它"),
        ("hello", "好好好好好"),
        ("protesting the use of coal", "protestieren mit Malalalalalalal"),
        ("yardage", "Brokkrokkkkkroffen"),
        ("NOTHING", "WARONINININININ"),
        ("one older and one younger", "ein älterer und ein jüngeres und ein jüngeres und ein jüngeres"),
        ("go on", "und so weiter, und so weiter, und so weiter, und so weiter"),
        ("a bird", "......................"),
        ("a bird", "!!!!!!!!!!!!!!!!!!!!!!!!"),
        ("a bird", "🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂"),
        ("very good", "sehr sehr sehr sehr sehr gut"),
        ("very, very good", "sehr, sehr, sehr, sehr, sehr, sehr gut"),
        ("a dog", "ein Hund läuft schnell, schnell läuft ein Hund läuft ein Hund läuft schnell läuft ein Hund"),
        ("a dog", "ສະບາຍດີສະບາຍດີສະບາຍດີສະບາຍດີ"),
        ("x", "ab " * 40_000),
    ],
)  # fmt: skip
def test_loops(source: str, answer: str) -> None:
    assert is_loop(source, answer)


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("", ""),
        ("a salad", "Salat"),
        ("hello", "!!!"),
        ("hello ...", "hallo ..."),
        ("天天向上", "study hard every day"),
        ("bye bye", "tschüss tschüss"),
        ("very, very, very good", "sehr, sehr, sehr gut"),
        ("Dad is in the park", "पापा पार्क में हैं"),
        ("father is outside", "बाबा बाहर हैं"),
        ("哈哈哈哈哈哈", "ha ha ha ha ha"),
        ("hahahaha", "哈哈哈哈"),
        ("no no no no", "不不不不"),
        ("👍👍👍👍👍👍👍👍👍👍👍👍", "👍👍👍👍👍👍👍👍👍👍👍👍"),
        ("------------------", "------------------"),
        ("魁北克! 魁北克! 魁北克！魁北克！", "Quebec! Quebec! Quebec!"),
        ("一百亿", "10000000000"),
        ("a bit", "11111"),
        ('making a "rawr" face', "macht ein „Roooaaaarrrr“-Gesicht"),
        ("Mississippi and bananas", "Mississippi und Bananen"),
        (
            "You can hook several events to an event handler, or several event handlers to an event.",
            "您可将多个事件挂钩到一个事件处理程序，或将多个事件处理程序挂钩到一个事件。",
        ),
        (
            "the man on the left and the man on the right and the man in the middle",
            "der Mann links und der Mann rechts und der Mann in der Mitte",
        ),
        ("a, b, c, d, e, f, g", "a, b, c, d, e, f, g"),
    ],
)
def test_no_loops(source: str, answer: str) -> None:
    assert not is_loop(source, answer)


@given(st.text(max_size=80), st.integers(1, 6))
def test_what_the_source_repeats_is_no_loop(text: str, times: int) -> None:
    assert not is_loop(f"{text} " * times, f"{text} " * times)


@given(st.text(alphabet="abcdefgh", min_size=2, max_size=9), st.integers(5, 30))
def test_a_word_again_and_again_is_one(word: str, times: int) -> None:
    assert is_loop("一个词", f"{word} " * times)


@pytest.mark.parametrize(
    ("source", "answer", "languages"),
    [
        ("a dog runs over the grass", "a dog runs over the grass", EN_DE),
        ("a dog runs over the grass.", "A dog runs over the grass", EN_DE),
        ("a dog runs over the green grass", "a dog runs over the grass", EN_DE),
        ("他喜欢喝茶。", "他喜欢喝茶。", ZH_EN),
        ("他有3只猫和两只狗", "他有3只猫和两只狗", ZH_EN),
        ("この本は面白い", "この本は面白い", ("ja", "en")),
        ("कुत्ता घास पर दौड़ता है", "कुत्ता घास पर दौड़ता है", ("hi", "en")),
    ],
)
def test_copies(source: str, answer: str, languages: tuple[str, str]) -> None:
    assert is_copy(source, answer, languages)


@pytest.mark.parametrize(
    ("source", "answer", "languages"),
    [
        ("a dog runs over the grass", "ein Hund läuft über das Gras", EN_DE),
        ("John Smith, Berlin", "John Smith, Berlin", EN_DE),
        ("BBC News 24", "BBC News 24", EN_DE),
        ("1,234.5 / 67", "1,234.5 / 67", EN_ZH),
        ("see https://example.org/some/long/path_to.html", "siehe https://example.org/some/long/path_to.html", EN_DE),
        ("mail me@example.org", "me@example.org", EN_DE),
        ("some_package.install(now) or user@host:/a/file", "some_package.install(now) or user@host:/a/file", EN_DE),
        ("ok", "ok", EN_DE),
        ("warm in", "warm in", EN_DE),
        ("??!", "??!", EN_DE),
        ("", "", EN_DE),
        ("en hund løper over gresset", "en hund løper over gresset", ("nb", "da")),
        ("中国和日本", "中国和日本", ("zh-Hans", "zh-Hant")),
        ("日本経済新聞", "日本経済新聞", ("ja", "zh")),
    ],
)
def test_no_copies(source: str, answer: str, languages: tuple[str, str]) -> None:
    assert not is_copy(source, answer, languages)


@given(st.text(max_size=60))
def test_nothing_is_a_copy_within_a_language(text: str) -> None:
    assert not is_copy(text, text, ("pt_BR", "pt-PT"))


@pytest.mark.parametrize(
    ("source", "answer", "sizes", "fault"),
    [
        ("hello there", "", (2, 0), "too_short"),
        ("我", "", (1, 0), "too_short"),
        ("...", "", (3, 0), ""),
        ("🙂", "", (1, 0), ""),
        ("some words", "Wort", (40, 1), "too_short"),
        ("some words", "ein paar Wörter", (40, 41), ""),
        ("some words", "sehr viele Wörter", (40, 200), "too_long"),
        ("a", "ein Wort", (1, 4), ""),
        ("a", "viel zu viele Wörter", (1, 40), "too_long"),
    ],
)
def test_lengths(source: str, answer: str, sizes: tuple[int, int], fault: str) -> None:
    assert wrong_length(source, answer, sizes, GENERIC) == fault


def test_lengths_are_judged_by_the_training_data() -> None:
    sizes = 40, 100
    assert wrong_length("x", "y", sizes, LengthRatio(0.8, 1, 1.2)) == "too_long"
    assert wrong_length("x", "y", sizes, LengthRatio(1.5, 2, 2.5)) == ""
    assert wrong_length("x", "y", sizes, LengthRatio(3.5, 4.5, 6)) == "too_short"


def test_every_fault_can_be_found() -> None:
    assert faults_of("47 cats", "47 cats 47 cats 47 cats", (2, 90), True, EN_DE, GENERIC) == ("loop", "too_long", "cut")
    assert faults_of("the old dog of 47", "the old dog of 74", (5, 5), False, EN_DE, GENERIC) == ("copy", "numbers")
    assert faults_of("hello", "", (2, 0), False, EN_DE, GENERIC) == ("too_short",)
    assert faults_of("The dog runs.", "Der Hund läuft.", (4, 4), False, EN_DE, GENERIC) == ()
    assert faults_of("2 dogs", "zwei Hunde", (2, 2), False, EN_DE, GENERIC, exact_numbers=True) == ("numbers",)


def test_faults_are_counted_in_their_order() -> None:
    counted = count_faults([("numbers",), (), ("loop", "numbers")])
    assert list(counted.items()) == [("loop", 1), ("numbers", 2)]
    assert list(count_faults([tuple(reversed(FAULTS))])) == list(FAULTS)


@given(st.text(max_size=200), st.text(max_size=200), st.booleans(), st.sampled_from([EN_DE, ZH_EN, ("xx", "yy")]))
def test_any_text_can_be_judged(source: str, answer: str, cut: bool, languages: tuple[str, str]) -> None:
    found = faults_of(source, answer, (len(source), len(answer)), cut, languages, GENERIC)
    assert set(found) <= set(FAULTS)
    assert ("cut" in found) == cut


@pytest.mark.parametrize("unit", ["a", "ab", "a b ", "的", "1 ", "1", ".", "．", "a1_", "1,234", "é", "🙂"])
@pytest.mark.parametrize("before", ["", "x y z "])
def test_a_very_long_text_takes_no_time(before: str, unit: str) -> None:
    hostile = before + unit * 20_000
    begun = time.process_time()
    faults_of(hostile, hostile + "b", (60_000, 60_000), False, EN_DE, GENERIC)
    assert time.process_time() - begun < 2
