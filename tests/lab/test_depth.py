"""What is made of losses by depth."""

import math

import pytest

from seqloom.lab import depth
from seqloom.lab.depth import DEPTHS, RATE


def test_the_verdict_names_the_depths_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those behind the first of them, and those where the loss is no number."""
    losses = {
        ("pre", 0, RATE): [0.1, 0.1, 0.1, 0.1],
        ("pre", depth.WARMUP, RATE): [0.1, math.nan, 0.1, 0.1],
        ("pre", depth.WARMUP, RATE / 3): [0.1, 0.1, 0.1, 2.5],
        ("post", 0, RATE): [0.1, 2.5, 0.1, 1.5],
        ("post", depth.WARMUP, RATE): [0.1, 0.1, 1.5, math.inf],
        ("post", depth.WARMUP, RATE / 3): [0.1, 0.1, 0.1, 0.1],
    }
    monkeypatch.setattr(
        depth,
        "reached",
        lambda norm, deep, warmup, rate, steps: losses[norm, warmup, rate][DEPTHS.index(deep)],
    )
    monkeypatch.setattr(depth, "uneven", lambda norm, deep: 1.5)
    page = depth.depth(False)
    assert page.verdict.en.startswith(
        "Without a warm-up post-norm fails at 4, 16 layers and pre-norm learns at every depth up to 16; with one, "
        "post-norm fails at 8, 16 layers (at a third of the rate it learns at every depth up to 16) and pre-norm fails "
        "at 4 layers (at a third of the rate it fails at 16 layers). "
    )
    assert page.verdict.zh.startswith(
        "不预热时，后置在 4、16 层时学不会，前置到 16 层都学得会；预热后，后置在 8、16 层时学不会"
        "（学习率降为三分之一时到 16 层都学得会），前置在 4 层时学不会（学习率降为三分之一时在 16 层时学不会）。"
    )
    assert len(page.tables[0].head) == 1 + len(losses) + 2
