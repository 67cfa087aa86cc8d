"""Every pass over the data sees its sentences cut anew (Kudo 2018; Provilkov et al. 2020)."""

from dataclasses import dataclass
from itertools import chain
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from seqloom.data.corpus import Corpus, Sentences, map_tokens
from seqloom.data.tokenizers import UNK, Tokenizer

CHUNK = 20_000
"""Sentences that are cut together, from one seed."""


@dataclass(frozen=True)
class Resampled:
    """The pairs of a corpus as one pass sees them; those that it does not draw are empty."""

    src: Sentences
    tgt: Sentences


class SubwordRegularization:
    """Cuts the stored sentences at random: back to text, and into tokens again.

    Kept as it is stored is a sentence that would become too long or that holds an unknown token,
    and the tags in front of any.

    Args:
        dropout: see ``Tokenizer.sampled``.
        max_length: bounds the tokens of a side with its end token.
    """

    def __init__(
        self, corpus: Corpus, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer, dropout: float, max_length: int
    ) -> None:
        self.folder = corpus.folder
        self.sides = ((corpus.src, src_tokenizer), (corpus.tgt, tgt_tokenizer))
        self.dropout = dropout
        self.max_length = max_length

    def __call__(self, rows: NDArray[np.int64], seed: int, epoch: int) -> Resampled:
        """The pairs ``rows``, in ascending order, as they are cut in this epoch: a function of the arguments."""
        src, tgt = (
            self._cut(side, tokenizer, rows, np.random.SeedSequence([seed, epoch], spawn_key=(number,)))
            for number, (side, tokenizer) in enumerate(self.sides)
        )
        return Resampled(src, tgt)

    def _cut(
        self, side: Sentences, tokenizer: Tokenizer, rows: NDArray[np.int64], seeds: np.random.SeedSequence
    ) -> Sentences:
        tags = frozenset(tokenizer.tags)
        dtype = side.tokens.dtype
        lengths = np.zeros(len(side.lengths), np.int64)
        with TemporaryFile(dir=self.folder) as file:  # where there was room for the corpus itself
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                stored = [side[row].tolist() for row in chunk]
                side.release()
                (seed,) = seeds.spawn(1)[0].generate_state(1)
                drawn = tokenizer.sampled(tokenizer.decode(stored), self.dropout, int(seed))
                cut = [self._choose(old, new, tags) for old, new in zip(stored, drawn, strict=True)]
                lengths[chunk] = list(map(len, cut))
                file.write(np.fromiter(chain.from_iterable(cut), dtype).data)
            return Sentences(map_tokens(file, dtype), np.concatenate([[0], np.cumsum(lengths)]), file)

    def _choose(self, stored: list[int], drawn: list[int], tags: frozenset[int]) -> list[int]:
        tagged = next((i for i, token in enumerate(stored) if token not in tags), len(stored))
        whole = stored[:tagged] + drawn
        # A text with an unknown word cannot be had back.
        return whole if drawn and len(whole) < self.max_length and UNK not in stored else stored
