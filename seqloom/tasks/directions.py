"""How the translations of a model are scored that knows several directions."""

from collections.abc import Sequence
from statistics import fmean

from seqloom.data.languages import Direction
from seqloom.metrics.translation import score_translations


def score_by_direction(
    answers: Sequence[str], references: Sequence[str], directions: Sequence[Direction]
) -> tuple[dict[str, float], dict[str, str]]:
    """BLEU and chrF++ with their signatures; of several directions the mean, and then each by its name.

    Each direction is scored as its own target language is.
    """
    values: dict[str, float] = {}
    signatures: dict[str, str] = {}
    distinct = list(dict.fromkeys(directions))
    for direction in distinct:
        rows = [row for row, own in enumerate(directions) if own == direction]
        chosen = [answers[row] for row in rows], [references[row] for row in rows]
        for name, score in score_translations(*chosen, direction.tgt, ("bleu", "chrf")).items():
            key = name if len(distinct) == 1 else f"{name}_{direction}"
            values[key], signatures[key] = score.value, score.signature
    if len(distinct) > 1:
        mean = f"mean of {', '.join(map(str, distinct))}"
        means = {name: fmean(values[f"{name}_{direction}"] for direction in distinct) for name in ("bleu", "chrf")}
        values, signatures = means | values, dict.fromkeys(means, mean) | signatures
    return values, signatures
