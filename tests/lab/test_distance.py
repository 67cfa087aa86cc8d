"""How gradients and memory over distance are measured."""

import pytest
import torch
from torch import nn

from seqloom.lab import distance
from seqloom.lab.distance import (
    ASK,
    BEYOND,
    DISTANCES,
    MARKS,
    MODELS,
    Found,
    answers,
    farthest,
    gradient,
    recalled,
    sequences,
    summed_up,
)


def test_a_mark_a_distance_and_a_question() -> None:
    tokens, marks = sequences(11, 5)
    assert tokens.shape == (11, 6)
    assert tokens[:, 0].equal(marks)
    assert (marks < MARKS).all()
    assert ((tokens[:, 1:-1] >= MARKS) & (tokens[:, 1:-1] < ASK)).all()
    assert (tokens[:, -1] == ASK).all()


class Faded(nn.Module):
    """Adds up what it reads, that of k steps ago times 0.5^k."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(distance.VOCAB, MARKS)
        self.embedding = nn.ModuleDict({"table": self.table})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        ages = torch.arange(tokens.size(1)).flip(0)
        read = self.table(tokens)
        return (read * 0.5 ** ages[:, None]).cumsum(1)


def test_a_gradient_is_the_one_that_reaches_the_mark() -> None:
    torch.manual_seed(3)
    model = Faded()
    nn.init.zeros_(model.table.weight)  # so that all answers are as likely, whatever the distance
    near, far = gradient(model, 2), gradient(model, 5)
    assert near > 0
    assert far == pytest.approx(near / 8)
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_each_model_answers_and_learns_from_its_mark(name: str) -> None:
    torch.manual_seed(5)
    model = MODELS[name]()
    tokens, marks = sequences(3, 7)
    assert answers(model, tokens).shape == (3, MARKS)
    assert gradient(model, 7) > 0
    changed = torch.cat([(marks[:, None] + 1) % MARKS, tokens[:, 1:]], 1)
    assert not answers(model, changed).allclose(answers(model, tokens), rtol=0, atol=1e-5)


def test_a_short_memory_is_learnt() -> None:
    torch.manual_seed(1)
    model = MODELS["GRU"]()
    before = recalled(model, 2)
    distance.learn(model, 30, [1, 2])
    assert before < 0.4 < 0.9 < recalled(model, 2)


def test_memory_ends_where_it_first_fails() -> None:
    count = len(DISTANCES + BEYOND)
    assert farthest([1.0] * count) == BEYOND[0]
    assert farthest([1.0] * len(DISTANCES)) == DISTANCES[-1]
    assert farthest([0.5] + [1.0] * (count - 1)) == 0
    assert farthest([1.0, 0.95, 0.6] + [1.0] * (count - 3)) == 2


def test_seeds_are_summed_up() -> None:
    seeds = [
        Found([1.0, 0.5], [1.0, 2.0], [0.5, 0.5], [0.25, 1.0]),
        Found([1.0, 0.1], [1.0, 1.0], [1.0, 0.5], [0.75, 0.0]),
    ]
    assert summed_up(seeds) == Found([1.0, 0.3], [1.0, 1.5], [0.75, 0.5], [0.5, 0.5])


def found(start: float, end: float, mixed: float, alone: float) -> Found:
    """The same over every distance but the first, which is near and easy."""
    far = len(DISTANCES) - 1
    return Found([1.0, *[start] * far], [1.0, *[end] * far], [1.0, *[mixed] * (far + 1)], [1.0, *[alone] * far])


def test_the_verdict_follows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = {"RNN": found(1e-9, 1e-9, 1, 0.5), "LSTM": found(0.1, 1, 1, 1), "GRU": found(0.2, 1, 1, 1)}
    taught["Transformer"] = found(0.5, 1, 1, 1)
    makers = {make: name for name, make in MODELS.items()}
    monkeypatch.setattr(distance, "measure", lambda make, seed, times: taught[makers[make]])
    verdict = distance.distance(False).verdict
    assert "which is the order of the textbooks" in verdict.en
    assert "so that the plain RNN is the first to fail" in verdict.en
    assert "up to a distance of: RNN 1, LSTM 128, GRU 128, Transformer 128" in verdict.en
    assert (
        "Trained on all distances, 1,000 updates in place of 300, they reach: RNN 256, LSTM 256, GRU 256, Transformer "
        "256; then the gradients are: RNN 1.0e-09, LSTM 1, GRU 1, Transformer 1, so that what is remembered need not "
        "show in the gradient (RNN)." in verdict.en
    )
    assert "次序一致" in verdict.zh
    assert (
        "在所有距离上训练（1,000 步，而非 300 步）时：RNN 256, LSTM 256, GRU 256, Transformer 256；此时" in verdict.zh
    )
    assert "最先失败的是简单的 RNN" in verdict.zh
    for name in MODELS:
        taught[name] = found(0.5, 1, 1, 1)
    verdict = distance.distance(False).verdict
    assert "which is not the order of the textbooks" in verdict.en
    assert "the plain RNN is not the first to fail" in verdict.en
    assert "need not show" not in verdict.en
    assert "次序不同" in verdict.zh
    assert "最先失败的不是简单的 RNN" in verdict.zh
