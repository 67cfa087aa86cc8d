"""Greedy and beam search over any model that can take one step.

One definition of the result, CTranslate2's: the score of a hypothesis is the sum of its
log-probabilities / length^alpha, where the length counts the end token; a sentence is finished
when as many hypotheses have ended as the beam is wide (patience 1) or, with alpha = 0, when the
best one has ended and as many as are asked for. A hypothesis cut at ``max_length`` counts as ended.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor


class State(Protocol):
    """What a model remembers of the hypotheses so far."""

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Goes on with hypotheses ``rows``, and only with ``sentences`` where some are finished."""


StateT = TypeVar("StateT", bound=State, contravariant=True)


class Step(Protocol[StateT]):
    """``tokens`` [B * beam], the last of each hypothesis -> logits [B * beam, V] of the next.

    Hypotheses of one sentence stand side by side. At the first step each sentence has only one.
    """

    def __call__(self, tokens: Tensor, state: StateT) -> Tensor: ...


class Hypothesis(NamedTuple):
    """One finished sequence."""

    tokens: list[int]
    """Without begin and end."""
    score: float
    """log_prob / length^alpha; what hypotheses are ordered by."""
    log_prob: float
    """Natural logarithm of the probability of the tokens and, unless cut, of the end."""


@dataclass(frozen=True)
class Search:
    """What is searched for. ``n_best`` hypotheses of each sentence are returned, best first."""

    bos: int
    eos: int
    beam: int = 4
    length_penalty: float = 1.0
    max_length: int = 256
    n_best: int = 1

    def __post_init__(self) -> None:
        if self.n_best > self.beam:
            raise ValueError(f"{self.n_best} best hypotheses need a beam at least as wide, got {self.beam}")
        if self.n_best < 1 or self.max_length < 1:
            raise ValueError(f"n_best ({self.n_best}) and max_length ({self.max_length}) must be at least 1")

    def run(
        self, step: Step[StateT], state: StateT, batch: int, device: torch.device | None = None
    ) -> list[list[Hypothesis]]:
        """Searches for ``batch`` sentences whose sources ``state`` has read."""
        if self.beam == 1:
            return [[hypothesis] for hypothesis in self._greedy(step, state, batch, device)]
        return self._beam(step, state, batch, device)

    def _finish(self, tokens: list[int], log_prob: float) -> Hypothesis:
        """``tokens`` with their end token, if they have one."""
        score = log_prob / len(tokens) ** self.length_penalty
        return Hypothesis(tokens[:-1] if tokens[-1] == self.eos else tokens, score, log_prob)

    def _greedy(self, step: Step[StateT], state: StateT, batch: int, device: torch.device | None) -> list[Hypothesis]:
        found: dict[int, Hypothesis] = {}
        alive = torch.arange(batch, device=device)  # the sentences that are not finished, [A]
        tokens = torch.full((batch,), self.bos, device=device)
        log_probs = torch.zeros(batch, device=device)
        said = torch.empty(batch, 0, dtype=torch.long, device=device)  # [A, length]
        for length in range(1, self.max_length + 1):
            best, tokens = _log_softmax(step(tokens, state)).max(-1)
            log_probs = log_probs + best
            said = torch.cat([said, tokens[:, None]], dim=1)
            ended = self._ended(tokens, length)
            if not ended.any():
                continue
            for sentence, sequence, log_prob in _rows(alive[ended], said[ended], log_probs[ended]):
                found[sentence] = self._finish(sequence, log_prob)
            going = (~ended).nonzero()[:, 0]
            if not len(going):
                break
            alive, tokens, log_probs, said = alive[going], tokens[going], log_probs[going], said[going]
            state.reorder(going, going)
        return [found[sentence] for sentence in range(batch)]

    def _beam(
        self, step: Step[StateT], state: StateT, batch: int, device: torch.device | None
    ) -> list[list[Hypothesis]]:
        found: list[list[Hypothesis]] = [[] for _ in range(batch)]
        alive = torch.arange(batch, device=device)  # the sentences that are not finished, [A]
        top_ended = torch.zeros(batch, dtype=torch.bool, device=device)  # whether the best one ever has, [A]
        tokens = torch.full((batch, 1), self.bos, device=device)  # [A, width], the width 1 at first
        log_probs = torch.zeros(batch, 1, device=device)
        said = torch.empty(batch, 1, 0, dtype=torch.long, device=device)  # [A, width, length - 1]
        for length in range(1, self.max_length + 1):
            width = tokens.size(1)
            next_log_probs = _log_softmax(step(tokens.flatten(), state)).unflatten(0, (-1, width))
            total, origin, token = self._candidates(log_probs[:, :, None] + next_log_probs)
            ended = self._ended(token[:, : self.beam], length)
            going = torch.arange(len(alive), device=device)
            if ended.any():
                row, slot = ended.nonzero(as_tuple=True)
                sequences = torch.cat([said[row, origin[row, slot]], token[row, slot, None]], dim=1)
                for sentence, sequence, log_prob in _rows(alive[row], sequences, total[row, slot]):
                    if log_prob != -math.inf:  # a place that no candidate took
                        found[sentence].append(self._finish(sequence, log_prob))
                top_ended = top_ended | ended[:, 0]
                counts = torch.tensor([len(found[sentence]) for sentence in alive.tolist()], device=device)
                going = (~self._finished(counts, top_ended)).nonzero()[:, 0]
                if not len(going) or length == self.max_length:
                    break
            slots = self._survivors(token, ended)
            tokens, log_probs, origin = (each.gather(1, slots)[going] for each in (token, total, origin))
            said = torch.cat([said[going[:, None], origin], tokens[:, :, None]], dim=2)
            alive, top_ended = alive[going], top_ended[going]
            state.reorder((going[:, None] * width + origin).flatten(), going if len(going) < len(ended) else None)
        return [sorted(each, key=lambda h: -h.score)[: self.n_best] for each in found]

    def _ended(self, tokens: Tensor, length: int) -> Tensor:
        """Which hypotheses end with ``tokens``, their ``length``-th: all of them where they are cut."""
        return (tokens == self.eos) | (length == self.max_length)

    def _finished(self, counts: Tensor, top_ended: Tensor) -> Tensor:
        """Which sentences need no further step, [A], with ``counts`` hypotheses ended."""
        if self.length_penalty == 0:  # scores only fall: nothing beats the best one once it has ended
            return top_ended & (counts >= self.n_best)
        return counts >= self.beam

    def _candidates(self, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best 2 * beam continuations of [A, width, V]: log-probability, slot, token.

        If all of the first half have ended, the second half goes on.
        """
        vocab = total.size(2)
        wanted, flat = 2 * self.beam, total.flatten(1)
        top, index = flat.topk(min(wanted, flat.size(1)))
        if missing := wanted - top.size(1):  # a vocabulary smaller than that
            top = torch.nn.functional.pad(top, (0, missing), value=-math.inf)
            index = torch.nn.functional.pad(index, (0, missing))
        return top, index // vocab, index % vocab

    def _survivors(self, token: Tensor, ended: Tensor) -> Tensor:
        """Which candidates go on, [A, beam]: an ended one's place goes to the next best in line."""
        in_line = (token[:, self.beam :] == self.eos).to(torch.int8).argsort(dim=1, stable=True) + self.beam
        turn = (ended.cumsum(1) - 1).clamp_min(0)
        own = torch.arange(self.beam, device=token.device).expand_as(ended)
        return torch.where(ended, in_line.gather(1, turn), own)


def _log_softmax(logits: Tensor) -> Tensor:
    """In float32 at least: in bfloat16 the sums of a sequence would be full of ties."""
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _rows(*columns: Tensor) -> Iterator[Any]:
    """The rows of several columns as plain numbers and lists."""
    return zip(*(column.tolist() for column in columns), strict=True)
