"""How alike N texts are, each with each: chrF and BLEU of sentences, as sacreBLEU computes them.

For one pair sacreBLEU takes about a tenth of a millisecond, so 50 candidates of one sentence would
take a quarter of a second. Here the n-grams of a text are counted once for all pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU

from seqloom.metrics.translation import bleu_tokenization

CHRF_ORDER, BLEU_ORDER = 6, 4
BETA = 2
"""How many times as much recall counts as precision in chrF."""

Matrix = NDArray[np.float64]


def chrf(texts: Sequence[str], language: str) -> Matrix:
    """chrF2 [N, N] of each text (row) against each as the reference, 0 to 100 (Popović 2015)."""
    precision = recall = orders = np.zeros((len(texts), len(texts)))
    for sizes, matches in _matches(["".join(text.split()) for text in texts], CHRF_ORDER):
        own, other = sizes[:, None], sizes[None, :]
        both = (own > 0) & (other > 0)
        precision = precision + matches / own.clip(1)
        recall = recall + matches / other.clip(1)
        orders = orders + both
    precision, recall = precision / orders.clip(1), recall / orders.clip(1)
    weighted = BETA**2 * precision + recall
    return 100 * (1 + BETA**2) * precision * recall / np.where(weighted, weighted, 1)


def bleu(texts: Sequence[str], language: str) -> Matrix:
    """Sentence BLEU [N, N] of each text (row) against each as the reference, 0 to 100.

    Papineni et al. 2002 with the exponential smoothing of Chen and Cherry 2014, method 3, over as
    many orders as the text has; ``language`` chooses the tokenization.
    """
    tokenize = BLEU(tokenize=bleu_tokenization(language)).tokenizer
    words = [tokenize(text.rstrip()).split() for text in texts]
    length = np.array([len(each) for each in words], np.float64)
    logs = orders = np.zeros((len(texts), len(texts)))
    smoothing = np.ones_like(logs)
    some = np.zeros_like(logs, dtype=bool)
    for sizes, matches in _matches(words, BLEU_ORDER):
        there = np.broadcast_to(sizes[:, None] > 0, matches.shape)
        some |= matches > 0
        smoothing = np.where(there & (matches == 0), 2 * smoothing, smoothing)
        logs = logs + np.where(there, np.log(np.where(matches, matches, 1 / smoothing) / sizes[:, None].clip(1)), 0)
        orders = orders + there
    brevity = np.minimum(0, 1 - length[None, :] / length[:, None].clip(1))
    return np.where(some, 100 * np.exp(logs / orders.clip(1) + brevity), 0)


SIMILARITIES: dict[str, Callable[[Sequence[str], str], Matrix]] = {"chrf": chrf, "bleu": bleu}


def _matches(sequences: Sequence[Sequence[str]], highest: int) -> Iterator[tuple[Matrix, Matrix]]:
    """For each order up to the highest: how many n-grams each has, [N], and shares with each, [N, N]."""
    count = len(sequences)
    lengths = np.array([len(each) for each in sequences])
    _, unit = np.unique(np.array([*chain.from_iterable(sequences)], dtype=np.str_), return_inverse=True)
    owner = np.repeat(np.arange(count), lengths)
    left = np.concatenate([np.arange(length, 0, -1) for length in lengths])  # units up to the end of its sequence
    gram = np.zeros_like(unit)  # of each place, the number of the n-gram that starts there
    for order in range(1, highest + 1):
        whole = left >= order
        start = np.flatnonzero(whole)
        keys = gram[start] * (unit.max(initial=0) + 1) + unit[start + order - 1]
        found, number = np.unique(keys, return_inverse=True)
        gram[start] = number
        table = np.bincount(owner[start] * len(found) + number, minlength=count * len(found)).reshape(count, -1)
        matches = np.zeros((count, count))
        # min(a, b) is the number of thresholds that both reach: products of matrices, which are quick.
        for threshold in range(1, int(table.max(initial=0)) + 1):
            reached = (table[:, (table >= threshold).any(0)] >= threshold).astype(np.float32)
            matches += reached @ reached.T
        yield np.maximum(lengths - order + 1, 0).astype(np.float64), matches
