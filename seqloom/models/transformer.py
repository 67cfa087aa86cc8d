"""The Transformer's two stacks, Vaswani et al. 2017, section 3.1: THE core of every model."""

from typing import cast

import torch
from torch import Tensor, nn

from seqloom.config import ModelConfig
from seqloom.layers.attention import Cache
from seqloom.layers.blocks import DecoderBlock, EncoderBlock
from seqloom.layers.dropout import Dropout
from seqloom.layers.embeddings import Embedded
from seqloom.layers.masks import causal_mask, key_mask
from seqloom.layers.positions import POSITIONS


class _Stack(nn.Module):
    """What encoder and decoder share: positions, input dropout, the last norm of pre-norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.positions = POSITIONS[config.positions](config.d_model)
        self.dropout = Dropout(config.dropout)
        # With pre-norm nothing has normalised the residual stream before it leaves the stack.
        self.norm = nn.LayerNorm(config.d_model) if config.norm == "pre" else nn.Identity()

    def enter(self, inputs: Embedded) -> Tensor:
        x = self.dropout(self.positions.embed(inputs.x, inputs.positions))
        # Under autocast the whole stack runs in its type: casting at each product instead costs
        # more than the products of a small model.
        device = x.device.type
        return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


class Encoder(_Stack):
    """Embedded -> memory [B, T, D]: every position sees every real position."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                config.d_model,
                config.num_heads,
                config.d_ff,
                config.dropout,
                config.norm,
                config.activation,
                config.attention_dropout,
            )
            for _ in range(config.num_encoder_layers)
        )

    def forward(self, inputs: Embedded) -> Tensor:
        mask = None if inputs.mask is None else key_mask(inputs.mask)
        x = self.enter(inputs)
        for block in self.blocks:
            x = block(x, mask)
        normed: Tensor = self.norm(x)
        return normed


class DecoderState:
    """What the decoder remembers between two steps of a search over B sentences."""

    def __init__(self, memory: list[Cache], memory_mask: Tensor | None) -> None:
        self.own = [Cache() for _ in memory]
        self.memory = memory
        self.memory_mask = memory_mask  # [B, 1, 1, S]
        self.length = 0

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Keeps hypotheses ``rows`` and, where some are finished, only the given ``sentences``.

        Args:
            rows: for each new hypothesis the old one that it continues; sentence by sentence,
                the same number for each.
            sentences: the sentences that go on; None where all do.
        """
        for cache in self.own:
            cache.reorder(rows)
        if sentences is not None:
            for cache in self.memory:
                cache.reorder(sentences)
            if self.memory_mask is not None:
                self.memory_mask = self.memory_mask.index_select(0, sentences)


class Decoder(_Stack):
    """Embedded and memory -> [B, T, D]: a position sees itself, what came before, and memory."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(
            DecoderBlock(
                config.d_model,
                config.num_heads,
                config.d_ff,
                config.dropout,
                config.norm,
                config.activation,
                config.attention_dropout,
            )
            for _ in range(config.num_decoder_layers)
        )

    def forward(self, inputs: Embedded, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """``memory`` [B, S, D], ``memory_mask`` [B, S]. Padding may only follow real tokens."""
        # The causal mask alone hides padding: it stands after every real token.
        mask = causal_mask(inputs.x.size(1), inputs.x.device)
        across = None if memory_mask is None else key_mask(memory_mask)
        x = self.enter(inputs)
        for block in self.blocks:
            x = block(x, memory, mask, across)
        normed: Tensor = self.norm(x)
        return normed

    def layers(self) -> list[DecoderBlock]:
        """The blocks, typed as what they are."""
        return cast(list[DecoderBlock], list(self.blocks))

    def start(self, memory: Tensor, memory_mask: Tensor | None = None) -> DecoderState:
        """Projects the keys and values of ``memory`` [B, S, D] for all steps to come."""
        across = None if memory_mask is None else key_mask(memory_mask)
        layers = [Cache(*block.cross_attention.keys_values(memory)) for block in self.layers()]
        return DecoderState(layers, across)

    def step(self, inputs: Embedded, state: DecoderState) -> Tensor:
        """One more token of each hypothesis: [B * beam, 1, D] -> the same shape."""
        x = self.enter(inputs)
        for block, own, memory in zip(self.layers(), state.own, state.memory, strict=True):
            x = block.step(x, own, memory, state.memory_mask)
        state.length += 1
        normed: Tensor = self.norm(x)
        return normed
