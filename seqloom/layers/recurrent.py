"""Recurrent layers: cells that can be read, run step by step or by torch's fused kernels.

Elman 1990, "Finding Structure in Time"; Hochreiter and Schmidhuber 1997, "Long Short-Term Memory";
Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder".
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from seqloom.layers.dropout import dropout
from seqloom.layers.linear import PlainLinear

State = tuple[Tensor, ...]
"""What a cell remembers, each [B, H]: first h, which is also its output; of an LSTM then c. H is its width here."""

OPEN = 1e4
"""What opens a gate for good: its sigmoid is 1, and of the negative 0, to the last bit."""


class Cell(nn.Module):
    """One layer in one direction: an input and the state so far -> the next state.

    Args:
        input_size: width of the inputs.
        hidden_size: H, width of the state.
    """

    GATES: ClassVar[int]
    """Vectors of width H that inputs and state are projected to."""
    STATES: ClassVar[int] = 1
    """Tensors of a state."""
    CARRYING: ClassVar[tuple[float, ...]] = ()
    """What to add to the gates so that the last tensor of the state stays as it is; nothing where h is all."""
    KERNEL: ClassVar[Callable[..., Any]]
    """torch's."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.input = PlainLinear(input_size, self.GATES * hidden_size)
        self.recurrent = PlainLinear(hidden_size, self.GATES * hidden_size)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Recurrent matrices that keep lengths (Saxe et al. 2014), no bias."""
        for linear, init in ((self.input, nn.init.xavier_uniform_), (self.recurrent, nn.init.orthogonal_)):
            for gate in linear.weight.detach().chunk(self.GATES):
                init(gate)
            nn.init.zeros_(linear.bias)

    def update(self, inputs: Tensor, recurrent: Tensor, state: State) -> State:
        """One step, from what the linear layers make of the input and of h, [B, GATES * H] each."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: State) -> State:
        """One step: ``x`` [B, input_size] -> the next state."""
        return self.update(self.input(x), self.recurrent(state[0]), state)

    def start(self, x: Tensor) -> State:
        """The state before the first of inputs [B, ...]: all zero."""
        return (x.new_zeros(len(x), self.hidden_size),) * self.STATES

    def sequence(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        more: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, State]:
        """All steps by torch's fused kernel.

        Args:
            x: [B, T, input_size].
            state: before the first step; zero unless given.
            mask: [B, T], True at real inputs, which come first and are at least one.
            more: inputs beside ``x``, [B, T, C], and their own weight, [GATES * H, C].

        Returns:
            h after each step, [B, T, H], of which those at padding mean nothing; the state after the last real input.
        """
        beside = [] if more is None else [more]
        if self.CARRYING and mask is not None:
            # One more channel, 1 at padding, whose weights hold the state there.
            column = x.new_tensor(self.CARRYING).repeat_interleave(self.hidden_size)
            beside.append((~mask[:, :, None], column[:, None]))
        weight = self.input.weight
        if beside:
            x = torch.cat([x, *(inputs for inputs, _ in beside)], 2)
            weight = torch.cat([weight, *(columns for _, columns in beside)], 1)
        weights = [weight, self.recurrent.weight, self.input.bias, self.recurrent.bias]
        before = [each[None] for each in state or self.start(x)]
        first = before if len(before) > 1 else before[0]
        training = x.is_cuda and torch.is_grad_enabled()  # or cuDNN knows no way back
        outputs, *after = type(self).KERNEL(x, first, weights, True, 1, 0.0, training, False, True)
        last = [each[0] for each in after]
        if mask is not None:
            ends = mask.sum(1) - 1
            last[0] = outputs[torch.arange(len(x), device=x.device), ends]
        return outputs, tuple(last)


class RNNCell(Cell):
    """h' = tanh(W x + b + U h + d)."""

    GATES = 1
    KERNEL = staticmethod(torch.rnn_tanh)

    def update(self, inputs: Tensor, recurrent: Tensor, state: State) -> State:
        return (torch.tanh(inputs + recurrent),)


