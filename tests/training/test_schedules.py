import itertools

import pytest

from seqloom.config import TrainingConfig
from seqloom.training.schedules import SCHEDULES

CONFIG = TrainingConfig(learning_rate=0.7, warmup=11)


def rates(name: str, total: int = 101, d_model: int = 128) -> list[float]:
    return [SCHEDULES[name](step, CONFIG, total, d_model) for step in range(1, total + 1)]


def test_linear_rises_to_the_full_rate_and_falls_to_almost_nothing() -> None:
    found = rates("linear")
    assert found[0] == pytest.approx(0.7 / 11)
    assert max(found) == found[10] == found[11] == pytest.approx(0.7)
    steps_down = [a - b for a, b in itertools.pairwise(found[11:])]
    assert steps_down == pytest.approx([0.7 / 90] * len(steps_down))
    assert found[-1] == pytest.approx(0.7 / 90)


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
    assert all(0 < SCHEDULES[name](step, config, 53, 64) < 1 for step in range(1, 54))


@pytest.mark.parametrize("name", ["linear", "inverse_sqrt"])
def test_a_short_run_still_reaches_the_full_rate(name: str) -> None:
    config = TrainingConfig(learning_rate=0.1, warmup=400)
    found = [SCHEDULES[name](step, config, 40, 64) for step in range(1, 41)]
    assert max(found) == pytest.approx(0.1)
    assert found.index(max(found)) == 9
