"""BLEU, chrF++ and TER of translations, by sacreBLEU, with signatures.

Papineni et al. 2002; Popović 2017; Snover et al. 2006; Post 2018 for the signatures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU, CHRF, TER

TOKENIZATION = {"zh": "zh", "ja": "char", "th": "char", "lo": "char", "km": "char", "my": "char"}
"""How BLEU cuts a language that writes no spaces; all others as in WMT, `13a`.

Japanese has tokenizers of its own in sacreBLEU, which need a dictionary that is not installed
here; characters are their stand-in, and the signature says so.
"""

SEED = 12345
"""sacreBLEU's own, so the resamplings are the ones that it would make."""


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
        bootstrap: resamplings for the confidence interval; 0 for none.
    """
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses and {len(references)} references, expected as many, and some")
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
        # What metric.corpus_score() does; its own resampling needs 100 bytes for each sentence drawn
        # in any of them, and fails where a score is a whole number (statistics.mean of mixed types).
        statistics = metric._extract_corpus_statistics(list(hypotheses), [list(references)])
        value = float(metric._aggregate_and_compute(statistics).score)
        low = high = None
        if bootstrap:
            low, high = _interval(metric, np.array(statistics, np.float64), bootstrap)
            metric.n_bootstrap, metric.seed = bootstrap, SEED  # for the signature
        scores[name] = Score(value, metric.get_signature().format(short=True), low, high)
    return scores


def _interval(metric: Any, statistics: NDArray[np.float64], resamplings: int) -> tuple[float, float]:
    """The range of the middle 95 % of the scores of resampled sets; ``statistics`` has a row a sentence."""
    random = np.random.default_rng(SEED)
    count = len(statistics)
    scores = sorted(
        float(metric._compute_score_from_stats(statistics[random.choice(count, count)].sum(axis=0)).score)
        for _ in range(resamplings)
    )
    outside = resamplings // 40
    return scores[outside], scores[-1 - outside]
