"""Why scores are divided by sqrt(d_k): their variance, how sharp their softmax is, what gets back through it."""

import math

import torch

from seqloom.lab.page import Page, Plot, Table, Text

WIDTHS = [4, 8, 16, 32, 64, 128, 256, 512, 1024]
DRAWS, QUERIES, KEYS = 64, 16, 32


def measure(width: int, scaled: bool) -> tuple[float, float, float]:
    """Variance of the scores, mean of the largest weight, and norm of the gradient that a score gets on average."""
    torch.manual_seed(width)
    q, k = torch.randn(DRAWS, QUERIES, width), torch.randn(DRAWS, KEYS, width)
    scores = (q @ k.mT / (math.sqrt(width) if scaled else 1.0)).requires_grad_()
    weights = scores.softmax(-1)
    (gradient,) = torch.autograd.grad((weights @ torch.randn(DRAWS, KEYS, 1)).sum(), scores)
    largest = weights.detach().max(-1).values
    return float(scores.detach().var()), float(largest.mean()), float(gradient.norm(dim=-1).mean())


def scaling(full: bool) -> Page:
    """The page; there is no longer version of it."""
    found = {scaled: [measure(width, scaled) for width in WIDTHS] for scaled in (False, True)}
    rows = [
        (str(width), *plain, *divided) for width, plain, divided in zip(WIDTHS, found[False], found[True], strict=True)
    ]
    growth = math.log(found[False][-1][0] / found[False][0][0]) / math.log(WIDTHS[-1] / WIDTHS[0])
    lost = found[True][-1][2] / found[False][-1][2]
    at_64 = found[True][WIDTHS.index(64)][2] / found[False][WIDTHS.index(64)][2]
    sharp = found[False][-1][1]
    grows = 0.9 < growth < 1.1
    names = {False: "q k", True: "q k / sqrt(d)"}
    return Page(
        name="scaling",
        title=Text("With and without the division by sqrt(d_k)", "除以与不除以 √d_k"),
        question=Text(
            "Attention divides the product of query and key by the square root of their width. What goes wrong "
            "without it?",
            "注意力把查询与键的点积除以其维度的平方根。不除会怎样？",
        ),
        done=Text(
            f"{DRAWS} times {QUERIES} queries and {KEYS} keys with independent normal components of variance 1, as at the start of "
            f"a training; softmax over the keys; the gradient of a random sum of what is seen, by its norm at the "
            f"scores of one query. Nothing was trained.",
            f"{DRAWS} 组、每组 {QUERIES} 个查询与 {KEYS} 个键，各分量为方差 1 的独立正态数（如训练之初）；对键做 softmax；"
            f"取注意结果的随机加权和，测其梯度在每个查询的分数上的范数。没有训练。",
        ),
        verdict=Text(
            f"The variance of an undivided score grows with d_k to the power of {growth:.2f}"
            f"{', as the paper says' if grows else ', which is not what the paper says'}: at {WIDTHS[-1]} the largest "
            f"of {KEYS} weights is {sharp:.2f} on average and the gradient {lost:.0f} times smaller than with the "
            f"division. At the usual width of 64 it is only {at_64:.1f} times smaller, so at first a training is "
            f"slowed down there and not brought to a stop.",
            f"不除时分数的方差随 d_k 的 {growth:.2f} 次方增长"
            f"{'，与论文所说一致' if grows else '，与论文所说不同'}：d_k 为 {WIDTHS[-1]} 时，{KEYS} 个权重中最大者平均达 "
            f"{sharp:.2f}，梯度只有除过之后的 1/{lost:.0f}。在常用的 64 维时只小 {at_64:.1f} 倍，"
            f"所以训练之初只是变慢，并不会停住。",
        ),
        tables=[
            Table(
                (
                    *("d_k", "variance", "largest weight", "gradient"),
                    *("variance, divided", "largest weight, divided", "gradient, divided"),
                ),
                rows,
            )
        ],
        plots=[
            Plot("d_k", label, {names[s]: (WIDTHS, [each[column] for each in found[s]]) for s in names}, True, log)
            for column, label, log in ((0, "variance", True), (1, "largest weight", False), (2, "gradient", True))
        ],
        sources=("Vaswani et al. 2017, Attention Is All You Need, section 3.2.1 and footnote 4",),
    )
