"""Recurrent networks from one token sequence to another, from the fixed-length code to attention.

Sutskever et al. 2014, "Sequence to Sequence Learning with Neural Networks"; Cho et al. 2014, "Learning Phrase
Representations using RNN Encoder-Decoder"; Bahdanau et al. 2015, "Neural Machine Translation by Jointly Learning to
Align and Translate"; Luong et al. 2015, "Effective Approaches to Attention-based Neural Machine Translation".
"""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from seqloom.config import RecurrentConfig
from seqloom.layers.dropout import Dropout, dropout, keep_mask
from seqloom.layers.linear import PlainLinear, init_xavier
from seqloom.layers.recurrent import CELLS, Cell, Read, Recurrent, State
from seqloom.layers.reused import Reused
from seqloom.layers.scoring import SCORES, Memory, ScoredAttention
from seqloom.models.sequence_to_sequence import SequenceToSequence

Own = Callable[[Tensor], Tensor]
"""Hidden states [B, D] -> the vectors of the tokens that a model would say, [B, D]."""


class Encoder(nn.Module):
    """Embedded tokens [B, S, D] -> what the cells make of them."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.dropout = Dropout(config.dropout)
        self.stack = Recurrent(
            CELLS[config.cell],
            config.d_model,
            config.d_model // (1 + config.bidirectional),
            config.num_encoder_layers,
            config.bidirectional,
            config.dropout,
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Read:
        """``x`` [B, S, D], ``mask`` [B, S] True at real tokens."""
        read: Read = self.stack(x, mask)
        return read._replace(outputs=self.dropout(read.outputs))


class Products:
    """The linear layers of a decoder's step, in a training with gradients that are made once for all steps."""

    def __init__(self, linears: Iterable[PlainLinear]) -> None:
        self._reused = {linear: Reused(linear.weight, linear.bias) for linear in linears}

    def __call__(self, linear: PlainLinear, x: Tensor) -> Tensor:
        """``linear`` of ``x`` [R, in]."""
        product: Tensor = self._reused.get(linear, linear)(x)
        return product


STEPWISE = Products([])


