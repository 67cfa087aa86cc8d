"""What makes a type of fewer bits acceptable."""

import pytest

from seqloom.errors import UserError
from seqloom.pipeline.quantization import Measured, Proof, require_accepted


def proof(plain: tuple[float, float], quantized: tuple[float, float]) -> Proof:
    """Of BLEU and chrF++ in float32 and in int8."""
    both = [Measured(["a"], *scores, 1.0, 1) for scores in (plain, quantized)]
    return Proof("int8", both[0], both[1], {}, 1, 0.5, "test.zh")


@pytest.mark.parametrize(
    ("plain", "quantized", "lost"),
    [
        ((30.0, 50.0), (29.5, 49.0), None),
        ((30.0, 50.0), (31.0, 40.0), None),
        ((30.0, 50.0), (29.25, 50.0), "0.750 BLEU"),
        ((0.0, 50.0), (0.0, 49.75), None),
        ((0.0, 50.0), (0.0, 12.0), "38.000 chrF[+][+]"),  # ruined, though BLEU cannot tell
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
