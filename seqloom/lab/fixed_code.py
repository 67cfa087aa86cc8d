"""A code of fixed length against attention, as recurrent encoder-decoders, when sentences grow."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqloom.config import RecurrentConfig
from seqloom.decoding.search import Search
from seqloom.lab.corpora import MULTI30K, require, train_translator
from seqloom.lab.page import Page, Plot, Table, Text
from seqloom.lab.toy import optimise
from seqloom.metrics.significance import interval, resample
from seqloom.models.recurrent import RecurrentModel
from seqloom.pipeline.comparison import compare_systems

Numbers = NDArray[np.float64]

BEGIN, END, COMMA, SPECIAL = 0, 1, 2, 3
WORDS = 32
VOCAB = SPECIAL + WORDS
LENGTHS = list(range(4, 25, 2))
"""Words of a sentence, its comma not counted; of two words there are so few that none would be new."""
WIDTH, ROWS, RATE, CLIP = 128, 64, 2e-3, 1.0
STEPS, SEEDS, TESTED = 1500, 2, 100
MORE_STEPS = 6000
REAL: dict[str, Any] = {
    "training.budget": "15m",
    "training.learning_rate": 1.5e-3,
    "model.d_model": 256,
    "model.dropout": 0.2,
}
REAL_BINS = [(1, 8), (9, 11), (12, 14), (15, 18), (19, 99)]
DECODERS = {"fixed code": "cho", "attention": "bahdanau"}
"""By what they are here, the names of the parts: the same cells, told the same code or what they look at."""
LEVEL = 0.01
"""Of significance."""
RESAMPLINGS = 2000


def sentences(
    rows: int, length: int, dictionary: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Sources of two clauses with a comma between and an end, and targets, [B, length + 2] each.

    In a target the clauses have changed places, and each word is that of the ``dictionary`` [WORDS].
    """
    words = torch.randint(WORDS, (rows, length), generator=generator)
    first = torch.randint(1, length, (rows, 1), generator=generator)
    turned = words.gather(1, (torch.arange(length) + first) % length)
    return _written(words, first), _written(dictionary[turned], length - first)


def _written(words: Tensor, first: Tensor) -> Tensor:
    """Words [B, T] as tokens with a comma behind the ``first`` [B, 1] of them and an end: [B, T + 2]."""
    places = torch.arange(words.size(1) + 1)
    tokens = words.gather(1, places - (places >= first).long()) + SPECIAL
    tokens = torch.where(places == first, COMMA, tokens)
    return torch.cat([tokens, torch.full_like(first, END)], 1)


def dictionary() -> Tensor:
    """Which word means which, [WORDS]."""
    return torch.randperm(WORDS, generator=torch.Generator().manual_seed(7))


def new_model(decoder: str) -> RecurrentModel:
    """One layer of GRUs a side, the encoder's both ways."""
    sizes = {"cell": "gru", "d_model": WIDTH, "num_layers": 1, "dropout": 0.0, "tied_embeddings": "none"}
    config = RecurrentConfig.model_validate({"kind": "recurrent", "decoder": decoder, "score": "additive", **sizes})
    return RecurrentModel(config, VOCAB, VOCAB)


def learn(model: RecurrentModel, steps: int) -> None:
    """Trains on batches of one length each, drawn anew each time."""
    means = dictionary()

    def loss() -> Tensor:
        src, targets = sentences(ROWS, LENGTHS[int(torch.randint(len(LENGTHS), ()))], means)
        told = torch.cat([torch.full((ROWS, 1), BEGIN), targets[:, :-1]], 1)
        return nn.functional.cross_entropy(model(src, told).flatten(0, 1), targets.flatten())

    optimise(model, loss, steps, RATE, clip=CLIP)


@torch.no_grad()
def right(model: RecurrentModel, length: int) -> Numbers:
    """Of new sentences, the share of each one's target that greedy search says at its place, [N]."""
    src, targets = sentences(TESTED, length, dictionary(), torch.Generator().manual_seed(length))
    search = Search(bos=BEGIN, eos=END, beam=1, max_length=length + 2)
    found = search.run(model.step, model.start(src), len(src))
    return shares([best.tokens for (best,) in found], targets)


