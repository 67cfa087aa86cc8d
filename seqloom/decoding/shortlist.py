"""A search among the target pieces that are likely for a sentence, instead of the whole vocabulary.

Jean et al. 2015, "On Using Very Large Target Vocabulary", section 3.3. Each sentence has pieces of its own, so
what it becomes does not depend on what is translated beside it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqloom.decoding.step import State


class Shortlist(NamedTuple):
    """What may be said."""

    each: list[NDArray[np.int64]]
    """For each source piece, the most probable first."""
    always: NDArray[np.int64]
    """Whatever the source; the special tokens are among them."""

    def of(self, sources: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """All pieces that B sources may become, ascending, [U], and which of them are each one's own, [B, U]."""
        named = [np.unique(np.concatenate([self.always, *(self.each[i] for i in set(ids))])) for ids in sources]
        pieces = np.unique(np.concatenate(named))
        own = np.zeros((len(sources), len(pieces)), bool)
        for row, ids in enumerate(named):
            own[row, np.searchsorted(pieces, ids)] = True
        return pieces, own


class ScoringModel(Protocol):
    """A model that can score a part of its vocabulary."""

    @property
    def longest(self) -> int | None:
        """As of :class:`seqloom.decoding.step.StepModel`."""

    def start(self, src: Tensor, src_mask: Tensor | None = None) -> Any: ...

    def look(self, tokens: Tensor, state: Any) -> Tensor:
        """A step, up to the vectors that the logits are made from: ``tokens`` [R] -> [R, D]."""

    def scorer(self, pieces: Tensor) -> Callable[[Tensor], Tensor]:
        """Vectors [R, D] -> the logits of ``pieces`` [U] alone, [R, U]."""


class _State:
    """That of the model, and what is closed to the sentences that are left."""

    def __init__(self, inner: Any, closed: Tensor | None) -> None:
        self.inner = inner
        self.closed = closed  # [B, U], -inf at what is not a sentence's own; None where all is

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        inner: State = self.inner
        inner.reorder(rows, sentences)
        if sentences is not None and self.closed is not None:
            self.closed = self.closed.index_select(0, sentences)

    @property
    def record_attention(self) -> bool:
        wanted: bool = self.inner.record_attention
        return wanted

    @record_attention.setter
    def record_attention(self, wanted: bool) -> None:
        self.inner.record_attention = wanted

    @property
    def attention(self) -> Tensor | None:
        attention: Tensor | None = self.inner.attention
        return attention


class Shortlisted:
    """A step model whose tokens are places in ``pieces``.

    Args:
        model: scores them.
        pieces: [U], ids of the whole vocabulary.
        own: [B, U], which of them each sentence may say.
    """

    def __init__(self, model: ScoringModel, pieces: Tensor, own: Tensor) -> None:
        self._model = model
        self._pieces = pieces
        self._score = model.scorer(pieces)
        self._closed = (
            None if bool(own.all()) else torch.zeros(own.shape, device=own.device).masked_fill(~own, -math.inf)
        )

    @property
    def longest(self) -> int | None:
        """That of the model."""
        return self._model.longest

    def start(self, src: Tensor, src_mask: Tensor | None = None) -> _State:
        """Reads the sources, whose pieces these are."""
        return _State(self._model.start(src, src_mask), self._closed)

    def step(self, tokens: Tensor, state: _State) -> Tensor:
        """``tokens`` [B * beam], places -> logits [B * beam, U]."""
        logits = self._score(self._model.look(self._pieces[tokens], state.inner))
        if state.closed is None:
            return logits
        return (logits.view(len(state.closed), -1, logits.size(1)) + state.closed[:, None]).flatten(0, 1)
