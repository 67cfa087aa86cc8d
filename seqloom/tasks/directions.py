"""A model of several languages: which way it is asked to translate, and how each way is scored."""

from collections.abc import Sequence
from statistics import fmean

from seqloom.data.languages import Direction, same_language
from seqloom.errors import UserError
from seqloom.metrics.translation import score_translations


def choose_direction(known: Sequence[Direction], src_lang: str = "", tgt_lang: str = "") -> Direction:
    """The one of the ``known`` directions that is asked for; a language that is not given may be any.

    The target decides. Where several sources fit, the model was trained to tell them by itself.

    Raises:
        UserError: if none fits, or if several target languages do.
    """
    names = ", ".join(map(str, known))
    to_target = [direction for direction in known if not tgt_lang or same_language(tgt_lang, direction.tgt)]
    fitting = [direction for direction in to_target if not src_lang or same_language(src_lang, direction.src)]
    if len(known) > 1 and not to_target:
        tag = Direction("", tgt_lang).tag
        raise UserError(
            f"the tag {tag} is not in the vocabulary of this model, which translates {names}; ask for one of these"
        )
    if not fitting:
        asked = Direction(src_lang or "?", tgt_lang or "?")
        raise UserError(f"this model translates {names} and not {asked}; ask for that, or load another model")
    if len({direction.tgt for direction in fitting}) > 1:
        raise UserError(f"this model translates {names}; say into which language, by tgt_lang or --tgt-lang")
    return fitting[0]


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
