"""A run folder through its life: start, kill, resume, finish, continue, refuse."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seqloom.config import RecurrentConfig, load_config
from seqloom.errors import DivergenceError, ModelFolderError, RunError
from seqloom.tasks.folder import read_model
from seqloom.tasks.task import Evaluation
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training.checkpoint import MEAN, average_weights, checkpoints, step_of
from seqloom.training.loop import Stopped, Trainer
from seqloom.training.session import train_session


class Quiet:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.records: list[dict[str, Any]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def start(self, step: int, total: int) -> None: ...

    def step(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def validation(self, record: dict[str, Any], evaluation: Evaluation, best: bool) -> None:
        self.records.append(record)

    def stop(self) -> None: ...


def run(folder: Path, settings: dict[str, Any], **changes: Any) -> Quiet:
    display = Quiet()
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    train_session(folder, "translate", flags={**settings, **changed}, display=display)
    return display


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    steps = sorted((folder / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    # Copies: what is loaded lies in the file, which some tests damage.
    return {name: weight.clone() for name, weight in load_file(steps[-1] / "model.safetensors").items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture
def finished(tmp_path: Path, toy_settings: dict[str, Any]) -> Path:
    run(tmp_path / "run", toy_settings)
    return tmp_path / "run"


def test_a_run_leaves_what_the_design_promises(finished: Path) -> None:
    assert {p.name for p in finished.iterdir()} == {
        "run.json",
        "data",
        "checkpoints",
        "model",
        "previous-model",
        "log.jsonl",
        "tensorboard",
    }
    assert {p.name for p in (finished / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "src.model",
        "README.md",
    }
    assert not any(p.suffix in (".pt", ".bin", ".pkl") for p in (finished / "checkpoints").rglob("*"))
    records = [json.loads(line) for line in (finished / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [record for record in records if "loss" in record]
    assert [record["step"] for record in steps] == [6, 10, 12, 18, 20, 24]
    wanted = {"step", "seconds", "loss", "learning_rate", "tokens_per_second", "tokens", "padding", "data_wait"}
    assert all(wanted <= record.keys() for record in steps)
    validations = [record for record in records if "bleu" in record]
    assert [record["step"] for record in validations] == [8, 16, 24, 24]  # the last is of the mean
    assert all({"valid_loss", "bleu", "chrf"} <= record.keys() for record in validations)
    tokens = [record["tokens"] for record in steps]
    assert tokens == sorted(tokens)
    assert tokens[0] > 0
    config = json.loads((finished / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["scores"]["valid"]["bleu"] == max(record["bleu"] for record in validations)
    assert "v:2" in config["scores"]["signatures"]["bleu"]


def test_the_loss_falls(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    records = run(tmp_path / "run", toy_settings, training__steps=60).records
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < 0.7 * losses[0]


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(
    tmp_path: Path, toy_settings: dict[str, Any], finished: Path
) -> None:
    run(tmp_path / "again", toy_settings)
    run(tmp_path / "other", toy_settings, training__seed=2)
    assert_same(last_weights(finished), last_weights(tmp_path / "again"))
    first, other = last_weights(finished), last_weights(tmp_path / "other")
    assert not any(torch.equal(first[name], other[name]) for name in first if first[name].ndim == 2)


def test_a_finished_run_says_so_and_does_nothing(finished: Path, toy_settings: dict[str, Any]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    said = run(finished, toy_settings).said
    assert any("finished (24 steps)" in line for line in said)
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}


def test_without_a_length_a_finished_run_stays_finished(finished: Path, toy_settings: dict[str, Any]) -> None:
    said = run(finished, {key: value for key, value in toy_settings.items() if key != "training.steps"}).said
    assert any("finished (24 steps)" in line for line in said)


def test_a_folder_in_a_file(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(RunError, match=r"notes\.txt/run: cannot be made, because .*notes\.txt is a file; give another"):
        run(tmp_path / "notes.txt" / "run", toy_settings)


def test_a_larger_total_continues(finished: Path, toy_settings: dict[str, Any]) -> None:
    said = run(finished, toy_settings, training__steps=30).said
    assert any("Resuming at step 24 of 30" in line for line in said)
    assert (finished / "checkpoints" / "step-30").is_dir()


@pytest.mark.parametrize(
    ("length", "accumulate", "passes", "fewest"),
    [({"training.epochs": 1.5}, 1, 1.5, 1), ({"training.epochs": 1.5}, 4, 1.5, 1), ({"training.epochs": 1e-4}, 1, 0, 1),
     ({}, 1, 20, 1000), ({}, 7, 20, 1000)],
)  # fmt: skip
def test_passes_over_the_data_are_a_length_and_so_is_none(
    tmp_path: Path,
    toy_settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    length: dict[str, float],
    accumulate: int,
    passes: float,
    fewest: int,
) -> None:
    totals: list[int] = []

    def stop(trainer: Trainer) -> None:
        totals.append(trainer.timeline.total)
        raise Stopped

    monkeypatch.setattr(Trainer, "run", stop)
    settings = {key: value for key, value in toy_settings.items() if key != "training.steps"} | length
    settings |= {"data.batch_tokens": 47, "training.accumulate": accumulate}
    with pytest.raises(Stopped):
        run(tmp_path / "run", settings)
    config = load_config(TranslateConfig, flags=settings)
    batches = Translate.prepare(config, tmp_path / "run" / "data", lambda text: None).training_batches()
    in_a_pass = sum(1 for _ in itertools.takewhile(lambda batch: batches.epoch == 0, batches))
    assert totals == [max(fewest, round(passes * in_a_pass / accumulate))]


def test_a_smaller_total_is_refused(finished: Path, toy_settings: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="has taken 24 steps already, more than the 12 asked for"):
        run(finished, toy_settings, training__steps=12)


def test_other_settings_are_refused_by_name(finished: Path, toy_settings: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=r"model\.d_ff was 67 and is 71.*another folder"):
        run(finished, toy_settings, model__d_ff=71)


def test_another_kind_of_model_is_refused_by_name(finished: Path, toy_settings: dict[str, Any]) -> None:
    settings = {key: value for key, value in toy_settings.items() if not key.startswith("model.")}
    with pytest.raises(RunError, match=r"model\.kind was 'transformer' and is 'recurrent'"):
        run(finished, settings, model__kind="recurrent")
    file = finished / "run.json"
    about = json.loads(file.read_text(encoding="utf-8"))
    about["config"]["model"] = RecurrentConfig.model_validate({}).model_dump(mode="json")
    file.write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(RunError, match=r"model\.kind was 'recurrent' and is 'transformer'"):
        run(finished, toy_settings)


def test_changed_data_is_noticed(finished: Path, toy_settings: dict[str, Any], tmp_path: Path) -> None:
    source = Path(toy_settings["data.src"][0])
    text = source.read_text(encoding="utf-8")
    try:
        source.write_text(text.replace("1 0 0 7", "7 0 0 1"), encoding="utf-8")
        with pytest.raises(RunError, match="the data has changed since this run was started"):
            run(finished, toy_settings, training__steps=30)
    finally:
        source.write_text(text, encoding="utf-8")


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"not a run \(it holds thesis\.tex\).*nothing is overwritten"):
        run(tmp_path, toy_settings)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_checkpoint_is_passed_over(finished: Path, toy_settings: dict[str, Any]) -> None:
    expected = last_weights(finished)
    weights = finished / "checkpoints" / "step-24" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    said = run(finished, toy_settings).said
    assert any("step-24/model.safetensors: is damaged" in line and "going back" in line for line in said)
    assert any("Resuming at step 18 of 24" in line for line in said)
    assert_same(expected, last_weights(finished))  # the way is the same to the bit


COMMAND = (
    "import sys, json; from seqloom.training.session import train_session; from pathlib import Path; import torch; \
torch.set_num_threads(1); train_session(Path(sys.argv[1]), 'translate', flags=json.loads(sys.argv[2]))"
)


LATEST = 120.0
"""Seconds after which nothing is waited for any longer."""


@contextmanager
def started(folder: Path, settings: dict[str, Any]) -> "Iterator[subprocess.Popen[str]]":
    """A training in a process of its own, which is killed at the end of the block."""
    command = [sys.executable, "-c", COMMAND, str(folder), json.dumps(settings)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(path: Path, *processes: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + LATEST
    while not path.exists():
        for process in processes:
            assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"{path} is still not there"
        time.sleep(0.005)


def test_a_resumed_run_goes_on_with_its_running_mean(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    settings = {**toy_settings, "training.ema": 0.9, "training.schedule": "wsd", "training.warmup": 2}
    run(tmp_path / "whole", settings)
    run(tmp_path / "parts", settings, training__steps=12)
    said = run(tmp_path / "parts", settings).said
    before_decay = 8  # the last 40 % of 12 steps
    assert any(f"Going back to step {before_decay}, where the rate began to fall" in line for line in said)
    names = [
        folder / "checkpoints" / "step-24" / "optimizer.safetensors"
        for folder in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert_same(load_file(names[0]), load_file(names[1]))
    assert any(name.startswith("mean:") for name in load_file(names[0]))


def test_a_run_that_is_continued_keeps_its_warmup(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    """However often; its first length bounds it, to 3 steps of 12."""
    settings = {**toy_settings, "training.warmup": 400, "training.schedule": "inverse_sqrt"}
    for steps in (12, 18, 24):
        records = run(tmp_path / "run", settings, training__steps=steps).records
        rates = {record["step"]: record["learning_rate"] for record in records if "loss" in record}
        assert rates[steps] == pytest.approx(5e-3 * (3 / steps) ** 0.5)


def test_frozen_weights_stay_as_they_were(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    run(tmp_path / "run", toy_settings, training__freeze=["encoder.*"], training__average=1)
    torch.manual_seed(toy_settings.get("training.seed", 1))
    config = load_config(TranslateConfig, flags=toy_settings)
    fresh = dict(Translate.prepare(config, tmp_path / "data", lambda text: None).build_model().named_parameters())
    for name, weight in last_weights(tmp_path / "run").items():
        assert torch.equal(weight, fresh[name].detach()) == name.startswith("encoder."), name


@pytest.mark.parametrize("moment", ["data/prepared.json", "checkpoints/step-6", "model/config.json"])
def test_a_killed_run_ends_with_the_weights_of_one_never_killed(
    tmp_path: Path, toy_settings: dict[str, Any], moment: str
) -> None:
    torch.set_num_threads(threads := 1)
    settings = {**toy_settings, "training.steps": 31}
    run(tmp_path / "whole", settings)
    with started(tmp_path / "killed", settings) as process:
        wait_for(tmp_path / "killed" / moment, process)
    run(tmp_path / "killed", settings)
    assert threads == torch.get_num_threads()
    assert_same(last_weights(tmp_path / "whole"), last_weights(tmp_path / "killed"))
    logs = [(tmp_path / name / "log.jsonl").read_text(encoding="utf-8").splitlines() for name in ("whole", "killed")]
    losses = [[record.get("loss") for record in map(json.loads, lines)] for lines in logs]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("left", ["data.new/half", "data/prepared.json", "run.json.new"])
def test_what_a_kill_before_the_first_step_leaves_is_no_hindrance(
    tmp_path: Path, toy_settings: dict[str, Any], left: str
) -> None:
    folder = tmp_path / "run"
    (folder / left).parent.mkdir(parents=True)
    (folder / left).write_text("{")
    run(folder, {**toy_settings, "training.steps": 2})
    assert (folder / "model" / "config.json").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows delivers no SIGINT to one process")
def test_an_interrupt_saves_and_the_run_can_go_on(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    settings = {
        **toy_settings,
        "training.steps": 100_000,
        "training.checkpoint_every": 100_000,
        "training.validate_every": 100_000,
    }
    with started(tmp_path / "run", settings) as process:
        wait_for(tmp_path / "run" / "log.jsonl", process)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        error = process.communicate(timeout=LATEST)[1]
    assert process.returncode != 0
    assert "Stopping after this step and saving" in error
    saved = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert len(saved) == 1
    step = int(saved[0].removeprefix("step-"))
    display = run(tmp_path / "run", {**settings, "training.steps": step + 2})
    assert any(f"Resuming at step {step:,}" in line for line in display.said)


def stopping_in(monkeypatch: pytest.MonkeyPatch, step: int, ask: Callable[[Trainer], object]) -> None:
    """From now on ``ask`` is called while that step is made."""
    update = Trainer._update

    def asked(self: Trainer, *given: Any) -> None:
        if self.progress.step == step - 1:
            ask(self)
        update(self, *given)

    monkeypatch.setattr(Trainer, "_update", asked)


@pytest.mark.parametrize(
    ("number", "times", "saved"), [(signal.SIGINT, 1, 14), (signal.SIGTERM, 1, 14), (signal.SIGINT, 2, 12)]
)
def test_asked_once_a_run_saves_and_twice_it_stops_at_once(
    tmp_path: Path,
    toy_settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    times: int,
    saved: int,
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    def send(trainer: Trainer) -> None:
        for _ in range(times):
            signal.raise_signal(number)

    stopping_in(monkeypatch, 14, send)
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(tmp_path / "run", toy_settings)
    assert stopped.type is (Stopped if times == 1 else KeyboardInterrupt)
    assert [step_of(path) for path in checkpoints(tmp_path / "run" / "checkpoints")][-1] == saved
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


# --- what the end of a run keeps ---


def getting_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every model is better than the one before."""
    bleu = itertools.count(1)
    better = lambda *about: Evaluation({"valid_loss": 1.0, "bleu": float(next(bleu)), "chrf": 1.0})  # noqa: E731
    monkeypatch.setattr(Translate, "evaluate", better)


