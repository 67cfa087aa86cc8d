"""seqloom bench: one table or one JSON object, and nothing left behind."""

import hashlib
import itertools
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqloom.cli import bench, train
from seqloom.cli.recipe_options import FLAGS
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.pipeline import bench as decode_bench
from seqloom.pipeline.engines import Running, read_translator
from seqloom.tasks.setup import TranslatorSetup
from seqloom.training import allocator
from seqloom.training.loop import Trainer
from tests.cli.test_cli import seqloom

__all__ = ["seqloom"]  # the fixture


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in folder.rglob("*")
    }


def left_in(temporary: Path) -> list[Path]:
    """What is there, beside a cache that torch makes."""
    return [path for path in temporary.iterdir() if not path.name.startswith("torchinductor")]


def sets(settings: dict[str, Any]) -> list[str]:
    return [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]


def test_a_recipe_is_measured(seqloom: Any, toy_settings: dict[str, Any], temporary: Path) -> None:
    result = seqloom("bench", "train", *sets(toy_settings), "--seconds=0.2", "--threads=1,2", "--json")
    assert result.status == 0, result.err
    report = json.loads(result.out)
    assert [speed["threads"] for speed in report["speeds"]] == [1, 2]
    assert report["speeds"][0]["workers"] == 1
    assert report["precision"] == "float32"
    assert report["environment"]["allocator"] == allocator.in_use()
    assert report["speeds"][0]["utilisation"]["reached"] > 0
    assert not report["interrupted"]
    assert left_in(temporary) == []


