"""Models without a network, and every output that one of them has, for comparison with a search."""

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from seqloom.decoding.hypothesis import Hypothesis
from seqloom.decoding.ranking import Ranking
from seqloom.decoding.search import Search

BOS = 1
Prefix = tuple[int, ...]


class Table:
    """The logits after each prefix of each sentence, and where the model looked, are drawn once and kept."""

    sources = 5  # source tokens

    def __init__(self, vocab: int, seed: int = 0, sharpness: float = 2.0, dtype: torch.dtype = torch.float64) -> None:
        self.vocab, self.seed, self.sharpness, self.dtype = vocab, seed, sharpness, dtype
        self.rows: list[int] = []  # hypotheses that each step received

    def logits(self, sentence: int, prefix: Prefix) -> list[float]:
        draw = random.Random(f"{self.seed} {sentence} {prefix}")
        return [draw.gauss(0, self.sharpness) for _ in range(self.vocab)]

    def log_probs(self, sentence: int, prefix: Prefix) -> list[float]:
        logits = self.logits(sentence, prefix)
        normalizer = math.log(sum(map(math.exp, logits)))
        return [logit - normalizer for logit in logits]

    def attention(self, sentence: int, prefix: Prefix) -> list[float]:
        draw = random.Random(f"attention {self.seed} {sentence} {prefix}")
        weights = [draw.random() ** 3 for _ in range(self.sources - sentence % 2)]  # some have one token less
        return [weight / sum(weights) for weight in weights] + [0.0] * (sentence % 2)

    def step(self, tokens: Tensor, state: "TableState") -> Tensor:
        self.rows.append(len(tokens))
        state.prefixes = [(*p, t) for p, t in zip(state.prefixes, tokens.tolist(), strict=True)]
        places = [(s, p[1:]) for s, p in zip(state.owners, state.prefixes, strict=True)]
        if state.record_attention:
            state.attention = torch.tensor([self.attention(*place) for place in places], dtype=self.dtype)
        return torch.tensor([self.logits(*place) for place in places], dtype=self.dtype)


class TableState:
    """Remembers what each hypothesis has said and which sentence it is of; checks what it is told."""

    def __init__(self, sentences: list[int]) -> None:
        self.sentences, self.owners = list(sentences), list(sentences)
        self.prefixes: list[Prefix] = [()] * len(sentences)
        self.record_attention = False
        self.attention: Tensor | None = None

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        if sentences is not None:
            assert 0 < len(sentences) < len(self.sentences), "told to keep all or none"
            self.sentences = [self.sentences[s] for s in sentences.tolist()]
        self.owners = [self.owners[r] for r in rows.tolist()]
        self.prefixes = [self.prefixes[r] for r in rows.tolist()]
        width = len(self.owners) // len(self.sentences)
        assert self.owners == [s for s in self.sentences for _ in range(width)]


def search(table: Table, sentences: list[int], alpha: float = 1.0, **settings: Any) -> list[list[Hypothesis]]:
    wanted = Search(bos=BOS, **{"ranking": Ranking(alpha), **settings})
    found = wanted.run(table.step, TableState(sentences), len(sentences))
    assert len(found) == len(sentences)
    return found


def everything(
    table: Table,
    sentence: int,
    eos: int,
    longest: int,
    score: Callable[[float, Prefix], float],
    allowed: Callable[[Prefix], set[int]] | None = None,
) -> list[Hypothesis]:
    """All outputs of a model, best first; ``allowed`` says what may follow a prefix, ``score`` sees the end token."""

    def grown(prefix: Prefix, log_prob: float) -> Iterator[tuple[Prefix, float]]:
        log_probs = table.log_probs(sentence, prefix)
        for token in range(table.vocab) if allowed is None else allowed(prefix):
            longer, total = (*prefix, token), log_prob + log_probs[token]
            if token == eos or len(longer) == longest:
                yield longer, total
            else:
                yield from grown(longer, total)

    found = [
        Hypothesis(list(said[: -1 if said[-1] == eos else None]), score(total, said), total, said[-1] == eos)
        for said, total in grown((), 0.0)
    ]
    return sorted(found, key=lambda h: -h.score)


def agree(found: list[Hypothesis], expected: list[Hypothesis], tolerance: float = 1e-9) -> None:
    assert [(h.tokens, h.finished) for h in found] == [(h.tokens, h.finished) for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], rel=tolerance)
    assert [h.log_prob for h in found] == pytest.approx([h.log_prob for h in expected], rel=tolerance)
