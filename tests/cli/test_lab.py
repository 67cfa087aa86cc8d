"""seqloom lab"""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import seqloom

__all__ = ["seqloom"]  # the fixture


def test_the_command(seqloom: Any, tmp_path: Path) -> None:
    result = seqloom("lab", "scaling", "-o", tmp_path / "lab", "--threads", "1")
    assert result.status == 0
    assert "The variance of an undivided score grows" in result.out
    assert str(tmp_path / "lab" / "scaling.md") in result.out
    wrong = seqloom("lab", "scalling")
    assert (wrong.status, wrong.err) == (
        2,
        "seqloom: error: there is no experiment 'scalling'; did you mean 'scaling'?\n",
    )


def test_nothing_is_measured_that_could_not_be_drawn(
    seqloom: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    result = seqloom("lab", "all", "-o", tmp_path / "lab")
    assert (result.status, result.err) == (
        2,
        "seqloom: error: plots need matplotlib; pip install 'seqloom[look]'\n",
    )
