"""Parts a corpus in two when nothing was given to validate with."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, compress, islice

import numpy as np
from numpy.typing import NDArray

from seqloom.data.readers import Example, PairFiles
from seqloom.data.tokenizers import SPACE, normalize
from seqloom.errors import DataError

MAX_HELD_OUT = 2_000
TOLD_EVERY = 200_000
"""Pairs between two signs of life; a multiple of what is tokenized together."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """Some of the examples of a corpus; can be gone through more than once."""

    files: PairFiles
    chosen: NDArray[np.bool_]

    def __iter__(self) -> Iterator[tuple[int, Example]]:
        return compress(self.files, self.chosen.tobytes())


def hold_out(
    files: PairFiles,
    share: float,
    several_directions: bool = False,
    say: Say = lambda text: None,
    read: Callable[[str], str] = lambda text: text,
) -> tuple[Part, Part]:
    """Parts a corpus in two, the second with ``share`` of the usable pairs, chosen by a hash of the source.

    All pairs with one source fall on one side, so no validation source is trained on; the choice
    depends on the texts alone, not on their order. A source with so many pairs that it would be
    much of the second part stays in the first. With ``several_directions`` a target may be the source
    of another pair, so all pairs fall on one side that share any text, directly or through others.
    Texts are the same that are so when they have been ``read``.
    """
    hashes = _hashes(files, 1 + several_directions, say, read)
    keys = _linked(hashes.reshape(-1, 2)) if several_directions else hashes
    if any(group.turned for group in files.groups):
        keys = np.tile(keys, 2)  # all of them follow once more, in the same order
    sources, counts = np.unique(keys[keys > 0], return_counts=True)
    if len(sources) < 2:
        first = files.groups[0]
        flags = "--valid-src and --valid-tgt" if len(first.paths) == 2 else "--valid"
        raise DataError(
            f"{first.names()[0]}: one distinct {first.options.columns.src[-1]} is too little to train on and to hold "
            f"some out; give more, or validation files with {flags}"
        )
    fewest = int(counts.min())
    wanted = max(fewest, min(MAX_HELD_OUT, round(share * int(counts.sum()))))
    light = counts <= max(fewest, wanted // 100)
    held_out = sources[light][np.cumsum(counts[light]) <= wanted]
    chosen = keys <= held_out[-1]  # nearly all are told apart by this alone
    chosen[chosen] = np.isin(keys[chosen], held_out)
    return Part(files, ~chosen), Part(files, chosen)


def _hashes(files: PairFiles, sides: int, say: Say, read: Callable[[str], str]) -> NDArray[np.uint64]:
    """Of the source of each pair, or of its source and its target; 0 for one that is not usable.

    Groups that are turned round are left out.
    """

    def of(example: Example) -> Iterable[int]:
        return map(_hash, map(read, (example.src, example.tgt)[:sides])) if usable(example) else (0,) * sides

    examples = chain.from_iterable(group for group in files.groups if not group.turned)
    parts, done = [np.empty(0, np.uint64)], 0
    while len(part := np.fromiter(chain.from_iterable(map(of, islice(examples, TOLD_EVERY))), np.uint64)):
        parts.append(part)
        done += len(part) // sides
        if done % TOLD_EVERY == 0:
            say(f"Reading the corpus: {done:,} pairs so far ...")
    return np.concatenate(parts)


def usable(example: Example) -> bool:
    return not example.left_out and _has_text(example.src) and _has_text(example.tgt)


def _has_text(text: str) -> bool:
    """Whether anything is left of it when it is normalized."""
    return bool(text.replace(SPACE, " ").strip())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(normalize(text).encode(), digest_size=8).digest())


def _linked(texts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One key for all rows of ``texts`` [N, 2] that are connected by the texts that they share; 0 stays 0."""
    distinct, ends = np.unique(texts, return_inverse=True)
    src, tgt = ends.reshape(-1, 2).T
    least = np.arange(len(distinct))  # of the texts that each is known to be connected with
    while True:
        before = least.copy()
        smaller = np.minimum(least[src], least[tgt])
        np.minimum.at(least, src, smaller)
        np.minimum.at(least, tgt, smaller)
        least = least[least]
        if np.array_equal(least, before):
            return distinct[least[src]]
