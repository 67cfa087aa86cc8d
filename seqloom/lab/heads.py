"""One head against many: looking at several places at once."""

import statistics
from functools import partial

from torch import Tensor

from seqloom.lab.page import Page, Plot, Table, Text
from seqloom.lab.toy import SEEDS, Rule, Tagger, accuracies, mirrored

VOCAB, LENGTH, WIDTH = 6, 12, 64
STEPS = 600
HEADS = [1, 2, 4, 8]


def two(tokens: Tensor) -> Tensor:
    """Each place says what the place before and its mirror image hold, which one first: a token for each pair."""
    return tokens.roll(1, 1) * VOCAB + tokens.flip(1)


RULES: dict[str, Rule] = {"one place": mirrored, "two places": two}


def tagger(heads: int) -> Tagger:
    return Tagger(VOCAB**2, d_model=WIDTH, d_ff=4 * WIDTH, num_heads=heads, num_layers=1)


def heads(full: bool) -> Page:
    """The page; in full with four times the updates."""
    steps = STEPS * (4 if full else 1)
    found = {
        name: [accuracies(partial(tagger, count), rule, VOCAB, LENGTH, steps) for count in HEADS]
        for name, rule in RULES.items()
    }
    mean = {name: [statistics.mean(each) for each in values] for name, values in found.items()}
    best = HEADS[max(range(len(HEADS)), key=lambda row: mean["two places"][row])]
    gain = max(mean["two places"]) - mean["two places"][0]
    helps = gain > 0.05
    plain = max(mean["one place"]) - mean["one place"][0]
    return Page(
        name="heads",
        title=Text("One head against many", "一个头与多个头"),
        question=Text(
            "Heads share the width of the model among them: more of them look at more places, each with fewer numbers. "
            "When does that pay?",
            "各个头分享模型的宽度：头越多，能同时看的位置越多，每个头的维度却越小。什么时候值得？",
        ),
        done=Text(
            f"Encoders of one layer, d_model {WIDTH}, with as many weights whatever the number of heads, learn to say at "
            f"each of {LENGTH} places what one other place holds, or what two others hold and "
            f"which is which. {steps:,} updates of 64 sequences; accuracy on new ones, {SEEDS} seeds.",
            f"单层编码器，d_model {WIDTH}，头数不同而参数总数相同，学习在 {LENGTH} 个位置上说出另一个位置的词，"
            f"或另两个位置的词以及各在哪个位置。每步 64 个序列，共 {steps:,} 步；在新序列上测准确率，{SEEDS} 个种子。",
        ),
        verdict=Text(
            f"Where two places count, {best} head{'s are' if best > 1 else ' is'} right {max(mean['two places']):.0%} of the time and one head "
            f"{mean['two places'][0]:.0%}"
            f"{'' if helps else ', which is no difference worth the name'}. Where one place is all there is to see, "
            f"{'one head is as good' if plain < 0.02 else f'more heads still gain {plain:.0%}'} "
            f"({mean['one place'][0]:.0%} against {max(mean['one place']):.0%}).",
            f"要看两个位置时，{best} 个头答对 {max(mean['two places']):.0%}，一个头答对 {mean['two places'][0]:.0%}"
            f"{'' if helps else '，差别不大'}。只要看一个位置时，"
            f"{'一个头同样好' if plain < 0.02 else f'更多的头仍多对 {plain:.0%}'}"
            f"（{mean['one place'][0]:.0%} 对 {max(mean['one place']):.0%}）。",
        ),
        tables=[
            Table(
                ("heads", *(f"{name}, {what}" for name in RULES for what in ("mean", "worst to best"))),
                [
                    (
                        str(count),
                        *(
                            text
                            for name in RULES
                            for text in (
                                f"{mean[name][row]:.1%}",
                                f"{min(found[name][row]):.1%} to {max(found[name][row]):.1%}",
                            )
                        ),
                    )
                    for row, count in enumerate(HEADS)
                ],
            )
        ],
        plots=[
            Plot("heads", "accuracy", {name: (HEADS, values) for name, values in mean.items()}, log_x=True, share=True)
        ],
        sources=(
            "Vaswani et al. 2017, Attention Is All You Need, section 3.2.2",
            "Michel et al. 2019, Are Sixteen Heads Really Better than One?",
        ),
    )
