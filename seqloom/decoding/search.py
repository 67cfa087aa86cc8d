"""Beam search, and walks in which each hypothesis has one continuation, over any model that can take one step.

One definition of the result, CTranslate2's: the score of a hypothesis is the sum of its
log-probabilities / length^alpha, where the length counts the end token; a sentence is finished
when as many hypotheses have ended as the beam is wide (patience 1) or, where scores only fall, when
the best one has ended and as many as are asked for. A hypothesis cut at the greatest length counts
as ended.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from seqloom.decoding.choice import Choice, Walkers, greedy
from seqloom.decoding.constraints import Constraint, constrain, penalise_repetition
from seqloom.decoding.coverage import coverage
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.decoding.ranking import Ranking
from seqloom.decoding.step import AttentiveState, State, StateT, Step
from seqloom.errors import UserError

BY_LENGTH = Ranking()


@dataclass(frozen=True)
class Search:
    """What is searched for. ``n_best`` hypotheses of each sentence are returned, best first."""

    bos: int
    eos: int
    beam: int = 4
    n_best: int = 1
    max_length: int | Tensor = 256
    """Of all sentences, or of each, [B]; in tokens with their end."""
    ranking: Ranking = BY_LENGTH
    choice: Choice | None = None
    """How each of ``beam`` hypotheses goes its own way; None is beam search, or greedy where the beam is 1."""
    constraints: Sequence[Constraint] = ()
    repetition_penalty: float = 1.0
    src_mask: Tensor | None = None
    """[B, S], True at the real tokens of the source; for a ranking by coverage."""

    def __post_init__(self) -> None:
        if self.n_best > self.beam:
            raise ValueError(f"{self.n_best} best hypotheses need a beam at least as wide, got {self.beam}")
        if self.n_best < 1 or int(torch.as_tensor(self.max_length).min()) < 1:
            raise ValueError(f"n_best ({self.n_best}) and max_length ({self.max_length}) must be at least 1")

    def run(
        self, step: Step[StateT], state: StateT, batch: int, device: torch.device | None = None
    ) -> list[list[Hypothesis]]:
        """Searches for ``batch`` sentences whose sources ``state`` has read."""
        if self.ranking.beta:
            cast(AttentiveState, state).record_attention = True
        choice = self.choice or (greedy if self.beam == 1 else None)
        limits = torch.as_tensor(self.max_length, device=device).expand(batch)
        if choice is None:
            found = self._beam(step, state, limits)
        else:
            found = self._walk(step, state, limits, choice)
        return [_ranked(each)[: self.n_best] for each in found]

    def _beam(self, step: Step[StateT], state: StateT, limits: Tensor) -> list[list[Hypothesis]]:
        found: list[list[Hypothesis]] = [[] for _ in range(len(limits))]
        alive = torch.arange(len(limits), device=limits.device)  # the sentences that are not finished, [A]
        top_ended = torch.zeros_like(alive, dtype=torch.bool)  # whether the best one ever has, [A]
        tokens = torch.full_like(alive, self.bos)[:, None]  # [A, width], the width 1 at first
        log_probs = torch.zeros_like(tokens, dtype=torch.float32)
        said = tokens[:, :, None][:, :, :0]  # [A, width, length - 1]
        looked = log_probs[:, :, None][:, :, :0]  # how much at each source token, [A, width, S]; S is 0 if nobody asks
        first_cut = int(limits.min())
        for length in range(1, int(limits.max()) + 1):
            width = tokens.size(1)
            next_log_probs = self._next(step(tokens.flatten(), state), said, alive)
            total, origin, token = self._candidates(log_probs.unsqueeze(2) + next_log_probs)
            looked = self._looked(state, looked)
            ended = self._ended(token[:, : self.beam], length, limits, first_cut)
            rows = torch.arange(0, len(alive) * width, width, device=alive.device).unsqueeze(1)  # each one's first
            gone = False
            if ended.any():
                row, slot = ended.nonzero(as_tuple=True)
                parent = origin[row, slot]
                sequences = torch.cat([said[row, parent], token[row, slot, None]], dim=1)
                self._finish(found, alive[row], sequences, total[row, slot], looked[row, parent])
                top_ended = top_ended | ended[:, 0]
                counts = torch.tensor([len(found[sentence]) for sentence in alive.tolist()], device=alive.device)
                going = (~self._finished(counts, top_ended) & (length < limits)).nonzero()[:, 0]
                if not len(going):
                    break
                slots = self._survivors(token, ended)[going]
                gone = len(going) < len(alive)
                tokens, log_probs, origin = (each[going].gather(1, slots) for each in (token, total, origin))
                alive, top_ended, limits, rows = alive[going], top_ended[going], limits[going], rows[going]
            else:
                tokens, log_probs, origin = (each[:, : self.beam] for each in (token, total, origin))
            rows = (rows + origin).flatten()  # which hypothesis each continues
            said = torch.cat([_continued(said, rows, self.beam), tokens.unsqueeze(2)], dim=2)
            looked = _continued(looked, rows, self.beam)
            state.reorder(rows, going if gone else None)
        return found

    def _walk(self, step: Step[StateT], state: StateT, limits: Tensor, choice: Choice) -> list[list[Hypothesis]]:
        found: list[list[Hypothesis]] = [[] for _ in range(len(limits))]
        alive = torch.arange(len(limits), device=limits.device)  # the sentences that are not finished, [A]
        numbers = torch.arange(self.beam, device=limits.device).expand(len(alive), -1)  # of their hypotheses, [A, W]
        going = torch.ones_like(numbers, dtype=torch.bool)
        log_probs = torch.zeros_like(numbers, dtype=torch.float32)
        tokens = torch.full_like(alive, self.bos)[:, None]  # [A, width], the width 1 at first and then W
        said = tokens[:, :, None][:, :, :0]  # [A, width, length - 1]
        looked = log_probs[:, :1, None][:, :, :0]  # how much at each source token, [A, width, S]; see above
        first_cut = int(limits.min())
        for length in range(1, int(limits.max()) + 1):
            width, wanted = tokens.size(1), numbers.size(1)
            next_log_probs = self._next(step(tokens.flatten(), state), said, alive)
            looked = self._looked(state, looked)
            if width < wanted:
                next_log_probs, said, looked = (each.expand(-1, wanted, -1) for each in (next_log_probs, said, looked))
            tokens = choice(next_log_probs, Walkers(alive, numbers, going, length))
            log_probs = log_probs + next_log_probs.gather(2, tokens.unsqueeze(2)).squeeze(2)
            said = torch.cat([said, tokens.unsqueeze(2)], dim=2)
            ended = going & self._ended(tokens, length, limits, first_cut)
            if not ended.any() and width == wanted:
                continue
            row, slot = ended.nonzero(as_tuple=True)
            self._finish(found, alive[row], said[row, slot], log_probs[row, slot], looked[row, slot])
            going = going & ~ended
            left = going.sum(1)
            kept = left.nonzero()[:, 0]
            if not len(kept):
                break
            # Those that go on close ranks; a sentence with fewer than the widest keeps some that do not.
            places = going.int().argsort(dim=1, descending=True, stable=True)[kept, : int(left.max())]
            numbers, going, log_probs, tokens = (e[kept].gather(1, places) for e in (numbers, going, log_probs, tokens))
            said = said[kept[:, None], places]
            looked = looked[kept[:, None], places]
            rows = kept[:, None] * width + places.clamp_max(width - 1)
            state.reorder(rows.flatten(), kept if len(kept) < len(alive) else None)
            alive, limits = alive[kept], limits[kept]
        return found

    def _next(self, logits: Tensor, said: Tensor, alive: Tensor) -> Tensor:
        """Log-probabilities [A, width, V] of what follows ``said``, -inf where it may not."""
        width, said = said.size(1), said.flatten(0, 1)
        if self.repetition_penalty != 1:
            logits = penalise_repetition(logits, said, self.repetition_penalty)
        # In float32 at least: in bfloat16 the sums of a sequence would be full of ties.
        log_probs = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        if active := [each for each in self.constraints if each.applies(said.size(1))]:
            log_probs = constrain(log_probs, said, alive.repeat_interleave(width), active, self.eos)
        return log_probs.view(-1, width, log_probs.size(1))

    def _looked(self, state: State, before: Tensor) -> Tensor:
        """The attention that each source token has had up to this step, [A, width, S], if the ranking asks for it."""
        if not self.ranking.beta:
            return before
        attention = cast(AttentiveState, state).attention
        if attention is None:
            raise UserError(
                "coverage_penalty needs a model that tells where it looks, and this one has no attention; set it to 0"
            )
        attention = attention.unflatten(0, before.shape[:2])
        attention = attention.to(torch.promote_types(attention.dtype, torch.float32))  # it is added up
        return before + attention if before.size(2) else attention

    def _ended(self, tokens: Tensor, length: int, limits: Tensor, first_cut: int) -> Tensor:
        """Which hypotheses end with ``tokens`` [A, width], their ``length``-th: all of them where they are cut.

        Nothing is cut before ``first_cut``, which saves the comparison.
        """
        said_so = tokens == self.eos
        return said_so if length < first_cut else said_so | (length >= limits).unsqueeze(1)

    def _finish(
        self,
        found: list[list[Hypothesis]],
        sentences: Tensor,
        sequences: Tensor,
        log_probs: Tensor,
        looked: Tensor,
    ) -> None:
        """Adds hypotheses [N, length] of ``sentences`` [N] with their end token, if they have one, to those found."""
        if self.ranking.beta and self.src_mask is not None:
            covered = coverage(looked, self.src_mask[sentences])
        else:
            covered = torch.zeros_like(log_probs)
        for sentence, tokens, log_prob, cover in _rows(sentences, sequences, log_probs, covered):
            if log_prob != -math.inf:  # a place that no candidate took
                finished = tokens[-1] == self.eos
                score = self.ranking.score(log_prob, len(tokens), cover)
                found[sentence].append(Hypothesis(tokens[:-1] if finished else tokens, score, log_prob, finished))

    def _finished(self, counts: Tensor, top_ended: Tensor) -> Tensor:
        """Which sentences need no further step, [A], with ``counts`` hypotheses ended."""
        if self.ranking.scores_only_fall:
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


def _continued(each: Tensor, rows: Tensor, beam: int) -> Tensor:
    """Of what each hypothesis has, [A, width, N], that of ``rows`` of all A * width: [A', beam, N]."""
    return each.flatten(0, 1).index_select(0, rows).view(len(rows) // beam, beam, each.size(2))


def _ranked(found: list[Hypothesis]) -> list[Hypothesis]:
    """Best first, those that say the same as one with their count."""
    counts = Counter((tuple(each.tokens), each.finished) for each in found)
    distinct = {(tuple(each.tokens), each.finished): each for each in reversed(found)}
    merged = [each._replace(draws=counts[said]) for said, each in distinct.items()]
    return sorted(merged, key=lambda each: -each.score)


def _rows(*columns: Tensor) -> Iterator[Any]:
    """The rows of several columns as plain numbers and lists."""
    return zip(*(column.tolist() for column in columns), strict=True)