@pytest.mark.parametrize("way", [{"training.average": 3}, {"training.average": 1, "training.ema": 0.9}], ids=str)
def test_the_mean_that_is_kept_does_not_depend_on_stops(
    tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    """A stop adds a checkpoint, which is none of those that are averaged."""
    settings = {**toy_settings, **way}
    getting_better(monkeypatch)
    run(tmp_path / "whole", settings)
    folder = tmp_path / "whole" / "checkpoints"
    if "training.ema" in way:
        tensors = load_file(folder / "step-24" / "optimizer.safetensors")
        expected = {name.removeprefix(MEAN): mean for name, mean in tensors.items() if name.startswith(MEAN)}
    else:
        expected = average_weights([folder / f"step-{step}" for step in (12, 18, 24)])
    kept = read_model(tmp_path / "whole").weights
    assert_same(kept, expected)
    assert not any(torch.equal(weight, kept[name]) for name, weight in last_weights(tmp_path / "whole").items())
    with monkeypatch.context() as patch:
        stopping_in(patch, 20, lambda trainer: trainer._stop_asked.set())
        with pytest.raises(Stopped):
            run(tmp_path / "parts", settings)
    assert (tmp_path / "parts" / "checkpoints" / "step-20").is_dir()
    run(tmp_path / "parts", settings)
    assert_same(read_model(tmp_path / "parts").weights, expected)


@pytest.mark.parametrize(("average", "left"), [(1, [20, 24]), (2, [20, 24]), (3, [16, 20, 24])])
def test_old_checkpoints_are_deleted(
    tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, average: int, left: list[int]
) -> None:
    getting_better(monkeypatch)
    run(tmp_path / "run", toy_settings, training__average=average, training__checkpoint_every=4)
    assert [step_of(path) for path in checkpoints(tmp_path / "run" / "checkpoints")] == left


def test_a_run_without_a_model_yet_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="no model yet; one is written at its first validation"):
        read_model(tmp_path)


