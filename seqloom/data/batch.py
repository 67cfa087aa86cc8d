"""What a training step receives."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqloom.data.corpus import ALL, Sentences
from seqloom.data.tokenizers import BOS, EOS, PAD


class Pairs(Protocol):
    """What batches are made of: a corpus, or one as a certain pass over it sees it."""

    @property
    def src(self) -> Sentences: ...
    @property
    def tgt(self) -> Sentences: ...


@dataclass(frozen=True)
class PairBatch:
    """Sentence pairs, padded at the end. B rows, S and T tokens of source and target."""

    src: Tensor
    """[B, S] ids, each ending in EOS."""
    tgt: Tensor
    """[B, T] what the decoder reads: BOS and the target, shifted right."""
    targets: Tensor
    """[B, T] what it must say: the target and EOS."""
    real: Tensor
    """[N] where the real targets are in the B * T of ``targets``: what a loss is over. Known beforehand, so that
    a step need not wait for a device to count them."""
    rows: NDArray[np.int64]
    """Which examples of the corpus these are."""

    @property
    def src_mask(self) -> Tensor:
        return self.src != PAD

    @property
    def num_targets(self) -> int:
        return self.real.numel()

    @property
    def padding(self) -> int:
        """How many of the [B, S] and [B, T] positions hold no token."""
        return int((~self.src_mask).sum()) + self.targets.numel() - self.num_targets

    @property
    def positions(self) -> int:
        return self.src.numel() + self.tgt.numel()

    def parts(self, count: int) -> "list[PairBatch]":
        """Cuts the batch into at most ``count`` parts of like size and lengths, by rows in turn; one at least."""
        taken = [slice(start, None, count) for start in range(max(1, min(count, len(self.rows))))]
        return [_batch(self.src[t], self.tgt[t], self.targets[t], self.rows[t]) for t in taken]

    def to(self, device: torch.device) -> "PairBatch":
        src, tgt, targets, real = (tensor.to(device, non_blocking=True) for tensor in self._tensors)
        return PairBatch(src, tgt, targets, real, self.rows)

    def pinned(self) -> "PairBatch":
        """The same in memory that a GPU copies from while the processor goes on."""
        src, tgt, targets, real = (tensor.pin_memory() for tensor in self._tensors)
        return PairBatch(src, tgt, targets, real, self.rows)

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return self.src, self.tgt, self.targets, self.real


def collate(pairs: Pairs, rows: NDArray[np.int64], taken: slice = ALL) -> PairBatch:
    """The pairs ``rows`` as one batch; or the part of it that is ``taken``, as wide as the whole."""
    rows = np.asarray(rows, dtype=np.int64)
    src, targets = (side.padded(rows, PAD, after=EOS, taken=taken) for side in (pairs.src, pairs.tgt))
    tgt = np.full_like(targets, BOS)
    tgt[:, 1:] = np.where(targets[:, :-1] == EOS, PAD, targets[:, :-1])
    return _batch(torch.from_numpy(src), torch.from_numpy(tgt), torch.from_numpy(targets), rows[taken])


def _batch(src: Tensor, tgt: Tensor, targets: Tensor, rows: NDArray[np.int64]) -> PairBatch:
    return PairBatch(src, tgt, targets, (targets.flatten() != PAD).nonzero()[:, 0], rows)


@dataclass(frozen=True)
class LabelledBatch:
    """Texts with their labels, padded at the end. B rows, T tokens."""

    tokens: Tensor
    """[B, T] ids."""
    labels: Tensor
    """[B]."""
    rows: NDArray[np.int64]
    """Which examples of the corpus these are."""
    whole: bool = False
    """Whether it is one batch and no more, for models in which the texts of a batch see one another."""

    @property
    def mask(self) -> Tensor:
        return self.tokens != PAD

    @property
    def num_targets(self) -> int:
        return len(self.labels)

    @property
    def padding(self) -> int:
        return int((~self.mask).sum())

    @property
    def positions(self) -> int:
        return self.tokens.numel()

    def parts(self, count: int) -> "list[LabelledBatch]":
        """Cuts the batch into at most ``count`` parts of like size and lengths, by rows in turn."""
        taken = [slice(start, None, count) for start in range(min(count, len(self.rows)))]
        if self.whole:
            return [self] if len(self.rows) else []
        return [LabelledBatch(self.tokens[t], self.labels[t], self.rows[t]) for t in taken]

    def to(self, device: torch.device) -> "LabelledBatch":
        tokens, labels = (tensor.to(device, non_blocking=True) for tensor in (self.tokens, self.labels))
        return replace(self, tokens=tokens, labels=labels)

    def pinned(self) -> "LabelledBatch":
        """The same in memory that a GPU copies from while the processor goes on."""
        return replace(self, tokens=self.tokens.pin_memory(), labels=self.labels.pin_memory())


def collate_labelled(
    pairs: Pairs, rows: NDArray[np.int64], taken: slice = ALL, *, whole: bool = False
) -> LabelledBatch:
    """The texts ``rows`` with their labels, the one token of each target; or the part of them that is ``taken``."""
    rows = np.asarray(rows, dtype=np.int64)
    tokens, labels = (side.padded(rows, PAD, taken=taken) for side in (pairs.src, pairs.tgt))
    return LabelledBatch(torch.from_numpy(tokens), torch.from_numpy(labels[:, 0]), rows[taken], whole)
