"""Expected utility by hand."""

import numpy as np
import pytest

from seqloom.decoding.mbr import expected_utility


def overlap(texts):
    """The share of an answer's letters that are in the reference: not symmetric."""
    return np.array([[len(set(a) & set(b)) / len(set(a)) for b in texts] for a in texts])


def test_it_is_the_mean_over_all_draws():
    found = expected_utility(["ab", "abc", "x"], [1, 3, 1], overlap)
    assert found.tolist() == pytest.approx([(1 + 3) / 5, (2 / 3 + 3) / 5, 1 / 5])


def test_what_was_drawn_often_wins_over_what_is_alone():
    assert expected_utility(["a", "x"], [2, 1], overlap).argmax() == 0
    assert expected_utility(["a", "x"], [2, 3], overlap).argmax() == 1


def test_one_draw_five_times_is_five_draws():
    once = expected_utility(["ab", "bcd", "a"], [1, 3, 1], overlap)
    apart = expected_utility(["ab", "bcd", "bcd", "bcd", "a"], [1] * 5, overlap)
    assert apart.tolist() == pytest.approx([once[0], *[once[1]] * 3, once[2]])
