"""The Transformer's two stacks, Vaswani et al. 2017, section 3.1: THE core of every model."""

from typing import cast

import torch
from torch import Tensor, nn

from seqloom.config import ModelConfig
from seqloom.layers.attention import Cache, PureCache
from seqloom.layers.blocks import DecoderBlock
from seqloom.layers.embeddings import Embedded
from seqloom.layers.masks import causal_mask, hiding, key_mask
from seqloom.layers.positions import Places
from seqloom.models import parts


class _Stack(nn.Module):
    """What encoder and decoder share: positions, input dropout, the last norm of pre-norm."""

    def __init__(self, config: ModelConfig, bidirectional: bool) -> None:
        super().__init__()
        self.positions = parts.positions(config, bidirectional)
        self.dropout = parts.embedding_dropout(config)
        self.norm = parts.last_norm(config)

    def enter(self, inputs: Embedded, length: int) -> Tensor:
        """What the first block sees of ``inputs``, whose positions are all below ``length``.

        Raises:
            UserError: if the model has not so many places.
        """
        self.positions.check(length)
        x = self.dropout(self.positions.embed(inputs.x, inputs.positions))
        # Under autocast the whole stack runs in its type: casting at each product instead costs
        # more than the products of a small model.
        device = x.device.type
        return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


class Encoder(_Stack):
    """Embedded -> memory [B, T, D]: every position sees every real position."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, bidirectional=True)
        self.blocks = nn.ModuleList(parts.encoder_block(config) for _ in range(config.num_encoder_layers))

    def forward(self, inputs: Embedded) -> Tensor:
        mask = None if inputs.mask is None else key_mask(inputs.mask)
        places = Places(self.positions, inputs.positions)
        x = self.enter(inputs, inputs.x.size(1))
        for block in self.blocks:
            x = block(x, mask, places)
        normed: Tensor = self.norm(x)
        return normed


class DecoderState:
    """What the decoder remembers between two steps of a search over B sentences."""

    def __init__(self, memory: list[Cache], memory_bias: Tensor | None) -> None:
        self.own: list[Cache] = [Cache() for _ in memory]
        self.memory = memory
        self.memory_bias = memory_bias  # [B, 1, 1, S], -inf at padding
        self.length = 0

    @classmethod
    def resumed(cls, memory: list[Tensor], past: list[Tensor], memory_mask: Tensor | None) -> "DecoderState":
        """From keys and values of each layer by turns: of the sources [B, G, S, E], and of T steps [B, G, T, E].

        ``memory_mask`` [B, S]. For graphs, which keep no state of their own: nothing is written in place.
        """
        state = cls(
            [Cache(*memory[layer : layer + 2]) for layer in range(0, len(memory), 2)],
            None if memory_mask is None else hiding(key_mask(memory_mask), memory[0].dtype),
        )
        state.own = [PureCache(*past[layer : layer + 2]) for layer in range(0, len(past), 2)]
        state.length = past[0].size(2)
        return state

    @property
    def record_attention(self) -> bool:
        """Whether ``attention`` is wanted."""
        return self.memory[-1].record

    @record_attention.setter
    def record_attention(self, wanted: bool) -> None:
        self.memory[-1].record = wanted

    @property
    def attention(self) -> Tensor | None:
        """Of the last layer to the source in the last step, the mean of its heads, [B * beam, S]."""
        weights = self.memory[-1].weights
        return None if weights is None else weights.flatten(0, 1)

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
            if self.memory_bias is not None:
                self.memory_bias = self.memory_bias.index_select(0, sentences)


class Decoder(_Stack):
    """Embedded and memory -> [B, T, D]: a position sees itself, what came before, and memory."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, bidirectional=False)
        self.blocks = nn.ModuleList(parts.decoder_block(config) for _ in range(config.num_decoder_layers))

    def forward(self, inputs: Embedded, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """``memory`` [B, S, D], ``memory_mask`` [B, S]. Padding may only follow real tokens."""
        # The causal mask alone hides padding: it stands after every real token.
        mask = causal_mask(inputs.x.size(1), inputs.x.device)
        across = None if memory_mask is None else key_mask(memory_mask)
        places = Places(self.positions, inputs.positions)
        x = self.enter(inputs, inputs.x.size(1))
        for block in self.blocks:
            x = block(x, memory, mask, across, places)
        normed: Tensor = self.norm(x)
        return normed

    def layers(self) -> list[DecoderBlock]:
        """The blocks, typed as what they are."""
        return cast(list[DecoderBlock], list(self.blocks))

    def start(self, memory: Tensor, memory_mask: Tensor | None = None) -> DecoderState:
        """Projects the keys and values of ``memory`` [B, S, D] for all steps to come."""
        across = None if memory_mask is None else key_mask(memory_mask)
        if across is not None and across.device.type == "cpu" and bool(across.all()):
            across = None  # nothing to hide: of sentences of one length
        projected = [block.cross_attention.keys_values(memory) for block in self.layers()]
        bias = None if across is None else hiding(across, projected[0][0].dtype)
        return DecoderState([Cache(*each) for each in projected], bias)

    def step(self, inputs: Embedded, state: DecoderState) -> Tensor:
        """One more token of each hypothesis: [B * beam, 1, D] -> the same shape."""
        state.length += 1
        so_far = torch.arange(state.length, device=inputs.x.device)
        places = Places(self.positions, inputs.positions, so_far)
        x = self.enter(inputs, state.length)
        for block, own, memory in zip(self.layers(), state.own, state.memory, strict=True):
            x = block.step(x, own, memory, state.memory_bias, places)
        normed: Tensor = self.norm(x)
        return normed