def test_a_run_is_only_read(seqloom: Any, toy_run: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(toy_run)
    monkeypatch.setattr(allocator, "in_use", lambda: "glibc")
    monkeypatch.setattr(allocator, "find", lambda: None)
    result = seqloom("bench", "train", toy_run, "--seconds=0.2", "--threads=1", "--precision=bfloat16")
    assert result.status == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("translate on cpu (")
    assert lines[0].endswith("matrix products in bfloat16, memory from glibc")
    for row in (
        "target tokens/s", "  least to most", "a step", "  waiting for data", "  forward and loss", "  backward",
        "  optimizer", "  other", "a pass over the data", "padding", "peak memory", "matrix products",
        "  made alone", "  target tokens/s if they were all", "  share of that reached",
    ):  # fmt: skip
        assert sum(line.startswith(f"{row}  ") for line in lines) == 1, row
    assert lines[-1] == f"Could be faster: {allocator.ADVICE}."
    assert contents(toy_run) == before
    assert left_in(temporary) == []
    assert "pairs to train on" not in result.err  # it was prepared already


@pytest.mark.parametrize(("name", "prepared"), [("src.model", True), ("train/src.bin", True), ("", False)])
def test_a_run_whose_data_is_not_whole_is_only_read_too(
    seqloom: Any, toy_run: Path, tmp_path: Path, temporary: Path, name: str, prepared: bool
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    if name:
        (run / "data" / name).write_bytes(b"7")
    else:
        shutil.rmtree(run / "data")
    before = contents(run)
    result = seqloom("bench", "train", run, "--seconds=0.1", "--threads=1")
    assert result.status == 0, result.err
    assert ("The prepared data is damaged" in result.err) == prepared
    assert "pairs to train on" in result.err
    assert contents(run) == before
    assert left_in(temporary) == []


@pytest.mark.parametrize("option", ["--task", "--init-from"])
def test_a_run_has_its_own_task_and_start(seqloom: Any, toy_run: Path, option: str) -> None:
    result = seqloom("bench", "train", toy_run, option, "translate", "--seconds=0.1")
    assert result.status == 2
    assert f"{option} was given beside {toy_run}, a run that has its own; leave out one of the two" in result.err


def test_settings_go_before_those_of_the_run(seqloom: Any, toy_run: Path) -> None:
    options = "--set", "model.num_layers=1", "--set", "data.vocab_size=301", "--seconds=0.1", "--threads=1", "--json"
    before = contents(toy_run)
    result = seqloom("bench", "train", toy_run, *options)
    assert "pairs to train on" in result.err  # another vocabulary, prepared elsewhere
    report = json.loads(result.out)
    run = json.loads((toy_run / "model" / "config.json").read_text(encoding="utf-8"))
    assert report["parameters"] < run["training"]["parameters"]
    assert contents(toy_run) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("after", "status", "columns"), [(2, 130, 0), (5, 130, 1), (None, 0, 2)])
def test_stopped_it_shows_what_was_measured(
    seqloom: Any,
    toy_run: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int | None,
    status: int,
    columns: int,
    number: int,
) -> None:
    """Three updates warm up."""
    monkeypatch.setattr("seqloom.training.bench.Trial.workers", lambda *about: 1)
    monkeypatch.setattr("seqloom.training.measuring.WARM_UP", 0.0)
    update, made = Trainer._update, itertools.count()

    def interrupted(self: Trainer, stream: Any, meter: Any) -> None:
        if next(made) == after:
            signal.raise_signal(number)
        update(self, stream, meter)

    monkeypatch.setattr(Trainer, "_update", interrupted)
    result = seqloom("bench", "train", toy_run, "--seconds=0.1", "--threads=1,2")
    assert result.status == status
    assert bool(result.out) == bool(columns)
    if columns:
        assert result.out.splitlines()[1].split() == ["1", "thread", "2", "threads"][: 2 * columns]
        assert ("Stopped before the end: this is what was measured until then." in result.out) == (status == 130)
        assert ("share of that reached" in result.out) == (status == 0)
    assert left_in(temporary) == []


def test_it_needs_a_run_or_data(seqloom: Any, tmp_path: Path) -> None:
    result = seqloom("bench", "train", tmp_path / "none")
    assert result.status == 2
    assert f"{tmp_path / 'none'}: is no run folder; give one that `seqloom train` has made" in result.err
    result = seqloom("bench", "train", "--set", "model.preset=tiny")
    assert result.status == 2
    assert "no training files were given" in result.err


@pytest.mark.parametrize("threads", ["0", "1,", "two", "1;2", "-1", "1,0"])
def test_threads_are_numbers(seqloom: Any, threads: str) -> None:
    result = seqloom("bench", "train", "runs/mine", f"--threads={threads}")
    assert result.status == 2
    assert f"{threads!r} is no list of numbers; expected such as 1,2" in result.err


def test_a_budget_chooses_nothing_here(seqloom: Any, toy_settings: dict[str, Any]) -> None:
    settings = {key: value for key, value in toy_settings.items() if key != "training.steps"}
    options = *sets(settings), "--set=training.budget=20m", "--seconds=0.1", "--threads=1"
    result = seqloom("bench", "train", *options)
    assert result.status == 0
    assert "A budget chooses sizes when a run starts; here they are as set, or those of a run folder." in result.err


def test_a_fine_tuning_is_measured_with_its_sizes(seqloom: Any, toy_run: Path, toy_settings: dict[str, Any]) -> None:
    data = {key: value for key, value in toy_settings.items() if key.startswith("data.") and "vocab" not in key}
    options = *sets(data), "--init-from", toy_run, "--seconds=0.1", "--threads=1", "--json"
    report = json.loads(seqloom("bench", "train", *options).out)
    run = json.loads((toy_run / "model" / "config.json").read_text(encoding="utf-8"))
    assert report["parameters"] == run["training"]["parameters"]


def test_the_options_are_those_of_train() -> None:
    theirs, ours = (signature(function).parameters for function in (train.command, bench.train))
    assert set(FLAGS) <= set(theirs) & set(ours)
    shared = set(theirs) & set(ours) - {"run", "threads", "json_"}
    assert {theirs[name].annotation == ours[name].annotation for name in shared} == {True}
    own = {"steps", "budget", "replay", "repeat", "seed", "strict"}
    assert set(theirs) - set(ours) == own


# --- bench decode ---


def test_decode_measures_each_engine(seqloom: Any, toy_run: Path) -> None:
    ran = seqloom("bench", "decode", toy_run, "--beam", "1,2", "--batch", "3", "--seconds", "0.1", "--json")
    assert ran.status == 0
    report = json.loads(ran.out)
    assert report["source"] == "the run's validation sources"
    assert report["sentences"] == 31
    engines = list(dict.fromkeys(cell["engine"] for cell in report["cells"]))
    assert engines[0].startswith("ctranslate2 float32, ")
    assert engines[1:] == ["torch float32"]
    assert list(report["load_seconds"]) == engines
    assert [(cell["beam"], cell["batch"]) for cell in report["cells"]] == [(1, 3)] * 2 + [(2, 3)] * 2
    assert [cell["engine"] for cell in report["cells"]] == engines * 2
    for cell in report["cells"]:
        assert 1 <= cell["sentences"] <= 31
        assert cell["measurements"] % -(-cell["sentences"] // 3) == 0
        assert cell["tokens_per_second"] > cell["sentences_per_second"] > 0
        assert 0 < cell["median_ms"] <= cell["p95_ms"]


class Paced:
    """An engine that says each sentence again and takes so many seconds of ``clock`` for it."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds = clock, seconds
        self.given: list[int] = []

    def search(self, sources: Sequence[Sequence[int]], decoding: Any, **options: Any) -> list[list[Hypothesis]]:
        self.clock[0] += self.seconds * len(sources)
        self.given.append(len(sources))
        return [[Hypothesis(list(ids[:-1]), 0.0, 0.0, True)] for ids in sources]


@pytest.mark.parametrize(
    ("seconds", "sentences", "passes"),
    [
        (1.0, 9, {"quick": 11, "slow": 1}),  # three batches of 0.3 s for the slow one
        (0.1, 3, {"quick": 3, "slow": 1}),  # less than one is none
        (7.0, 31, {"quick": 22, "slow": 2}),  # all that there are
    ],
)
def test_all_engines_translate_the_same_and_in_time(
    toy_run: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, sentences: int, passes: dict[str, int]
) -> None:
    setup = TranslatorSetup.from_folder(read_translator(toy_run))
    clock = [0.0]
    engines = {"quick": Paced(clock, 0.01), "slow": Paced(clock, 0.1)}
    asked: list[Running] = []

    def open_each(path: Path, running: Running) -> Iterator[tuple[str, TranslatorSetup, Any]]:
        asked.append(running)
        for name, engine in engines.items():
            yield name, setup, engine

    monkeypatch.setattr(decode_bench, "open_each", open_each)
    monkeypatch.setattr(decode_bench, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    report = decode_bench.bench_decode(toy_run, None, (2,), (3,), seconds)
    assert asked[0].scores is False  # nobody reads them
    assert report.sentences == 31
    batches = -(-sentences // 3)
    for cell in report.cells:
        assert cell.sentences == sentences
        assert cell.measurements == batches * passes[cell.engine]
        assert engines[cell.engine].given[-batches:] == ([3] * 10 + [1])[:batches]
        assert cell.sentences_per_second == pytest.approx(1 / engines[cell.engine].seconds)
    quick, slow = (cell.tokens_per_second for cell in report.cells)
    assert quick == pytest.approx(10 * slow)
    assert clock[0] < 2.4 * seconds + 0.9  # beside the time of each: a fifth for a trial, and batches that overrun
    head, *rows = (line.split() for line in report.as_table().splitlines()[1:4])
    assert head[3:6] == ["sentences", "measurements", "tokens/s"]
    assert [row[3:5] for row in rows] == [[str(sentences), str(batches * count)] for count in passes.values()]


def test_decode_takes_given_sentences_or_makes_some_up(seqloom: Any, toy_run: Path, toy_corpus: Path) -> None:
    short = "--beam", "1", "--batch", "1", "--seconds", "0.1"
    ran = seqloom("bench", "decode", toy_run / "model", *short)
    assert ran.status == 0
    assert "256 sentences, made of random tokens; give --src for real ones" in ran.out
    ran = seqloom("bench", "decode", toy_run / "model", "--src", toy_corpus / "valid.xx", *short)
    assert f"31 sentences, {toy_corpus / 'valid.xx'}" in ran.out
    (toy_run.parent / "empty").write_text("\n")
    ran = seqloom("bench", "decode", toy_run, "--src", toy_run.parent / "empty", *short)
    assert (ran.status, "is empty, expected sentences to translate" in ran.err) == (2, True)
    (toy_run.parent / "long").write_text("7 " * 900 + "\n")
    ran = seqloom("bench", "decode", toy_run, "--src", toy_run.parent / "long", *short)
    assert (ran.status, "all lines are longer than any sentence of the training" in ran.err) == (2, True)
    ran = seqloom("bench", "decode", toy_run, "--beam", "many")
    assert (ran.status, "'many' is no list of numbers" in ran.err) == (2, True)


def test_decode_stopped_shows_what_was_measured(seqloom: Any, toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, cell = itertools.count(), decode_bench._cell

    def interrupted(*about: Any) -> Any:
        if next(made) == 3:
            raise KeyboardInterrupt
        return cell(*about)

    monkeypatch.setattr(decode_bench, "_cell", interrupted)
    ran = seqloom("bench", "decode", toy_run, "--batch", "1", "--seconds", "0.1")
    assert ran.status == 130
    assert "Stopped before the end" in ran.out
    assert (
        sum(line.startswith("ctranslate2 ") for line in ran.out.splitlines()) == 3
    )  # two cells of the three, and what loading took
