"""What may follow what was said: each constraint strikes tokens out of a table of those allowed.

Scores are left alone, so that a hypothesis found under constraints has the log-probability that the
model gives it. Where nothing is left, the end is.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Constraint(Protocol):
    """A part that a search is given; several work one after the other, the last with the last word."""

    def applies(self, length: int) -> bool:
        """Whether it may strike out anything after ``length`` tokens."""

    def restrict(self, allowed: Tensor, said: Tensor, sentences: Tensor) -> None:
        """Changes ``allowed`` [R, V] in place, for what follows ``said`` [R, length] in ``sentences`` [R]."""


class NoRepeat:
    """No sequence of ``size`` tokens comes twice (Paulus et al. 2018, section 2.5)."""

    def __init__(self, size: int) -> None:
        self.size = size

    def applies(self, length: int) -> bool:
        return length >= self.size

    def restrict(self, allowed: Tensor, said: Tensor, sentences: Tensor) -> None:
        seen = said.unfold(1, self.size, 1)  # [R, places, size]
        again = (seen[:, :, :-1] == said[:, None, said.size(1) + 1 - self.size :]).all(-1)
        row, place = again.nonzero(as_tuple=True)
        allowed[row, seen[row, place, -1]] = False


class MinLength:
    """No end before a sentence has ``lengths`` [B] tokens."""

    def __init__(self, lengths: Tensor, eos: int) -> None:
        self.lengths = lengths
        self.eos = eos
        self.longest = int(lengths.max())

    def applies(self, length: int) -> bool:
        return length < self.longest

    def restrict(self, allowed: Tensor, said: Tensor, sentences: Tensor) -> None:
        allowed[:, self.eos] &= self.lengths[sentences] <= said.size(1)


class Prefix(NamedTuple):
    """What one sentence's output starts with: tokens, and then whatever spells so many characters."""

    tokens: Sequence[int] = ()
    spelling: Tensor | None = None
    """Boolean [N, V]: what may come when so many of N characters are spelt; with the last of them all is free."""
    characters: Tensor | None = None
    """How many characters each token spells, at least 1, [V]; given with ``spelling``, the same for all prefixes."""

    @property
    def longest(self) -> int:
        """How many tokens it takes at most."""
        return len(self.tokens) + (0 if self.spelling is None else len(self.spelling))


class ForcedPrefix:
    """The output of each sentence starts with its prefix, whatever the constraints before this one say."""

    def __init__(self, prefixes: Sequence[Prefix], device: torch.device | None = None) -> None:
        self.longest = max(prefix.longest for prefix in prefixes)
        filled = [[*prefix.tokens, *[0] * (1 + self.longest - len(prefix.tokens))] for prefix in prefixes]
        self.tokens = torch.tensor(filled, dtype=torch.long, device=device)  # [B, longest + 1]
        self.lengths = torch.tensor([len(prefix.tokens) for prefix in prefixes], device=device)  # [B]
        self.sizes = torch.tensor([prefix.longest - len(prefix.tokens) for prefix in prefixes], device=device)  # [B]
        starts: dict[int, int] = {}  # by the identity of a prefix, which many sentences may have in common
        spellings: list[Tensor] = []
        for prefix in prefixes:
            if prefix.spelling is not None and prefix.characters is not None and id(prefix) not in starts:
                starts[id(prefix)] = sum(map(len, spellings))
                spellings.append(prefix.spelling)
                self.characters = prefix.characters.to(device)
        self.start = torch.tensor([starts.get(id(prefix), 0) for prefix in prefixes], device=device)  # [B]
        self.spelling = torch.cat(spellings).to(device) if spellings else None

    def applies(self, length: int) -> bool:
        return length < self.longest

    def restrict(self, allowed: Tensor, said: Tensor, sentences: Tensor) -> None:
        length, own = said.size(1), self.lengths[sentences]
        forced = (own > length).nonzero()[:, 0]
        allowed[forced] = False
        allowed[forced, self.tokens[sentences[forced], length]] = True
        if self.spelling is not None:
            behind = torch.arange(length, device=said.device) >= own[:, None]
            spelt = (self.characters[said] * behind).sum(1)
            row = ((own <= length) & (spelt < self.sizes[sentences])).nonzero()[:, 0]
            allowed[row] = self.spelling[self.start[sentences[row]] + spelt[row]]


def constrain(
    log_probs: Tensor, said: Tensor, sentences: Tensor, constraints: Sequence[Constraint], eos: int
) -> Tensor:
    """``log_probs`` [R, V] of what follows ``said`` [R, length], with -inf at what may not."""
    allowed = torch.ones_like(log_probs, dtype=torch.bool)
    for constraint in constraints:
        constraint.restrict(allowed, said, sentences)
    allowed[:, eos] |= ~allowed.any(-1)
    return log_probs.masked_fill(~allowed, -torch.inf)


def penalise_repetition(logits: Tensor, said: Tensor, penalty: float) -> Tensor:
    """Logits [R, V] of tokens ``said`` [R, length] already, divided by ``penalty``, multiplied where negative.

    Keskar et al. 2019, "CTRL", section 4.1, in the form for logits of either sign.
    """
    own = logits.gather(1, said)
    return logits.scatter(1, said, torch.where(own > 0, own / penalty, own * penalty))
