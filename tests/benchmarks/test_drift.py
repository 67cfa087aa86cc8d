"""benchmarks/drift.py: what it plants, and what it expects to be found."""

import importlib
import sys
from math import inf
from pathlib import Path

import numpy as np
import pytest

from seqloom.data.checks.drift import Drift

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SRC, TGT = [f"s{n}" for n in range(97)], [f"t{n}" for n in range(97)]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("drift")
    del sys.modules["drift"]


def planted(script, *faults, even=False):
    return script.plant(SRC, TGT, list(faults), np.random.default_rng(1), even)


def test_lost_lines(script):
    src, tgt, expected = planted(script, script.Fault(1, 40, lost=3))
    assert (src, tgt) == (SRC, TGT[:40] + TGT[43:])
    assert expected == [(41, 3, None)]
    src, tgt, expected = planted(script, script.Fault(0, 40, lost=3), even=True)
    assert (src, tgt) == (SRC[:40] + SRC[43:], TGT[:-3])
    assert expected == [(41, -3, None)]


def test_new_and_split_lines(script):
    _, tgt, expected = planted(script, script.Fault(1, 40, new=1))
    assert tgt[:40] + tgt[41:] == TGT
    assert expected == [(41, -1, None)]
    src, _, expected = planted(script, script.Fault(0, 40, split=True))
    assert src == [*SRC[:40], "s", "40", *SRC[41:]]
    assert expected == [(42, 1, None)]


def test_faults_that_cancel(script):
    assert planted(script, script.Fault(0, 50, lost=1), script.Fault(1, 20, lost=1))[2] == [(21, 1, 50)]
    assert planted(script, script.Fault(1, 50, lost=1), script.Fault(0, 20, lost=1))[2] == [(21, -1, 50)]


def test_what_counts_as_found(script):
    wanted = [(21, 1, 50), (70, 2, None)]
    exact = [Drift(21, 1, 0.9, 50), Drift(70, 2, 0.9)]
    assert script.missed_by(exact, wanted) == 0
    assert script.missed_by([exact[0]._replace(until=57), exact[1]], wanted) == 7
    assert script.missed_by([exact[0]._replace(shift=2), exact[1]], wanted) == inf
    assert script.missed_by([exact[0], exact[1]._replace(until=90)], wanted) == inf
    assert script.missed_by(exact[:1], wanted) == inf


def test_every_kind_is_a_fault(script):
    random = np.random.default_rng(1)
    for draw in script.KINDS.values():
        assert script.plant([""] * 797, [""] * 797, draw(random, 797), random, even=True).drifts
