"""Several models that take each step together, as one that search need not know of."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from seqloom.decoding.step import AttentiveState, State


class Ensemble(nn.Module):
    """The mean of the members' probabilities, a step at a time; their vocabularies must be one.

    Args:
        members: models with ``start(src, src_mask)`` and ``step(tokens, state)``, of any sizes.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def longest(self) -> int | None:
        """What the member with the fewest places can read."""
        bounds = [cast(Any, member).longest for member in self.members]
        return min((bound for bound in bounds if bound is not None), default=None)

    def start(self, src: Tensor, src_mask: Tensor | None = None) -> "EnsembleState":
        """Every member reads the B sources."""
        return EnsembleState([cast(Any, member).start(src, src_mask) for member in self.members])

    def step(self, tokens: Tensor, state: "EnsembleState") -> Tensor:
        """``tokens`` [B * beam] -> logits whose softmax is the mean probability of each next token, [B * beam, V].

        They lie as high as the members' own do in the mean, since a repetition penalty divides what is above zero.
        """
        steps = [cast(Any, m).step(tokens, s) for m, s in zip(self.members, state.members, strict=True)]
        logits = torch.stack([each.to(torch.promote_types(each.dtype, torch.float32)) for each in steps])
        height = logits.logsumexp(-1, keepdim=True)
        return (logits - height).logsumexp(0) - math.log(len(steps)) + height.mean(0)


class EnsembleState:
    """What each member remembers."""

    def __init__(self, members: Sequence[State]) -> None:
        self.members = members

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        for member in self.members:
            member.reorder(rows, sentences)

    @property
    def record_attention(self) -> bool:
        return all(cast(AttentiveState, member).record_attention for member in self.members)

    @record_attention.setter
    def record_attention(self, wanted: bool) -> None:
        for member in self.members:
            cast(AttentiveState, member).record_attention = wanted

    @property
    def attention(self) -> Tensor | None:
        """The mean of the members' attention, [B * beam, S]."""
        each = [cast(AttentiveState, member).attention for member in self.members]
        known = [attention for attention in each if attention is not None]
        return torch.stack(known).mean(0) if len(known) == len(each) else None