def shares(said: Sequence[Sequence[int]], targets: Tensor) -> Numbers:
    """How much of each target [B, T], its end not counted, was said at its place: [B]."""
    wanted = targets[:, :-1].tolist()
    pairs = zip(said, wanted, strict=True)
    return np.array([sum(a == b for a, b in zip(one, other, strict=False)) / len(other) for one, other in pairs])


class Trend(NamedTuple):
    """How a quality changes with the length of a sentence."""

    slope: float
    """Points for every ten words more, by least squares."""
    low: float
    high: float
    """The 95 % interval, by bootstrap over the sentences."""
    p: float
    """How often a slope as steep, either way, comes of qualities dealt out to the lengths at random."""

    @property
    def falls(self) -> bool:
        """Whether it is a decline and no accident."""
        return self.slope < 0 and self.p < LEVEL

    @property
    def sure(self) -> str:
        """How far that can be trusted."""
        return f"[{self.low:+.1f}, {self.high:+.1f}], p = {self.p:.1g}"

    def __str__(self) -> str:
        return f"{self.slope:+.1f} {self.sure}"


def trend(lengths: Numbers, quality: Numbers) -> Trend:
    """Of N sentences, [N] each; the test is one of permutations (Pitman 1937), two-sided."""
    random = np.random.default_rng(1)

    def slopes(x: Numbers, y: Numbers) -> Numbers:
        x = x - x.mean(-1, keepdims=True)
        found: Numbers = 10 * (x * y).sum(-1) / (x * x).sum(-1)
        return found

    observed = float(slopes(lengths, quality))
    drawn = random.integers(len(quality), size=(RESAMPLINGS, len(quality)))
    low, high = interval(slopes(lengths[drawn], quality[drawn]))
    dealt = random.permuted(np.tile(quality, (RESAMPLINGS, 1)), axis=1)
    as_steep = int((np.abs(slopes(lengths, dealt)) >= abs(observed)).sum())
    return Trend(observed, low, high, (as_steep + 1) / (RESAMPLINGS + 1))


class Measured(NamedTuple):
    """The same sentences said by each model."""

    lengths: Numbers
    """In words, [N]."""
    quality: dict[str, Numbers]
    """Of each model's answers, 0 to 100, [N]."""

    def trends(self) -> dict[str, Trend]:
        """Of each model, and of what the fixed code has less than attention."""
        found = {name: trend(self.lengths, quality) for name, quality in self.quality.items()}
        lag = self.quality["fixed code"] - self.quality["attention"]
        return {**found, "difference": trend(self.lengths, lag)}

    def by_length(
        self, bins: Sequence[tuple[int, int]]
    ) -> list[tuple[str, int, dict[str, tuple[float, float, float]]]]:
        """Of each bin its name, number of sentences, and each model's mean with its 95 % interval."""
        rows = []
        for least, most in bins:
            chosen = (self.lengths >= least) & (self.lengths <= most)
            means = {}
            for name, quality in self.quality.items():
                part = quality[chosen]
                sums = np.concatenate(list(resample(part[:, None], RESAMPLINGS)))[:, 0]
                means[name] = (float(part.mean()), *interval(sums / len(part)))
            rows.append((str(least) if least == most else f"{least} to {most}", int(chosen.sum()), means))
        return rows


def made_up(steps: int) -> Measured:
    """Sentences of an invented language, which are learnt without end."""
    quality: dict[str, list[Numbers]] = {name: [] for name in DECODERS}
    for name, decoder in DECODERS.items():
        for seed in range(1, SEEDS + 1):
            torch.manual_seed(seed)
            model = new_model(decoder)
            learn(model, steps)
            model.eval()
            quality[name].append(100 * np.concatenate([right(model, length) for length in LENGTHS]))
    lengths = np.repeat(np.array(LENGTHS, np.float64), TESTED)
    return Measured(lengths, {name: np.mean(values, axis=0) for name, values in quality.items()})


