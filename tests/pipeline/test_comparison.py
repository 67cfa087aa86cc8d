"""Two systems on one test set, whether they are models or files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from seqloom.errors import DataError, ModelFolderError, UserError
from seqloom.pipeline.comparison import Report, compare_systems
from seqloom.pipeline.translator import load
from seqloom.tasks.folder import read_config


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Sources, references and three systems: ``good``, ``bad`` and ``worse``."""
    subjects = ["The cat", "A dog", "My brother", "Your teacher", "The old man", "This child", "Nobody"]
    references = [f"{who} {does} today." for who in subjects for does in ("sleeps", "sings a song", "reads the paper")]
    texts = {
        "src": [f"({number})" for number in range(len(references))],
        "ref": references,
        "good": [text.replace("today", "now") if number % 7 == 0 else text for number, text in enumerate(references)],
        "bad": [text.replace("today", "then").replace("The", "An") for text in references],
        "worse": [text.split()[0] + " whatever" for text in references],
    }
    for name, lines in texts.items():
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return tmp_path


def compared(files: Path, a: str, b: str, **options: Any) -> Report:
    return compare_systems(files / a, files / b, files / "ref", files / "src", resamplings=211, **options)


def test_scores_are_those_of_sacrebleu(files: Path) -> None:
    report = compared(files, "good", "bad", metrics=("bleu", "chrf", "ter"), language="en")
    texts = {name: (files / name).read_text(encoding="utf-8").splitlines() for name in ("ref", "good", "bad")}
    for name, metric in {"bleu": BLEU(), "chrf": CHRF(word_order=2), "ter": TER()}.items():
        found, signature = report.metrics[name]
        assert found.a == pytest.approx(metric.corpus_score(texts["good"], [texts["ref"]]).score)
        assert found.b == pytest.approx(metric.corpus_score(texts["bad"], [texts["ref"]]).score)
        assert "|bs:211|" in signature
    for each in report.sentences:
        assert each.a_chrf == pytest.approx(CHRF(word_order=2).sentence_score(each.a, [each.reference]).score)


def test_the_better_system_is_named(files: Path) -> None:
    found = compared(files, "good", "bad", metrics=("bleu", "ter")).as_dict(top=2)
    assert found["language"] == "en"  # detected
    assert found["sentences"] == 21
    assert found["wins"] + found["losses"] + found["ties"] == 21
    assert found["wins"] > 15
    for name in ("bleu", "ter"):
        assert found["metrics"][name]["a_better"] > 0.99
        assert found["metrics"][name]["p_bootstrap"] < 0.05
        assert found["metrics"][name]["p_randomization"] < 0.05
    assert found["metrics"]["bleu"]["difference"] > 0 > found["metrics"]["ter"]["difference"]
    assert json.loads(json.dumps(found))["a"] == str(files / "good")


def test_exchanged_systems_exchange_wins_and_losses(files: Path) -> None:
    found, mirrored = compared(files, "good", "bad"), compared(files, "bad", "good")
    assert [each.line for each in found.wins()] == [each.line for each in mirrored.losses()]
    assert [each.line for each in found.losses()] == [each.line for each in mirrored.wins()]
    table = mirrored.as_table(top=1)
    assert "By BLEU B is better: chance alone would hardly make such a difference (p < 0.05)." in table


def test_the_clearest_wins_are_shown_in_full(files: Path) -> None:
    report = compared(files, "good", "worse")
    found = report.as_dict(top=3)
    gains = [each["a_chrf"] - each["b_chrf"] for each in found["largest_wins"]]
    assert len(gains) == 3
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == max(each.gain for each in report.sentences)
    first = found["largest_wins"][0]
    lines = {name: (files / name).read_text(encoding="utf-8").splitlines() for name in ("src", "ref", "good", "worse")}
    assert [first["source"], first["reference"], first["a"], first["b"]] == [
        lines[name][first["line"] - 1] for name in ("src", "ref", "good", "worse")
    ]
    table = report.as_table(top=1)
    assert f"line {first['line']}: chrF++" in table
    assert f"    source     {first['source']}\n" in table
    assert f"    B          {first['b']}\n" in table
    assert "Where B gains most" not in table  # nowhere
    assert "largest_wins" in report.as_dict(top=0)


