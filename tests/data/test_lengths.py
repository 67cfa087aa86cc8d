import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.lengths import GENERIC, LengthRatio


def test_quantiles_are_those_of_the_data():
    # 101 pairs of ratios 0.5, 0.51 ... 1.5, once 5 is added to both sides.
    src = np.full(101, 95)
    ratio = LengthRatio.of(src, np.arange(45, 146))
    assert ratio == (0.51, 1.0, 1.49)


def test_what_is_stored_is_read_again():
    ratio = LengthRatio(0.8, 1.1, 1.5)
    assert LengthRatio.read(list(ratio)) == ratio
    assert LengthRatio.read(None) == GENERIC


@pytest.mark.parametrize("damaged", [[1, 2], "abc", [0, 1, 2], [1.0, 0.9, 2], [0.5, 1, float("inf")], [None, 1, 2], 3])
def test_what_is_damaged_is_refused(damaged):
    with pytest.raises((ValueError, TypeError)):
        LengthRatio.read(damaged)


def test_bounds_go_as_far_again_beyond_the_quantiles():
    ratio = LengthRatio(0.8, 1.2, 1.8)
    assert ratio.least == pytest.approx(1.2 / 1.5**2)
    assert ratio.most == pytest.approx(1.2 * 1.5**2)
    fewest, most = ratio.possible(15)
    assert fewest == pytest.approx(20 * 1.2 / 1.5**2 - 5)
    assert most == pytest.approx(20 * 1.2 * 1.5**2 - 5)


def test_regular_and_messy_data_have_bounds_of_use():
    regular, messy = LengthRatio(1, 1, 1), LengthRatio(0.01, 1, 90)
    assert regular.possible(15) == pytest.approx((20 / 1.69 - 5, 20 * 1.69 - 5))
    assert messy.possible(15) == pytest.approx((0, 75))


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=1), st.integers(0, 500))
def test_bounds_are_in_order_and_hold_what_is_usual(lengths, tokens):
    ratio = LengthRatio.of(*zip(*lengths, strict=True))
    assert LengthRatio.read(list(ratio)) == ratio
    fewest, most = ratio.possible(tokens)
    assert fewest < ratio.middle * (tokens + 5) - 5 < most