def real(data: Path, settings: Mapping[str, Any]) -> Measured:
    """Captions of Multi30k, by models that the program has trained on others with the same settings."""
    runs = {}
    with tempfile.TemporaryDirectory(prefix="seqloom-lab-") as temporary:
        for name, decoder in DECODERS.items():
            parts = {"kind": "recurrent", "decoder": decoder, "score": "additive", "cell": "gru"}
            flags = {**settings, **{f"model.{key}": value for key, value in parts.items()}}
            train = MULTI30K.sides(data, "train")
            runs[name] = train_translator(Path(temporary) / decoder, MULTI30K, data, train, flags)
        src, ref = MULTI30K.sides(data, "test")
        found = compare_systems(
            runs["fixed code"], runs["attention"], ref, src, metrics=("chrf",), resamplings=RESAMPLINGS
        )
    lengths = np.array([len(str(each.source).split()) for each in found.sentences], np.float64)
    chrf = {
        "fixed code": [each.a_chrf for each in found.sentences],
        "attention": [each.b_chrf for each in found.sentences],
    }
    return Measured(lengths, {name: np.array(values) for name, values in chrf.items()})


def table(measured: Measured, bins: Sequence[tuple[int, int]], what: str) -> Table:
    """Quality by length with intervals, and under it the trends."""
    rows = [
        (
            name,
            str(count),
            *(f"{mean:.1f} [{low:.1f}, {high:.1f}]" for mean, low, high in (means[each] for each in DECODERS)),
        )
        for name, count, means in measured.by_length(bins)
    ]
    trends = measured.trends()
    slopes = [("for ten words more", str(len(measured.lengths)), *(str(trends[each]) for each in DECODERS))]
    return Table(("words", "sentences", *(f"{what}, {each}" for each in DECODERS)), [*rows, *slopes])


def plot(measured: Measured, bins: Sequence[tuple[int, int]], what: str) -> Plot:
    """The means of the same table, and their intervals."""
    found = measured.by_length(bins)
    places = [float(measured.lengths[(measured.lengths >= a) & (measured.lengths <= b)].mean()) for a, b in bins]
    lines, intervals = {}, {}
    for name in DECODERS:
        means, low, high = zip(*(means[name] for _, _, means in found), strict=True)
        lines[name], intervals[name] = (places, means), (low, high)
    return Plot("words of the source", what, lines, intervals=intervals)


