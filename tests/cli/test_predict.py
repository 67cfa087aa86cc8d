"""`seqloom predict`, and `seqloom train` and `evaluate` where the task is not translation."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import seqloom  # noqa: F401 - a fixture

LINES = [f"{'good' if n % 2 else 'bad'}\ta {'fine' if n % 2 else 'dull'} film , number {n % 5}" for n in range(60)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    (folder / "train.tsv").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    (folder / "test.tsv").write_text("good\ta fine one\nbad\ta dull one\ngood\tdull\n", encoding="utf-8")
    return folder


@pytest.fixture
def run(seqloom: Any, corpus: Path) -> Path:  # noqa: F811
    """A convolutional classifier, trained once."""
    folder = corpus / "my run"
    if not folder.exists():
        sizes = [f"--set=model.{key}" for key in ("kind=convolutional", "d_model=14", "filters=7", "dropout=0.1")]
        options = ("--steps", "60", "--set=data.batch_tokens=101", "--set=training.learning_rate=0.02", "--seed", "1")
        result = seqloom("train", folder, "--task", "classify_text", "--data", corpus / "train.tsv", *sizes, *options)
        assert result.status == 0
        assert f"Next: seqloom predict '{folder}' < FILE" in result.out
        assert "accuracy" in result.err
    return folder


def test_one_line_out_for_each_line_in(seqloom: Any, run: Path) -> None:  # noqa: F811
    result = seqloom("predict", run, stdin=b"a dull film\n\na fine film\n \nfine")
    assert result.status == 0
    answers = result.out.split("\n")[:-1]
    assert [answer.partition("\t")[0] for answer in answers] == ["bad", "", "good", "", "good"]
    assert 0.5 < float(answers[0].partition("\t")[2]) <= 1


def test_json_lines_have_all_labels_and_weights_if_wanted(seqloom: Any, run: Path) -> None:  # noqa: F811
    plain, weighed = (
        json.loads(seqloom("predict", run, "--format", "jsonl", *options, stdin=b"a dull film\n").out)
        for options in ([], ["--weights"])
    )
    assert list(plain) == ["label", "probability", "probabilities"]
    assert list(plain["probabilities"]) == ["bad", "good"]
    assert weighed == {**plain, "weights": weighed["weights"]}
    assert [word for word, _ in weighed["weights"]] == ["a", "dull", "film"]


def test_weights_stand_behind_the_answer(seqloom: Any, run: Path) -> None:  # noqa: F811
    label, _, words = seqloom("predict", run, "--weights", stdin=b"a dull film\n").out.rstrip("\n").split("\t")
    assert label == "bad"
    assert [word.partition("=")[0] for word in words.split(" ")] == ["a", "dull", "film"]


def test_bytes_that_are_no_text_stop_it(seqloom: Any, run: Path) -> None:  # noqa: F811
    result = seqloom("predict", run, stdin=b"fine\n\xff\n")
    assert result.status == 2
    assert "standard input:2: byte 0xff" in result.err
    assert seqloom("predict", run, "--errors", "replace", stdin=b"fine \xff\n").status == 0


def test_a_classifier_is_scored_on_labelled_files(seqloom: Any, run: Path, corpus: Path) -> None:  # noqa: F811
    found = json.loads(seqloom("evaluate", run, "--data", corpus / "test.tsv", "--json").out)
    assert found["accuracy"] == pytest.approx(200 / 3)
    assert found["f1"] == pytest.approx(200 / 3)
    assert found["labels"]["good"]["support"] == 2
    assert "bootstrap:1000" in found["signature"]["accuracy"]
    table = seqloom("evaluate", run, "--data", corpus / "test.tsv", "--bootstrap", "0").out
    assert table.splitlines()[0] == "3 texts"
    assert "accuracy   66.67  accuracy|classes:2|texts:3" in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "is a model for the task 'classify_text'; expected --data FILE to score it on"),
        (["--data", "test.tsv", "--beam", "3"], "--beam is for translators, and --data for other tasks; give one"),
        (["--data", "test.tsv", "--src", "a"], "--src is for translators, and --data for other tasks; give one"),
        (["--src", "a", "--ref", "b"], "is a model for the task 'classify_text', expected 'translate'"),
        (["--data", "none.tsv"], "none.tsv"),
    ],
)
def test_what_evaluate_cannot_do(
    seqloom: Any,  # noqa: F811
    run: Path,
    corpus: Path,
    options: list[str],
    message: str,
) -> None:
    result = seqloom("evaluate", run, *(corpus / word if "." in word else word for word in options))
    assert result.status == 2
    assert message in result.err


def test_a_translator_is_told_what_it_is_scored_on(seqloom: Any, toy_run: Path) -> None:  # noqa: F811
    result = seqloom("evaluate", toy_run)
    assert result.status == 2
    assert "is a model for the task 'translate'; expected --src FILE and --ref FILE to score it on" in result.err