class DecoderState:
    """What a decoder remembers between two steps for R hypotheses of B sentences."""

    def __init__(self, cells: list[State], memory: Memory | None, fed: Tensor | None) -> None:
        self.cells = cells
        """Of each layer, [R, D] each."""
        self.memory = memory
        self.fed = fed
        """What the first cell is to be told beside the next token, [R, D]; None where it follows from the rest."""
        self.record_attention = False
        self.attention: Tensor | None = None

    @property
    def hidden(self) -> Tensor:
        """h of the last layer, [R, D]."""
        return self.cells[-1][0]

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Keeps hypotheses ``rows`` and, where some are finished, only the given ``sentences``."""
        self.cells = [tuple(each.index_select(0, rows) for each in state) for state in self.cells]
        if self.fed is not None:
            self.fed = self.fed.index_select(0, rows)
        if self.memory is not None and sentences is not None:
            self.memory = self.memory.index_select(sentences)


class Decoder(nn.Module):
    """Cells that are told the tokens so far and, each in its way, something of the source.

    A layer starts from the last state of the encoder's layer beside it, or of its highest.

    Args:
        config: sizes and parts.
        cells: those of the encoder, where they are shared.
    """

    TOLD: ClassVar[bool] = True
    """Whether the first cell is told more than a token."""
    COMBINED: ClassVar[int] = 3
    """Vectors that become what is said; one is said as it is."""

    def __init__(self, config: RecurrentConfig, cells: Sequence[Cell] | None = None) -> None:
        super().__init__()
        width = config.d_model
        self.drop = config.dropout
        self.dropout = Dropout(config.dropout)
        make = CELLS[config.cell]
        self.cells = nn.ModuleList(cells or [make(width, width) for _ in range(config.num_decoder_layers)])
        self.feed = PlainLinear(width, make.GATES * width, bias=False) if self.TOLD else None
        self.combine = PlainLinear(self.COMBINED * width, width) if self.COMBINED > 1 else None
        for linear in (self.feed, self.combine):
            if linear is not None:
                init_xavier(linear)

    @property
    def parallel(self) -> bool:
        """Whether all that the first cell is told is known beforehand, so that the steps can be one kernel."""
        return True

    def layers(self) -> list[Cell]:
        """The cells, typed as what they are."""
        return cast(list[Cell], list(self.cells))

    def start(self, read: Read, mask: Tensor | None = None) -> DecoderState:
        """What is known before the first step; ``mask`` [B, S], True at the real tokens of the source."""
        cells = [read.last[min(number, len(read.last) - 1)] for number in range(len(self.cells))]
        return DecoderState(cells, self.memory(read, mask), self.first(read))

    def memory(self, read: Read, mask: Tensor | None) -> Memory | None:
        """What can be looked at."""
        return None

    def first(self, read: Read) -> Tensor | None:
        """What the first cell is told beside the first token, [B, D], unless it follows from the state."""
        return None

    def told(self, state: DecoderState) -> Tensor | None:
        """What it is told beside the next token, [R, D]."""
        return state.fed

    def say(self, x: Tensor, h: Tensor, told: Tensor | None, state: DecoderState, products: Products) -> Tensor:
        """What the next token is chosen by.

        Args:
            x: [R, D], the token before; or of all T steps at once [B, T, D], and so are the others.
            h: the output of the last cell.
            told: what the first one was told.
            state: after the step.
            products: how the linear layers are applied.

        Returns:
            The shape of ``x``.
        """
        assert told is not None
        assert self.combine is not None
        return products(self.combine, torch.cat([h, told, x.to(h.dtype)], -1)).tanh()

    def step(self, x: Tensor, state: DecoderState) -> Tensor:
        """One more token of each hypothesis: ``x`` [R, D] -> the vectors that the next one is chosen by."""
        return self._step(x, STEPWISE(self._input, x), state, STEPWISE)

    def forward(self, x: Tensor, state: DecoderState, own: Own | None = None, replaced: Tensor | None = None) -> Tensor:
        """All steps over tokens that are known: ``x`` [B, T, D] -> [B, T, D].

        Args:
            x: the tokens before each step.
            state: before the first.
            own: makes of what was said the vectors of the tokens that this means.
            replaced: [B, T], where such a token takes the place of the known one.
        """
        if self.parallel and replaced is None:
            return self.dropout(self._at_once(x, state))
        products = Products(self._linears())
        steps = x.transpose(0, 1).contiguous()
        said: list[Tensor] = []
        for t, (token, gates) in enumerate(zip(steps, self._input(steps).unbind(), strict=True)):
            if own is not None and replaced is not None and t:
                token = torch.where(replaced[:, t, None], own(said[-1]).to(token.dtype), token)
                gates = self._input(token)
            said.append(self._step(token, gates, state, products))
        return self.dropout(torch.stack(said, 1))

    @property
    def _input(self) -> PlainLinear:
        return self.layers()[0].input

    def _linears(self) -> list[PlainLinear]:
        """Those that every step applies."""
        first, *others = self.layers()
        ours = [self.feed, self.combine, first.recurrent]
        ours += [each for cell in others for each in (cell.input, cell.recurrent)]
        return [linear for linear in ours if linear is not None]

    def _step(self, x: Tensor, gates: Tensor, state: DecoderState, products: Products) -> Tensor:
        """``gates``: what the first cell's input projection makes of ``x``."""
        told = self.told(state)
        if told is not None and self.feed is not None:
            gates = gates + products(self.feed, told)
        for number, cell in enumerate(self.layers()):
            if number:
                below = state.cells[number - 1][0]
                gates = products(cell.input, dropout(below, self.drop) if self.training else below)
            before = state.cells[number]
            state.cells[number] = cell.update(gates, products(cell.recurrent, before[0]), before)
        return self.say(x, state.hidden, told, state, products)

    def _at_once(self, x: Tensor, state: DecoderState) -> Tensor:
        told = self.told(state)
        beside = None if told is None else told[:, None].expand_as(x)
        h = x
        for number, cell in enumerate(self.layers()):
            if number and self.training:
                h = dropout(h, self.drop)
            more = None if number or beside is None or self.feed is None else (beside, self.feed.weight)
            h, _ = cell.sequence(h, state.cells[number], more=more)
        return self.say(x, h, beside, state, STEPWISE)


class Sutskever(Decoder):
    """The encoder's last state is the decoder's first, and all that it knows of the source."""

    TOLD = False
    COMBINED = 1

    def say(self, x: Tensor, h: Tensor, told: Tensor | None, state: DecoderState, products: Products) -> Tensor:
        return h


class Cho(Decoder):
    """The encoder's last output is told at every step, to the cell and to what chooses the token."""

    def first(self, read: Read) -> Tensor:
        return read.last[-1][0]


