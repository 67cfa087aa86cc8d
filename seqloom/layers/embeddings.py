"""Input adapters: what a modality looks like to the Transformer stack."""

import math
from typing import NamedTuple

from torch import Tensor, nn


class Embedded(NamedTuple):
    """What every input adapter yields, and all that the stack sees."""

    x: Tensor
    """[B, T, D]."""
    positions: Tensor
    """[T] or [B, T], counted from 0."""
    mask: Tensor | None
    """[B, T], True at real tokens; None where there is no padding."""


class TokenEmbedding(nn.Module):
    """Token ids -> vectors, times sqrt(D): Vaswani et al. 2017, section 3.4.

    The weights are drawn with standard deviation D^-0.5, so that the scaled vectors have the
    size of the positional signal, and the same weights serve as the output projection.
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, d_model)
        nn.init.normal_(self.table.weight, std=d_model**-0.5)
        self.scale = math.sqrt(d_model)

    def vectors(self, tokens: Tensor) -> Tensor:
        """``tokens`` [...] -> [..., D]."""
        scaled: Tensor = self.table(tokens) * self.scale
        return scaled

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor | None = None) -> Embedded:
        """``tokens`` [B, T] at ``positions`` -> Embedded."""
        return Embedded(self.vectors(tokens), positions, mask)
