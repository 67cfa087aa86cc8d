"""The table of kinds, and how serious a finding is."""

import re
from pathlib import Path

import pytest

from seqloom.data.checks.findings import KINDS, LEAST_PAIRS, VERDICTS, Severity, excerpt, severity_of, visible


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_it_is_and_what_to_do(kind):
    about = KINDS[kind]
    assert about.title
    assert about.title[0].islower() or about.title.startswith("U+FFFD")
    assert about.advice.endswith(".")
    assert about.problem <= about.fatal or not about.fatal


@pytest.mark.parametrize("kind", KINDS)
def test_more_is_never_less_serious(kind):
    order = [Severity.NOTE, Severity.PROBLEM, Severity.FATAL]
    ranks = [order.index(severity_of(kind, count, count / 1000)) for count in range(1, 1001, 7)]
    assert ranks == sorted(ranks)


def test_a_few_of_a_few_are_an_accident():
    assert severity_of("mojibake", LEAST_PAIRS - 1, 0.02) is Severity.NOTE
    assert severity_of("mojibake", LEAST_PAIRS, 0.03) is Severity.PROBLEM
    assert severity_of("mojibake", 600, 0.6) is Severity.FATAL
    assert severity_of("misalignment", 1, 1e-9) is Severity.FATAL
    assert severity_of("wrong_language_block", 60, 1e-9) is Severity.PROBLEM
    assert severity_of("numbers", 900, 0.04) is Severity.NOTE


def test_the_kinds_are_as_documented():
    """The shares of the table in docs/checking.md are those that count."""
    page = (Path(__file__).parents[3] / "docs" / "checking.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.+) \| (.*?) ?\|$", page, re.MULTILINE)
    assert {kind for kind, _, _ in rows} == set(KINDS)
    for kind, serious, dropped in rows:
        about = KINDS[kind]
        shares = [float(share) / 100 for share in re.findall(r"([\d.]+) %", serious)]
        expected = [share for share in (about.problem, about.fatal) if 0 < share <= 1]
        assert shares == pytest.approx(expected[-len(shares) :] if shares else []), kind
        assert ("any" in serious) == (0 in (about.problem, about.fatal)), kind
        assert ("fatal" in serious) == (about.fatal <= 1), kind
        assert bool(dropped) == (about.dropped or kind == "misalignment"), kind


def test_what_is_shown_acts_on_nothing():
    assert visible("ab\x1b[2J\u202edc\u2028é中") == "ab\\u001b[2J\\u202edc\\u2028é中"
    assert visible("plain") == "plain"
    assert len(excerpt("x" * 10_000)) < 300
    assert set(VERDICTS) == set(Severity)
