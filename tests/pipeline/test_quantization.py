"""What makes a type of fewer bits acceptable."""

import re
from pathlib import Path

import pytest

from seqloom.data.languages import Direction
from seqloom.errors import DataError, UserError
from seqloom.pipeline.quantization import Measured, Proof, read_measured, require_accepted


def proof(plain: tuple[float, float], quantized: tuple[float, float], most_bleu: float = 0.5) -> Proof:
    """Of BLEU and chrF++ in float32 and in int8."""
    both = [Measured(["a"], *scores, 1.0, 1) for scores in (plain, quantized)]
    return Proof("int8", both[0], both[1], {}, 1, most_bleu, "test.zh", Direction("zh", "en"))


@pytest.mark.parametrize(
    ("plain", "quantized", "lost"),
    [
        ((30.0, 50.0), (29.5, 49.0), None),
        ((30.0, 50.0), (31.0, 40.0), None),
        ((30.0, 50.0), (29.25, 50.0), "0.750 BLEU"),
        ((0.0, 50.0), (0.0, 49.75), None),
        ((0.0, 50.0), (0.0, 12.0), "38.000 chrF[+][+]"),  # ruined, though BLEU cannot tell
        ((0.4, 23.0), (0.0, 3.0), "20.000 chrF[+][+]"),  # so little BLEU that all of it may be lost
        ((2.5, 23.0), (2.1, 11.0), "12.000 chrF[+][+]"),
        ((2.6, 23.0), (2.0, 22.9), "0.600 BLEU"),
    ],
)
def test_what_may_be_lost(plain: tuple[float, float], quantized: tuple[float, float], lost: str | None) -> None:
    found = proof(plain, quantized)
    assert found.accepted == (lost is None)
    if lost is None:
        require_accepted(found)
    else:
        with pytest.raises(UserError, match=rf"int8 costs {lost} on test\.zh, more than 0\.5"):
            require_accepted(found)


@pytest.mark.parametrize(
    ("scores", "most_bleu"),
    [
        ((0.0, 0.0), 0.5),
        ((0.4, 2.5), 0.5),
        ((31.0, 53.0), 11.0),
        ((0.0, 0.0), 0.0),
    ],
)
def test_a_set_that_a_ruined_type_passes_proves_nothing(scores: tuple[float, float], most_bleu: float) -> None:
    found = proof(scores, scores, most_bleu)
    assert not found.accepted
    expected = (
        f"test.zh proves nothing of int8: float32 has BLEU {scores[0]:.2f} and chrF++ {scores[1]:.2f} on it, expected "
        f"more than 5 times the {most_bleu:g} that may be lost; give sentences"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}"):
        require_accepted(found)


def test_who_allows_more_is_judged_by_what_can_tell_it() -> None:
    assert proof((31.0, 53.0), (25.0, 47.0), 6.1).judge == "BLEU"
    assert proof((31.0, 53.0), (25.0, 47.0), 6.1).accepted
    assert proof((31.0, 53.0), (25.0, 47.0), 6.5).judge == "chrF++"
    assert proof((31.0, 53.0), (31.0, 53.0), 0.0).accepted


def test_an_empty_reference_is_no_measure(tmp_path: Path) -> None:
    src, ref = tmp_path / "test.zh", tmp_path / "test.en"
    src.write_text("1\n2\n3\n")
    ref.write_text("one\n \nthree\n")
    with pytest.raises(DataError, match=r"test\.en:2: the reference is empty, expected a translation to compare with"):
        read_measured(src, ref)
