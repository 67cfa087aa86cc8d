"""Which target pieces may translate a source piece, learnt from the training pairs.

A search that chooses among these alone, for all pieces of a source together, has a fraction of the
output projection to do, which in a small model is much of its work. Jean et al. 2015, "On Using Very
Large Target Vocabulary", section 3.3; the probabilities are those of Brown et al. 1993, Model 1.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqloom.data.corpus import Corpus
from seqloom.data.tokenizers import NUM_SPECIAL
from seqloom.decoding.shortlist import Shortlist
from seqloom.errors import RunError, UserError, shown

MOST_PAIRS = 200_000
"""Of a larger corpus so many are looked at, evenly."""

CHUNK = 1 << 22
"""Of source pieces with target pieces, so many at a time, to bound the memory."""

ITERATIONS = 4

EACH, ALWAYS = 32, 128
"""Target pieces for each source piece, and the most frequent ones, which may always come."""


def learn_shortlist(run: Path, vocab_sizes: tuple[int, int]) -> Shortlist:
    """From the prepared training pairs of a run.

    Args:
        run: the run folder.
        vocab_sizes: of source and target.

    Raises:
        RunError: if the prepared data is not there.
    """
    try:
        corpus = Corpus(run / "data" / "train", vocab_sizes)
    except (OSError, EOFError, ValueError, LookupError, TypeError):
        raise RunError(
            f"{run}: has no prepared training data that fits the model, which a shortlist is learnt from; expected "
            f"data/train in a run folder"
        ) from None
    rows = np.linspace(0, len(corpus) - 1, min(len(corpus), MOST_PAIRS)).astype(np.int64)
    counts = np.bincount(corpus.tgt.tokens, minlength=vocab_sizes[1])
    frequent = np.argsort(-counts, kind="stable")[:ALWAYS]
    found = _probable(corpus, rows, vocab_sizes)
    return Shortlist(found, np.unique(np.concatenate([np.arange(NUM_SPECIAL), frequent])))


def _probable(corpus: Corpus, rows: NDArray[np.int64], vocab_sizes: tuple[int, int]) -> list[NDArray[np.int64]]:
    """The ``EACH`` most probable target pieces t(target | source) of each source piece, by Model 1."""
    sizes = np.cumsum(corpus.src.lengths[rows].astype(np.int64) * corpus.tgt.lengths[rows])
    chunks = np.split(rows, np.flatnonzero(np.diff(sizes // CHUNK)) + 1)
    known = np.unique(np.concatenate([np.unique(_pairs(corpus, chunk, vocab_sizes[1])[0]) for chunk in chunks]))
    source = known // vocab_sizes[1]
    probability = np.full(len(known), 1.0)
    for _ in range(ITERATIONS):
        expected = np.zeros(len(known))
        for chunk in chunks:
            codes, place = _pairs(corpus, chunk, vocab_sizes[1])
            which = np.searchsorted(known, codes)
            weight = probability[which]
            total = np.bincount(place, weight)
            expected += np.bincount(which, weight / total[place], minlength=len(known))
        probability = expected / np.bincount(source, expected, minlength=vocab_sizes[0])[source]
    order = np.lexsort((-probability, source))
    starts = np.searchsorted(source[order], np.arange(vocab_sizes[0] + 1))
    targets = (known % vocab_sizes[1])[order]
    return [targets[start : min(end, start + EACH)] for start, end in pairwise(starts)]


def _pairs(corpus: Corpus, rows: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every source piece with every target piece of its pair, as source * width + target, and at which target place."""
    sources: list[NDArray[np.int64]] = []
    places: list[NDArray[np.int64]] = []
    at = 0
    for row in rows:
        src, tgt = np.asarray(corpus.src[row], np.int64), np.asarray(corpus.tgt[row], np.int64)
        sources.append((src[:, None] * width + tgt).ravel())
        places.append(np.tile(np.arange(at, at + len(tgt)), len(src)))
        at += len(tgt)
    return np.concatenate(sources), np.concatenate(places)


def write_vmap(shortlist: Shortlist, src_pieces: Sequence[str], tgt_pieces: Sequence[str], path: Path) -> None:
    """The file that CTranslate2 reads as ``vmap.txt``: a source piece, a tab, target pieces; first those for any.

    Raises:
        UserError: for a piece with a space, which the file has between pieces.
    """
    for piece in (*src_pieces, *tgt_pieces):
        if not {" ", "\t", "\n"}.isdisjoint(piece):
            raise UserError(f"a shortlist cannot be kept of a vocabulary with a space in a piece, as in {shown(piece)}")
    lines = ["\t" + " ".join(tgt_pieces[i] for i in shortlist.always)]
    lines += [
        f"{piece}\t{' '.join(tgt_pieces[i] for i in found)}"
        for piece, found in zip(src_pieces, shortlist.each, strict=True)
        if len(found)
    ]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read_vmap(path: Path, src_pieces: Sequence[str], tgt_pieces: Sequence[str]) -> Shortlist:
    """What :func:`write_vmap` wrote.

    Raises:
        OSError, ValueError, KeyError: if that is not there or not whole.
    """
    places = {piece: place for place, piece in enumerate(tgt_pieces)}
    found = {}
    for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n"):
        piece, named = line.split("\t")
        found[piece] = np.array([places[each] for each in named.split(" ")], np.int64)
    none = np.array([], np.int64)
    return Shortlist([found.get(piece, none) for piece in src_pieces], np.sort(found[""]))
