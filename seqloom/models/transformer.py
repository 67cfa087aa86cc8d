"""The Transformer's two stacks, Vaswani et al. 2017, section 3.1: THE core of every model."""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from seqloom.config import ModelConfig
from seqloom.layers.attention import Cache, KeysValues, PureCache
from seqloom.layers.blocks import DecoderBlock, Step
from seqloom.layers.embeddings import Embedded
from seqloom.layers.masks import causal_mask, hiding, key_mask
from seqloom.layers.normalization import ready
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
        return _typed(self.dropout(self.positions.embed(inputs.x, inputs.positions)))


def _typed(x: Tensor) -> Tensor:
    """What a stack works with.

    Under autocast the whole of it runs in its type: casting at each product instead costs more than the products of
    a small model.
    """
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
        places.share(x)
        for block in self.blocks:
            x = block(x, mask, places)
        normed: Tensor = self.norm(x)
        return normed


class Ready(NamedTuple):
    """A decoder for a search, with the weights as they are now."""

    steps: list[Step]
    norm: Callable[[Tensor], Tensor]
    positions_only_embed: bool


class DecoderState:
    """What the decoder remembers between two steps of a search over B sentences."""

    def __init__(self, sources: list[KeysValues], source_bias: Tensor | None, past: list[Cache], ready: Ready) -> None:
        self.sources = sources
        self.source_bias = source_bias  # [B, 1, 1, S], -inf at padding
        self.past = past
        self.ready = ready
        self.length = 0

    @property
    def record_attention(self) -> bool:
        """Whether ``attention`` is wanted."""
        return self.sources[-1].record

    @record_attention.setter
    def record_attention(self, wanted: bool) -> None:
        self.sources[-1].record = wanted

    @property
    def attention(self) -> Tensor | None:
        """Of the last layer to the source in the last step, the mean of its heads, [B * beam, S]."""
        weights = self.sources[-1].weights
        return None if weights is None else weights.flatten(0, 1)

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Keeps hypotheses ``rows`` and, where some are finished, only the given ``sentences``.

        Args:
            rows: for each new hypothesis the old one that it continues; sentence by sentence,
                the same number for each.
            sentences: the sentences that go on; None where all do.
        """
        for cache in self.past:
            cache.reorder(rows)
        if sentences is not None:
            for sources in self.sources:
                sources.reorder(sentences)
            if self.source_bias is not None:
                self.source_bias = self.source_bias.index_select(0, sentences)


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
        places.share(x)
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
        sources = [KeysValues(*block.cross_attention.keys_values(memory)) for block in self.layers()]
        bias = None if across is None else hiding(across, sources[0].keys.dtype)
        return DecoderState(sources, bias, [Cache() for _ in sources], self._ready())

    def resume(self, sources: list[Tensor], past: list[Tensor], mask: Tensor | None) -> DecoderState:
        """From keys and values of each layer by turns: of the sources [B, G, S, E], and of T steps [B, G, T, E].

        ``mask`` [B, S] is that of the sources. For graphs, which keep no state of their own: nothing is written in
        place.
        """
        bias = None if mask is None else hiding(key_mask(mask), sources[0].dtype)
        state = DecoderState(
            [KeysValues(*pair) for pair in zip(sources[::2], sources[1::2], strict=True)],
            bias,
            [PureCache(*pair) for pair in zip(past[::2], past[1::2], strict=True)],
            self._ready(),
        )
        state.length = past[0].size(2)
        return state

    def _ready(self) -> Ready:
        return Ready([block.ready() for block in self.layers()], ready(self.norm), self.positions.only_embeds)

    def step(self, x: Tensor, state: DecoderState) -> Tensor:
        """One more token of each hypothesis, its embedding [B * beam, D] -> the same shape."""
        place, state.length = state.length, state.length + 1
        self.positions.check(state.length)
        x = _typed(self.positions.embed_next(x, place))
        places = None
        if not state.ready.positions_only_embed:
            so_far = torch.arange(state.length, device=x.device)
            places = Places(self.positions, so_far[place:], so_far)
        for step, past, sources in zip(state.ready.steps, state.past, state.sources, strict=True):
            x = step(x, past, sources, state.source_bias, places)
        return state.ready.norm(x)
