"""What is told of a training's speed is so, and measuring leaves nothing behind."""

import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from seqloom.config import load_config
from seqloom.data import batching
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training import measuring
from seqloom.training.loop import Trainer
from seqloom.training.measuring import Speed, measure_speed
from seqloom.training.updates import Updates
from tests.training.test_loop import Silent

CPU = torch.device("cpu")


@pytest.fixture
def task(tmp_path: Path, toy_settings: dict[str, Any]) -> Translate:
    config = load_config(TranslateConfig, flags=toy_settings)
    return Translate.prepare(config, tmp_path / "data", lambda text: None)


class Clock:
    """Time in which nothing takes any, but what a test says does."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now

    def spend(self, seconds: float) -> None:
        end = self.now + seconds
        time.sleep(0.005)  # in which another worker spends the same time
        self.now = max(self.now, end)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(measuring, "best_seconds", lambda *about: 1.0)  # it would go on for a time that does not pass
    return clock


def measured(task: Translate, folder: Path, seconds: float = 0.2, workers: int = 1, **training: Any) -> Speed:
    config = task.config.training.model_copy(update=training)
    return measure_speed(task, config, folder / "nothing", CPU, torch.float32, Silent(), workers, seconds)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_figures_belong_together(task: Translate, tmp_path: Path, workers: int, accumulate: int) -> None:
    speed = measured(task, tmp_path, workers=workers, accumulate=accumulate)
    assert speed.workers == workers
    assert min(speed.windows) <= speed.tokens_per_second <= max(speed.windows)
    assert 1 <= len(speed.windows) <= measuring.WINDOWS
    assert list(speed.shares) == ["data_wait", "forward", "backward", "optimizer", "other"]
    assert math.fsum(speed.shares.values()) == pytest.approx(1)
    assert min(speed.shares.values()) >= 0
    batches = len(task.training_batches().plan(0))
    assert speed.pass_steps == pytest.approx(batches / accumulate)
    assert speed.pass_seconds == pytest.approx(speed.pass_steps * speed.step_seconds)
    made = speed.utilisation
    assert made is not None
    assert made.flops_per_second == pytest.approx(made.step_flops / speed.step_seconds)
    assert made.reached == pytest.approx(made.flops_per_second / made.bound_flops_per_second)
    assert made.bound_tokens_per_second == pytest.approx(speed.tokens_per_second / made.reached)
    assert speed.device_memory is None
    assert not (tmp_path / "nothing").exists()


def test_real_tokens_padding_and_operations_are_those_of_the_batches(
    task: Translate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Of three steps, of which each is one window, after three that warm up."""
    monkeypatch.setattr(measuring, "WINDOWS", 3)
    seen = []
    update = Trainer._update

    def lasting(self: Trainer, stream: Any, meter: Any) -> None:
        update(self, stream, meter)
        seen.append(meter)
        clock.spend(0.1)

    monkeypatch.setattr(Trainer, "_update", lasting)
    speed = measured(task, tmp_path, seconds=0.3)
    batches = list(itertools.islice(task.training_batches(), 6))[3:]
    assert speed.steps == 3
    assert speed.tokens_per_second * speed.step_seconds * 3 == pytest.approx(sum(b.num_targets for b in batches))
    assert speed.padding == pytest.approx(sum(b.padding for b in batches) / sum(b.positions for b in batches))
    assert speed.step_seconds == pytest.approx(0.1, rel=1e-3)
    with FlopCounterMode(display=False) as counter:
        for batch in batches:
            task.loss(model := task.build_model(), batch).sum.backward()
    assert speed.utilisation is not None
    # Counted on others, by the position.
    assert speed.utilisation.step_flops * 3 == pytest.approx(counter.get_total_flops(), rel=0.1), model


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("slow", ["data_wait", "forward", "backward", "optimizer", "other"])
def test_the_time_is_told_where_it_goes(
    task: Translate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, slow: str, workers: int
) -> None:
    def slower(owner: Any, name: str) -> None:
        method = getattr(owner, name)

        def slowed(*args: Any, **kwargs: Any) -> Any:
            clock.spend(0.05)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, slowed)

    if slow == "data_wait":
        slower(batching, "collate")
    elif slow == "forward":
        slower(Translate, "loss")
    elif slow == "backward":
        slower(torch.Tensor, "backward")
    elif slow == "optimizer":
        slower(Updates, "apply")
    else:
        slower(Trainer, "_read")
    speed = measured(task, tmp_path, seconds=1, workers=workers)
    assert 0.5 < speed.shares[slow] < 1.01
    assert max(speed.shares, key=speed.shares.__getitem__) == slow


@pytest.mark.parametrize(("after", "steps"), [(2, None), (3, None), (5, 2), (8, 5)])
def test_stopped_it_tells_what_there_is(
    task: Translate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, steps: int | None
) -> None:
    """Three updates warm up and do not count."""
    update, made = Trainer._update, itertools.count()

    def interrupted(self: Trainer, stream: Any, meter: Any) -> None:
        if next(made) == after:
            raise KeyboardInterrupt
        update(self, stream, meter)

    monkeypatch.setattr(Trainer, "_update", interrupted)
    monkeypatch.setattr(measuring, "WARM_UP", 0.0)
    if steps is None:
        with pytest.raises(KeyboardInterrupt):
            measured(task, tmp_path, seconds=60)
        return
    speed = measured(task, tmp_path, seconds=60)
    assert speed.steps == steps
    assert speed.utilisation is None
    assert list(speed.shares) == ["data_wait"]


def test_a_device_is_waited_for_only_where_a_clock_is_read(
    task: Translate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[torch.device] = []
    monkeypatch.setattr(measuring, "synchronize", waits.append)
    monkeypatch.setattr(measuring._WatchedTrainer, "look_inside", lambda *about: {})
    speed = measured(task, tmp_path)
    assert len(waits) == 2 * (1 + len(speed.windows))
