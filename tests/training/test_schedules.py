import itertools
import math

import pytest

from seqloom.config import TrainingConfig
from seqloom.training.schedules import SCHEDULES, rate_at
from seqloom.training.timeline import Timeline

CONFIG = TrainingConfig(learning_rate=0.7, warmup=11)


def rates(name: str, total: int = 101, d_model: int = 128, config: TrainingConfig = CONFIG) -> list[float]:
    config = config.model_copy(update={"schedule": name})
    return [rate_at(step, Timeline.of_steps(total), config, d_model) for step in range(1, total + 1)]


def test_linear_rises_to_the_full_rate_and_falls_to_almost_nothing() -> None:
    found = rates("linear")
    assert found[0] == pytest.approx(0.7 / 11)
    assert max(found) == found[10] == found[11] == pytest.approx(0.7)
    steps_down = [a - b for a, b in itertools.pairwise(found[11:])]
    assert steps_down == pytest.approx([0.7 / 90] * len(steps_down))
    assert found[-1] == pytest.approx(0.7 / 90)


def test_cosine_falls_along_half_a_cosine() -> None:
    found = rates("cosine")
    assert max(found) == found[10] == pytest.approx(0.7)
    assert found[11 + 45] == pytest.approx(0.35)  # half of the way
    assert found[-1] == pytest.approx(0.35 * (1 - math.cos(math.pi / 90)))


def test_warmup_stable_decay_is_flat_until_it_falls() -> None:
    found = rates("wsd", 100)  # the last 40 steps
    assert found[10:60] == pytest.approx([0.7] * 50)
    assert found[70] == pytest.approx(0.7 * (1 - math.sqrt(0.25)))
    assert all(a > b for a, b in itertools.pairwise(found[60:]))


def test_before_its_decay_no_rate_of_wsd_depends_on_the_length_of_the_run() -> None:
    assert rates("wsd", 100)[:60] == rates("wsd", 1000)[:60]


def test_a_continued_run_keeps_its_warmup() -> None:
    """A quarter of its 40 steps at first: of 400 it would be 11, and the rate lower for a while."""
    config = CONFIG.model_copy(update={"schedule": "wsd"})
    short, longer = Timeline.of_steps(40), Timeline.of_steps(400, first_total=40)
    warmup = [rate_at(step, short, config, 64) for step in range(1, 25)]
    assert warmup == [rate_at(step, longer, config, 64) for step in range(1, 25)]
    assert warmup[9:] == pytest.approx([0.7] * 15)
    assert rate_at(242, longer, config, 64) < rate_at(241, longer, config, 64) == pytest.approx(0.7)


def test_inverse_square_root() -> None:
    found = rates("inverse_sqrt")
    assert found[10] == pytest.approx(0.7)
    assert found[43] == pytest.approx(0.35)  # four times the steps, half the rate


def test_noam_is_the_formula_of_the_paper() -> None:
    found = rates("noam")
    expected = [128**-0.5 * min(step**-0.5, step * 11**-1.5) for step in range(1, 102)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1, 200])
def test_every_schedule_is_positive_at_every_step(name: str, warmup: int) -> None:
    config = TrainingConfig(learning_rate=0.1, warmup=warmup)
    assert all(0 < rate < 1 for rate in rates(name, 53, 64, config))


@pytest.mark.parametrize("name", ["linear", "cosine", "wsd", "inverse_sqrt"])
def test_a_short_run_still_reaches_the_full_rate(name: str) -> None:
    config = TrainingConfig(learning_rate=0.1, warmup=400)
    found = rates(name, 40, 64, config)
    assert max(found) == pytest.approx(0.1)
    assert found.index(max(found)) == 9
