"""What every model from one token sequence to another has, whatever reads and whatever writes."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from seqloom.config import NetworkConfig
from seqloom.layers.consistency import projection_consistency
from seqloom.layers.dropout import random_from
from seqloom.layers.embeddings import TokenEmbedding
from seqloom.layers.linear import PlainLinear, Product, init_xavier
from seqloom.layers.projection import projection_loss


class SequenceToSequence(nn.Module, ABC):
    """Embeddings, output projection, loss, and the decoder step protocol.

    Args:
        config: sizes and parts.
        encoder: reads.
        decoder: writes.
        src_vocab: number of source tokens.
        tgt_vocab: number of target tokens; the same as ``src_vocab`` where one table embeds both.
    """

    def __init__(
        self, config: NetworkConfig, encoder: nn.Module, decoder: nn.Module, src_vocab: int, tgt_vocab: int
    ) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.decoder: Any = decoder
        self.src_embedding = TokenEmbedding(src_vocab, config.d_model)
        self.tgt_embedding = TokenEmbedding(tgt_vocab, config.d_model)
        self.output = PlainLinear(config.d_model, tgt_vocab, bias=config.output_bias)
        self._reset_parameters()
        # Press and Wolf 2017; Vaswani et al. 2017, section 3.4.
        if config.tied_embeddings in ("all", "inputs"):
            if src_vocab != tgt_vocab:
                raise ValueError(f"tied embeddings need one vocabulary, got {src_vocab} and {tgt_vocab} tokens")
            self.tgt_embedding = self.src_embedding
        if config.tied_embeddings in ("all", "output"):
            self.output.weight = self.tgt_embedding.table.weight

    def _reset_parameters(self) -> None:
        init_xavier(self.output)

    @property
    def longest(self) -> int | None:
        """How many tokens a sequence may have, its begin or end counted; None where any number will do."""
        return None

    @property
    def stacks(self) -> list[nn.Module]:
        """The modules that hold nearly all of the work, for torch.compile; none where it would not pay."""
        return []

    @abstractmethod
    def encode(self, src: Tensor, src_mask: Tensor | None = None) -> Any:
        """``src`` [B, S] ids, ``src_mask`` [B, S] True at real tokens -> what ``decode`` needs of them."""

    @abstractmethod
    def decode(self, tgt: Tensor, memory: Any, src_mask: Tensor | None = None) -> Tensor:
        """``tgt`` [B, T] ids that start with the begin token -> hidden states [B, T, D]."""

    @abstractmethod
    def start(self, src: Tensor, src_mask: Tensor | None = None) -> Any:
        """The decoder step protocol: reads B sources once."""

    @abstractmethod
    def look(self, tokens: Tensor, state: Any) -> Tensor:
        """A step without its last product: ``tokens`` [B * beam] -> hidden states [B * beam, D]."""

    def step(self, tokens: Tensor, state: Any) -> Tensor:
        """The decoder step protocol: ``tokens`` [B * beam], the last of each hypothesis -> logits [B * beam, V]."""
        logits: Tensor = self.output(self.look(tokens, state))
        return logits

    def scorer(self, pieces: Tensor) -> Product:
        """Hidden states [N, D] -> the logits of ``pieces`` [U] alone, [N, U]; for searches, without gradients."""
        bias = self.output.bias
        return Product(self.output.weight[pieces], None if bias is None else bias[pieces])

    def forward(self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None) -> Tensor:
        """Teacher forcing: logits [B, T, V] of the token that follows each of ``tgt``."""
        logits: Tensor = self.output(self.decode(tgt, self.encode(src, src_mask), src_mask))
        return logits

    def taught(self, src: Tensor, tgt: Tensor, src_mask: Tensor | None, progress: float) -> Tensor:
        """The hidden states [B, T, D] that a loss is made of, when the share ``progress`` of the training is behind."""
        return self.decode(tgt, self.encode(src, src_mask), src_mask)

    def loss(
        self,
        src: Tensor,
        tgt: Tensor,
        targets: Tensor,
        src_mask: Tensor | None,
        real: Tensor,
        smoothing: float = 0.0,
        consistency: float = 0.0,
        random: torch.Generator | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        """Summed cross-entropy of the real target tokens, without ever holding all logits.

        Args:
            src: [B, S] ids.
            tgt: [B, T] ids that start with the begin token.
            targets: [B, T], ``tgt`` one token on.
            src_mask: [B, S], True at real tokens.
            real: [N], where the real targets are in the B * T of ``targets``.
            smoothing: label smoothing.
            consistency: weight of the divergence between two passes under different dropout
                (:mod:`seqloom.layers.consistency`); 0 makes one pass.
            random: where dropout draws from; None is torch's own generator.
            progress: the share of the training that is behind.
        """
        with random_from(random):
            if not consistency:
                hidden = self.taught(src, tgt, src_mask, progress)
                (hidden,), output = self._with_bias(_rows(hidden, real))
                return projection_loss(hidden, output, targets.flatten()[real], smoothing)
            src, tgt = torch.cat([src, src]), torch.cat([tgt, tgt])
            twice = None if src_mask is None else torch.cat([src_mask, src_mask])
            first, second = self.taught(src, tgt, twice, progress).chunk(2)
        (first, second), output = self._with_bias(_rows(first, real), _rows(second, real))
        return projection_consistency(first, second, output, targets.flatten()[real], smoothing, consistency)

    def _with_bias(self, *hidden: Tensor) -> tuple[list[Tensor], Tensor]:
        """Vectors [N, D] and what they are projected with; a bias is one more column, beside ones."""
        if self.output.bias is None:
            return list(hidden), self.output.weight
        column = self.output.bias[:, None].to(self.output.weight.dtype)
        return [pad(each, (0, 1), value=1.0) for each in hidden], torch.cat([self.output.weight, column], 1)


def _rows(hidden: Tensor, real: Tensor) -> Tensor:
    """Of [B, T, D] the vectors at ``real`` [N] of the B * T places: [N, D]."""
    hidden = hidden.flatten(0, 1)
    return hidden if len(real) == len(hidden) else hidden.index_select(0, real)
