"""benchmarks/classification.py on minute sets: what it trains, what it looks at, and what it prints."""

import gzip
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from seqloom.config import load_config
from seqloom.tasks.classify_text import ClassifyTextConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PARTS = {"train": 40, "valid": 12, "test": 11}
SMALL = {
    "data.batch_tokens": 101,
    "model.d_model": 6,
    "model.hidden_size": 5,
    "model.filters": 3,
    "model.buckets": 97,
    "training.learning_rate": 0.05,
    "training.warmup": 2,
    "training.steps": 60,
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The script, with small sets."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("classification")
    monkeypatch.setattr(script, "DATA", tmp_path)
    for name, (first, second) in {"mr": ("pos", "neg"), "trec": ("HUM:ind", "LOC:city")}.items():
        for part, count in PARTS.items():
            path = tmp_path / script.SETS[name] / f"{part}.tsv.gz"
            path.parent.mkdir(exist_ok=True)
            texts = f"{first}\twho said {{}}\n", f"{second}\twhere is it {{}}\n"
            lines = "".join(texts[n % 2].format(n % 7) for n in range(count))
            path.write_bytes(gzip.compress(lines.encode()))
    yield script
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def rows(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> list[list[str]]:
    few = {name: dict.fromkeys(kinds, SMALL) for name, kinds in script.SETTINGS.items()}
    monkeypatch.setattr(script, "SETTINGS", few)
    monkeypatch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
    script.main()
    return [re.split(r" *\| *", line)[1:-1] for line in capsys.readouterr().out.splitlines()]


def test_every_kind_is_a_row(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head, _, *found = rows(script, monkeypatch, capsys, tmp_path / "out", "--sets", "mr", "trec", "--test")
    assert head == ["set", "kind", "seed", "validation accuracy", "test accuracy", "macro F1", "seconds"]
    assert [row[:3] for row in found] == [
        [name, f"`{kind}`", "1"] for name in ("mr", "trec") for kind in ("bag", "convolutional", "recurrent")
    ]
    assert {tuple(row[3:6]) for row in found} == {("100.0", "100.0 [100.0, 100.0]", "100.0")}


def test_test_texts_are_looked_at_if_asked_for(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / script.SETS["mr"] / "test.tsv.gz").unlink()
    arguments = (tmp_path / "out", "--sets", "mr", "--kinds", "bag", "--seeds", 3)
    (row,) = rows(script, monkeypatch, capsys, *arguments)[2:]
    assert row[:6] == ["mr", "`bag`", "3", "100.0", "-", "-"]
    before = (tmp_path / "out" / "mr-bag-3" / "log.jsonl").read_bytes()
    assert rows(script, monkeypatch, capsys, *arguments)[2][:6] == row[:6]
    assert (tmp_path / "out" / "mr-bag-3" / "log.jsonl").read_bytes() == before


def test_all_settings_are_known(script: ModuleType) -> None:
    configs = {
        (name, kind): load_config(ClassifyTextConfig, flags=script.flags(name, kind, 7))
        for name, kinds in script.SETTINGS.items()
        for kind in kinds
    }
    assert configs.keys() == {(name, kind) for name in script.SETS for kind in ("bag", "convolutional", "recurrent")}
    assert {(config.model.kind, config.training.seed) for config in configs.values()} == {
        (kind, 7) for kind in ("bag", "convolutional", "recurrent")
    }
    assert {name for (name, _), config in configs.items() if config.data.label_until} == {"trec"}
