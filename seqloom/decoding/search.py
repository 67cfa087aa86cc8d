"""Greedy and beam search over any model that can take one step.

One definition of the result, CTranslate2's: the score of a hypothesis is the sum of its
log-probabilities / length^alpha, where the length counts the end token; a sentence is finished
when as many hypotheses have ended as the beam is wide (patience 1).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor


class State(Protocol):
    """What a model remembers of the hypotheses so far."""

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Goes on with hypotheses ``rows``, and only with ``sentences`` where some are finished."""


StateT = TypeVar("StateT", bound=State, contravariant=True)


class Step(Protocol[StateT]):
    """``tokens`` [B * beam], the last of each hypothesis -> logits [B * beam, V] of the next."""

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

    def run(
        self, step: Step[StateT], state: StateT, batch: int, device: torch.device | None = None
    ) -> list[list[Hypothesis]]:
        """Searches for ``batch`` sentences whose sources ``state`` has read."""
        if self.beam == 1:
            return [[hypothesis] for hypothesis in self._greedy(step, state, batch, device)]
        return self._beam(step, state, batch, device)

    def _score(self, log_prob: float, length: int) -> float:
        return log_prob / length**self.length_penalty

    def _finish(self, tokens: list[int], log_prob: float) -> Hypothesis:
        """``tokens`` with their end token, if they have one."""
        score = self._score(log_prob, len(tokens))
        return Hypothesis(tokens[:-1] if tokens[-1] == self.eos else tokens, score, log_prob)

    def _greedy(self, step: Step[StateT], state: StateT, batch: int, device: torch.device | None) -> list[Hypothesis]:
        results: list[Hypothesis | None] = [None] * batch
        alive = torch.arange(batch, device=device)
        tokens = torch.full((batch,), self.bos, device=device)
        said = torch.empty(batch, 0, dtype=torch.long, device=device)
        log_probs = torch.zeros(batch, device=device)
        for length in range(1, self.max_length + 1):
            best, tokens = step(tokens, state).log_softmax(-1).max(-1)
            log_probs = log_probs + best
            said = torch.cat([said, tokens[:, None]], dim=1)
            ended = tokens == self.eos if length < self.max_length else torch.ones_like(tokens, dtype=torch.bool)
            if not ended.any():
                continue
            for row in ended.nonzero()[:, 0].tolist():
                results[int(alive[row])] = self._finish(said[row].tolist(), float(log_probs[row]))
            going = (~ended).nonzero()[:, 0]
            if not len(going):
                break
            alive, tokens, said, log_probs = alive[going], tokens[going], said[going], log_probs[going]
            state.reorder(going, going)
        return [result for result in results if result is not None]

    def _beam(
        self, step: Step[StateT], state: StateT, batch: int, device: torch.device | None
    ) -> list[list[Hypothesis]]:
        results: list[list[Hypothesis]] = [[] for _ in range(batch)]
        alive = torch.arange(batch, device=device)  # the sentences that are not finished, [A]
        tokens = torch.full((batch, 1), self.bos, device=device)  # [A, width], the width 1 at first
        log_probs = torch.zeros(batch, 1, device=device)
        said = torch.empty(batch, 1, 0, dtype=torch.long, device=device)  # [A, width, length]
        for length in range(1, self.max_length + 1):
            width = tokens.size(1)
            next_log_probs = step(tokens.flatten(), state).log_softmax(-1).unflatten(0, (-1, width))
            # Twice the beam: if all of the first half have ended, the second half goes on.
            total, origin, token = self._candidates(log_probs[:, :, None] + next_log_probs)
            said = torch.cat([_take(said, origin), token[:, :, None]], dim=2)
            ended = token[:, : self.beam] == self.eos
            if length == self.max_length:
                ended = torch.ones_like(ended)
            for row, slot in ended.nonzero().tolist():
                log_prob = float(total[row, slot])
                if log_prob > -torch.inf:
                    results[int(alive[row])].append(self._finish(said[row, slot].tolist(), log_prob))
            if length == self.max_length:
                break
            slots = self._survivors(token, ended)
            tokens, log_probs, origin = token.gather(1, slots), total.gather(1, slots), origin.gather(1, slots)
            said = _take(said, slots)
            sentences = self._unfinished(results, alive, ended)
            if sentences is not None:
                if not len(sentences):
                    break
                alive, tokens, log_probs, said = (
                    alive[sentences],
                    tokens[sentences],
                    log_probs[sentences],
                    said[sentences],
                )
                origin = origin[sentences]
            first = sentences if sentences is not None else torch.arange(len(alive), device=device)
            state.reorder((first[:, None] * width + origin).flatten(), sentences)
        return [sorted(found, key=lambda h: -h.score)[: self.n_best] for found in results]

    def _candidates(self, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best 2 * beam continuations of [A, width, V]: log-probability, slot, token."""
        vocab = total.size(2)
        wanted, flat = 2 * self.beam, total.flatten(1)
        top, index = flat.topk(min(wanted, flat.size(1)))
        if missing := wanted - top.size(1):  # a vocabulary smaller than the beam
            top = torch.nn.functional.pad(top, (0, missing), value=-torch.inf)
            index = torch.nn.functional.pad(index, (0, missing))
        return top, index // vocab, index % vocab

    def _survivors(self, token: Tensor, ended: Tensor) -> Tensor:
        """Which candidates go on, [A, beam]: an ended one's place goes to the next best in line."""
        in_line = (token[:, self.beam :] == self.eos).to(torch.int8).argsort(dim=1, stable=True) + self.beam
        turn = (ended.cumsum(1) - 1).clamp_min(0)
        own = torch.arange(self.beam, device=token.device).expand_as(ended)
        return torch.where(ended, in_line.gather(1, turn), own)

    def _unfinished(self, results: list[list[Hypothesis]], alive: Tensor, ended: Tensor) -> Tensor | None:
        """The rows of the sentences that go on; None where all do."""
        if not ended.any():
            return None
        going = []
        for row, sentence in enumerate(alive.tolist()):
            found = len(results[sentence])
            if self.length_penalty == 0:  # scores only fall, so the best has been found
                finished = bool(ended[row, 0]) and found >= self.n_best
            else:
                finished = found >= self.beam
            if not finished:
                going.append(row)
        return None if len(going) == len(alive) else torch.tensor(going, dtype=torch.long, device=alive.device)


def _take(said: Tensor, slots: Tensor) -> Tensor:
    """[A, width, length] -> the given ``slots`` [A, K] of each sentence: [A, K, length]."""
    return said.gather(1, slots[:, :, None].expand(-1, -1, said.size(2)))
