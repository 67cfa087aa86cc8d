"""Is the Transformer worse on small data? Against a recurrent model with attention, as the pairs grow."""

import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqloom.config import RecurrentConfig
from seqloom.lab.corpora import DE_EN, MULTI30K, Corpus, require, train_translator, write_sample
from seqloom.lab.page import Page, Plot, Table, Text
from seqloom.metrics.significance import Comparison
from seqloom.models.recurrent import RecurrentModel
from seqloom.pipeline.comparison import LEVEL, compare_systems
from seqloom.tasks.folder import read_model
from seqloom.tasks.setup import TranslatorSetup
from seqloom.training.run import read_run

SIZES: dict[int, Corpus] = {1_000: MULTI30K, 5_000: MULTI30K, 29_000: MULTI30K}
MORE_SIZES: dict[int, Corpus] = {**SIZES, 120_000: DE_EN}
BUDGET, MORE_BUDGET = "90s", "6m"
SEEDS, MORE_SEEDS = 1, 3
SHUFFLE = 1
"""The seed of the sample."""
WIDEST = 2048


@dataclass(frozen=True)
class Pair:
    """A Transformer and a recurrent model of as many weights, trained on the same pairs for the same time."""

    widths: tuple[int, int]
    weights: tuple[int, int]
    compared: Comparison
    """Of their BLEU on the test set, the Transformer's first."""

    @property
    def winner(self) -> int:
        """1 where the Transformer is surely better, -1 where it is surely worse, 0 where it could be luck."""
        if self.compared.p_bootstrap >= LEVEL:
            return 0
        return 1 if self.compared.difference > 0 else -1


def recurrent_width(weights: int, like: TranslatorSetup) -> int:
    """How wide a recurrent model with attention has about so many weights, with the vocabularies of ``like``."""

    def count(width: int) -> int:
        settings = {"kind": "recurrent", "d_model": width, "tied_embeddings": like.model.tied_embeddings}
        with torch.device("meta"):
            model = RecurrentModel(RecurrentConfig.model_validate(settings), *like.vocab_sizes)
        return sum(weight.numel() for weight in model.parameters())

    low, high = 1, WIDEST // 2  # halves: both directions of the encoder are one width
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(2 * middle) <= weights else (low, middle)
    return min((2 * low, 2 * high), key=lambda width: abs(count(width) - weights))


def weights_of(run: Path) -> int:
    """Those of a run's model."""
    return sum(weight.numel() for weight in read_model(run).weights.values())


def as_recurrent(run: Path) -> dict[str, Any]:
    """Settings of a recurrent model with attention for the data of a Transformer's run.

    It has as many weights and the same dropout; its rate is to its width as a budget would choose it, inversely
    proportional. The rest is left to its own budget.
    """
    about = read_run(run)
    assert about is not None
    setup = TranslatorSetup.from_folder(read_model(run))
    width = recurrent_width(weights_of(run), setup)
    rate = about["config"]["training"]["learning_rate"]
    return {
        "model.kind": "recurrent",
        "model.d_model": width,
        "model.dropout": setup.model.dropout,
        "training.learning_rate": round(rate * setup.model.d_model / width, 6),
    }


def measure(pairs: int, corpus: Corpus, data: Path, settings: Mapping[str, Any]) -> Pair:
    """Trains both with the same settings, one after the other, and compares their translations of the test set."""
    with tempfile.TemporaryDirectory(prefix="seqloom-lab-") as temporary:
        folder = Path(temporary)
        train = write_sample(corpus, data, pairs, SHUFFLE, folder / "data")
        ours = train_translator(folder / "transformer", corpus, data, train, settings)
        theirs = train_translator(folder / "recurrent", corpus, data, train, {**settings, **as_recurrent(ours)})
        src, ref = corpus.sides(data, "test")
        (compared, _) = compare_systems(ours, theirs, ref, src, metrics=("bleu",)).metrics["bleu"]
        widths = [TranslatorSetup.from_folder(read_model(run)).model.d_model for run in (ours, theirs)]
        return Pair((widths[0], widths[1]), (weights_of(ours), weights_of(theirs)), compared)


def small_data(full: bool) -> Page:
    """The page; in full with more pairs, more time and more seeds.

    Raises:
        UserError: if the data sets are not there.
    """
    sizes, budget, seeds = (MORE_SIZES, MORE_BUDGET, MORE_SEEDS) if full else (SIZES, BUDGET, SEEDS)
    data = require("small-data", *dict.fromkeys(sizes.values()))
    found = {
        pairs: [
            measure(pairs, corpus, data, {"training.budget": budget, "training.seed": seed})
            for seed in range(1, seeds + 1)
        ]
        for pairs, corpus in sizes.items()
    }
    return page(found, sizes, budget)


def meant(few: set[int], many: set[int], budget: str) -> Text:
    """What is to be said of the saying, from the winners of all seeds with the fewest and the most pairs."""
    if few != {-1}:
        return Text(
            "The saying does not hold here: with few pairs the Transformer is not significantly worse.",
            "这里不支持上述说法：数据少时 Transformer 并不显著更差。",
        )
    if many != {-1}:
        en, zh = ("it is significantly better", "则显著更好") if many == {1} else ("it is not", "便不再如此")
        return Text(
            f"The saying holds at equal time and weights: the Transformer is significantly worse with few pairs, and with "
            f"many {en}.",
            f"时间与参数量相同时，上述说法成立：数据少时 Transformer 显著更差，数据多时{zh}。",
        )
    return Text(
        f"The Transformer is significantly worse with few pairs, but with many as well: after {budget} of training it "
        f"is not the number of pairs that decides, and the saying is neither shown nor refuted.",
        f"数据少时 Transformer 显著更差，数据多时也一样：训练 {budget} 时起决定作用的不是数据量，上述说法既未证实也未推翻。",
    )


