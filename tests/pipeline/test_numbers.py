"""Numbers lost or changed: found where sure, never where a translation may be right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.pipeline.numbers import NUMBER_WORDS, numbers_differ

EN_DE, DE_EN, ZH_EN, EN_ZH = ("en", "de"), ("de", "en"), ("zh-CN", "en"), ("en", "zh")


@pytest.mark.parametrize(
    ("source", "answer", "languages"),
    [
        ("no number at all", "gar keine Zahl", EN_DE),
        ("no number", "aber 15 hier", EN_DE),
        ("He has 2 cats.", "Er hat zwei Katzen.", EN_DE),
        ("100 people", "hundert Menschen", EN_DE),
        ("365 days", "dreihundertfünfundsechzig Tage", EN_DE),
        ("3 of 47", "drei von 47", EN_DE),
        ("5 and 5 is 10", "5 und noch einmal so viel ist 10", EN_DE),
        ("1998 and 1999", "1999 und 1998", EN_DE),
        ("In 1998, 15 people", "1998 fünfzehn Menschen", EN_DE),
        ("at 10:00", "um 10 Uhr", EN_DE),
        ("at 3 p.m.", "um 15:00 Uhr", EN_DE),
        ("rooms 101, 102 and 103", "Räume 101,102 und 103", EN_DE),
        ("call 555-1234", "ruf 5551234 an", EN_DE),
        ("3.14", "3,14", EN_DE),
        ("1'234 Franken", "1,234 francs", DE_EN),
        ("12 345 Menschen", "12,345 people", DE_EN),
        ("12\u202f345\u202f678 Menschen", "12,345,678 people", DE_EN),
        ("am 05.03.2020 zahlte er 1.234 €", "he paid 1,234 € on 2020-03-05", DE_EN),
        ("他有１２只猫", "he has 12 cats", ZH_EN),
        ("2只狗", "two dogs", ZH_EN),
        ("two dogs", "2只狗", EN_ZH),
        ("2 dogs", "两只狗", EN_ZH),
        ("a crowd of 365", "三百六十五人", EN_ZH),
        ("3月5日", "March 5", ZH_EN),
        ("７月２６日，１４例", "July 26, 14 cases", ZH_EN),
        ("3.5万人", "35,000 people", ZH_EN),
        ("3亿5000万", "350 million", ZH_EN),
        ("1.2 billion", "12亿", EN_ZH),
        ("15:00开会", "the meeting is at 3 p.m.", ZH_EN),
        ("20世纪80年代", "the 1980s", ZH_EN),
        ("19世纪末", "the late 1800s", ZH_EN),
        ("$ 26.50", "26.5美元", EN_ZH),
        ("每次1.5美元", "$ 1.50 per ride", ZH_EN),
        ("4-24-09", "2009年4月24日", EN_ZH),
        ("٣٤٥ كتاب", "345 books", ("ar", "en")),
        ("room 7 of 12", "7호실", ("en", "ko")),
        ("3만 명", "30,000 people", ("ko", "en")),
        ("1" * 9000, "1" * 9000, EN_DE),
    ],
)
def test_what_may_be_right(source: str, answer: str, languages: tuple[str, str]) -> None:
    assert not numbers_differ(source, answer, languages)


@pytest.mark.parametrize(
    ("source", "answer", "languages"),
    [
        ("in 1987", "im Jahr 1978", EN_DE),
        ("with the number 3", "mit der Nummer 33", EN_DE),
        ("# 8 for Iowa State", "Nummer 88 von Iowa State", EN_DE),
        ("47 cats", "74 Katzen", EN_DE),
        ("1 dog and 47 cats", "ein Hund und 74 Katzen", EN_DE),
        ("call 5551234", "ruf an", EN_DE),
        ("12345 people", "1234 Menschen", EN_DE),
        ("3.14", "3,41", EN_DE),
        ("1000 €", "100 €", EN_DE),
        ("5 €", "50 €", EN_DE),
        ("Asian Pacific 2007", "Asien", EN_DE),
        ("1 dog and 47 cats", "一只狗和74只猫", EN_ZH),
        ("１９８７年", "in 1978", ZH_EN),
        ("你可以坐264路", "you can take it there", ZH_EN),
        ("1102 명", "12012 people", ("ko", "en")),
        ("1" * 9000, "1" * 8999, EN_DE),
    ],
)
def test_what_is_surely_wrong(source: str, answer: str, languages: tuple[str, str]) -> None:
    assert numbers_differ(source, answer, languages)


def test_exact_allows_no_doubt() -> None:
    assert numbers_differ("2 dogs", "zwei Hunde", EN_DE, exact=True)
    assert numbers_differ("417 dogs", "4, die 17 Hunde", EN_DE, exact=True)
    assert not numbers_differ("417 dogs", "417 Hunde", EN_DE, exact=True)
    assert numbers_differ("number 8", "Nummer 8 von 88", EN_DE, exact=True)
    assert not numbers_differ("12,345 dogs and two cats", "12.345 Hunde und 2 Katzen", EN_DE, exact=True)


@given(st.text(alphabet=st.sampled_from("0123456789.,:' -/ab月万１二"), max_size=60), st.sampled_from([EN_DE, ZH_EN]))
def test_a_text_has_its_own_numbers(text: str, languages: tuple[str, str]) -> None:
    assert not numbers_differ(text, text, languages)
    assert not numbers_differ(text, text, languages, exact=True)


@given(st.lists(st.integers(100, 10**9), min_size=1, max_size=5, unique=True), st.randoms())
def test_order_and_separators_do_not_matter(numbers: list[int], random) -> None:
    shuffled = random.sample(numbers, len(numbers))
    source = " und ".join(f"{number:,}".replace(",", ".") for number in numbers)
    answer = " and ".join(f"{number:,}" for number in shuffled)
    assert not numbers_differ(source, answer, DE_EN)


@given(st.integers(1000, 10**6), st.integers(1000, 10**6))
def test_another_number_is_another_number(one: int, other: int) -> None:
    assert numbers_differ(f"{one} cats", f"{other} Katzen", EN_DE) == (one != other)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "twenty-five hundred"),
        ("de", "fünfundzwanzig Tausend"),
        ("fr", "vingt-cinq mille"),
        ("es", "veinticinco mil"),
        ("zh", "两千五百"),
        ("ja", "二千五百"),
    ],
)
def test_number_words_are_seen(language: str, text: str) -> None:
    assert len(NUMBER_WORDS[language].findall(text)) >= 2


@pytest.mark.parametrize("text", ["a weighty party of pretty youths", "an empty city with teeth"])
def test_words_that_only_look_like_numbers(text: str) -> None:
    assert not NUMBER_WORDS["en"].findall(text)
