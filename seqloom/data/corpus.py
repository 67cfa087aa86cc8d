"""A memory-mapped store of token ids, built once and keyed by what it was built from.

A store is a folder: ``src.bin`` and ``tgt.bin`` hold the ids of all sentences one after another,
``src.offsets.npy`` and ``tgt.offsets.npy`` say where each begins, ``group.npy`` and ``line.npy``
where it was read, and ``corpus.json`` ties them together. Sentences are stored without begin and
end tokens.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from seqloom.data.readers import Example, origin
from seqloom.data.tokenizers import Encoder
from seqloom.errors import DataError

CHUNK = 20_000
"""Pairs that are tokenized together."""


@dataclass
class Dropped:
    """The pairs left out of a corpus: how many for which reason, each named in a file."""

    log: TextIO | None = None
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        self.counts[reason] += 1
        self.first.setdefault(reason, where)
        if self.log is not None:
            self.log.write(f"{where}\t{reason}\n")

    def __str__(self) -> str:
        return "; ".join(
            f"{count:,} with {reason} (the first: {self.first[reason]})" for reason, count in self.counts.items()
        )


class Corpus:
    """Read access to a store. Opening it reads no tokens; they are paged in as they are used.

    Raises:
        OSError, EOFError, ValueError, KeyError: if the store is not whole.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        self.groups: list[list[str]] = about["groups"]
        self.src = Sentences.open(folder, "src", about["src_dtype"])
        self.tgt = Sentences.open(folder, "tgt", about["tgt_dtype"])
        self.group: NDArray[np.int32] = np.load(folder / "group.npy", mmap_mode="r")
        self._line = np.load(folder / "line.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._line)

    def where(self, index: int) -> str:
        """``file:line`` of an example."""
        return origin(self.groups[int(self.group[index])], int(self._line[index]))


class Sentences:
    """One side of all pairs: ``tokens`` of all, one after another, and the N + 1 ``offsets`` between them."""

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        self.tokens = tokens
        self.offsets = offsets
        self.lengths: NDArray[np.int64] = np.diff(offsets)

    @classmethod
    def open(cls, folder: Path, name: str, dtype: str) -> "Sentences":
        offsets = np.load(folder / f"{name}.offsets.npy", mmap_mode="r")
        path = folder / f"{name}.bin"
        size = path.stat().st_size
        if size != int(offsets[-1]) * np.dtype(dtype).itemsize:
            raise ValueError(f"{path}: has {size:,} bytes and not as many as its offsets tell")
        # An empty file cannot be mapped.
        return cls(np.memmap(path, dtype=dtype, mode="r") if size else np.empty(0, dtype), offsets)

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def padded(
        self, rows: NDArray[np.int64], pad: int, before: int | None = None, after: int | None = None
    ) -> NDArray[np.int64]:
        """Sentences ``rows`` as one [B, T] array, with a token put before and after each."""
        lengths = self.lengths[rows]
        extra = (before is not None) + (after is not None)
        out = np.full((len(rows), int(lengths.max(initial=0)) + extra), pad, dtype=np.int64)
        column = np.arange(out.shape[1]) - (before is not None)
        inside = (column >= 0) & (column < lengths[:, None])
        out[inside] = self.tokens[(self.offsets[rows][:, None] + column)[inside]]
        if before is not None:
            out[:, 0] = before
        if after is not None:
            out[np.arange(len(rows)), lengths + extra - 1] = after
        return out


class _Writer:
    """Appends sentences to one side of a store."""

    def __init__(self, folder: Path, name: str, vocab_size: int) -> None:
        self.dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
        self.file: BinaryIO = open(folder / f"{name}.bin", "wb")  # noqa: SIM115 - closed by close()
        self.lengths: list[NDArray[np.int32]] = []
        self.offsets_path = folder / f"{name}.offsets.npy"

    def write(self, sentences: Sequence[list[int]]) -> None:
        self.lengths.append(np.fromiter(map(len, sentences), np.int32, len(sentences)))
        self.file.write(np.fromiter(chain.from_iterable(sentences), self.dtype).tobytes())

    def close(self) -> None:
        self.file.close()
        lengths = np.concatenate([np.zeros(1, np.int32), *self.lengths])
        np.save(self.offsets_path, np.cumsum(lengths, dtype=np.int64))


def write_corpus(
    folder: Path,
    examples: Iterable[tuple[int, Example]],
    groups: list[list[str]],
    src_tokenizer: Encoder,
    tgt_tokenizer: Encoder,
    max_length: int,
    dropped: Dropped,
    progress: Callable[[int], None] = lambda done: None,
    tags: Sequence[int] = (),
) -> Corpus:
    """Tokenizes ``examples`` into a new store, leaving out pairs with an empty or over-long side.

    ``max_length`` bounds the tokens of a side with its end token. ``progress`` is told how many
    pairs were read. ``tags`` has a token for each group, to be put before its sources. Resident
    memory is bounded by a chunk and 20 bytes a pair.
    """
    folder.mkdir(parents=True)
    src, tgt = _Writer(folder, "src", src_tokenizer.vocab_size), _Writer(folder, "tgt", tgt_tokenizer.vocab_size)
    kept_groups: list[NDArray[np.int32]] = []
    kept_lines: list[NDArray[np.int64]] = []
    done = 0
    for chunk in _chunks(examples):
        src_ids = src_tokenizer.encode([example.src for _, example in chunk])
        tgt_ids = tgt_tokenizer.encode([example.tgt for _, example in chunk])
        kept = []
        for index, (group, example) in enumerate(chunk):
            if tags and src_ids[index]:
                src_ids[index].insert(0, tags[group])
            reason = example.left_out or _reason_to_drop(src_ids[index], tgt_ids[index], max_length)
            if reason:
                dropped.add(reason, origin(groups[group], example.line))
            else:
                kept.append(index)
        src.write([src_ids[index] for index in kept])
        tgt.write([tgt_ids[index] for index in kept])
        kept_groups.append(np.array([chunk[index][0] for index in kept], np.int32))
        kept_lines.append(np.array([chunk[index][1].line for index in kept], np.int64))
        done += len(chunk)
        progress(done)
    src.close()
    tgt.close()
    np.save(folder / "group.npy", np.concatenate([np.zeros(0, np.int32), *kept_groups]))
    np.save(folder / "line.npy", np.concatenate([np.zeros(0, np.int64), *kept_lines]))
    about = {"groups": groups, "src_dtype": src.dtype.str, "tgt_dtype": tgt.dtype.str}
    (folder / "corpus.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    return Corpus(folder)


def _reason_to_drop(src: list[int], tgt: list[int], max_length: int) -> str | None:
    if not src or not tgt:
        return "both sides empty" if not src and not tgt else f"an empty {'target' if src else 'source'}"
    if len(src) >= max_length or len(tgt) >= max_length:
        return f"a {'source' if len(src) >= max_length else 'target'} of {max_length:,} tokens or more"
    return None


def _chunks(examples: Iterable[tuple[int, Example]]) -> Iterator[list[tuple[int, Example]]]:
    iterator = iter(examples)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def require_pairs(corpus: Corpus, name: str, dropped: Dropped) -> None:
    """Raises DataError if nothing is left to work with."""
    if not len(corpus):
        files = " and ".join(chain.from_iterable(corpus.groups))
        lost = f" ({dropped})" if dropped.counts else ""
        raise DataError(f"{files}: no usable sentence pair{lost}, expected a {name} corpus")
