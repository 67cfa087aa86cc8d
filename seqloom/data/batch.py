"""What a training step receives."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqloom.data.corpus import Corpus
from seqloom.data.tokenizers import BOS, EOS, PAD


@dataclass(frozen=True)
class PairBatch:
    """Sentence pairs, padded at the end. B rows, S and T tokens of source and target."""

    src: Tensor
    """[B, S] ids, each ending in EOS."""
    tgt: Tensor
    """[B, T] what the decoder reads: BOS and the target, shifted right."""
    targets: Tensor
    """[B, T] what it must say: the target and EOS."""
    rows: NDArray[np.int64]
    """Which examples of the corpus these are."""

    @property
    def src_mask(self) -> Tensor:
        return self.src != PAD

    @property
    def tgt_mask(self) -> Tensor:
        return self.targets != PAD

    @property
    def num_targets(self) -> int:
        return int(self.tgt_mask.sum())

    @property
    def padding(self) -> int:
        """How many of the [B, S] and [B, T] positions hold no token."""
        return int((~self.src_mask).sum() + (~self.tgt_mask).sum())

    @property
    def positions(self) -> int:
        return self.src.numel() + self.tgt.numel()

    def to(self, device: torch.device) -> "PairBatch":
        src, tgt, targets = (tensor.to(device, non_blocking=True) for tensor in (self.src, self.tgt, self.targets))
        return PairBatch(src, tgt, targets, self.rows)


def collate(corpus: Corpus, rows: NDArray[np.int64]) -> PairBatch:
    """The pairs ``rows`` of a corpus as one batch."""
    rows = np.asarray(rows, dtype=np.int64)
    return PairBatch(
        src=torch.from_numpy(corpus.src.padded(rows, PAD, after=EOS)),
        tgt=torch.from_numpy(corpus.tgt.padded(rows, PAD, before=BOS)),
        targets=torch.from_numpy(corpus.tgt.padded(rows, PAD, after=EOS)),
        rows=rows,
    )
