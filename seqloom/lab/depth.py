"""Pre- against post-norm as stacks grow, with and without a warm-up."""

import math
import statistics

import torch
from torch import nn

from seqloom.lab.page import Page, Plot, Table, Text
from seqloom.lab.toy import Tagger, learn, mirrored

VOCAB, LENGTH, WIDTH = 16, 12, 64
STEPS, RATE, WARMUP = 1000, 1e-3, 300
DEPTHS, DEEPER = [2, 4, 8, 16], [2, 4, 8, 16, 32]
LAST = 20
"""Updates at the end whose losses are averaged."""


def tagger(norm: str, depth: int) -> Tagger:
    torch.manual_seed(depth)
    return Tagger(VOCAB, d_model=WIDTH, d_ff=2 * WIDTH, num_heads=4, num_layers=depth, norm=norm)


def uneven(norm: str, depth: int) -> float:
    """At the start, the gradient of the last feed-forward layer over that of the first, by their norms."""
    model = tagger(norm, depth)
    tokens = torch.randint(VOCAB, (64, LENGTH))
    nn.functional.cross_entropy(model(tokens).flatten(0, 1), mirrored(tokens).flatten()).backward()
    gradients = [[weight.grad for weight in block.feedforward.parameters()] for block in model.layers()]
    norms = [float(nn.utils.get_total_norm([each for each in of if each is not None])) for of in gradients]
    return norms[-1] / norms[0]


def reached(norm: str, depth: int, warmup: int, rate: float, steps: int) -> float:
    """The loss at the end of a training."""
    losses = learn(tagger(norm, depth), mirrored, VOCAB, LENGTH, steps, rate, warmup)
    return statistics.mean(losses[-LAST:])


def depth(full: bool) -> Page:
    """The page; in full one depth more, and three times the updates."""
    depths, steps = (DEEPER, 3 * STEPS) if full else (DEPTHS, STEPS)
    ways = {
        "pre": ("pre", 0, RATE),
        "pre, warm-up": ("pre", WARMUP, RATE),
        "pre, warm-up, low rate": ("pre", WARMUP, RATE / 3),
        "post": ("post", 0, RATE),
        "post, warm-up": ("post", WARMUP, RATE),
        "post, warm-up, low rate": ("post", WARMUP, RATE / 3),
    }
    losses = {
        name: [reached(norm, deep, warmup, rate, steps) for deep in depths]
        for name, (norm, warmup, rate) in ways.items()
    }
    ratio = {norm: [uneven(norm, deep) for deep in depths] for norm in ("pre", "post")}
    guessing = math.log(VOCAB)
    fails = {  # a loss that is no number is no success either
        name: [str(deep) for deep, loss in zip(depths, values, strict=True) if not loss <= 0.5 * guessing]
        for name, values in losses.items()
    }

    def en(name: str) -> str:
        return (
            f"fails at {', '.join(fails[name])} layers" if fails[name] else f"learns at every depth up to {depths[-1]}"
        )

    def zh(name: str) -> str:
        return f"在 {'、'.join(fails[name])} 层时学不会" if fails[name] else f"到 {depths[-1]} 层都学得会"

    return Page(
        name="depth",
        title=Text("Pre- against post-norm with depth", "前置与后置归一化：随深度变化"),
        question=Text(
            "The paper normalises after each residual connection; later models do before each sublayer. Does it matter, "
            "and does a warm-up help?",
            "论文在每个残差连接之后归一化，后来的模型在每个子层之前归一化。有差别吗？预热有用吗？",
        ),
        done=Text(
            f"Encoders (d_model {WIDTH}, 4 heads) learn to say the mirror image of {LENGTH} tokens out of {VOCAB}: {steps} "
            f"updates of AdamW at a rate of {RATE:g} that falls to zero, with and without {WARMUP} updates in which it "
            f"rises before; with them also at a third of that rate. The loss of guessing is {guessing:.2f}; more than half of it counts as failed. Uneven: at the start, "
            f"the gradient of the last feed-forward layer over that of the first. One seed.",
            f"编码器（d_model {WIDTH}，4 个头）学习说出 {LENGTH} 个词（共 {VOCAB} 种）的镜像：AdamW {steps} 步，学习率 {RATE:g} 线性降到零，"
            f"有或没有 {WARMUP} 步的预热；有预热时另用三分之一的学习率。瞎猜的损失为 {guessing:.2f}，超过一半算学不会。不均匀度：训练之初最后一层前馈网络的梯度与第一层之比。一个种子。",
        ),
        verdict=Text(
            f"Without a warm-up post-norm {en('post')} and pre-norm {en('pre')}; with one, post-norm {en('post, warm-up')} (at a "
            f"third of the rate it {en('post, warm-up, low rate')}) and pre-norm {en('pre, warm-up')} (at a third of the rate it {en('pre, warm-up, low rate')}). At the start the last layer's gradient is {ratio['post'][-1]:.2g} times "
            f"the first one's with post-norm at {depths[-1]} layers, and {ratio['pre'][-1]:.2g} times with pre-norm.",
            f"不预热时，后置{zh('post')}，前置{zh('pre')}；预热后，后置{zh('post, warm-up')}（学习率降为三分之一时{zh('post, warm-up, low rate')}），前置{zh('pre, warm-up')}（学习率降为三分之一时{zh('pre, warm-up, low rate')}）。"
            f"{depths[-1]} 层时，训练之初最后一层的梯度是第一层的 {ratio['post'][-1]:.2g} 倍（后置）与 {ratio['pre'][-1]:.2g} 倍（前置）。",
        ),
        tables=[
            Table(
                ("layers", *(f"loss, {name}" for name in ways), "uneven, pre", "uneven, post"),
                [
                    (str(deep), *(losses[name][row] for name in ways), ratio["pre"][row], ratio["post"][row])
                    for row, deep in enumerate(depths)
                ],
            )
        ],
        plots=[
            Plot("layers", "loss at the end", {name: (depths, values) for name, values in losses.items()}, True, True),
            Plot("layers", "uneven", {name: (depths, values) for name, values in ratio.items()}, True, True),
        ],
        sources=(
            "Xiong et al. 2020, On Layer Normalization in the Transformer Architecture",
            "Vaswani et al. 2017, Attention Is All You Need, section 3.1",
        ),
    )
