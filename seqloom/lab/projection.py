"""One projection for queries and keys, or one each: with one, looking is mutual."""

import statistics
from functools import partial

from seqloom.lab.page import Page, Table, Text
from seqloom.lab.toy import SEEDS, Rule, Tagger, accuracies, before, mirrored, ring

VOCAB, LENGTH = 16, 12
STEPS = 400
SEEN = 0.05
"""A difference of accuracies that counts."""

RULES: dict[str, Rule] = {"mirror": mirrored, "chain": before, "ring": ring}

SIZES = {"1 layer, 1 head": (1, 1), "1 layer, 4 heads": (1, 4), "2 layers, 1 head": (2, 1)}
MORE = {"2 layers, 4 heads": (2, 4), "4 layers, 1 head": (4, 1)}


def tagger(shared: bool, depth: int, heads: int) -> Tagger:
    """With one matrix for queries and keys if ``shared``."""
    model = Tagger(VOCAB, d_model=64, d_ff=128, num_heads=heads, num_layers=depth)
    for block in model.layers() if shared else ():
        block.attention.key = block.attention.query
    return model


def projection(full: bool) -> Page:
    """The page; in full with more sizes."""
    sizes = SIZES | (MORE if full else {})
    found = {
        (size, name, shared): statistics.mean(
            accuracies(partial(tagger, shared, depth, heads), rule, VOCAB, LENGTH, STEPS)
        )
        for size, (depth, heads) in sizes.items()
        for name, rule in RULES.items()
        for shared in (False, True)
    }

    def gap(size: str, name: str) -> float:
        return found[size, name, False] - found[size, name, True]

    def both(size: str, name: str) -> str:
        return f"{found[size, name, True]:.0%} | {found[size, name, False]:.0%}"

    alone, heads, layers = SIZES
    lost = gap(alone, "ring") > SEEN
    one_way = gap(alone, "chain") < SEEN
    healed = [size for size in (heads, layers) if gap(size, "ring") < SEEN]
    healers = {heads: Text("four heads", "四个头"), layers: Text("a second layer", "再加一层")}
    made_good = Text(
        " or ".join(healers[each].en for each in healed) or "neither four heads nor a second layer",
        "或".join(healers[each].zh for each in healed) or "四个头或再加一层都不",
    )
    return Page(
        name="projection",
        title=Text("One projection for queries and keys, or one each", "查询与键共用一个投影，还是各用一个"),
        question=Text(
            "If queries and keys were made by the same matrix, attention would have a quarter fewer weights. What "
            "would it not be able to do?",
            "如果查询与键用同一个矩阵，注意力的参数少四分之一。它会做不到什么？",
        ),
        done=Text(
            f"Encoders (d_model 64, sinusoidal positions) learn to say at each of {LENGTH} places the token of another: "
            f"of the mirror image; of the place before (chain); of the place before, and at the first that of the last "
            f"(ring). {STEPS} updates of 64 sequences, accuracy on new ones, mean of {SEEDS} seeds. Shared: one matrix "
            f"for both, so that score(i, j) is score(j, i). The softmax of each row can still prefer one of them, if "
            f"scores fall along the chain; around a ring they cannot fall for ever.",
            f"编码器（d_model 64，正弦位置编码）学习在 {LENGTH} 个位置上说出另一位置的词：镜像位置；前一位置（链）；"
            f"前一位置，且首位说末位的词（环）。每步 64 个序列，共 {STEPS} 步，在新序列上测准确率，取 {SEEDS} 个种子的平均。"
            f"共用：同一个矩阵，此时 score(i, j) = score(j, i)。但 softmax 按行归一：分数沿链递减时，每行仍可偏向一侧；而绕环一周则不可能一直递减。",
        ),
        verdict=Text(
            f"With one layer and one head, a shared matrix {'fails' if lost else 'does not fail'} on the ring "
            f"({both(alone, 'ring')} right, shared | separate; one place of {LENGTH} is {1 / LENGTH:.0%}), "
            f"{'but not on the chain' if one_way else 'and on the chain'} ({both(alone, 'chain')}): symmetric scores do "
            f"{'not forbid' if one_way else 'forbid'} looking one way. "
            f"{made_good.en[0].upper()}{made_good.en[1:]} {'make' if len(healed) != 1 or heads in healed else 'makes'} the ring "
            f"good ({both(heads, 'ring')}; {both(layers, 'ring')}).",
            f"只有一层、一个头时，共用的矩阵在环上{'失败' if lost else '并不失败'}（答对 {both(alone, 'ring')}，共用 | 各用；{LENGTH} 个位置中的一个为 {1 / LENGTH:.0%}），"
            f"在链上{'却不失败' if one_way else '也失败'}（{both(alone, 'chain')}）：分数对称{'并不妨碍' if one_way else '妨碍'}单向地看。"
            f"{made_good.zh}{'就能' if healed else '能'}弥补环上的失败（{both(heads, 'ring')}；{both(layers, 'ring')}）。",
        ),
        tables=[
            Table(
                ("encoder", *(f"{name}, {how}" for name in RULES for how in ("separate", "shared"))),
                [
                    (size, *(f"{found[size, name, shared]:.1%}" for name in RULES for shared in (False, True)))
                    for size in sizes
                ],
            )
        ],
        sources=("Vaswani et al. 2017, Attention Is All You Need, section 3.2.2",),
    )
