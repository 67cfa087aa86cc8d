"""The lab's pages: each claim is measured, and the page says what was."""

import re
from pathlib import Path

import pytest

from seqloom.cli import lab as command
from seqloom.lab import depth, heads, length, order, parallel, projection, scaling
from seqloom.lab.page import Page, Plot, Table, Text, draw, number, write_page
from seqloom.lab.registry import LAB
from seqloom.lab.scaling import measure
from seqloom.lab.toy import SEEDS, accuracies, mirrored
from seqloom.layers.positions import POSITIONS

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"depth", "heads", "length", "order", "parallel", "projection", "scaling"}
"""Those that need no data; the ones that train do it for two updates here."""


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth, "DEPTHS", [2, 3])
        patch.setattr(heads, "HEADS", [1, 2])
        for experiment in (depth, heads, projection):
            patch.setattr(experiment, "STEPS", 2)
        patch.setattr(parallel, "LENGTHS", [2, 3])
        patch.setattr(length, "LENGTHS", [2, 3, 5, 7])
        return {name: LAB[name](False) for name in QUICK}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_page_is_whole(pages: dict[str, Page], name: str, tmp_path: Path) -> None:
    page = pages[name]
    assert page.name == name
    path = write_page(page, tmp_path, f"seqloom lab {name}", 1.5)
    text = path.read_text(encoding="utf-8")
    if page.plots:
        assert (tmp_path / f"{name}.svg").read_text(encoding="utf-8").startswith("<?xml")
    for both in (page.title, page.question, page.done, page.verdict):
        assert both.en in text
        assert both.zh in text
        assert re.search("[\u4e00-\u9fff]", both.zh)
        assert not re.search("[\u4e00-\u9fff]", both.en)
    widths = [line.count("|") for table in page.tables for line in table.lines()]
    assert widths == [len(table.head) + 1 for table in page.tables for _ in table.lines()]
    assert f"`seqloom lab {name}`" in text
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    write_page(page, tmp_path, f"seqloom lab {name}", 1.5)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_every_experiment_is_documented() -> None:
    documented = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs" / "lab.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert documented == list(LAB)
    assert f"Experiments: {', '.join(LAB)}." in re.sub(r"\s+", " ", str(command.command.__doc__))


def test_every_page_is_of_an_experiment() -> None:
    pages = ROOT / "docs" / "lab"
    linked = re.findall(r"\(lab/([a-z-]+)\.md\)", (ROOT / "docs" / "lab.md").read_text(encoding="utf-8"))
    assert sorted(path.stem for path in pages.glob("*.md")) == sorted(linked)
    assert set(linked) <= set(LAB)


def test_scores_vary_as_their_width() -> None:
    assert measure(256, scaled=False)[0] == pytest.approx(256, rel=0.2)
    assert measure(256, scaled=True)[0] == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("width", [4, 1024])
def test_gradients_are_those_of_the_products_on_both_sides(width: int) -> None:
    """Those of the scores would be larger by sqrt(d) with the division, and hide what it takes away."""
    assert measure(width, scaled=False)[2] > 2 * measure(width, scaled=True)[2]


@pytest.mark.parametrize(
    ("divided", "en", "zh"),
    [
        (4.0, "is 4.0 times smaller than with the division there, and 4.0 times smaller at", "的 0.25 倍"),
        (0.5, "is 2.0 times larger than with the division there, and 2.0 times larger at", "的 2 倍"),
    ],
)
def test_the_verdict_on_scaling_follows_the_gradients(
    divided: float, en: str, zh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        scaling, "measure", lambda width, scaled: (1.0, 0.2, divided) if scaled else (float(width), 0.9, 1.0)
    )
    verdict = scaling.scaling(False).verdict
    assert en in verdict.en
    assert verdict.zh.count(zh) == 2


def test_the_page_on_scaling_says_what_is_measured(pages: dict[str, Page]) -> None:
    """It depends on no machine."""
    written = (ROOT / "docs" / "lab" / "scaling.md").read_text(encoding="utf-8")
    for text in (pages["scaling"].verdict, pages["scaling"].done):
        assert text.en in written
        assert text.zh in written


def test_only_encoders_are_blind() -> None:
    assert order.told_by_encoder("none") < order.BLIND < order.told_by_encoder("rotary")
    assert order.told_by_decoder("none", 1) < order.BLIND < order.told_by_decoder("none", 2)


def test_every_encoding_is_tried(pages: dict[str, Page]) -> None:
    assert [row[0] for row in pages["order"].tables[0].rows] == list(POSITIONS)
    assert "every encoding opens its eyes" in pages["order"].verdict.en


def test_each_model_is_built_and_trained_anew() -> None:
    found, again = (accuracies(lambda: heads.tagger(2), mirrored, 5, 3, steps=20) for _ in range(2))
    assert found == again
    assert len(set(found)) == SEEDS
    assert min(found) > 1 / 5


def test_a_verdict_follows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "told_by_encoder", lambda *about: 1.0)
    monkeypatch.setattr(order, "told_by_decoder", lambda *about: 1.0)
    verdict = order.order(False).verdict
    assert "An encoder without positions is not blind to order" in verdict.en
    assert "并非看不见顺序" in verdict.zh


def test_numbers_and_tables() -> None:
    shown = [number(value) for value in (0, 0.00012, 0.1234, 12.34, 999.4, 999.7, 1234.5, 1e7)]
    assert shown == ["0", "1.2e-04", "0.123", "12.3", "999", "1,000", "1,234", "1.0e+07"]
    assert Table(("a", "b"), [("x", 0.5)]).lines() == ["| a | b |", "| --- | --- |", "| x | 0.5 |"]


def test_intervals_are_drawn_around_their_lines(tmp_path: Path) -> None:
    lines = {"a": ([1.0, 2.0], [3.0, 4.0]), "b": ([1.0, 2.0], [5.0, 6.0])}
    for name, intervals in {"without": {}, "with": {"b": ([4.5, 5.5], [5.5, 6.5])}}.items():
        draw([Plot("x", "y", lines, intervals=intervals)], tmp_path / f"{name}.svg")
    areas = [(tmp_path / f"{name}.svg").read_text().count("FillBetweenPolyCollection") for name in ("without", "with")]
    assert areas[0] == 0 < areas[1]


def test_a_logarithmic_axis_is_marked_where_something_was_measured(tmp_path: Path) -> None:
    places = [1_000, 5_000, 29_000, 120_000]
    draw([Plot("x", "y", {"a": (places, [1.0, 2.0, 3.0, 4.0])}, log_x=True)], tmp_path / "a.svg")
    texts = re.findall("<!-- (.+) -->", (tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert [text for text in texts if "00" in text] == ["1,000", "5,000", "29,000", "120,000"]
    assert not {"1024", "2048", "16384"} & set(texts)


def test_without_pictures_no_library_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Text("one", "一")
    page = Page("plain", text, text, text, text, [Table(("a",), [("b",)])])
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert write_page(page, tmp_path, "c", 1).is_file()
