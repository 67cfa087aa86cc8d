"""How gradients and memory over distance are measured."""

import pytest
import torch
from torch import nn

from seqloom.lab import distance
from seqloom.lab.distance import ASK, BEYOND, DISTANCES, MARKS, MODELS, answers, farthest, gradient, recalled, sequences


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


def test_a_short_memory_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance, "DISTANCES", [1, 2])
    torch.manual_seed(1)
    model = MODELS["GRU"]()
    before = recalled(model, 2)
    distance.learn(model, 40)
    assert before < 0.4 < 0.9 < recalled(model, 2)


def test_memory_ends_where_it_first_fails() -> None:
    count = len(DISTANCES + BEYOND)
    assert farthest([1.0] * count) == BEYOND[0]
    assert farthest([0.5] + [1.0] * (count - 1)) == 0
    assert farthest([1.0, 0.95, 0.6] + [1.0] * (count - 3)) == 2


def test_the_verdict_says_when_textbooks_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance, "learn", lambda *given: None)
    monkeypatch.setattr(distance, "recalled", lambda *given: 1.0)
    monkeypatch.setattr(distance, "gradient", lambda *given: 1.0)
    verdict = distance.distance(False).verdict
    assert "is not the order of the textbooks" in verdict.en
    assert "并非" in verdict.zh
    assert "the plain RNN is not the first to forget" in verdict.en
    assert "最先遗忘的并不是简单的 RNN" in verdict.zh