def test_texts_do_not_steer_the_terminal_or_fill_it(files: Path) -> None:
    for name in ("src", "ref", "good", "bad"):
        lines = (files / name).read_text(encoding="utf-8").splitlines()
        (files / name).write_text("".join(f"\x1b[2J{line} {'x' * 997}\n" for line in lines), encoding="utf-8")
    table = compared(files, "good", "bad", language="en").as_table(top=1)
    assert table.count(r"\x1b[2J") >= 4
    assert all(line.isprintable() and len(line) < 600 for line in table.split("\n"))


def test_a_system_against_itself(files: Path) -> None:
    report = compared(files, "good", "good")
    found = report.as_dict(top=3)
    assert (found["wins"], found["losses"], found["ties"]) == (0, 0, 21)
    assert found["metrics"]["bleu"]["p_randomization"] == found["metrics"]["bleu"]["p_bootstrap"] == 1
    assert "By BLEU neither is surely better: such a difference may be chance." in report.as_table(top=3)


def test_a_model_and_a_file(toy_run: Path, toy_corpus: Path, tmp_path: Path) -> None:
    source, reference = toy_corpus / "valid.xx", toy_corpus / "valid.yy"
    sources = source.read_text(encoding="utf-8").splitlines()
    translated = [each.text for each in load(toy_run).translate(sources, beam=2)]
    (tmp_path / "file").write_text("".join(text + "\n" for text in translated), encoding="utf-8")
    report = compare_systems(toy_run, tmp_path / "file", reference, source, resamplings=11, beam=2)
    assert report.as_dict(0)["ties"] == len(sources)
    assert report.language == "yy"
    with pytest.raises(UserError, match=r"run is a model, which needs sources to translate; give them with --src FILE"):
        compare_systems(toy_run, tmp_path / "file", reference)
    (tmp_path / "src").write_text("1\n2\n")
    with pytest.raises(DataError, match=r"src has 2 lines and .*valid.yy has 31; expected a source for each reference"):
        compare_systems(toy_run, toy_run, reference, tmp_path / "src")


def test_models_of_different_languages(toy_run: Path, toy_corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_run / "model", tmp_path / "other")
    config = read_config(toy_run) | {"languages": ["xx", "zz"]}
    (tmp_path / "other" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"translates into 'yy' and .*other into 'zz'; two systems can be compared only"
    ):
        compare_systems(toy_run, tmp_path / "other", toy_corpus / "valid.yy", toy_corpus / "valid.xx")


def test_mistakes_are_said(files: Path) -> None:
    (files / "short").write_text("one\ntwo\n")
    (files / "blank").write_text("one\n \n")
    (files / "empty").write_text("")
    (files / "numbers").write_text("1\n2\n")
    (files / "folder").mkdir()
    with pytest.raises(
        DataError, match=r"short has 2 lines and .*ref has 21; expected a translation for each reference"
    ):
        compared(files, "good", "short")
    with pytest.raises(
        DataError, match=r"nowhere: no such file or folder; expected a run, a model folder or a file of"
    ):
        compared(files, "nowhere", "good")
    with pytest.raises(ModelFolderError, match=r"folder: holds no model"):
        compared(files, "folder", "good")
    for name, message in (("blank", r"blank:2: the reference is empty"), ("empty", r"empty: is empty, expected refer")):
        with pytest.raises(DataError, match=message):
            compare_systems(files / "good", files / "bad", files / name)
    with pytest.raises(
        UserError, match=r"numbers: the target language cannot be told from it; give it with --tgt-lang"
    ):
        compare_systems(files / "short", files / "short", files / "numbers")


def test_sources_are_not_needed_for_files(files: Path) -> None:
    report = compare_systems(files / "good", files / "bad", files / "ref", resamplings=11)
    assert report.sentences[0].source is None
    assert "    source  " not in report.as_table(top=1)


def test_chinese_is_cut_into_characters(tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("他很喜欢喝热茶。\n我们明天去北京。\n" * 5, encoding="utf-8")
    (tmp_path / "a").write_text("他很喜欢喝茶。\n我们明天去上海。\n" * 5, encoding="utf-8")
    report = compare_systems(tmp_path / "a", tmp_path / "a", tmp_path / "ref", resamplings=11)
    assert report.language == "zh"
    found, signature = report.metrics["bleu"]
    assert "|tok:zh|" in signature
    assert found.a > 20
