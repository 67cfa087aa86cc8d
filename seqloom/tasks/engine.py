"""The contract between a trained translator and what runs it: token ids in, hypotheses and probabilities out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from seqloom.config import DecodingConfig
from seqloom.decoding.hypothesis import Hypothesis

if TYPE_CHECKING:
    from seqloom.decoding.constraints import Prefix

BATCH_TOKENS = 4096
"""What is read together, padding counted, unless told otherwise."""


class TokenScores(NamedTuple):
    """How probable one sequence is."""

    tokens: list[int]
    """With the end token."""
    log_probs: list[float]
    """Of each token, given the source and all tokens before it; natural logarithms."""


class Engine(Protocol):
    """Runs one model, or several as one. All give the same results, in float32 to the last digits of a score."""

    @property
    def longest(self) -> int | None:
        """How many tokens a sequence may have, its begin or end counted; None where any number will do."""

    def search(
        self,
        sources: Sequence[Sequence[int]],
        decoding: DecodingConfig,
        n_best: int = 1,
        batch_tokens: int = BATCH_TOKENS,
        prefixes: "Sequence[Prefix] | None" = None,
    ) -> list[list[Hypothesis]]:
        """The ``n_best`` outputs for each source, best first; fewer where there are not so many.

        Args:
            sources: token ids, each with its end.
            decoding: the search, as :class:`seqloom.decoding.search.Search` defines it.
            n_best: at most its beam.
            batch_tokens: bounds what is read together, and changes nothing but the speed.
            prefixes: what each output starts with.
        """

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], batch_tokens: int = BATCH_TOKENS
    ) -> list[TokenScores]:
        """How probable each of ``targets`` is, given its source; all with their ends."""