class LSTMCell(Cell):
    """c' = f * c + i * g,  h' = o * tanh(c'), with four gates, each of W x + b + U h + d.

    i, f, o = sigmoid(...), g = tanh(...): Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000,
    which starts open (Jozefowicz et al. 2015, section 5).
    """

    GATES = 4
    STATES = 2
    CARRYING = (-OPEN, OPEN, 0.0, 0.0)
    KERNEL = staticmethod(torch.lstm)

    def _reset_parameters(self) -> None:
        super()._reset_parameters()
        nn.init.ones_(self.input.bias.detach()[self.hidden_size : 2 * self.hidden_size])

    def update(self, inputs: Tensor, recurrent: Tensor, state: State) -> State:
        i, f, g, o = (inputs + recurrent).chunk(4, -1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class GRUCell(Cell):
    """h' = (1 - z) * n + z * h, with two gates and a candidate.

    r = sigmoid(W_r x + b_r + U_r h + d_r), z likewise, n = tanh(W_n x + b_n + r * (U_n h + d_n)). Cho et al. 2014,
    section 2.3, but r falls on the product and not on h, as in cuDNN and torch, so that all products of h are one.
    """

    GATES = 3
    KERNEL = staticmethod(torch.gru)

    def update(self, inputs: Tensor, recurrent: Tensor, state: State) -> State:
        (h,) = state
        x_r, x_z, x_n = inputs.chunk(3, -1)
        h_r, h_z, h_n = recurrent.chunk(3, -1)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        n = (x_n + r * h_n).tanh()
        return (n + z * (h - n),)


CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}


def reversal(mask: Tensor) -> Tensor:
    """Where each step of a sequence read backwards is found, [B, T]: real ones last to first, padding where it was.

    ``mask`` [B, T], True at real steps, which come first.
    """
    places = torch.arange(mask.size(1), device=mask.device).expand_as(mask)
    return torch.where(mask, mask.sum(1, keepdim=True) - 1 - places, places)


class Read(NamedTuple):
    """What a stack of recurrent layers makes of a sequence."""

    outputs: Tensor
    """[B, T, width]: h of the last layer at each step, forwards and backwards side by side; no meaning at padding."""
    last: list[State]
    """Of each layer, the state after the last real step, of both directions side by side: [B, width] each."""


class Recurrent(nn.Module):
    """A stack of cells over a whole sequence, in one direction or in both.

    A layer that reads both ways sees the outputs of both ways of the layer below (Schuster and Paliwal 1997).

    Args:
        cell: one of ``CELLS``.
        input_size: width of the inputs.
        hidden_size: units of a layer and direction.
        num_layers: depth.
        bidirectional: whether each layer reads both ways.
        drop: probability of dropping a number between two layers while training.
    """

    def __init__(
        self,
        cell: type[Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = hidden_size * (1 + bidirectional)
        self.drop = drop
        sizes = [input_size] + [self.width] * (num_layers - 1)
        self.forwards = nn.ModuleList(cell(size, hidden_size) for size in sizes)
        self.backwards = nn.ModuleList(cell(size, hidden_size) for size in sizes if bidirectional)

    def cells(self) -> list[Cell]:
        """Those that read forwards, the lowest first."""
        return cast(list[Cell], list(self.forwards))

    @property
    def directions(self) -> Sequence[tuple[Cell, ...]]:
        """The cells of each layer: forwards and, where there is one, backwards."""
        stacks = [self.forwards, self.backwards] if len(self.backwards) else [self.forwards]
        return cast(list[tuple[Cell, ...]], list(zip(*stacks, strict=True)))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Read:
        """``x`` [B, T, input_size]; ``mask`` [B, T], True at real steps, which come first and are at least one.

        What is real does not depend on the padding.
        """
        order = None
        if len(self.backwards):
            order = reversal(torch.ones_like(x[:, :, 0], dtype=torch.bool) if mask is None else mask)
        last = []
        for number, cells in enumerate(self.directions):
            if number and self.training:
                x = dropout(x, self.drop)
            outputs, state = cells[0].sequence(x, mask=mask)
            for backwards in cells[1:]:
                assert order is not None
                mirrored, ended = backwards.sequence(_at(x, order), mask=mask)
                outputs = torch.cat([outputs, _at(mirrored, order)], 2)
                state = tuple(torch.cat(pair, 1) for pair in zip(state, ended, strict=True))
            last.append(state)
            x = outputs
        return Read(x, last)


def _at(x: Tensor, order: Tensor) -> Tensor:
    """The steps ``order`` [B, T] of ``x`` [B, T, D]."""
    return x.gather(1, order[:, :, None].expand_as(x))
