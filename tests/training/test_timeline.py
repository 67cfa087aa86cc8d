import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.config import TrainingConfig
from seqloom.training.schedules import SCHEDULES, rate_at
from seqloom.training.timeline import Timeline


def test_by_steps_the_progress_is_their_share() -> None:
    timeline = Timeline.of_steps(40)
    assert [timeline.progress(step) for step in (0, 10, 40, 41)] == [0.0, 0.25, 1.0, 1.0]
    assert [step for step in range(42) if timeline.ends(step)] == [40, 41]
    assert timeline.total == timeline.first_total == 40


def test_a_run_that_was_to_be_shorter_at_first_differs_in_that_alone() -> None:
    continued, whole = Timeline.of_steps(97, first_total=23), Timeline.of_steps(97)
    assert (continued.first_total, continued.total) == (23, 97)
    again = Timeline(**continued.as_dict())
    for timeline in (continued, again):
        assert [timeline.progress(step) for step in range(99)] == [whole.progress(step) for step in range(99)]
        assert [step for step in range(99) if timeline.ends(step)] == [97, 98]
    assert again.first_total == 23


def test_a_part_ends_once() -> None:
    timeline = Timeline.of_steps(97)
    assert [step for step in range(1, 98) if timeline.part_ends(step, 4)] == [25, 49, 73, 97]
    assert [step for step in range(1, 98) if timeline.passes(step, 0.6)] == [59]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 500)), max_size=12))
def test_corrections_change_no_progress_made_and_leave_no_jump(changes: list[tuple[int, int]]) -> None:
    timeline = Timeline.by_clock(211)
    step = 0
    for ahead, left in changes:
        step += ahead
        if timeline.ends(step):
            break
        before = [timeline.progress(s) for s in range(step + 1)]
        timeline.revise(step, step + left)
        assert [timeline.progress(s) for s in range(step + 1)] == before
        assert timeline.total == step + left
    progress = [timeline.progress(s) for s in range(timeline.total + 1)]
    assert progress[0] == 0
    assert progress[-1] == 1
    assert all(a < b for a, b in itertools.pairwise(progress))
    assert timeline.ends(timeline.total)
    assert not timeline.ends(timeline.total - 1)
    again = Timeline(**timeline.as_dict())
    assert [again.progress(s) for s in range(timeline.total + 1)] == progress


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_comes_later_changes_no_earlier_rate(schedule: str) -> None:
    """A run that is made again from its plan knows all the corrections from the start."""
    config = TrainingConfig.model_validate({"schedule": schedule, "warmup": 13})
    live, rates = Timeline.by_clock(101), []
    for step in range(1, 141):
        rates.append(rate_at(step, live, config, 64))
        if step % 17 == 0:
            live.revise(step, 101 + step // 3)
        if live.ends(step):
            break
    again = Timeline(**live.as_dict())
    assert [rate_at(step, again, config, 64) for step in range(1, len(rates) + 1)] == rates
