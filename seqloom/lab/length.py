"""Time and memory against length: self-attention and recurrence, in a training step and in a step of decoding."""

import math
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from seqloom.config import ModelConfig, RecurrentConfig
from seqloom.errors import UserError
from seqloom.lab.page import Page, Plot, Table, Text
from seqloom.lab.parallel import seconds
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.recurrent import RecurrentModel
from seqloom.models.sequence_to_sequence import SequenceToSequence
from seqloom.training.process import peak_memory, reset_peak_memory

VOCAB, ROWS, SOURCE, WIDTH = 97, 4, 8, 128
LENGTHS, LONGER = [32, 64, 128, 256, 512, 1024], [2048]
FITTED = 4
"""Of the lengths, how many of the longest the exponents are fitted to: of short ones overhead is most."""
WINDOW = 16
"""Steps up to a length whose median is the time of one."""
PASSES = 3
"""Of a decoding, the quickest of which counts for each step, after one to warm up."""
QUADRATIC = 1.8
"""An exponent that may be called so."""


def models() -> dict[str, SequenceToSequence]:
    """Decoders of equally many weights, 32 d^2: two layers with self-attention, or four LSTMs; small encoders."""
    shared: dict[str, Any] = {"d_model": WIDTH, "num_encoder_layers": 1, "dropout": 0.0}
    attention = {**shared, "d_ff": 4 * WIDTH, "num_heads": 4, "num_decoder_layers": 2, "norm": "pre"}
    recurrence = {**shared, "kind": "recurrent", "decoder": "sutskever", "num_decoder_layers": 4}
    torch.manual_seed(3)
    return {
        "attention": EncoderDecoder(ModelConfig.model_validate(attention), VOCAB, VOCAB),
        "recurrence": RecurrentModel(RecurrentConfig.model_validate(recurrence), VOCAB, VOCAB),
    }


def update(model: SequenceToSequence, length: int) -> None:
    """Forwards and backwards over targets of one length."""
    src, tgt = torch.randint(4, VOCAB, (ROWS, SOURCE)), torch.randint(4, VOCAB, (ROWS, length + 1))
    real = torch.arange(ROWS * length)
    model.loss(src, tgt[:, :-1], tgt[:, 1:], None, real).backward()
    model.zero_grad()


def megabytes(model: SequenceToSequence, length: int) -> float:
    """By how much an update raises what this process holds."""
    reset_peak_memory()
    before = peak_memory()
    update(model, length)
    after = peak_memory()
    assert before is not None
    assert after is not None
    return max(after - before, 0) / 2**20


@torch.no_grad()
def steps(model: SequenceToSequence, lengths: Sequence[int]) -> list[float]:
    """Seconds of one step of decoding when targets have reached each of ``lengths``."""
    src, tokens = torch.randint(4, VOCAB, (ROWS, SOURCE)), torch.randint(4, VOCAB, (max(lengths), ROWS))
    passes = []
    for _ in range(1 + PASSES):
        state, took = model.start(src), []
        for token in tokens:
            begun = time.perf_counter()
            model.step(token, state)
            took.append(time.perf_counter() - begun)
        passes.append(took)
    took = [min(each) for each in zip(*passes[1:], strict=True)]
    return [statistics.median(took[max(0, length - WINDOW) : length]) for length in lengths]


def exponent(lengths: Sequence[int], values: Sequence[float]) -> float:
    """p of values that grow as length^p, by least squares of the logarithms of the last ``FITTED``."""
    x = [math.log(length) for length in lengths[-FITTED:]]
    y = [math.log(value) for value in values[-FITTED:]]
    return statistics.linear_regression(x, y).slope


def crossing(lengths: Sequence[int], a: Sequence[float], b: Sequence[float]) -> float | None:
    """Where ``a`` comes to cost more than ``b``, between two lengths along straight lines of logarithms."""
    gaps = [math.log(one / other) for one, other in zip(a, b, strict=True)]
    for row in range(len(gaps) - 1, 0, -1):
        if gaps[row - 1] <= 0 < gaps[row]:
            share = -gaps[row - 1] / (gaps[row] - gaps[row - 1])
            return lengths[row - 1] * (lengths[row] / lengths[row - 1]) ** share
    return None


