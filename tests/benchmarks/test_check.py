"""benchmarks/check.py: what it plants is where it says, and nothing else is changed."""

import gzip
import importlib
import random
import sys
from pathlib import Path

import pytest

from seqloom.data.checks.doctor import check
from seqloom.data.readers import Group
from tests.data.checks.corpora import sentences

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

PAIRS = sentences(3000)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("check")
    del sys.modules["check"]


@pytest.fixture
def folder(tmp_path):
    """A set as there are others under SEQLOOM_DATA, and French beside it."""
    (tmp_path / "de_en").mkdir()
    (tmp_path / "multi30k").mkdir()
    held = sentences(300, seed=5)
    files = {
        "de_en/test.home.de.gz": [src for src, _ in held],
        "de_en/test.home.en.gz": [tgt for _, tgt in held],
        "multi30k/train.fr.gz": [f"C'est la phrase numéro {n} de ce texte français." for n in range(600)],
    }
    for name, lines in files.items():
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
    return tmp_path / "de_en"


def test_faults_are_where_they_are_said_to_be(script, folder):
    planted = script.plant(PAIRS, "all", folder)
    sizes = {kind: len(rows) for kind, rows in planted.rows.items()}
    assert sizes == {
        "wrong_language_block": 500, "swapped_sides": 30, "duplicates": 30, "overlap": 6, "mojibake": 15,
    }  # fmt: skip
    changed = [row for row, pair in enumerate(planted.pairs) if pair != PAIRS[row]]
    assert changed == sorted(set().union(*planted.rows.values()))
    assert len(changed) == sum(sizes.values())
    for row in planted.rows["swapped_sides"]:
        assert planted.pairs[row] == PAIRS[row][::-1]
    for row in planted.rows["duplicates"]:
        assert planted.pairs[row] in planted.pairs[:row]
    assert script.plant(PAIRS, "all", folder) == planted
    assert script.plant(PAIRS, "none", folder).pairs == PAIRS


def test_the_judge_counts_rows_and_places_drifts(script, folder, tmp_path):
    planted = script.Planted(list(PAIRS), deleted=[1500])
    rows = random.Random(3).sample([row for row in range(3000) if abs(row - 1500) > 100], 40)
    for row in rows[:30]:
        planted.pairs[row] = PAIRS[row][::-1]
    planted.rows["swapped_sides"] = set(rows[10:])  # of those that are swapped 20 are said to be
    diagnosis = check([Group(script.write(planted, tmp_path))], processes=1)
    told = script.judge(planted, diagnosis)
    scores = told["kinds"]["swapped_sides"]
    assert (scores["planted"], scores["found"], scores["precision"]) == (30, 30, round(20 / 30, 4))
    assert scores["recall"] == round(20 / 30, 4)
    assert told["drifts"]["planted"] == [(1501, 1)]
    assert told["drifts"]["right"]
    planted.deleted = [1400]
    assert not script.judge(planted, diagnosis)["drifts"]["right"]