def test_a_loss_that_is_no_number_names_the_lines(
    tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer._update

    def poison(self: Trainer, *args: Any) -> None:
        if self.progress.step == 13:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))
        original(self, *args)

    monkeypatch.setattr(Trainer, "_update", poison)
    with pytest.raises(DivergenceError) as caught:
        run(tmp_path / "run", toy_settings)
    message = str(caught.value)
    assert "the loss became nan at step 14" in message
    assert "train.xx:" in message
    assert "train.yy:" in message
    assert "step-12" in message
    assert (tmp_path / "run" / "model" / "config.json").exists()


def test_early_stopping(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    settings = {**toy_settings, "training.learning_rate": 1e-9, "training.patience": 2, "training.steps": 400}
    display = run(tmp_path / "run", settings)
    assert any("No better bleu for 2 validations" in line for line in display.said)
    assert max(record["step"] for record in display.records) == 24


def test_a_longer_run_is_as_patient_as_a_new_one(
    tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Translate, "evaluate", lambda *about: Evaluation({"valid_loss": 1.0, "bleu": 7.0}))
    settings = {**toy_settings, "training.patience": 2, "training.average": 1}
    ends = []
    for steps in (100, 101):
        records = run(tmp_path / "run", settings, training__steps=steps).records
        ends.append([record["step"] for record in records if "bleu" in record])
    assert ends == [[8, 16, 24], [32, 40]]


def test_a_clock_that_jumps_does_no_harm(
    tmp_path: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "steady", toy_settings)
    jumps, real = itertools.cycle([0.0, -86_400.0, 1e9, -1e9]), time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    run(tmp_path / "jumping", toy_settings)
    assert_same(last_weights(tmp_path / "steady"), last_weights(tmp_path / "jumping"))
    lines = (tmp_path / "jumping" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert 0 < seconds[-1] < 1000
