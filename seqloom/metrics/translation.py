"""BLEU, chrF++ and TER of translations, by sacreBLEU, with signatures.

Papineni et al. 2002; Popović 2017; Snover et al. 2006; Post 2018 for the signatures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER

from seqloom.metrics.significance import SEED, Statistics, interval, resample
from seqloom.writing import without_spaces

TOKENIZATION = {"zh": "zh", "ja": "char", "th": "char", "lo": "char", "km": "char", "my": "char"}
"""How BLEU cuts a language that writes no spaces; all others as in WMT, `13a`.

Japanese has tokenizers of its own in sacreBLEU, which need a dictionary that is not installed
here; characters are their stand-in, and the signature says so.
"""


@dataclass(frozen=True)
class Score:
    """One metric of one set of translations."""

    value: float
    signature: str
    low: float | None = None
    """Lower end of the 95 % confidence interval by bootstrap resampling (Koehn 2004)."""
    high: float | None = None


def bleu_tokenization(language: str) -> str:
    """The sacreBLEU tokenization for a target language such as ``zh``, ``zh-CN`` or ``zho_Hans``."""
    return TOKENIZATION.get(without_spaces(language), "13a")


class Metric:
    """``bleu``, ``chrf`` (chrF++, word order 2) or ``ter`` for a target language.

    A corpus score is computed from the sum of the statistics of its sentences, as sacreBLEU does
    inside; with them at hand, resampled sets are scored without reading a sentence again.
    """

    def __init__(self, name: str, language: str) -> None:
        tokenization = bleu_tokenization(language)
        asian = tokenization != "13a"
        makers: dict[str, Callable[[], Any]] = {
            "bleu": lambda: BLEU(tokenize=tokenization),
            "chrf": lambda: CHRF(word_order=2),
            "ter": lambda: TER(normalized=asian, asian_support=asian),
        }
        self._metric = makers[name]()

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> Statistics:
        """A row of counts for each sentence, [N, K]; there must be as many references."""
        if not hypotheses or len(hypotheses) != len(references):
            raise ValueError(
                f"{len(hypotheses)} hypotheses and {len(references)} references, expected as many, and some"
            )
        rows = self._metric._extract_corpus_statistics(list(hypotheses), [list(references)])
        return np.array(rows, np.float64)

    def score(self, sums: Sequence[float]) -> float:
        """The score, 0 to 100 (TER may be more), of the set of sentences whose statistics sum to ``sums`` [K]."""
        return float(self._metric._compute_score_from_stats(sums).score)

    def signature(self, resamplings: int = 0) -> str:
        """sacreBLEU's; known once there are statistics. ``resamplings`` are those of an interval, if any."""
        # The attributes that sacreBLEU's own resampling would have left.
        self._metric.n_bootstrap, self._metric.seed = (resamplings, SEED) if resamplings else (None, None)
        return str(self._metric.get_signature().format(short=True))


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
    scores = {}
    for name in metrics:
        metric = Metric(name, language)
        statistics = metric.statistics(hypotheses, references)
        value = metric.score(statistics.sum(axis=0).tolist())
        low = high = None
        if bootstrap:
            # sacreBLEU's own resampling needs 100 bytes for each sentence drawn in any of them, and
            # fails where a score is a whole number (statistics.mean of mixed types).
            resampled = [metric.score(row) for sums in resample(statistics, bootstrap) for row in sums.tolist()]
            low, high = interval(np.array(resampled))
        scores[name] = Score(value, metric.signature(bootstrap), low, high)
    return scores
