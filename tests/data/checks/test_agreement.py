"""Numbers, addresses and placeholders that must be the same on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.checks.agreement import addresses_differ, numbers_differ, placeholders_differ


@pytest.mark.parametrize(
    ("src", "tgt"),
    [
        ("Er hat 3 Äpfel.", "He has three apples."),
        ("价格是３５元。", "The price is 35 yuan."),
        ("1,234,567 Menschen", "1.234.567 people"),
        ("1 234 567 personnes", "1,234,567 people"),
        ("3.5万人", "35,000 people"),
        ("12亿", "1.2 billion"),
        ("三百五十人", "350 people"),
        ("一九九八年", "in 1998"),
        ("15:00 Uhr", "3 p.m."),
        ("1.50 €", "€ 1.5"),
        ("im Jahr 2000", "in 2000"),
        ("٣٥ كتابا", "35 books"),
        ("0 Fehler", "no errors"),
        ("keine Zahl", "no number"),
        ("zwei Millionen", "2 million"),
        ("20世纪80年代", "the 1980s"),
        ("19世纪末", "the late 1800s"),
        ("seit den 1980er Jahren", "depuis les années 80"),
        ("des voitures des années 50", "1950's cars"),
    ],
)
def test_numbers_that_may_be_the_same(src, tgt):
    assert not numbers_differ(src, tgt)
    assert not numbers_differ(tgt, src)


@pytest.mark.parametrize(
    ("src", "tgt"),
    [
        ("im Jahr 1998", "in 1989"),
        ("Bus 23", "bus 28"),
        ("Die Nummer ist 8357688.", "The number is unknown."),
        ("131 Personen", "181 people"),
        ("你能给我4501美元吗？", "Could you make it $ 4519?"),
    ],
)
def test_numbers_that_are_others(src, tgt):
    assert numbers_differ(src, tgt)
    assert numbers_differ(tgt, src)


@given(st.lists(st.integers(0, 10**9), max_size=5), st.randoms())
def test_the_same_numbers_in_any_order_never_differ(numbers, rng):
    shuffled = list(numbers)
    rng.shuffle(shuffled)
    assert not numbers_differ(" und ".join(map(str, numbers)), " and ".join(map(str, shuffled)))


@given(st.text(), st.text())
def test_any_texts_can_be_compared(src, tgt):
    for differ in (numbers_differ, addresses_differ, placeholders_differ):
        assert differ(src, tgt) == differ(tgt, src)
        assert not differ(src, src)


@pytest.mark.parametrize(
    ("src", "tgt", "differ"),
    [
        ("Siehe https://example.org/a?b=1.", "See https://example.org/a?b=1", False),
        ("访问www.example.org，谢谢", "Visit www.example.org, thanks", False),
        ("Siehe https://example.org/a", "See https://example.org/b", True),
        ("Schreib an a.b@example.org", "Write to us", True),
        ("Uhrzeit 10:30", "time 10:30", False),
    ],
)
def test_addresses(src, tgt, differ):
    assert addresses_differ(src, tgt) is differ


@pytest.mark.parametrize(
    ("src", "tgt", "differ"),
    [
        ("%s hat %d", "%d of %s", False),
        ("Hallo {name}", "Hello {name}", False),
        ("Hallo {name}", "Hello {nmae}", True),
        ("%(a)s und %(b)s", "%(a)s", True),
        ("100 % davon", "100% of it", False),
        ("20%iger Anteil", "a share of 20%", False),
        ("${HOME} {0}", "{0} ${HOME}", False),
        ("%1$s %2$s", "%2$s %1$s", False),
    ],
)
def test_placeholders(src, tgt, differ):
    assert placeholders_differ(src, tgt) is differ
