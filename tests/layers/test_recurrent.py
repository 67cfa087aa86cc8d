import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seqloom.layers.recurrent import CELLS, Recurrent, reversal
from tests.layers.copied_weights import randomize

TORCH = {
    "rnn": (nn.RNN, nn.RNNCell),
    "lstm": (nn.LSTM, nn.LSTMCell),
    "gru": (nn.GRU, nn.GRUCell),
}


def made(name, *sizes, **options):
    """A stack with random weights, in float64 where nothing is lost."""
    torch.manual_seed(1)
    stack = Recurrent(CELLS[name], *sizes, **options).double().eval()
    randomize(stack)
    return stack


def by_steps(cell, x, state=None):
    """h after each step, and the last state, cell by cell."""
    state = cell.start(x) if state is None else state
    outputs = []
    for t in range(x.size(1)):
        state = cell(x[:, t], state)
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def test_every_cell_has_its_peer():
    assert set(CELLS) == set(TORCH)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_torchs_cell(name):
    torch.manual_seed(1)
    ours, theirs = CELLS[name](5, 7).double(), TORCH[name][1](5, 7).double()
    randomize(ours)
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.input.weight)
        theirs.weight_hh.copy_(ours.recurrent.weight)
        theirs.bias_ih.copy_(ours.input.bias)
        theirs.bias_hh.copy_(ours.recurrent.bias)
    x = torch.randn(3, 5, dtype=torch.float64)
    state = tuple(torch.randn(3, 7, dtype=torch.float64) for _ in range(ours.STATES))
    expected = theirs(x, state if len(state) > 1 else state[0])
    for ours_, theirs_ in zip(ours(x, state), expected if len(state) > 1 else (expected,), strict=True):
        torch.testing.assert_close(ours_, theirs_)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", CELLS)
def test_the_fused_kernel_is_the_cell_step_by_step_and_so_are_its_gradients(name, dtype, atol):
    torch.manual_seed(1)
    cell = CELLS[name](5, 7).to(dtype)
    randomize(cell)
    x = torch.randn(3, 11, 5, dtype=dtype)
    state = tuple(torch.randn(3, 7, dtype=dtype) for _ in range(cell.STATES))
    gradients = []
    for run in (cell.sequence, lambda *given: by_steps(cell, *given)):
        inputs = [each.clone().requires_grad_() for each in (x, *state)]
        outputs, last = run(inputs[0], tuple(inputs[1:]))
        (outputs.square().sum() + sum((i + 2) * each.square().sum() for i, each in enumerate(last))).backward()
        gradients.append([outputs, *last, *[each.grad for each in (*inputs, *cell.parameters())]])
        cell.zero_grad()
    for fused, stepped in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, stepped, atol=atol, rtol=1e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("name", CELLS)
def test_a_stack_is_torchs_over_packed_sequences(name, num_layers, bidirectional):
    stack = made(name, 5, 7, num_layers=num_layers, bidirectional=bidirectional)
    theirs = TORCH[name][0](5, 7, num_layers, batch_first=True, bidirectional=bidirectional).double()
    with torch.no_grad():
        for number, cells in enumerate(stack.directions):
            for way, cell in zip(("", "_reverse"), cells, strict=False):
                for ours, role in ((cell.input, "ih"), (cell.recurrent, "hh")):
                    getattr(theirs, f"weight_{role}_l{number}{way}").copy_(ours.weight)
                    getattr(theirs, f"bias_{role}_l{number}{way}").copy_(ours.bias)
    lengths = torch.tensor([11, 1, 3, 11])
    x = torch.randn(4, 11, 5, dtype=torch.float64)
    mask = torch.arange(11) < lengths[:, None]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    outputs, last = theirs(packed)
    outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    last = last if isinstance(last, tuple) else (last,)  # each [layers * directions, B, H]
    read = stack(x, mask)
    torch.testing.assert_close(read.outputs[mask], outputs[mask])
    for number, state in enumerate(read.last):
        for ours, theirs_ in zip(state, last, strict=True):
            ways = theirs_.view(num_layers, 1 + bidirectional, 4, 7)[number]
            torch.testing.assert_close(ours, ways.transpose(0, 1).flatten(1))


@given(
    name=st.sampled_from(sorted(CELLS)),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    more=st.integers(0, 3),
)
def test_neither_padding_nor_company_changes_a_sequence(name, lengths, more):
    stack = made(name, 3, 5, num_layers=2, bidirectional=True)
    longest = max(lengths)
    x = torch.randn(len(lengths), longest + more, 3, dtype=torch.float64)
    mask = torch.arange(longest + more) < torch.tensor(lengths)[:, None]
    together = stack(x, mask)
    for row, length in enumerate(lengths):
        alone = stack(x[row : row + 1, :length])
        torch.testing.assert_close(together.outputs[row, :length], alone.outputs[0])
        for batch, single in zip(together.last, alone.last, strict=True):
            for ours, expected in zip(batch, single, strict=True):
                torch.testing.assert_close(ours[row], expected[0])


@pytest.mark.parametrize("name", CELLS)
def test_no_gradient_reaches_padding_and_none_of_it_the_weights(name):
    stack = made(name, 3, 5, num_layers=2, bidirectional=True)
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    gradients = []
    for noise in (0.0, 100.0):
        inputs = torch.where(mask[:, :, None], x, noise).requires_grad_()
        read = stack(inputs, mask)
        total = read.outputs[mask].square().sum() + sum(each.square().sum() for state in read.last for each in state)
        total.backward()
        assert inputs.grad is not None
        assert not inputs.grad[~mask].any()
        gradients.append([parameter.grad for parameter in stack.parameters()])
        stack.zero_grad()
    for quiet, loud in zip(*gradients, strict=True):
        torch.testing.assert_close(quiet, loud)


def test_read_backwards_the_real_steps_turn_round_and_padding_stays():
    mask = torch.tensor([[True, True, True, False, False], [True, True, True, True, True]])
    assert reversal(mask).tolist() == [[2, 1, 0, 3, 4], [4, 3, 2, 1, 0]]


def test_the_backward_direction_alone_sees_what_comes_later():
    stack = made("gru", 3, 5, bidirectional=True)
    x = torch.randn(1, 7, 3, dtype=torch.float64)
    changed = x.clone()
    changed[:, 4] += 1
    before, after = stack(x).outputs, stack(changed).outputs
    differs = (before != after)[0]
    assert differs[:, :5].any(1).tolist() == [False] * 4 + [True] * 3
    assert differs[:, 5:].any(1).tolist() == [True] * 5 + [False] * 2


def test_what_is_between_two_layers_is_dropped_while_training():
    stack = made("gru", 3, 5, num_layers=2, drop=0.5).train()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    torch.manual_seed(3)
    first = stack(x)
    torch.manual_seed(4)
    second = stack(x)
    assert torch.equal(first.last[0][0], second.last[0][0])
    assert not torch.equal(first.outputs, second.outputs)
    stack.eval()
    assert torch.equal(stack(x).outputs, stack(x).outputs)


def test_an_lstm_starts_with_its_forget_gate_open_and_lengths_are_kept():
    cell = CELLS["lstm"](5, 7)
    assert cell.input.bias.view(4, 7).tolist() == [[0.0] * 7, [1.0] * 7, [0.0] * 7, [0.0] * 7]
    for gate in cell.recurrent.weight.chunk(4):
        torch.testing.assert_close(gate @ gate.t(), torch.eye(7), atol=1e-5, rtol=0)
