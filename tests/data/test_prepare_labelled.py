"""Labelled texts: what is read, what is refused, and what is only prepared once."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqloom.config import LabelledDataConfig
from seqloom.data.labels import Labels
from seqloom.data.prepare_labelled import PreparedTexts, Reading, labelled_key, prepare_labelled, read_labelled
from seqloom.errors import DataError

LINES = [f"{'spam' if n % 3 else 'ham'}\tmessage {n} of {n % 11} words" for n in range(97)]

Prepare = Callable[..., PreparedTexts]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def prepare(tmp_path: Path, said: list[str]) -> Prepare:
    """(lines of the training file, settings) -> what is prepared of it."""

    def prepared(lines: list[str], name: str = "train.tsv", **settings: Any) -> PreparedTexts:
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        config = LabelledDataConfig(data=(str(tmp_path / name),), **settings)
        return prepare_labelled(config, tmp_path / "data", said.append)

    return prepared


def pairs(prepared: PreparedTexts) -> list[tuple[str, str]]:
    """Label and text of each training example, as they are stored."""
    corpus = prepared.train
    texts = prepared.tokenizer.decode([corpus.src[row].tolist() for row in range(len(corpus))])
    return [(prepared.labels.names[int(corpus.tgt[row][0])], text) for row, text in enumerate(texts)]


def test_the_label_stands_first(prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "valid.tsv").write_text("ham\tmessage 3\n", encoding="utf-8")
    prepared = prepare(LINES, valid_data=(str(tmp_path / "valid.tsv"),), tokenizer="bpe", vocab_size=331)
    assert pairs(prepared) == [tuple(line.split("\t")) for line in LINES]
    assert len(prepared.valid) == 1
    assert prepared.labels.names == ["ham", "spam"]
    assert prepared.train.where(5).endswith("train.tsv:6")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label\n" + "".join(f"m {n},{'xy'[n % 2]}\n" for n in range(20))),
        ("a.csv", "".join(f"{'xy'[n % 2]},m {n}\n" for n in range(20))),
        ("a.jsonl", "".join(json.dumps({"text": f"m {n}", "label": "xy"[n % 2], "id": n}) + "\n" for n in range(20))),
        ("a.txt", "".join(f"{'xy'[n % 2]}\tm {n}\n" for n in range(20))),
    ],
)
def test_other_tables_are_read_too(name: str, content: str, prepare: Prepare) -> None:
    prepared = prepare(content.splitlines(), name=name, valid_share=0.2)
    assert prepared.labels.names == ["x", "y"]
    assert all(label == "xy"[int(text.split()[1]) % 2] for label, text in pairs(prepared) if "⁇" not in text)
    assert len(prepared.train) + len(prepared.valid) == 20


def test_compressed_files_are_read(prepare: Prepare, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "v.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("ham\tmessage 1\n")
    assert len(prepare(LINES, valid_data=(str(tmp_path / "v.tsv.gz"),)).valid) == 1


def test_a_share_is_held_out_the_same_every_time(prepare: Prepare, said: list[str], tmp_path: Path) -> None:
    first = prepare(LINES, valid_share=0.2)
    assert (len(first.valid), len(first.train)) == (19, 78)
    assert "No validation files given: 19 texts are held out of training for that." in said
    held = {first.valid.where(row).rpartition(":")[2] for row in range(19)}
    again = prepare_labelled(
        LabelledDataConfig(data=(str(tmp_path / "train.tsv"),), valid_share=0.2), tmp_path / "elsewhere", said.append
    )
    assert {again.valid.where(row).rpartition(":")[2] for row in range(19)} == held


def test_of_a_label_only_the_beginning_counts_if_so_wanted(prepare: Prepare) -> None:
    lines = [f"{'NUM' if n % 2 else 'HUM'}:{'abc'[n % 3]}\tquestion {n}" for n in range(40)]
    assert prepare(lines).labels.names == ["HUM:a", "HUM:b", "HUM:c", "NUM:a", "NUM:b", "NUM:c"]
    assert prepare(lines, label_until=":").labels.names == ["HUM", "NUM"]


def test_small_letters(prepare: Prepare) -> None:
    lines = [f"{'AB'[n % 2]}\tThis IS Ärger" for n in range(40)] + ["A\tx y"]
    prepared = prepare(lines, lowercase=True, valid_share=0.3)
    assert {"this is ärger", "x y"} >= {text for _, text in pairs(prepared) if "⁇" not in text}
    assert prepared.labels.names == ["A", "B"]


def test_texts_that_small_letters_make_one_fall_on_one_side(prepare: Prepare) -> None:
    lines = [
        f"{'AB'[n % 2]}\t{word} number {n // 3}" for n in range(300) for word in (("Great", "GREAT", "great")[n % 3],)
    ]
    prepared = prepare(lines, lowercase=True, valid_share=0.3)
    sides = [
        set(prepared.tokenizer.decode([corpus.src[row].tolist() for row in range(len(corpus))]))
        for corpus in (prepared.train, prepared.valid)
    ]
    assert sides[0]
    assert sides[1]
    assert sides[0].isdisjoint(sides[1])


def test_it_is_prepared_once(prepare: Prepare, said: list[str]) -> None:
    prepare(LINES)
    said.clear()
    again = prepare(LINES, batch_tokens=31)  # how batches are cut does not matter
    assert said == []
    other = prepare(LINES, max_length=100)
    assert said[0] == "The prepared data is damaged, or is of other files or settings: preparing it again."
    assert other.key != again.key


@pytest.mark.parametrize("name", ["labels.json", "text.model", "prepared.json", "train/tgt.bin"])
def test_what_is_damaged_is_prepared_again(name: str, prepare: Prepare, said: list[str], tmp_path: Path) -> None:
    prepare(LINES)
    (tmp_path / "data" / name).write_bytes(b"\xff" * (tmp_path / "data" / name).stat().st_size)
    said.clear()
    assert len(prepare(LINES).train) > 80
    assert said[0].startswith("The prepared data is damaged")


def test_the_key_is_that_of_the_contents(prepare: Prepare, tmp_path: Path) -> None:
    key = prepare(LINES).key
    (tmp_path / "moved.tsv").write_bytes((tmp_path / "train.tsv").read_bytes())
    assert labelled_key(LabelledDataConfig(data=(str(tmp_path / "moved.tsv"),))) == key
    with open(tmp_path / "moved.tsv", "a", encoding="utf-8") as file:
        file.write("ham\tone more\n")
    assert labelled_key(LabelledDataConfig(data=(str(tmp_path / "moved.tsv"),))) != key


def test_what_cannot_be_used_is_dropped_and_named(prepare: Prepare, said: list[str], tmp_path: Path) -> None:
    lines = [*LINES, "ham\t", "\tno label", "", "spam\t" + "long " * 30]
    prepared = prepare(lines, max_length=20)
    assert len(prepared.train) + len(prepared.valid) == 97
    dropped = (tmp_path / "data" / "dropped.tsv").read_text(encoding="utf-8")
    assert {line.split("\t")[1] for line in dropped.splitlines()} == {
        "an empty text",
        "an empty label",
        "both sides empty",
        "a text of 20 tokens or more",
    }
    assert any("Dropped from the train corpus: 1 with an empty text (the first: " in line for line in said)
    with pytest.raises(DataError, match="the train corpus has texts that would be dropped, and --strict was given"):
        prepare(lines, max_length=20, strict=True)


@pytest.mark.parametrize(
    ("lines", "settings", "message"),
    [
        (["a b c"], {}, "train.tsv:1: 1 tab-separated fields, expected 2: label, tab, text"),
        (["a\tb\tc"], {}, "train.tsv:1: 3 tab-separated fields, expected 2: label, tab, text"),
        (["a\tx", "a\ty"], {}, "all texts have the label a, expected texts of two classes or more"),
        (["\tx"], {}, "no text has a label, expected texts of two classes or more"),
        (
            [f"text {n}\tpos" for n in range(20)],
            {},
            "20 different labels for 20 texts, expected a few labels for many texts; the label stands first",
        ),
        (
            ["x" * 1001 + "\tpos", "neg\ta"],
            {},
            "train.tsv:1: the label has 1,001 characters, expected a short name; the label stands first",
        ),
        (["a\x1b[31m\tpos", "neg\ta"], {}, "train.tsv:1: the label has a control character, expected a short name"),
        (["a\tx", "b\tx"] * 9, {}, "train.tsv: one distinct text is too little to train on and to hold some out; give"),
    ],
)
def test_what_is_no_corpus_is_told(lines: list[str], settings: dict[str, Any], message: str, prepare: Prepare) -> None:
    with pytest.raises(DataError) as error:
        prepare(lines, **settings)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,klass\nx,y\n", "a.csv:1: the columns are 'text', 'klass'; expected a first line that names"),
        ("a.csv", "a,b,c\n", "a.csv:1: the columns are 'a', 'b', 'c'; expected a first line that names text and label"),
        ("a.jsonl", '{"text": "a", "src": "b"}\n', "a.jsonl:1: has 'text', 'src', expected text and label"),
        ("a.jsonl", "[]\n", 'a.jsonl:1: is no object but [], expected one such as {"text": "...", "label": "..."}'),
        ("a.tmx", "", "a.tmx: is a format for translations, expected texts with labels; give one that ends in .tsv"),
    ],
)
def test_a_table_of_something_else(name: str, content: str, message: str, prepare: Prepare) -> None:
    with pytest.raises(DataError) as error:
        prepare(content.splitlines(), name=name)
    assert message in str(error.value)


def test_no_files_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training files were given; expected --data FILE with labelled texts"):
        prepare_labelled(LabelledDataConfig(), tmp_path / "data", print)


def test_a_label_that_only_the_validation_has(prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "valid.tsv").write_text("ham\ta\nSpam\tb\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        prepare(LINES, valid_data=(str(tmp_path / "valid.tsv"),))
    assert str(error.value) == (
        f"{tmp_path}/valid.tsv:2: the label 'Spam' is that of no training text, expected one of ham, spam"
    )


# --- a test set ---


def read(tmp_path: Path, content: str, reading: Reading = Reading()) -> list[tuple[str, str]]:  # noqa: B008
    (tmp_path / "test.tsv").write_text(content, encoding="utf-8")
    examples = read_labelled([str(tmp_path / "test.tsv")], reading, Labels(["HAM", "SPAM"]))
    return [(example.tgt, example.src) for _, example in examples]


def test_a_test_set_is_read_as_the_training_was(tmp_path: Path) -> None:
    found = read(tmp_path, "HAM:x\tA Text\nSPAM:y\tB\n", Reading(lowercase=True, label_until=":"))
    assert found == [("HAM", "a text"), ("SPAM", "b")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("HAM\ta\nEGGS\tb\n", "test.tsv:2: the label 'EGGS' is that of no training text, expected one of HAM, SPAM"),
        ("HAM\ta\n\tb\n", "test.tsv:2: expected a label and a text; delete the line, or complete it"),
        ("HAM\ta\nHAM\t \n", "test.tsv:2: expected a label and a text; delete the line, or complete it"),
        ("", "test.tsv: no text, expected labelled texts"),
    ],
)
def test_nothing_of_a_test_set_is_skipped(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, content)
    assert message in str(error.value)