def fixed_code(full: bool) -> Page:
    """The page; in full with more updates, and with real captions as well.

    Raises:
        UserError: if they are not there.
    """
    steps = MORE_STEPS if full else STEPS
    data = require("fixed-code", MULTI30K) if full else None
    bins = [(length, length) for length in LENGTHS]
    invented = made_up(steps)
    captions = real(data, REAL) if data else None
    trends = invented.trends()
    first, *_, last = (means for _, _, means in invented.by_length(bins))
    fixed, attention, difference = (trends[name] for name in ("fixed code", "attention", "difference"))

    def ends(name: str) -> Text:
        ends = f"{first[name][0]:.0f} %", f"{last[name][0]:.0f} %"
        return Text(f"from {ends[0]} to {ends[1]}", f"从 {ends[0]} 变为 {ends[1]}")

    time, more = REAL["training.budget"], Text("", "")
    if captions:
        of = captions.trends()
        more = Text(
            f"; on real captions, in points of chrF++: {of['fixed code']}, with attention {of['attention']}, the "
            f"difference {of['difference']}",
            f"；真实图片说明上（chrF++ 分）：{of['fixed code']}，有注意力时 {of['attention']}，二者之差 {of['difference']}",
        )
    real_en = (
        f"Real captions: Multi30k, English to German, both for {time} by `--budget`, 256 units; the sentences of "
        f"test_2016_flickr, each by chrF++."
        if captions
        else "Real captions are measured with `--full`."
    )
    real_zh = (
        f"真实数据：Multi30k 英译德，两种模型各用 `--budget` 训练 {time}，256 个单元；test_2016_flickr 的每句用 chrF++ 打分。"
        if captions
        else "真实数据只在 `--full` 时测量。"
    )
    return Page(
        name="fixed-code",
        title=Text("A code of fixed length, or attention, as sentences grow", "句子变长时：定长编码与注意力"),
        question=Text(
            "A recurrent encoder-decoder without attention keeps a whole sentence in one vector. How much worse does it "
            "get as sentences grow, and does attention stop that?",
            "没有注意力的循环编码器-解码器把整个句子记在一个向量里。句子变长时它差多少？注意力能防止吗？",
        ),
        done=Text(
            f"An invented language of {WORDS} words: each has a word that it becomes, and the two clauses on the sides of a "
            f"comma change places. {steps:,} updates of {ROWS} new sentences, all of one length drawn from {LENGTHS[0]} to "
            f"{LENGTHS[-1]} words, by AdamW, rate {RATE:g} falling to zero. GRUs, one layer a side, {WIDTH} wide; the fixed "
            f"code is Cho's decoder, attention is Bahdanau's. Quality: the share of tokens that greedy search says at their "
            f"place, in {TESTED} new sentences of each length, mean of {SEEDS} seeds; 95 % intervals by bootstrap over "
            f"sentences. Slope: least squares over the sentences; p: of {RESAMPLINGS:,} permutations of the lengths, two-sided. "
            f"{real_en}",
            f"虚构的语言有 {WORDS} 个词：每个词译成一个固定的词，逗号两边的分句互换位置。AdamW {steps:,} 步，每步 {ROWS} 个新句子，"
            f"长度从 {LENGTHS[0]} 到 {LENGTHS[-1]} 个词中抽取，学习率 {RATE:g} 降到零。GRU，两侧各一层，宽 {WIDTH}；定长编码用 Cho 的解码器，"
            f"注意力用 Bahdanau 的。质量：每种长度 {TESTED} 个新句子中，贪心搜索在正确位置说对的词的比例，{SEEDS} 个种子的平均；"
            f"95% 区间由对句子的自助抽样得到。斜率：最小二乘；p：长度的 {RESAMPLINGS:,} 次随机置换，双侧。{real_zh}",
        ),
        verdict=Text(
            f"From {LENGTHS[0]} to {LENGTHS[-1]} words the fixed code goes {ends('fixed code').en} of the tokens right, "
            f"{fixed.slope:+.1f} points for ten words more ({fixed.sure}), which is {'a' if fixed.falls else 'no'} significant "
            f"decline. With attention it goes {ends('attention').en}, {attention.slope:+.1f} points ({attention.sure}), so that "
            f"attention {'loses' if difference.falls else 'does not surely lose'} less with length (the difference: "
            f"{difference}){more.en}.",
            f"从 {LENGTHS[0]} 个词到 {LENGTHS[-1]} 个词，定长编码答对的比例{ends('fixed code').zh}，每多十个词 {fixed.slope:+.1f} 分"
            f"（{fixed.sure}），{'下降显著' if fixed.falls else '没有显著下降'}。有注意力时{ends('attention').zh}，{attention.slope:+.1f} 分"
            f"（{attention.sure}），因此注意力随长度的损失{'更小' if difference.falls else '并不能确定更小'}（二者之差 {difference}）{more.zh}。",
        ),
        tables=[table(invented, bins, "right, %")] + ([table(captions, REAL_BINS, "chrF++")] if captions else []),
        plots=[plot(invented, bins, "right, %")] + ([plot(captions, REAL_BINS, "chrF++")] if captions else []),
        sources=(
            "Cho et al. 2014, On the Properties of Neural Machine Translation: Encoder-Decoder Approaches, figure 4",
            "Bahdanau et al. 2015, Neural Machine Translation by Jointly Learning to Align and Translate, figure 2",
            "Sutskever et al. 2014, Sequence to Sequence Learning with Neural Networks, figure 3",
        ),
    )
