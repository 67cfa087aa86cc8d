"""Training a decoder on all positions at once, behind a mask, against one step after another."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from seqloom.config import ModelConfig
from seqloom.lab.page import Page, Plot, Table, Text
from seqloom.models.encoder_decoder import EncoderDecoder

VOCAB, ROWS, SOURCE = 997, 8, 16
LENGTHS, LONGER = [4, 8, 16, 32, 64, 128], [256, 512]


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The quickest of some rounds, after one to warm up."""
    work()
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


@torch.no_grad()
def stepwise(model: EncoderDecoder, src: Tensor, tgt: Tensor) -> Tensor:
    """The logits [B, T, V] of given targets, by the step protocol that searches use."""
    state = model.start(src)
    return torch.stack([model.step(tgt[:, place], state) for place in range(tgt.size(1))], 1)


def parallel(full: bool) -> Page:
    """The page; longer with more lengths."""
    torch.manual_seed(3)
    model = EncoderDecoder(ModelConfig.model_validate({"preset": "small"}), VOCAB, VOCAB).eval()
    lengths = LENGTHS + LONGER if full else LENGTHS
    src = torch.randint(4, VOCAB, (ROWS, SOURCE))
    rows, apart = [], 0.0
    for length in lengths:
        tgt = torch.randint(4, VOCAB, (ROWS, length))
        with torch.no_grad():
            together = model(src, tgt)
            apart = max(apart, float((together - stepwise(model, src, tgt)).abs().max()))
            at_once = seconds(partial(model, src, tgt))
            one_by_one = seconds(partial(stepwise, model, src, tgt))
        rows.append((str(length), 1e3 * at_once, 1e3 * one_by_one, one_by_one / at_once))
    gains = [float(row[3]) for row in rows]
    same = apart < 1e-3
    return Page(
        name="parallel",
        title=Text("All positions at once, or step by step", "所有位置并行，还是一步一步"),
        question=Text(
            "With the target known, a masked decoder can calculate all positions at once. Are these the numbers that "
            "it would find step by step, and how much time does it save?",
            "目标已知时，带掩码的解码器可以同时计算所有位置。结果与一步一步算的相同吗？省多少时间？",
        ),
        done=Text(
            f"A Transformer of the preset `small` with random weights gives the logits of {ROWS} targets of each "
            f"length, once by its forward pass and once by the cached step that translating uses; the quickest of three "
            f"rounds, on {torch.get_num_threads()} threads, without gradients.",
            f"预设 `small` 的 Transformer（随机权重）对每种长度的 {ROWS} 个目标给出 logits：一次用前向传播，"
            f"一次用翻译时带缓存的逐步计算；取三轮中最快者，{torch.get_num_threads()} 个线程，不算梯度。",
        ),
        verdict=Text(
            f"{'The numbers are the same' if same else 'The numbers are NOT the same'}: {apart:.0e} at most lies "
            f"between them. At once is {gains[0]:.1f} times as fast with {lengths[0]} tokens and {max(gains):.1f} times "
            f"at best; the steps do the same work, but each is too small to keep a processor busy.",
            f"{'两者数值相同' if same else '两者数值不同'}：最多相差 {apart:.0e}。{lengths[0]} 个词时并行快 {gains[0]:.1f} 倍，"
            f"最多快 {max(gains):.1f} 倍；逐步计算的工作量相同，但每一步都太小，处理器无法满负荷。",
        ),
        tables=[Table(("target tokens", "at once, ms", "step by step, ms", "times as fast"), rows)],
        plots=[
            Plot(
                "target tokens",
                "ms",
                {
                    "at once": (lengths, [float(row[1]) for row in rows]),
                    "step by step": (lengths, [float(row[2]) for row in rows]),
                },
                True,
                True,
            )
        ],
        sources=("Vaswani et al. 2017, Attention Is All You Need, sections 1 and 3.1",),
    )
