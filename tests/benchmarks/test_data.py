"""benchmarks/data.py on corpora of a few hundred pairs."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from seqloom.data import prepare as prepare_module

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def data(monkeypatch):
    """The script, with small blocks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("data")
    monkeypatch.setattr(script, "BLOCK", 400)
    for name in ("_contents", "hold_out", "_train_tokenizers", "write_corpus"):  # which it puts a clock on
        monkeypatch.setattr(prepare_module, name, getattr(prepare_module, name))
    yield script
    del sys.modules["data"]


def lines(data, folder: Path, pairs: int, packed: bool = False) -> list[list[str]]:
    folder.mkdir()
    data.generate(folder, pairs, packed)
    return [list(data.read_lines(path)) for path in data.files_of(folder, packed)]


def test_a_larger_corpus_begins_like_a_smaller_one(data, tmp_path):
    small, packed, large = (
        lines(data, tmp_path / name, pairs, name == "packed")
        for name, pairs in (("small", 307), ("packed", 307), ("large", 1009))
    )
    assert small == packed
    assert [len(side) for side in large] == [1009, 1009]
    assert [side[:307] for side in large] == small
    repeated = 1009 - len(set(zip(*large, strict=True)))
    assert 0.02 < repeated / 1009 < 0.08


def test_every_figure_of_the_table_is_measured(data, tmp_path, monkeypatch, capsys):
    def at_hand(part: str, folder: Path, pairs: int, packed: bool) -> dict[str, object]:
        return {**data.PARTS[part](folder, pairs, packed), "peak_gb": 0.5}

    monkeypatch.setattr(data, "_in_own_process", at_hand)
    monkeypatch.setattr(sys, "argv", ["data.py", "--pairs", "1009,503", "--steps", "0", "--json"])
    data.main()
    results = json.loads(capsys.readouterr().out)
    assert [corpus["pairs"] for corpus in results["corpora"]] == [503, 1009]
    for corpus in results["corpora"]:
        assert corpus["prepare"]["stored"] == corpus["pairs"]
        assert not corpus["prepare"].get("dropped")
        assert all(value > 0 for part in ("prepare", "batch") for value in corpus[part]["seconds"].values())
        assert corpus["sentencepiece"]["pairs_per_second"] > 0
    monkeypatch.setattr(sys, "argv", ["data.py", "--pairs", "503", "--steps", "0"])
    data.main()
    table = capsys.readouterr().out
    assert "nan" not in table
    for name in ("read and check", "learn pieces", "tokenize and store", "SentencePiece alone", "ratio", "batches/s"):
        assert name in table