def page(found: Mapping[int, list[Pair]], sizes: Mapping[int, Corpus], budget: str) -> Page:
    """What some measurements, one for each seed, come to."""
    ours = {pairs: statistics.mean(each.compared.a for each in of) for pairs, of in found.items()}
    theirs = {pairs: statistics.mean(each.compared.b for each in of) for pairs, of in found.items()}
    smallest, largest = min(found), max(found)
    meaning = meant({each.winner for each in found[smallest]}, {each.winner for each in found[largest]}, budget)
    seeds = len(found[smallest])
    sets_en = ", ".join(f"{pairs:,} of {corpus.folder}" for pairs, corpus in sizes.items())
    sets_zh = "，".join(f"{corpus.folder} 的 {pairs:,} 对" for pairs, corpus in sizes.items())
    tests = ", ".join(f"{corpus.folder}/{corpus.test}" for corpus in dict.fromkeys(sizes.values()))
    return Page(
        name="small-data",
        title=Text("Is the Transformer worse on small data?", "数据少时 Transformer 更差吗？"),
        question=Text(
            "It is often said that a Transformer needs much data, and that a recurrent model with attention is better "
            "where there is little. At equal time and with equally many weights?",
            "常听说 Transformer 需要大量数据，数据少时带注意力的循环模型更好。训练时间与参数量相同时也如此吗？",
        ),
        done=Text(
            f"English to German; training pairs: {sets_en}; fewer are a part of more of the same set. Both models are trained by "
            f"`seqloom train --budget {budget}`, everything included. The budget chooses vocabulary, sizes and dropout of the "
            f"Transformer; the recurrent model (LSTM, Luong's attention) has the same vocabulary and dropout, the width that "
            f"gives it as many weights, and a rate by that width. BLEU of the test set ({tests}), beam 4, {seeds} seed{'s' if seeds > 1 else ''}; significant: p < {LEVEL:g} by paired bootstrap, "
            f"for every seed.",
            f"英译德；训练数据：{sets_zh}，同一数据集中小的是大的一部分。两种模型都用 `seqloom train --budget {budget}` 训练，时间包括一切。"
            f"预算为 Transformer 选词表、大小与 dropout；循环模型（LSTM，Luong 注意力）用同样的词表与 dropout，宽度使参数量相同，学习率按宽度折算。"
            f"测试集（{tests}）的 BLEU，束宽 4，{seeds} 个种子；显著：每个种子的配对自助检验 p < {LEVEL:g}。",
        ),
        verdict=Text(
            f"With {smallest:,} pairs the Transformer has a BLEU of {ours[smallest]:.1f} and the recurrent model of "
            f"{theirs[smallest]:.1f}, with {largest:,} pairs {ours[largest]:.1f} and {theirs[largest]:.1f}. "
            f"{meaning.en}",
            f"{smallest:,} 对时 Transformer 的 BLEU 为 {ours[smallest]:.1f}，循环模型为 {theirs[smallest]:.1f}；"
            f"{largest:,} 对时分别为 {ours[largest]:.1f} 与 {theirs[largest]:.1f}。{meaning.zh}",
        ),
        tables=[
            Table(
                (
                    *("pairs", "seed"),
                    *(
                        f"{what}, {who}"
                        for who in ("Transformer", "recurrent")
                        for what in ("width", "weights", "BLEU")
                    ),
                    *("difference", "p"),
                ),
                [
                    (
                        f"{pairs:,}",
                        str(seed),
                        *_of(each.widths[0], each.weights[0], each.compared.a, each.compared.a_interval),
                        *_of(each.widths[1], each.weights[1], each.compared.b, each.compared.b_interval),
                        f"{each.compared.difference:+.1f} [{_range(each.compared.difference_interval, '+')}]",
                        f"{each.compared.p_bootstrap:.3f}",
                    )
                    for pairs, of in found.items()
                    for seed, each in enumerate(of, start=1)
                ],
            )
        ],
        plots=[
            Plot(
                "training pairs",
                "BLEU",
                {"Transformer": (list(found), list(ours.values())), "recurrent": (list(found), list(theirs.values()))},
                log_x=True,
            )
        ],
        sources=(
            "Vaswani et al. 2017, Attention Is All You Need",
            "Luong et al. 2015, Effective Approaches to Attention-based Neural Machine Translation",
            "Popel and Bojar 2018, Training Tips for the Transformer Model",
        ),
    )


def _of(width: int, weights: int, bleu: float, low_high: tuple[float, float]) -> tuple[str, str, str]:
    return str(width), f"{weights / 1e6:.2f} M", f"{bleu:.1f} [{_range(low_high)}]"


def _range(low_high: tuple[float, float], sign: str = "") -> str:
    return ", ".join(f"{end:{sign}.1f}" for end in low_high)
