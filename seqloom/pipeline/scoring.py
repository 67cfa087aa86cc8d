"""How probable given translations are to a model.

A pair is scored whole: nothing is cut into sentences, so a source longer than any that was trained
on is beyond what the model knows, and its score says little. An empty text is its end token alone;
a pair of two empty ones has no tokens and probability 1, as an empty text has an empty translation.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from seqloom.data.tokenizers import normalize
from seqloom.errors import UserError
from seqloom.tasks.engine import Engine
from seqloom.tasks.setup import TranslatorSetup

SORTED_TOGETHER = 8192
"""Pairs held at once: enough that most batches are of one length."""

MAX_TOKENS = 8192
"""Of a text with its end; attention to more would need gigabytes."""


@dataclass(frozen=True)
class Scored:
    """One translation as the model sees it."""

    pieces: list[str]
    """Its tokens, the end token included."""
    log_probs: list[float]
    """Natural logarithm of each token's probability, given the source and the tokens before."""
    source_length: int
    """Tokens of the source, without end but with the tag of a direction."""

    @property
    def tokens(self) -> int:
        return len(self.log_probs)

    @property
    def log_prob(self) -> float:
        """Of the whole translation."""
        return math.fsum(self.log_probs)

    @property
    def mean(self) -> float:
        """A token; what a search with length penalty 1 calls the score."""
        return self.log_prob / self.tokens if self.tokens else 0.0

    @property
    def perplexity(self) -> float:
        return perplexity(self.mean)

    def as_dict(self, per_token: bool = False) -> dict[str, Any]:
        """What a line of ``seqloom score --format jsonl`` holds."""
        line = {"log_prob": self.log_prob, "mean": self.mean, "perplexity": self.perplexity, "tokens": self.tokens}
        if not per_token:
            return line
        each = [{"piece": p, "log_prob": lp} for p, lp in zip(self.pieces, self.log_probs, strict=True)]
        return line | {"per_token": each}


@dataclass
class Total:
    """All translations of a file, added up one by one."""

    longest_source: int
    """Tokens of the longest source that was trained on."""
    pairs: int = 0
    tokens: int = 0
    log_prob: float = 0.0
    longer: int = 0
    """Sources with more tokens than that."""

    def add(self, scored: Scored) -> None:
        self.pairs += 1
        self.tokens += scored.tokens
        self.log_prob += scored.log_prob
        self.longer += scored.source_length > self.longest_source

    def as_dict(self) -> dict[str, Any]:
        """What ``seqloom score --json`` prints; the perplexity is that of the whole corpus by token."""
        mean = self.log_prob / self.tokens if self.tokens else 0.0
        return {
            "pairs": self.pairs,
            "tokens": self.tokens,
            "log_prob": self.log_prob,
            "mean": mean,
            "perplexity": perplexity(mean),
            "longer_than_trained": self.longer,
        }


def perplexity(mean: float) -> float:
    """exp(-mean) of a mean log-probability; as large as a float can be where it would be infinite."""
    return math.exp(min(-mean, 709.0))


def score_pairs(
    setup: TranslatorSetup,
    engine: Engine,
    pairs: Iterable[tuple[str, str]],
    batch_tokens: int,
    names: tuple[str, str],
) -> Iterator[Scored]:
    """Scores pairs of a source and its translation as they come, in their order and in bounded memory.

    Args:
        setup: the vocabularies and languages of the model.
        engine: what runs it.
        pairs: any number of them.
        batch_tokens: bounds what is read together; changes nothing but the speed.
        names: what stands before the number of a pair where one side of it is complained of.

    Raises:
        UserError: for a text of more than ``MAX_TOKENS``, or than the model has places for.
    """
    limit = min(MAX_TOKENS, engine.longest or MAX_TOKENS)
    waiting = iter(pairs)
    first = 1
    while chunk := list(islice(waiting, SORTED_TOGETHER)):
        sources = setup.sources([source for source, _ in chunk])
        targets = setup.targets([target for _, target in chunk])
        for side, name in zip((sources, targets), names, strict=True):
            _require_short(side, limit, name, first)
        for (source, target), read, scores in zip(
            chunk, sources, engine.score(sources, targets, batch_tokens), strict=True
        ):
            if not normalize(source) and not normalize(target):
                yield Scored([], [], 0)
            else:
                yield Scored(setup.tgt_tokenizer.pieces(scores.tokens), scores.log_probs, len(read) - 1)
        first += len(chunk)


def _require_short(sequences: Sequence[Sequence[int]], limit: int, name: str, first: int) -> None:
    longest = limit - 2  # the end, and the tag of a direction
    for number, ids in enumerate(sequences, start=first):
        if len(ids) > limit - 1:
            raise UserError(
                f"{name}{number}: {len(ids) - 1:,} tokens, but at most {longest:,} can be scored at once; "
                f"cut the text and its translation into sentences"
            )
