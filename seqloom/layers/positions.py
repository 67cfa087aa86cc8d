"""How a token's place in its sequence is told to the model.

An encoding overrides what it needs of :class:`Positions`. A new one is one class and one line in
``POSITIONS``; the contract tests then run on it.
"""

import torch
from torch import Tensor, nn


class Positions(nn.Module):
    """No encoding at all: the base of the others, and the entry ``none``."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Adds to the embeddings ``x`` [B, T, D] at ``positions`` [T] or [B, T]."""
        return x


class Sinusoidal(Positions):
    """Sines and cosines of geometrically growing wavelengths, Vaswani et al. 2017, section 3.5.

    PE(pos, 2i) = sin(pos / 10000^(2i / D)), PE(pos, 2i+1) = cos(the same). Works at any length.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        # No buffer: it follows the type and the device of what it is added to, and casting the
        # model does not round it.
        self.table = self._table(512)

    def _table(self, length: int) -> Tensor:
        # In float64, so that late positions are as exact as early ones.
        scale = 10000.0 ** (torch.arange(0, self.d_model, 2, dtype=torch.float64) / self.d_model)
        angle = torch.arange(length, dtype=torch.float64)[:, None] / scale
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # [T, D]

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        table, longest = self.table, int(positions.max()) + 1
        if longest > table.size(0) or table.dtype != x.dtype or table.device != x.device:
            self.table = table = self._table(max(2 * longest, table.size(0))).to(x)
        return x + table[positions]


POSITIONS: dict[str, type[Positions]] = {"sinusoidal": Sinusoidal, "none": Positions}
