"""Batches of like length within a token budget, in an order that can be taken up anywhere.

The order of an epoch is a pure function of (seed, epoch), so a position in the data is two
numbers, and a run that was stopped goes on with the very batch that it would have seen.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqloom.data.batch import Pairs, collate
from seqloom.data.corpus import ALL, Corpus
from seqloom.errors import ConfigError, DataError

ResultT = TypeVar("ResultT")

Collate = Callable[..., Any]
"""(pairs, rows, taken) -> a batch of those rows, or of the part of them that is taken."""

Plan = tuple[Pairs, list[NDArray[np.int64]]]
"""The pairs as an epoch sees them, and the rows of its batches in their order."""


def plan_batches(
    src_lengths: NDArray[np.integer[Any]],
    tgt_lengths: NDArray[np.integer[Any]],
    batch_tokens: int,
    order: NDArray[np.int64],
) -> list[NDArray[np.int64]]:
    """Cuts pairs into batches of at most ``batch_tokens`` = rows x longer padded side.

    Args:
        src_lengths: tokens of each source, the end token included.
        tgt_lengths: tokens of each target, likewise.
        batch_tokens: the budget; no sentence may be longer.
        order: the rows, shuffled; it decides between pairs of about the same lengths.

    Returns:
        The rows of each batch, short pairs first.
    """
    longest, surplus = np.maximum(src_lengths, tgt_lengths)[order], (src_lengths - tgt_lengths)[order]
    # By the side that bounds the batch, then by how much longer one side is, up and down in turn so
    # that neighbours across a step are alike. From -1 to 1 is added in turn, which lets pairs meet others
    # in each epoch for little padding.
    surplus[0::3] -= 1
    surplus[2::3] += 1
    np.negative(surplus, out=surplus, where=longest % 2 == 0)
    if longest.max(initial=0) < 1 << 14:  # numbers of 16 bits are sorted in a time that grows with their count alone
        longest, surplus = longest.astype(np.int16), surplus.astype(np.int16)
    by_length = np.lexsort((surplus, longest))
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


def rows_of_epoch(group: NDArray[np.int32], weights: Sequence[float], seed: int, epoch: int) -> NDArray[np.int64]:
    """The pairs that an epoch sees, in ascending order, one of group g ``weights[g]`` times.

    Of the fraction of a weight, each epoch takes the next part of the group, in an order shuffled
    once: with 0.1, ten epochs see every pair once, and with 1.1 eleven times.
    """
    parts = [np.empty(0, np.int64)]
    for number, weight in enumerate(weights):
        rows = np.flatnonzero(group == number)
        parts += [rows] * int(weight)
        share = weight % 1 * len(rows)
        if share:
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(number,))))
            taken = np.arange(math.floor(share * epoch), math.floor(share * (epoch + 1)))
            parts.append(random.permutation(rows)[taken % len(rows)])
    together = np.concatenate(parts)
    together.sort()
    return together


class TrainingBatches:
    """An endless stream of shuffled batches whose position can be saved and restored.

    From the middle of an epoch on, the next one is planned in the background.

    Args:
        batch_tokens: see ``plan_batches``.
        weights: how often an epoch sees the pairs of each group of the corpus; once, without.
        resample: (rows, seed, epoch) -> those pairs as the epoch sees them; as stored, without.
        collate_with: makes a batch of some rows; without, one of sentence pairs.
        whole: whether no batch may be parted.
    """

    def __init__(
        self,
        corpus: Corpus,
        batch_tokens: int,
        seed: int,
        weights: Sequence[float] | None = None,
        resample: Callable[[NDArray[np.int64], int, int], Pairs] | None = None,
        collate_with: Collate | None = None,
        whole: bool = False,
    ) -> None:
        self.corpus = corpus
        self.whole = whole
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.weights = weights if weights is not None else [1.0] * len(corpus.groups)
        self.resample = resample
        self.collate = collate_with or collate
        self.epoch = 0
        self.position = 0
        self._taken = ALL
        # The end token counts.
        longest = np.maximum(corpus.src.lengths, corpus.tgt.lengths) + 1
        if len(longest) and longest.max() > batch_tokens:
            index = int(longest.argmax())
            raise DataError(
                f"{corpus.where(index)}: {int(longest[index]):,} tokens do not fit into a batch of {batch_tokens:,}; "
                f"raise data.batch_tokens or lower data.max_length"
            )
        counts = np.bincount(corpus.group, minlength=len(self.weights))
        if not np.any(counts * self.weights):
            raise DataError("data.weights are 0 for all pairs that there are; give some of them more")
        self._plans: dict[int, Future[Plan]] = {}

    def plan(self, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of every batch of an epoch, in their order."""
        return self._planned(epoch)[1]

    def _planned(self, epoch: int) -> Plan:
        # What was resampled for another one need not be kept.
        self._plans = {number: plan for number, plan in self._plans.items() if number == epoch}
        self._begin_plan(epoch)
        return self._plans[epoch].result()

    def _begin_plan(self, epoch: int) -> None:
        if epoch not in self._plans:
            self._plans[epoch] = _in_background(partial(self._make_plan, epoch, self.seed))

    def _make_plan(self, epoch: int, seed: int) -> Plan:
        random = np.random.Generator(np.random.PCG64([seed, epoch]))
        rows = rows_of_epoch(self.corpus.group, self.weights, seed, epoch)
        pairs = self.resample(np.unique(rows), seed, epoch) if self.resample else self.corpus
        random.shuffle(rows)
        batches = plan_batches(pairs.src.lengths + 1, pairs.tgt.lengths + 1, self.batch_tokens, rows)
        return pairs, [batches[i] for i in random.permutation(len(batches))]

    def __iter__(self) -> Iterator[Any]:
        while True:
            pairs, batches = self._planned(self.epoch)
            while self.position < len(batches):
                if self.position >= len(batches) // 2:
                    self._begin_plan(self.epoch + 1)
                self.position += 1
                yield self.collate(pairs, batches[self.position - 1], self._taken)
            self.epoch += 1
            self.position = 0

    def share(self, part: int, of: int) -> None:
        """From now on each batch has only the rows that are this part of ``of``, by turns; maybe none.

        Raises:
            ConfigError: if they have to stay together.
        """
        if self.whole and of > 1:
            raise ConfigError(
                "a model with batch normalisation learns from all texts of a batch together, which several processes "
                "would part; train it in one, or set model.normalization to another"
            )
        self._taken = slice(part, None, of)

    def state_dict(self) -> dict[str, int]:
        """The position behind the last batch that was handed out."""
        return {"epoch": self.epoch, "position": self.position, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on behind the batch that was the last one when ``state`` was taken."""
        self.epoch, self.position, self.seed = state["epoch"], state["position"], state["seed"]
        self._plans.clear()


def _in_background(work: Callable[[], ResultT]) -> Future[ResultT]:
    """Begins ``work`` on a thread of its own, for which a program waits before it ends."""
    future: Future[ResultT] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, name="plan").start()
    return future


def sample_rows(count: int, at_most: int | None) -> NDArray[np.int64]:
    """The rows of a corpus of ``count`` pairs, or a fixed sample of them, in their order."""
    if at_most is None or at_most >= count:
        return np.arange(count)
    return np.sort(np.random.Generator(np.random.PCG64(0)).permutation(count)[:at_most])


def evaluation_batches(
    corpus: Corpus, batch_tokens: int, rows: NDArray[np.int64], collate_with: Collate = collate
) -> Iterator[Any]:
    """The pairs ``rows`` of a corpus once each, short ones first."""
    src, tgt = corpus.src.lengths + 1, corpus.tgt.lengths + 1
    budget = max(batch_tokens, int(max(src[rows].max(initial=1), tgt[rows].max(initial=1))))
    for chosen in plan_batches(src, tgt, budget, rows):
        yield collate_with(corpus, chosen)
