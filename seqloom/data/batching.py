"""Batches of like length within a token budget, in an order that can be taken up anywhere.

The order of an epoch is a pure function of (seed, epoch), so a position in the data is two
numbers, and a run that was stopped goes on with the very batch that it would have seen.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seqloom.data.batch import PairBatch, collate
from seqloom.data.corpus import Corpus
from seqloom.errors import DataError


def plan_batches(
    src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64], batch_tokens: int, order: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Cuts a corpus into batches of at most ``batch_tokens`` = rows x longer padded side.

    Args:
        src_lengths: tokens of each source, the end token included.
        tgt_lengths: tokens of each target, likewise.
        batch_tokens: the budget; no sentence may be longer.
        order: a permutation of the rows; it decides between pairs of about the same lengths.

    Returns:
        The rows of each batch, short pairs first.
    """
    src, tgt = src_lengths[order], tgt_lengths[order]
    longest = np.maximum(src, tgt)
    # By the side that bounds the batch, then by how much longer one side is, up and down in turn so
    # that neighbours across a step are alike. The last term, from -1 to 1, lets pairs meet others in
    # each epoch for little padding.
    surplus = src - tgt + np.arange(len(order)) % 3 - 1
    by_length = np.lexsort((np.where(longest % 2, surplus, -surplus), longest))
    rows, longest = order[by_length], longest[by_length]
    batches = []
    start, total = 0, len(rows)
    while start < total:
        # Sorted upwards, so the last row of a batch is its longest: the largest end for which
        # (end - start) * longest[end - 1] fits.
        low, high = start + 1, min(total, start + batch_tokens // int(longest[start]))
        while low < high:
            middle = (low + high + 1) // 2
            if (middle - start) * int(longest[middle - 1]) <= batch_tokens:
                low = middle
            else:
                high = middle - 1
        batches.append(rows[start:low])
        start = low
    return batches


class TrainingBatches:
    """An endless stream of shuffled batches whose position can be saved and restored."""

    def __init__(self, corpus: Corpus, batch_tokens: int, seed: int) -> None:
        self.corpus = corpus
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.epoch = 0
        self.position = 0
        # The end token counts.
        self._src = corpus.src.lengths + 1
        self._tgt = corpus.tgt.lengths + 1
        longest = np.maximum(self._src, self._tgt)
        if len(longest) and longest.max() > batch_tokens:
            index = int(longest.argmax())
            raise DataError(
                f"{corpus.where(index)}: {int(longest[index]):,} tokens do not fit into a batch of {batch_tokens:,}; "
                f"raise data.batch_tokens or lower data.max_length"
            )
        self._planned: tuple[int, list[NDArray[np.int64]]] | None = None

    def plan(self, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of every batch of an epoch, in their order."""
        if self._planned is None or self._planned[0] != epoch:
            random = np.random.Generator(np.random.PCG64([self.seed, epoch]))
            batches = plan_batches(self._src, self._tgt, self.batch_tokens, random.permutation(len(self.corpus)))
            self._planned = epoch, [batches[i] for i in random.permutation(len(batches))]
        return self._planned[1]

    def __iter__(self) -> Iterator[PairBatch]:
        while True:
            batches = self.plan(self.epoch)
            while self.position < len(batches):
                self.position += 1
                yield collate(self.corpus, batches[self.position - 1])
            self.epoch += 1
            self.position = 0

    def state_dict(self) -> dict[str, int]:
        """The position behind the last batch that was handed out."""
        return {"epoch": self.epoch, "position": self.position, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on behind the batch that was the last one when ``state`` was taken."""
        self.epoch, self.position, self.seed = state["epoch"], state["position"], state["seed"]
        self._planned = None


def evaluation_batches(corpus: Corpus, batch_tokens: int) -> Iterator[PairBatch]:
    """Every pair of a corpus once, short ones first."""
    order = np.arange(len(corpus))
    budget = max(batch_tokens, int(max(corpus.src.lengths.max(initial=0), corpus.tgt.lengths.max(initial=0))) + 1)
    for rows in plan_batches(corpus.src.lengths + 1, corpus.tgt.lengths + 1, budget, order):
        yield collate(corpus, rows)
