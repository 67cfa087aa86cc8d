"""seqloom lab"""

from pathlib import Path
from typing import Any

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
