import json
from dataclasses import replace
from pathlib import Path

import pytest
from sacrebleu.metrics import BLEU

from seqloom.errors import DataError
from seqloom.pipeline import guard as guard_module
from seqloom.pipeline.evaluation import evaluate
from seqloom.pipeline.translator import Translator, load


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return load(toy_run)


def test_scores_are_those_of_sacrebleu(translator: Translator, toy_corpus: Path, tmp_path: Path) -> None:
    domains = tmp_path / "domains"
    domains.write_text("".join(f"{'odd' if n % 2 else 'even'}\n" for n in range(31)))
    report = evaluate(translator, toy_corpus / "valid.xx", toy_corpus / "valid.yy", domains, bootstrap=97)
    references = (toy_corpus / "valid.yy").read_text(encoding="utf-8").splitlines()
    assert report.scores["bleu"].value == BLEU().corpus_score(report.translations, [references]).score
    low, high = report.scores["bleu"].low, report.scores["bleu"].high
    assert low is not None
    assert high is not None
    assert low - 1e-6 <= report.scores["bleu"].value <= high + 1e-6
    assert {name: count for name, (count, _) in report.domains.items()} == {"even": 16, "odd": 15}
    found = json.loads(json.dumps(report.as_dict()))
    assert {
        "bleu",
        "chrf",
        "ter",
        "signature",
        "confidence",
        "sentences",
        "seconds",
        "guard",
        "domains",
    } == found.keys()
    assert "tok:13a" in found["signature"]["bleu"]
    assert "nw:2" in found["signature"]["chrf"]
    assert "even" in report.as_table()
    hostile = replace(report, domains={"\x1b[2J": report.domains["even"]}).as_table()
    assert r"\x1b[2J" in hostile
    assert all(map(str.isprintable, hostile.split("\n")))


def test_files_that_do_not_go_together(translator: Translator, toy_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("a\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "blank").write_text("1\n" * 30 + "\n")
    source = toy_corpus / "valid.xx"
    with pytest.raises(DataError, match=r"has 31 lines and .* has 1"):
        evaluate(translator, source, tmp_path / "short")
    with pytest.raises(DataError, match="is empty, expected sentences to score"):
        evaluate(translator, tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(DataError, match="blank:31: the reference is empty"):
        evaluate(translator, source, tmp_path / "blank")
    with pytest.raises(DataError, match=r"short has 1 lines and .*expected a domain for each sentence"):
        evaluate(translator, source, toy_corpus / "valid.yy", tmp_path / "short")


def test_the_guard_is_reported(
    translator: Translator, toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        guard_module,
        "faults_of",
        lambda source, *rest: ("loop",) if source == "1 0 0 0" else ("copy",) * ("9" in source),
    )
    (tmp_path / "src").write_text("1 0 0 0\n1 9\n1 2 3\n", encoding="utf-8")
    (tmp_path / "ref").write_text("ein\nein\nein\n", encoding="utf-8")
    files = tmp_path / "src", tmp_path / "ref"
    report = evaluate(translator, *files, bootstrap=0, guard="flag")
    assert {**report.guard, "seconds": 0} == {
        "mode": "flag",
        "caught": 2,
        "mended": 0,
        "faults": {"loop": 1, "copy": 1},
        "seconds": 0,
    }
    assert (
        "  guard    2 answers caught (1 loop, 1 copy), 0 mended; 0.0 s to check, 0.0 s to try again"
        in report.as_table()
    )
    report = evaluate(translator, *files, bootstrap=0)
    assert report.guard["mode"] == "retry"
    assert report.guard["seconds"]["retrying"] > 0
    assert "guard" not in evaluate(translator, *files, bootstrap=0, guard="off").as_table()