def length(full: bool) -> Page:
    """The page; longer with a longer length.

    Raises:
        UserError: if the system does not tell how much memory was in use.
    """
    if not Path("/proc/self/clear_refs").exists():
        raise UserError("the experiment length measures memory, which this system does not tell; run it on Linux")
    lengths = LENGTHS + LONGER if full else LENGTHS
    of = models()
    trained = {name: [1e3 * seconds(partial(update, model, each)) for each in lengths] for name, model in of.items()}
    memory = {name: [megabytes(model, each) for each in lengths] for name, model in of.items()}
    for model in of.values():
        model.eval()
    decoded = {name: [1e3 * each for each in steps(model, lengths)] for name, model in of.items()}
    measured = {"training step, ms": trained, "peak memory, MB": memory, "decoding step, ms": decoded}
    grows = {
        what: {name: exponent(lengths, each) for name, each in values.items()} for what, values in measured.items()
    }
    cross = {what: crossing(lengths, values["attention"], values["recurrence"]) for what, values in measured.items()}
    fitted = f"{lengths[-FITTED]} to {lengths[-1]}"

    def growth(what: str) -> str:
        return f"{grows[what]['attention']:.2f} | {grows[what]['recurrence']:.2f}"

    def where(what: str) -> Text:
        place, values = cross[what], measured[what]
        if place is not None:
            return Text(f"from about {place:,.0f} tokens on", f"约 {place:,.0f} 个词起")
        if values["attention"][-1] > values["recurrence"][-1]:
            return Text(f"at all lengths from {lengths[0]} tokens on", f"从 {lengths[0]} 个词起一直如此")
        return Text(f"not even at {lengths[-1]:,} tokens", f"到 {lengths[-1]:,} 个词仍不是")

    train, held, said = measured
    steepest = grows[train]["attention"]
    quadratic = steepest >= QUADRATIC
    return Page(
        name="length",
        title=Text("Time and memory against length", "时间与内存随长度的变化"),
        question=Text(
            "Self-attention compares all places with all, recurrence goes from one to the next: their costs should grow "
            "with the square of the length and with the length. From where on is attention the more expensive one?",
            "自注意力让所有位置两两比较，循环则一步一步走：代价应分别随长度的平方和一次方增长。从多长起注意力更贵？",
        ),
        done=Text(
            f"Decoders of equally many weights: two Transformer layers, d_model {WIDTH}, or four LSTMs of {WIDTH} units; "
            f"sources of {SOURCE} tokens, so that the targets are what counts. A training step: loss and gradients of "
            f"{ROWS} targets, the quickest of three rounds. Memory: by how much such a step raises the resident size of "
            f"the process at its peak. A decoding step: one more token of {ROWS} targets, with the states or the keys and "
            f"values of those before it kept, the median of {WINDOW}, each the quickest of three. {torch.get_num_threads()} threads. Exponents are "
            f"fitted from {fitted} tokens.",
            f"参数同样多的解码器：两层 Transformer，d_model {WIDTH}；或四层 {WIDTH} 个单元的 LSTM。源句 {SOURCE} 个词，主要代价在目标。"
            f"训练一步：{ROWS} 个目标的损失与梯度，取三轮中最快者。内存：这一步使进程常驻内存的峰值升高多少。"
            f"解码一步：给 {ROWS} 个目标各加一个词（此前的状态或键值已保存），每步重复三次取最快者，再取 {WINDOW} 步的中位数。{torch.get_num_threads()} 个线程。"
            f"指数在 {lengths[-FITTED]} 到 {lengths[-1]} 个词之间拟合。",
        ),
        verdict=Text(
            f"From {fitted} tokens, with attention | recurrence, a training step grows with the length to the power of "
            f"{growth(train)}, its memory of {growth(held)}, and a decoding step of {growth(said)}; "
            f"{'for attention that is the square of the textbooks' if quadratic else 'for attention that is not yet the square of the textbooks'}. "
            f"Attention is the more expensive one in time to train {where(train).en}, in memory {where(held).en}, and in "
            f"time to decode {where(said).en}.",
            f"从 {lengths[-FITTED]} 到 {lengths[-1]} 个词，训练一步的时间随长度的 {growth(train)} 次方增长（注意力 | 循环），内存为 {growth(held)}，"
            f"解码一步为 {growth(said)}；{'注意力确如教科书所说为平方' if quadratic else '注意力尚未达到教科书所说的平方'}。"
            f"注意力更贵的范围：训练时间，{where(train).zh}；内存，{where(held).zh}；解码时间，{where(said).zh}。",
        ),
        tables=[
            Table(
                ("target tokens", *(f"{what}, {name}" for what in measured for name in of)),
                [
                    (str(each), *(values[name][row] for values in measured.values() for name in of))
                    for row, each in enumerate(lengths)
                ],
            ),
            Table(
                ("", "exponent, attention", "exponent, recurrence", "attention costs more"),
                [
                    (what, f"{grows[what]['attention']:.2f}", f"{grows[what]['recurrence']:.2f}", where(what).en)
                    for what in measured
                ],
            ),
        ],
        plots=[
            Plot("target tokens", what, {name: (lengths, each) for name, each in values.items()}, True, True)
            for what, values in measured.items()
        ],
        sources=("Vaswani et al. 2017, Attention Is All You Need, section 4 and table 1",),
    )
