"""The products that are counted are those that are made, forward and backward."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seqloom.config import ModelConfig
from seqloom.layers import linear
from seqloom.layers.attention import attend
from seqloom.layers.recurrent import CELLS
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.training.products import Product, Products, best_seconds, flops, made_alone, recorded

SIZES = {
    "d_model": 28, "d_ff": 37, "num_heads": 2, "num_encoder_layers": 3, "num_decoder_layers": 2, "dropout": 0.1,
}  # fmt: skip
ROWS, SOURCE, TARGET, VOCAB, REAL = 5, 17, 19, 101, 41


def learn(settings: dict[str, Any], consistency: float = 0.0, dtype: torch.dtype = torch.float32) -> Any:
    """Work that takes one batch through a small translator, forward and backward."""
    model = EncoderDecoder(ModelConfig.model_validate({**SIZES, **settings}), VOCAB, VOCAB)
    src, tgt, targets = (torch.randint(1, VOCAB, (ROWS, length)) for length in (SOURCE, TARGET, TARGET))

    def work() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = model.loss(src, tgt, targets, src > 0, torch.arange(REAL), 0.1, consistency)
        loss.backward()

    return work


@pytest.mark.parametrize("name", CELLS)
def test_a_fused_recurrent_layer_makes_the_products_of_its_steps(name: str) -> None:
    cell, x = CELLS[name](28, 23), torch.randn(ROWS, SOURCE, 28, requires_grad=True)

    def fused() -> None:
        cell.sequence(x, cell.start(x))[0].sum().backward()

    def stepwise() -> None:
        state, outputs = cell.start(x), []
        for inputs in cell.input(x).unbind(1):
            state = cell.update(inputs, cell.recurrent(state[0]), state)
            outputs.append(state[0])
        torch.stack(outputs).sum().backward()

    missing = 2 * ROWS * 23 * cell.recurrent.out_features  # nothing before the first step wants its gradient
    assert flops(recorded(fused)) - flops(recorded(stepwise)) in (0, missing)


def by_hand() -> int:
    """Operations of the forward pass of ``SIZES``, from the paper's figure 1."""
    d, f = SIZES["d_model"], SIZES["d_ff"]
    src, tgt = ROWS * SOURCE, ROWS * TARGET
    encoder = src * (4 * d * d + 2 * d * f) + 2 * ROWS * SOURCE * SOURCE * d
    own = tgt * 4 * d * d + 2 * ROWS * TARGET * TARGET * d
    across = 2 * (tgt + src) * d * d + 2 * ROWS * TARGET * SOURCE * d
    decoder = own + across + tgt * 2 * d * f
    return 2 * int(3 * encoder + 2 * decoder + REAL * d * VOCAB)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_makes_three_times_the_products_of_its_forward_pass(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(linear, "_kernels_take_long", lambda: False)  # no rows that only fill
    assert flops(recorded(learn({}, dtype=dtype))) == 3 * by_hand()


def test_two_passes_are_twice_as_much() -> None:
    """Also where the loss and its gradient are one function (R-Drop)."""
    assert flops(recorded(learn({}, consistency=1.0))) == 2 * 3 * by_hand()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_kv_heads": 1},
        {"activation": "swiglu"},
        {"linear": "weight_norm"},
        {"positions": "rotary"},
        {"positions": "shaw"},
    ],
)
def test_they_are_those_that_torch_counts(settings: dict[str, Any]) -> None:
    work = learn(settings)
    with FlopCounterMode(display=False) as counter:
        work()
    assert flops(recorded(work)) == counter.get_total_flops()


def test_a_fused_kernel_makes_what_it_stands_for() -> None:
    """Forward and backward, whether its scores are made anew on the way back or not."""

    def attended(function: Any) -> Products:
        q, k, v = (torch.randn(2, 3, length, 8, requires_grad=True) for length in (5, 17, 17))
        return recorded(lambda: function(q, k, v).sum().backward())

    fused, explicit = attended(nn.functional.scaled_dot_product_attention), attended(attend)
    assert flops(fused) == flops(explicit) == 3 * 2 * 2 * (2 * 3) * (5 * 17 * 8)


def test_weights_that_are_frozen_make_fewer() -> None:
    linear = nn.Linear(3, 5)
    x = torch.randn(7, 3, requires_grad=True)
    assert flops(recorded(lambda: linear(x).sum().backward())) == 3 * 2 * 3 * 5 * 7
    linear.requires_grad_(False)
    assert flops(recorded(lambda: linear(x).sum().backward())) == 2 * 2 * 3 * 5 * 7


def test_they_are_made_alone_as_often_and_laid_out_as_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(7, 3), torch.randn(5, 3)
    pairs, others = torch.randn(2, 3, 5), torch.randn(2, 5, 11)
    products = recorded(lambda: (a @ b.t(), a @ b.t(), a.t() @ a, pairs @ others, pairs.mT @ pairs))
    assert products == {
        Product(1, 7, 3, 5, (False, True)): 2,
        Product(1, 3, 7, 3, (True, False)): 1,
        Product(2, 3, 5, 11): 1,
        Product(2, 5, 3, 5, (True, False)): 1,
    }
    matmul, made = torch.matmul, []

    def watched(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
        made.append((a.clone(memory_format=torch.preserve_format), b.clone(memory_format=torch.preserve_format)))
        assert a.dtype == b.dtype == out.dtype == torch.bfloat16
        return matmul(a, b, out=out)

    monkeypatch.setattr(torch, "matmul", watched)
    made_alone(products, torch.bfloat16, torch.device("cpu"))()
    again = recorded(lambda: [matmul(a, b) for a, b in made])
    assert again == products


def test_the_best_round_counts_but_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now, took = [0.0], iter([1.0, 5.0, 3.0, 4.0, 2.0])
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work() -> None:
        now[0] += next(took)

    assert best_seconds(work, torch.device("cpu"), 12.5) == 3.0
    assert next(took) == 2.0
