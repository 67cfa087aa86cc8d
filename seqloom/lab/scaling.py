"""Why scores are divided by sqrt(d_k): their variance, how sharp their softmax is, what gets back through it."""

import math

import torch

from seqloom.lab.page import Page, Plot, Table, Text

WIDTHS = [4, 8, 16, 32, 64, 128, 256, 512, 1024]
DRAWS, QUERIES, KEYS = 64, 16, 32


def measure(width: int, scaled: bool) -> tuple[float, float, float]:
    """Variance of the scores, mean of the largest weight, and norm of the gradient at a query's products on average.

    The products are what both have in common: behind the division is another variable.
    """
    torch.manual_seed(width)
    q, k = torch.randn(DRAWS, QUERIES, width), torch.randn(DRAWS, KEYS, width)
    products = (q @ k.mT).requires_grad_()
    scores = products / math.sqrt(width) if scaled else products
    weights = scores.softmax(-1)
    (gradient,) = torch.autograd.grad((weights @ torch.randn(DRAWS, KEYS, 1)).sum(), products)
    largest = weights.detach().max(-1).values
    return float(scores.detach().var()), float(largest.mean()), float(gradient.norm(dim=-1).mean())


def scaling(full: bool) -> Page:
    """The page; there is no longer version of it."""
    found = {scaled: [measure(width, scaled) for width in WIDTHS] for scaled in (False, True)}
    rows = [
        (str(width), *plain, *divided) for width, plain, divided in zip(WIDTHS, found[False], found[True], strict=True)
    ]
    growth = math.log(found[False][-1][0] / found[False][0][0]) / math.log(WIDTHS[-1] / WIDTHS[0])
    ratios = [plain[2] / divided[2] for plain, divided in zip(found[False], found[True], strict=True)]
    last, at_64 = ratios[-1], ratios[WIDTHS.index(64)]
    sharp = found[False][-1][1]
    grows = 0.9 < growth < 1.1
    names = {False: "q k", True: "q k / sqrt(d)"}

    def times(ratio: float) -> str:
        return f"{max(ratio, 1 / ratio):.1f} times {'larger' if ratio > 1 else 'smaller'}"

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
            f"products of one query with the keys, before any division. Nothing was trained.",
            f"{DRAWS} 组、每组 {QUERIES} 个查询与 {KEYS} 个键，各分量为方差 1 的独立正态数（如训练之初）；对键做 softmax；"
            f"取注意结果的随机加权和，测其梯度在每个查询与各键的点积（除之前）上的范数。没有训练。",
        ),
        verdict=Text(
            f"The variance of an undivided score grows with d_k to the power of {growth:.2f}"
            f"{', as the paper says' if grows else ', which is not what the paper says'}: at {WIDTHS[-1]} the largest "
            f"of {KEYS} weights is {sharp:.2f} on average. The gradient at the products of query and key is "
            f"{times(last)} than with the division there, and {times(at_64)} at the usual width of 64.",
            f"不除时分数的方差随 d_k 的 {growth:.2f} 次方增长"
            f"{'，与论文所说一致' if grows else '，与论文所说不同'}：d_k 为 {WIDTHS[-1]} 时，{KEYS} 个权重中最大者平均达 "
            f"{sharp:.2f}。此时查询与键的点积所得的梯度是除过时的 {last:.2g} 倍，在常用的 64 维时是除过时的 {at_64:.2g} 倍。",
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
