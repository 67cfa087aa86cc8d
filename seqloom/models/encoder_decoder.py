"""A Transformer from one token sequence to another."""

import torch
from torch import Tensor, nn

from seqloom.config import ModelConfig
from seqloom.layers.linear import Linear, init_xavier
from seqloom.models.sequence_to_sequence import SequenceToSequence
from seqloom.models.transformer import Decoder, DecoderState, Encoder


class EncoderDecoder(SequenceToSequence):
    """Vaswani et al. 2017, figure 1; arguments as of :class:`SequenceToSequence`."""

    encoder: Encoder
    decoder: Decoder

    def __init__(self, config: ModelConfig, src_vocab: int, tgt_vocab: int) -> None:
        super().__init__(config, Encoder(config), Decoder(config), src_vocab, tgt_vocab)

    def _reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, Linear):
                init_xavier(module)

    @property
    def longest(self) -> int | None:
        return self.encoder.positions.limit

    @property
    def stacks(self) -> list[nn.Module]:
        return [self.encoder, self.decoder]

    def encode(self, src: Tensor, src_mask: Tensor | None = None) -> Tensor:
        """``src`` [B, S] ids, ``src_mask`` [B, S] True at real tokens -> memory [B, S, D]."""
        positions = torch.arange(src.size(1), device=src.device)
        memory: Tensor = self.encoder(self.src_embedding(src, positions, src_mask))
        return memory

    def decode(self, tgt: Tensor, memory: Tensor, src_mask: Tensor | None = None) -> Tensor:
        positions = torch.arange(tgt.size(1), device=tgt.device)
        hidden: Tensor = self.decoder(self.tgt_embedding(tgt, positions), memory, src_mask)
        return hidden

    def start(self, src: Tensor, src_mask: Tensor | None = None) -> DecoderState:
        return self.decoder.start(self.encode(src, src_mask), src_mask)

    def look(self, tokens: Tensor, state: DecoderState) -> Tensor:
        return self.decoder.step(self.tgt_embedding.vectors(tokens), state)
