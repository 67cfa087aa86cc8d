"""The decoder step protocol: any model that can take one step will do."""

from typing import Any, Protocol, TypeVar

from torch import Tensor


class State(Protocol):
    """What a model remembers of the hypotheses so far."""

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Goes on with hypotheses ``rows``, and only with ``sentences`` where some are finished."""


class AttentiveState(State, Protocol):
    """One that can tell where the model looked; asked for only where a coverage penalty needs it."""

    record_attention: bool
    """Set before the first step by who wants ``attention``."""
    attention: Tensor | None
    """Of the last step to the source, [B * beam, S], each row summing to 1, 0 at padding."""


StateT = TypeVar("StateT", bound=State)
StateIn = TypeVar("StateIn", bound=State, contravariant=True)


class Step(Protocol[StateIn]):
    """``tokens`` [B * beam], the last of each hypothesis -> logits [B * beam, V] of the next.

    Hypotheses of one sentence stand side by side. At the first step each sentence has only one.
    """

    def __call__(self, tokens: Tensor, state: StateIn) -> Tensor: ...


class StepModel(Protocol):
    """A model that reads sources [B, S], ``src_mask`` True at real tokens, and then takes steps."""

    @property
    def longest(self) -> int | None:
        """How many tokens a sequence may have, its begin or end counted; None where any number will do."""

    def start(self, src: Tensor, src_mask: Tensor | None = None) -> Any: ...
    def step(self, tokens: Tensor, state: Any) -> Tensor: ...