class Attentive(Decoder):
    """A decoder that looks back at all outputs of the encoder."""

    def __init__(self, config: RecurrentConfig, cells: Sequence[Cell] | None = None) -> None:
        super().__init__(config, cells)
        self.attention = ScoredAttention(SCORES[config.score](config.d_model, config.d_model))

    def memory(self, read: Read, mask: Tensor | None) -> Memory:
        memorised: Memory = self.attention.memorise(read.outputs, mask)
        return memorised

    def look(self, q: Tensor, state: DecoderState) -> Tensor:
        """What queries [R, D] or [B, T, D] see of the source, the same shape."""
        assert state.memory is not None
        seen, weights = self.attention(q.view(state.memory.sentences, -1, q.size(-1)), state.memory)
        if state.record_attention:
            state.attention = weights.flatten(0, 1)
        return seen.view(q.shape)


class Bahdanau(Attentive):
    """What the last state sees of the source is told to the cell, and to what chooses the token."""

    @property
    def parallel(self) -> bool:
        return False

    def told(self, state: DecoderState) -> Tensor:
        return self.look(state.hidden, state)


class Luong(Attentive):
    """The new state looks at the source; what becomes of both chooses the token and, fed back, is told to the cell."""

    COMBINED = 2

    def __init__(self, config: RecurrentConfig, cells: Sequence[Cell] | None = None) -> None:
        super().__init__(config, cells)
        if not config.input_feeding:
            self.feed = None

    @property
    def parallel(self) -> bool:
        return self.feed is None

    def first(self, read: Read) -> Tensor | None:
        return None if self.feed is None else torch.zeros_like(read.last[-1][0])

    def say(self, x: Tensor, h: Tensor, told: Tensor | None, state: DecoderState, products: Products) -> Tensor:
        assert self.combine is not None
        seen = self.look(h, state)
        said = products(self.combine, torch.cat([seen, h.to(seen.dtype)], -1)).tanh()
        if self.feed is not None:
            state.fed = said
        return said


DECODERS: dict[str, type[Decoder]] = {"luong": Luong, "bahdanau": Bahdanau, "cho": Cho, "sutskever": Sutskever}


class RecurrentModel(SequenceToSequence):
    """A recurrent encoder and a recurrent decoder; arguments as of :class:`SequenceToSequence`."""

    encoder: Encoder
    decoder: Decoder

    def __init__(self, config: RecurrentConfig, src_vocab: int, tgt_vocab: int) -> None:
        encoder = Encoder(config)
        shared = encoder.stack.cells() if config.shared_cells else None
        super().__init__(config, encoder, DECODERS[config.decoder](config, shared), src_vocab, tgt_vocab)
        self.dropout = Dropout(config.dropout if config.embedding_dropout is None else config.embedding_dropout)
        self.scheduled_sampling = config.scheduled_sampling

    def encode(self, src: Tensor, src_mask: Tensor | None = None) -> Read:
        """``src`` [B, S] ids, ``src_mask`` [B, S] True at real tokens, which come first -> outputs and last states."""
        if src_mask is not None and src_mask.device.type == "cpu" and bool(src_mask.all()):
            src_mask = None  # nothing to hide: of sentences of one length
        read: Read = self.encoder(self.dropout(self.src_embedding.vectors(src)), src_mask)
        return read

    def decode(self, tgt: Tensor, memory: Read, src_mask: Tensor | None = None) -> Tensor:
        hidden: Tensor = self.decoder(self._told(tgt), self.decoder.start(memory, src_mask))
        return hidden

    def taught(self, src: Tensor, tgt: Tensor, src_mask: Tensor | None, progress: float) -> Tensor:
        """Scheduled sampling: Bengio et al. 2015, section 2.4, with their linear schedule and the likeliest token."""
        rate = progress * self.scheduled_sampling if self.training else 0.0
        state = self.decoder.start(self.encode(src, src_mask), src_mask)
        replaced = keep_mask(tgt.shape, rate).to(tgt.device) == 0 if rate else None
        hidden: Tensor = self.decoder(self._told(tgt), state, self._own, replaced)
        return hidden

    def start(self, src: Tensor, src_mask: Tensor | None = None) -> DecoderState:
        return self.decoder.start(self.encode(src, src_mask), src_mask)

    def look(self, tokens: Tensor, state: DecoderState) -> Tensor:
        return self.decoder.step(self._told(tokens), state)

    def _told(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.dropout(self.tgt_embedding.vectors(tokens))
        return vectors

    def _own(self, said: Tensor) -> Tensor:
        with torch.no_grad():
            # Not by the layer: without gradients it keeps its weight from step to step, and training changes it.
            tokens = nn.functional.linear(said, self.output.weight, self.output.bias).argmax(-1)
        return self._told(tokens)
