"""How far back recurrent networks and a Transformer learn from, and remember: gradients and recall over distance."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqloom.lab.page import Page, Plot, Table, Text, number
from seqloom.lab.toy import Tagger, optimise
from seqloom.layers.embeddings import TokenEmbedding
from seqloom.layers.linear import PlainLinear, init_xavier
from seqloom.layers.recurrent import CELLS, Recurrent

MARKS, FILLERS = 8, 8
ASK = MARKS + FILLERS
VOCAB = ASK + 1
WIDTH, ROWS = 64, 64
STEPS, ALONE, SEEDS = 1000, 300, 2
"""Updates on all distances in turn, and on one alone, which sees it more often."""
MORE = 4
"""Times as many in full."""
RATE, CLIP = 2e-3, 1.0
DISTANCES = [1, 2, 4, 8, 16, 32, 64, 128]
"""Those that are learnt."""
BEYOND = [256]
"""One that is only tried."""
RECALLED = 0.9
"""An accuracy that counts as remembering; guessing has 1 / MARKS."""
VANISHED = 1e-3
"""A share of the gradient that is as good as nothing."""


class Reader(nn.Module):
    """A recurrent layer that says a token at each place."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(VOCAB, WIDTH)
        self.layer = Recurrent(CELLS[cell], WIDTH, WIDTH)
        self.output = PlainLinear(WIDTH, MARKS)
        init_xavier(self.output)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T] ids -> logits [B, T, V]."""
        logits: Tensor = self.output(self.layer(self.embedding.vectors(tokens)).outputs)
        return logits


def transformer() -> Tagger:
    """Two layers, so that a place can be found by what stands there and read by who needs it."""
    return Tagger(VOCAB, d_model=WIDTH, d_ff=2 * WIDTH, num_heads=4, num_layers=2, norm="pre")


MODELS: dict[str, Callable[[], nn.Module]] = {
    "RNN": lambda: Reader("rnn"),
    "LSTM": lambda: Reader("lstm"),
    "GRU": lambda: Reader("gru"),
    "Transformer": transformer,
}


def sequences(rows: int, distance: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """A mark, fillers, and ``distance`` tokens after the mark a question: [B, distance + 1] ids; the marks, [B]."""
    marks = torch.randint(MARKS, (rows,), generator=generator)
    tokens = torch.randint(MARKS, ASK, (rows, distance + 1), generator=generator)
    tokens[:, 0], tokens[:, -1] = marks, ASK
    return tokens, marks


def answers(model: nn.Module, tokens: Tensor) -> Tensor:
    """What is said at the last place, [B, MARKS]."""
    logits: Tensor = model(tokens)
    return logits[:, -1, :MARKS]


def learn(model: nn.Module, steps: int, distances: Sequence[int]) -> None:
    """Trains on batches of one distance each, drawn anew each time."""

    def loss() -> Tensor:
        tokens, marks = sequences(ROWS, distances[int(torch.randint(len(distances), ()))])
        return nn.functional.cross_entropy(answers(model, tokens), marks)

    optimise(model, loss, steps, RATE, clip=CLIP)


@torch.no_grad()
def recalled(model: nn.Module, distance: int) -> float:
    """The share of marks that are said after ``distance`` tokens."""
    tokens, marks = sequences(512, distance, torch.Generator().manual_seed(97))
    return float((answers(model, tokens).argmax(-1) == marks).float().mean())


def gradient(model: nn.Module, distance: int) -> float:
    """The norm of d loss / d mark's vector, ``distance`` tokens before the loss; the mean of some sequences.

    The loss is that of an answer drawn at random, for of the right one nothing is left to learn after a training.
    """
    generator = torch.Generator().manual_seed(89)
    tokens, _ = sequences(ROWS, distance, generator)
    vectors: list[Tensor] = []

    def watch(table: nn.Module, given: tuple[Tensor], found: Tensor) -> None:
        found.retain_grad()
        vectors.append(found)

    handle = model.get_submodule("embedding.table").register_forward_hook(watch)
    wanted = torch.randint(MARKS, (ROWS,), generator=generator)
    nn.functional.cross_entropy(answers(model, tokens), wanted, reduction="sum").backward()
    handle.remove()
    model.zero_grad()
    (found,) = vectors
    assert found.grad is not None
    return float(found.grad[:, 0].norm(dim=-1).mean())


def fading(model: nn.Module) -> list[float]:
    """The gradient over each distance, over that over the shortest."""
    norms = [gradient(model, distance) for distance in DISTANCES]
    return [norm / norms[0] for norm in norms]


class Found(NamedTuple):
    """What was found of one model with one seed, by distance; or of several seeds the mean or median."""

    start: list[float]
    """Gradients before the training."""
    end: list[float]
    """And after one on all distances."""
    mixed: list[float]
    """What is recalled then, also beyond."""
    alone: list[float]
    """What is recalled after a training on that distance and no other."""


def measure(make: Callable[[], nn.Module], seed: int, times: int) -> Found:
    """Trains one model on all distances, and one on each."""
    torch.manual_seed(seed)
    model = make()
    start = fading(model)
    learn(model, times * STEPS, DISTANCES)
    mixed, alone = [recalled(model, far) for far in DISTANCES + BEYOND], []
    end = fading(model)
    for far in DISTANCES:
        torch.manual_seed(seed)
        model = make()
        learn(model, times * ALONE, [far])
        alone.append(recalled(model, far))
    return Found(start, end, mixed, alone)


def summed_up(found: Sequence[Found]) -> Found:
    """Medians of the gradients, and means of what is recalled."""
    start, end, mixed, alone = (list(zip(*each, strict=True)) for each in zip(*found, strict=True))
    gradients = ([statistics.median(each) for each in column] for column in (start, end))
    shares = ([statistics.mean(each) for each in column] for column in (mixed, alone))
    return Found(*gradients, *shares)


def farthest(accuracies: Sequence[float]) -> int:
    """Up to which distance marks are recalled; 0 where not even over the shortest."""
    reached = 0
    for distance, accuracy in zip(DISTANCES + BEYOND, accuracies, strict=False):
        if accuracy < RECALLED:
            break
        reached = distance
    return reached


def distance(full: bool) -> Page:
    """The page; in full with more updates."""
    times = MORE if full else 1
    seeds = range(1, SEEDS + 1)
    found = {name: summed_up([measure(make, seed, times) for seed in seeds]) for name, make in MODELS.items()}
    start, end, mixed, alone = ({name: of[column] for name, of in found.items()} for column in range(4))
    reach, reach_alone = ({name: farthest(of) for name, of in each.items()} for each in (mixed, alone))
    last = DISTANCES[-1]
    gated = [start[name][-1] for name in ("LSTM", "GRU")]
    as_taught = start["RNN"][-1] < min(gated) and max(gated) < start["Transformer"][-1]
    first = reach_alone["RNN"] < min(far for name, far in reach_alone.items() if name != "RNN")
    blind = [name for name in MODELS if reach[name] >= last and end[name][-1] < VANISHED]

    def ends(values: Mapping[str, Sequence[float]]) -> str:
        return ", ".join(f"{name} {number(each[-1])}" for name, each in values.items())

    def reached(values: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {far}" for name, far in values.items())

    return Page(
        name="distance",
        title=Text("Gradients and memory over distance", "梯度与记忆随距离的变化"),
        question=Text(
            "Textbooks say that in a recurrent network the gradient of what was read long ago vanishes, so that it is not "
            "learnt from; that the gates of LSTM and GRU help; and that attention sees everything from one step away. Is "
            "that so, and what is remembered?",
            "教科书说：循环网络中，很久以前读到的内容梯度会消失，因而学不到；LSTM 与 GRU 的门有所帮助；注意力一步就能看到任何位置。"
            "是这样吗？实际能记住多远？",
        ),
        done=Text(
            f"A sequence begins with one of {MARKS} marks; then come tokens of {FILLERS} other kinds, and at the end a "
            f"question, at which the mark is to be said. One recurrent layer of {WIDTH} units (recurrent matrices orthogonal "
            f"at the start, the forget gates of the LSTM open), or a Transformer encoder of two layers, d_model {WIDTH}. "
            f"Trained by AdamW, {ROWS} sequences a step, rate {RATE:g} falling to zero, gradients clipped at {CLIP:g}: on all "
            f"distances from 1 to {last}, {times * STEPS:,} updates, each of one distance ({BEYOND[0]} is only tried); or on "
            f"one alone, {times * ALONE:,} updates, which are more of that distance. Recalled: the share of 512 new sequences, "
            f"mean of {SEEDS} seeds; guessing has {1 / MARKS:.1%}. Gradient: norm of d loss / d mark's vector over each "
            f"distance, over that over a distance of 1, before and after the training on all; of the loss of an answer drawn at "
            f"random, because that of the right one is nearly zero after a training; median of the seeds.",
            f"序列以 {MARKS} 种标记之一开头，其后是 {FILLERS} 种填充词，最后是提问，此时要说出标记。一层 {WIDTH} 个单元的循环网络"
            f"（循环矩阵初始为正交阵，LSTM 的遗忘门初始打开），或两层 Transformer 编码器，d_model {WIDTH}。AdamW，每步 {ROWS} 个序列，"
            f"学习率 {RATE:g} 降到零，梯度裁剪到 {CLIP:g}。或在 1 到 {last} 的所有距离上共训练 {times * STEPS:,} 步，每步一种距离（{BEYOND[0]} 只测不练）；"
            f"或只在一种距离上训练 {times * ALONE:,} 步，该距离的步数更多。记忆：512 个新序列上的正确率，{SEEDS} 个种子的平均，瞎猜为 {1 / MARKS:.1%}。"
            f"梯度：在所有距离上训练前后，损失对标记向量的梯度范数，除以距离为 1 时的值；"
            f"训练后正确答案的损失几乎为零，所以用随机答案的损失；取各种子的中位数。",
        ),
        verdict=Text(
            f"At the start, the gradient over {last} steps is, as a share of that over one: {ends(start)}, which is "
            f"{'' if as_taught else 'not '}the order of the textbooks; and trained on one distance alone, they recall "
            f"{RECALLED:.0%} of the marks up to a distance of: {reached(reach_alone)}, so that the plain RNN is "
            f"{'' if first else 'not '}the first to fail. Trained on all distances, {times * STEPS:,} updates in place of "
            f"{times * ALONE:,}, they reach: {reached(reach)}; then the gradients are: {ends(end)}"
            f"{f', so that what is remembered need not show in the gradient ({blind[0]})' if blind else ''}.",
            f"训练之初，{last} 步之外的梯度与一步之外的比：{ends(start)}，与教科书所说的次序"
            f"{'一致' if as_taught else '不同'}；只在一种距离上训练时，能答对 {RECALLED:.0%} 的最远距离：{reached(reach_alone)}，"
            f"最先失败的{'是' if first else '不是'}简单的 RNN。在所有距离上训练（{times * STEPS:,} 步，而非 {times * ALONE:,} 步）时："
            f"{reached(reach)}；此时的梯度：{ends(end)}"
            f"{f'，可见记得住的，梯度里未必看得见（{blind[0]}）' if blind else ''}。",
        ),
        tables=[
            Table(
                ("distance", *(f"recalled, {name}, {how}" for how in ("all distances", "alone") for name in MODELS)),
                [
                    (
                        str(far),
                        *(f"{mixed[name][row]:.1%}" for name in MODELS),
                        *(f"{alone[name][row]:.1%}" if far not in BEYOND else "" for name in MODELS),
                    )
                    for row, far in enumerate(DISTANCES + BEYOND)
                ],
            ),
            Table(
                ("distance", *(f"gradient, {name}, {when}" for when in ("start", "end") for name in MODELS)),
                [
                    (str(far), *(values[name][row] for values in (start, end) for name in MODELS))
                    for row, far in enumerate(DISTANCES)
                ],
            ),
        ],
        plots=[
            Plot(
                "distance", "recalled, alone", {n: (DISTANCES, of) for n, of in alone.items()}, log_x=True, share=True
            ),
            Plot(
                "distance",
                "recalled, all",
                {n: (DISTANCES + BEYOND, of) for n, of in mixed.items()},
                log_x=True,
                share=True,
            ),
            Plot("distance", "gradient, start", {n: (DISTANCES, of) for n, of in start.items()}, True, True),
            Plot("distance", "gradient, end", {n: (DISTANCES, of) for n, of in end.items()}, True, True),
        ],
        sources=(
            "Bengio et al. 1994, Learning Long-Term Dependencies with Gradient Descent is Difficult",
            "Hochreiter and Schmidhuber 1997, Long Short-Term Memory",
            "Pascanu et al. 2013, On the Difficulty of Training Recurrent Neural Networks",
            "Vaswani et al. 2017, Attention Is All You Need, section 4",
        ),
    )
