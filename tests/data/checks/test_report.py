"""Reports: for programs, for a screen and as a page."""

import html.parser
import json
import re
from pathlib import Path

import pytest

from seqloom.data.checks.diagnosis import Diagnosis
from seqloom.data.checks.doctor import check
from seqloom.data.checks.page import as_page
from seqloom.data.checks.report import as_dict, as_text, require_format, write_report
from seqloom.data.readers import Group
from seqloom.errors import ConfigError
from tests.data.checks.corpora import sentences, write

HOSTILE = ('<script>alert("1")</script> <img src=x onerror=alert(1)>', "\x1b[31mred\u202e <!-- </p></body> &amp;")


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    folder = tmp_path_factory.mktemp('<b>"q"&')
    pairs = [pair[::-1] if row % 50 == 0 else pair for row, pair in enumerate(sentences(300))]
    pairs[7:10] = [HOSTILE] * 3
    return check([Group(write(folder, pairs))], processes=1)


def test_the_json_is_what_scripts_rely_on(diagnosis: Diagnosis, tmp_path: Path) -> None:
    write_report(diagnosis, tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report == as_dict(diagnosis)
    assert (report["verdict"], report["pairs"], report["misalignment"]) == ("problem", 300, None)
    assert all({"kind", "severity", "count", "examples"} <= set(finding) for finding in report["findings"])
    assert {"where", "src", "tgt", "why"} == set(report["findings"][0]["examples"][0])
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_the_screen_is_told_the_verdict_first_and_nothing_acts_on_it(diagnosis: Diagnosis) -> None:
    lines = as_text(diagnosis).split("\n")
    assert lines[0].startswith("This corpus has problems. 9 of 300 pairs (3.00%)")
    assert any(line.startswith("PROBLEM  6 pairs: source and target in each other's place (2.00%)") for line in lines)
    assert all(line.isprintable() for line in lines)
    assert "\\u001b[31mred\\u202e" in as_text(diagnosis)


def test_where_whole_files_are_wrong_no_pair_is_said_to_be(tmp_path: Path) -> None:
    src, tgt = write(tmp_path, sentences(1))
    tgt.write_bytes(b"\xef\xbb\xbf" + tgt.read_bytes() + b"one more\n")
    diagnosis = check([Group((src, tgt))], processes=1)
    lines = as_text(diagnosis).split("\n")
    assert lines[0] == "This corpus must not be trained on as it is."
    assert lines[2].startswith("  1 pair, ")
    assert f"note     {tgt} begins with a byte order mark" in lines
    assert "<p>1 pair.</p>" in as_page(diagnosis)


def test_what_is_not_utf8_is_told_before_what_comes_of_it(tmp_path: Path) -> None:
    src, tgt = write(tmp_path, sentences(300))
    tgt.write_text(tgt.read_text(encoding="utf-8").replace("\n", " ü\n"), encoding="utf-16")
    lines = [line for line in as_text(check([Group((src, tgt))], processes=1)).split("\n") if "FATAL" in line]
    assert lines[0] == "FATAL    300 pairs: bytes that are not UTF-8 (100.00%)"
    assert len(lines) > 1


class Page(html.parser.HTMLParser):
    """What is in a page, and that all that is opened is closed."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.values: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        self.values += [value or "" for _, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_loads_nothing_runs_nothing_and_shows_everything(diagnosis: Diagnosis, tmp_path: Path) -> None:
    write_report(diagnosis, tmp_path / "r.HTML")
    content = (tmp_path / "r.HTML").read_text(encoding="utf-8")
    page = Page(content)
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "object", "a", "b", "base", "form"})
    assert not {name for name in page.names if name.startswith("on") or name in ("src", "href", "srcset", "style")}
    assert not re.search(r"https?:|url\(|@import|javascript:", content)
    assert "default-src 'none'" in content
    for finding in diagnosis.findings:
        assert finding.kind in page.text
        for example in finding.examples:
            assert example.where in page.text
    assert HOSTILE[0] in page.text
    assert "\\u001b[31mred\\u202e" in page.text
    assert "\x1b" not in content


def test_a_page_of_an_empty_corpus(tmp_path: Path) -> None:
    empty = check([Group(write(tmp_path, []))], processes=1)
    write_report(empty, tmp_path / "r.html")
    assert "no pair has text on both sides" in Page((tmp_path / "r.html").read_text(encoding="utf-8")).text


def test_a_report_in_no_known_format_is_refused_before_all_is_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"r\.pdf: a report is written as \.json or \.html; give a name that ends so"):
        require_format(tmp_path / "r.pdf")
    with pytest.raises(ConfigError, match=r"none: no such folder for a report; make it first"):
        require_format(tmp_path / "none" / "r.json")
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(
        ConfigError, match=r"taken\.json: cannot be written \(.*\); give a name elsewhere for the report"
    ):
        write_report(check([Group(write(tmp_path, []))], processes=1), tmp_path / "taken.json")
