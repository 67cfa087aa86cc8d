"""BLEU, chrF++ and TER of translations, by sacreBLEU, with signatures.

Papineni et al. 2002; Popović 2017; Snover et al. 2006; Post 2018 for the signatures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.metrics import BLEU, CHRF, TER

TOKENIZATION = {"zh": "zh", "ja": "char", "th": "char", "lo": "char", "km": "char", "my": "char"}
"""How BLEU cuts a language that writes no spaces; all others as in WMT, `13a`.

Japanese has tokenizers of its own in sacreBLEU, which need a dictionary that is not installed
here; characters are their stand-in, and the signature says so.
"""

MAX_RESAMPLED = 5_000_000
"""Sentences drawn in all resamplings together; sacreBLEU holds about 100 bytes for each."""


@dataclass(frozen=True)
class Score:
    """One metric of one set of translations."""

    value: float
    signature: str
    low: float | None = None
    """Lower end of the 95 % confidence interval by bootstrap resampling (Koehn 2004)."""
    high: float | None = None


def bleu_tokenization(language: str) -> str:
    """The sacreBLEU tokenization for a target language such as ``zh`` or ``zh-CN``."""
    return TOKENIZATION.get(language.replace("_", "-").split("-")[0].lower(), "13a")


def score_translations(
    hypotheses: Sequence[str],
    references: Sequence[str],
    language: str,
    metrics: Sequence[str] = ("bleu", "chrf", "ter"),
    bootstrap: int = 0,
) -> dict[str, Score]:
    """Scores ``hypotheses`` against one reference each.

    Args:
        hypotheses: detokenised translations.
        references: as many references.
        language: of both; it chooses the tokenization.
        metrics: of ``bleu``, ``chrf`` (chrF++, word order 2) and ``ter``.
        bootstrap: resamplings for the confidence interval, at least 2; 0 for none. Of a very large
            set fewer are made; the signature says how many.
    """
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses and {len(references)} references, expected as many, and some")
    if bootstrap:
        bootstrap = max(2, min(bootstrap, max(100, MAX_RESAMPLED // len(hypotheses))))
    tokenization = bleu_tokenization(language)
    asian = tokenization != "13a"
    makers: dict[str, Any] = {
        "bleu": lambda: BLEU(tokenize=tokenization),
        "chrf": lambda: CHRF(word_order=2),
        "ter": lambda: TER(normalized=asian, asian_support=asian),
    }
    scores = {}
    for name in metrics:
        metric = makers[name]()
        result = metric.corpus_score(list(hypotheses), [list(references)], n_bootstrap=bootstrap or 1)
        signature = metric.get_signature().format(short=True)
        low = high = None
        if bootstrap:
            middle, reach = float(result._mean), float(result._ci)
            low, high = max(0.0, middle - reach), middle + reach
            if name != "ter":
                high = min(100.0, high)
        scores[name] = Score(result.score, signature, low, high)
    return scores
