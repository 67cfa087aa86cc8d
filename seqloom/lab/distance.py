"""How far back recurrent networks and a Transformer learn from, and remember: gradients and recall over distance."""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqloom.lab.page import Page, Plot, Table, Text, number
from seqloom.lab.toy import Tagger
from seqloom.layers.embeddings import TokenEmbedding
from seqloom.layers.linear import PlainLinear, init_xavier
from seqloom.layers.recurrent import CELLS, Recurrent

MARKS, FILLERS = 8, 8
ASK = MARKS + FILLERS
VOCAB = ASK + 1
WIDTH, ROWS = 64, 64
STEPS, MORE_STEPS, SEEDS = 1000, 4000, 3
RATE, CLIP = 2e-3, 1.0
DISTANCES = [1, 2, 4, 8, 16, 32, 64, 128]
"""Those that are learnt, each as often as any other."""
BEYOND = [256]
"""One that is only tried."""
RECALLED = 0.9
"""An accuracy that counts as remembering; guessing has 1 / MARKS."""


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


def learn(model: nn.Module, steps: int) -> None:
    """Trains by AdamW on batches of one distance each, drawn anew each time."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        tokens, marks = sequences(ROWS, DISTANCES[int(torch.randint(len(DISTANCES), ()))])
        nn.functional.cross_entropy(answers(model, tokens), marks).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


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


def farthest(accuracies: list[float]) -> int:
    """Up to which distance marks are recalled; 0 where not even over the shortest."""
    reached = 0
    for distance, accuracy in zip(DISTANCES + BEYOND, accuracies, strict=True):
        if accuracy < RECALLED:
            break
        reached = distance
    return reached


def fading(model: nn.Module) -> list[float]:
    """The gradient over each distance, over that over the shortest."""
    norms = [gradient(model, distance) for distance in DISTANCES]
    return [norm / norms[0] for norm in norms]


def at_last(found: dict[str, list[list[float]]]) -> dict[str, list[float]]:
    """Of accuracies by distance for each seed, those over the longest distance that was learnt."""
    return {name: [seed[len(DISTANCES) - 1] for seed in values] for name, values in found.items()}


def distance(full: bool) -> Page:
    """The page; in full with four times the updates."""
    steps = MORE_STEPS if full else STEPS
    seeds = range(1, SEEDS + 1)
    before: dict[str, list[list[float]]] = {name: [] for name in MODELS}
    after: dict[str, list[list[float]]] = {name: [] for name in MODELS}
    found: dict[str, list[list[float]]] = {name: [] for name in MODELS}
    for name, make in MODELS.items():
        for seed in seeds:
            torch.manual_seed(seed)
            model = make()
            before[name].append(fading(model))
            learn(model, steps)
            after[name].append(fading(model))
            found[name].append([recalled(model, far) for far in DISTANCES + BEYOND])

    def middle(values: list[list[float]]) -> list[float]:
        return [statistics.median(each) for each in zip(*values, strict=True)]

    start, end = ({name: middle(values) for name, values in each.items()} for each in (before, after))
    mean = {name: [statistics.mean(each) for each in zip(*values, strict=True)] for name, values in found.items()}
    reach = {name: farthest(values) for name, values in mean.items()}
    last = DISTANCES[-1]
    gated = [start[name][-1] for name in ("LSTM", "GRU")]
    as_taught = start["RNN"][-1] < min(gated) and max(gated) < start["Transformer"][-1]
    remembers = reach["RNN"] < min(reach["LSTM"], reach["GRU"], reach["Transformer"])

    def listed(values: dict[str, list[float]]) -> str:
        return ", ".join(f"{name} {number(each[-1])}" for name, each in values.items())

    reached = ", ".join(f"{name} {far}" for name, far in reach.items())
    return Page(
        name="distance",
        title=Text("Gradients and memory over distance", "梯度与记忆随距离的变化"),
        question=Text(
            "Textbooks say that in a recurrent network the gradient of what was read long ago vanishes, that the gates "
            "of LSTM and GRU help, and that attention sees everything from one step away. Is that so at the start of a "
            "training, at its end, and in what is remembered?",
            "教科书说：循环网络中，很久以前读到的内容梯度会消失，LSTM 与 GRU 的门有所帮助，而注意力一步就能看到任何位置。"
            "训练之初、训练之后以及实际的记忆，都是这样吗？",
        ),
        done=Text(
            f"A sequence begins with one of {MARKS} marks; then come tokens of {FILLERS} other kinds, and at the end a "
            f"question, at which the mark is to be said. One recurrent layer of {WIDTH} units (recurrent matrices orthogonal at the "
            f"start, forget gates open), or a Transformer encoder of two layers, d_model {WIDTH}. {steps:,} updates of "
            f"{ROWS} sequences by AdamW, rate {RATE:g} falling to zero, gradients clipped at {CLIP:g}; each batch has a "
            f"distance drawn from 1 to {last}; {BEYOND[0]} was never trained on. Recall: the share of 512 new sequences, "
            f"mean of {SEEDS} seeds; guessing has {1 / MARKS:.1%}. Gradient: norm of d loss / d mark's vector over each "
            f"distance, over that over a distance of 1; of the loss of an answer drawn at random, because that of the right "
            f"one is nearly zero after a training; median of the seeds.",
            f"序列以 {MARKS} 种标记之一开头，其后是 {FILLERS} 种填充词，最后是提问，此时要说出标记。一层 {WIDTH} 个单元的循环网络"
            f"（循环矩阵初始为正交阵，遗忘门初始打开），或两层 Transformer 编码器，d_model {WIDTH}。AdamW {steps:,} 步，每步 {ROWS} 个序列，"
            f"学习率 {RATE:g} 降到零，梯度裁剪到 {CLIP:g}；每批的距离从 1 到 {last} 中抽取，{BEYOND[0]} 从未训练过。"
            f"记忆：512 个新序列上的正确率，{SEEDS} 个种子的平均，瞎猜为 {1 / MARKS:.1%}。"
            f"梯度：损失对标记向量的梯度范数，除以距离为 1 时的值；训练后正确答案的损失几乎为零，所以用随机答案的损失；取各种子的中位数。",
        ),
        verdict=Text(
            f"At the start, the gradient over {last} steps is, as a share of that over one: {listed(start)}, which "
            f"{'is the order' if as_taught else 'is not the order'} of the textbooks; after the training: {listed(end)}. "
            f"Trained on distances up to {last}, they recall at least {RECALLED:.0%} of the marks up to a distance of: "
            f"{reached}, so that {'the plain RNN forgets first' if remembers else 'the plain RNN is not the first to forget'}.",
            f"训练之初，{last} 步之外的梯度与一步之外的比：{listed(start)}，{'与' if as_taught else '并非'}教科书所说的次序{'一致' if as_taught else ''}；"
            f"训练之后：{listed(end)}。训练的距离不超过 {last}，能答对至少 {RECALLED:.0%} 的最远距离：{reached}，"
            f"{'简单的 RNN 最先遗忘' if remembers else '最先遗忘的并不是简单的 RNN'}。",
        ),
        tables=[
            Table(
                ("distance", *(f"recalled, {name}" for name in MODELS)),
                [
                    (str(far), *(f"{mean[name][row]:.1%}" for name in MODELS))
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
            Table(
                ("seeds", *MODELS),
                [
                    (
                        f"recalled over {last}, worst to best",
                        *(f"{min(of):.1%} to {max(of):.1%}" for of in at_last(found).values()),
                    )
                ],
            ),
        ],
        plots=[
            Plot(
                "distance",
                "recalled",
                {name: (DISTANCES + BEYOND, values) for name, values in mean.items()},
                log_x=True,
            ),
            Plot("distance", "gradient, start", {n: (DISTANCES, values) for n, values in start.items()}, True, True),
            Plot("distance", "gradient, end", {n: (DISTANCES, values) for n, values in end.items()}, True, True),
        ],
        sources=(
            "Bengio et al. 1994, Learning Long-Term Dependencies with Gradient Descent is Difficult",
            "Hochreiter and Schmidhuber 1997, Long Short-Term Memory",
            "Pascanu et al. 2013, On the Difficulty of Training Recurrent Neural Networks",
            "Vaswani et al. 2017, Attention Is All You Need, section 4",
        ),
    )
