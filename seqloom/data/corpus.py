"""A memory-mapped store of token ids, built once and keyed by what it was built from.

A store is a folder: ``src.bin`` and ``tgt.bin`` hold the ids of all sentences one after another,
``src.offsets.npy`` and ``tgt.offsets.npy`` say where each begins, ``group.npy`` and ``line.npy``
where it was read, and ``corpus.json`` ties them together. Sentences are stored without begin and
end tokens.
"""

import io
import json
import mmap
import os
import warnings
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, compress, islice
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqloom.data.readers import Example, origin
from seqloom.data.tokenizers import Encoder
from seqloom.errors import DataError
from seqloom.files import read_json, require_regular
from seqloom.machine import cores

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

SIDES = "src", "tgt"

ALL = slice(None)

DTYPES = "<u2", "<u4"
"""Of token ids."""

MAX_ABOUT_BYTES = 1 << 24

CHUNK = 5_000
"""Pairs that are tokenized together, by one thread."""

READ_AT_ONCE = 1 << 24
"""Tokens of a store that is read from one end to the other."""

MAPPED_BYTES = 1 << 27
"""A larger file is read piece by piece: what is read of a file that is mapped stays in memory, and much around it."""


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
    """Read access to a store.

    Args:
        folder: where it is.
        vocab_sizes: of source and target; every token is looked at once whether it is of them. Without, none is
            read, and they are paged in as they are used.

    Raises:
        OSError, EOFError, ValueError, LookupError, TypeError: if the store is not whole.
    """

    def __init__(self, folder: Path, vocab_sizes: tuple[int, int] | None = None) -> None:
        about = read_json(folder / "corpus.json", MAX_ABOUT_BYTES)
        self.folder = folder
        self.groups: list[list[str]] = about["groups"]
        self.src = Sentences.open(folder, "src", about["src_dtype"])
        self.tgt = Sentences.open(folder, "tgt", about["tgt_dtype"])
        self.group: NDArray[np.int32] = _load(folder / "group.npy", "<i4")
        self._line = _load(folder / "line.npy", "<i8")
        sizes = {len(self.src.lengths), len(self.tgt.lengths), len(self.group), len(self._line)}
        if len(sizes) > 1 or (sizes != {0} and not 0 <= self.group.min() <= self.group.max() < len(self.groups)):
            raise ValueError(f"{folder}: its files do not belong together")
        if vocab_sizes is not None:
            for side, sentences, vocab_size in zip(SIDES, (self.src, self.tgt), vocab_sizes, strict=True):
                if sentences.greatest() >= vocab_size:
                    raise ValueError(f"{folder / f'{side}.bin'}: has tokens that are none of the {vocab_size:,} known")

    def __len__(self) -> int:
        return len(self._line)

    def where(self, index: int) -> str:
        """``file:line`` of an example."""
        return origin(self.groups[int(self.group[index])], int(self._line[index]))


class Sentences:
    """One side of all pairs: ``tokens`` of all, one after another, and the N + 1 ``offsets`` between them.

    ``file`` is where ``tokens`` are mapped from, if they are.
    """

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[np.int64], file: BinaryIO | None = None) -> None:
        self.tokens = tokens
        self.offsets = offsets
        self.lengths: NDArray[np.int32] = np.diff(offsets).astype(np.int32)
        self._descriptor: int | None = None
        if file is not None and tokens.nbytes > MAPPED_BYTES and hasattr(os, "pread"):
            self._descriptor = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._descriptor)
        self.release()

    @classmethod
    def open(cls, folder: Path, name: str, dtype: str) -> "Sentences":
        offsets = _load(folder / f"{name}.offsets.npy", "<i8")
        path = folder / f"{name}.bin"
        size = require_regular(path)
        if dtype not in DTYPES:
            raise ValueError(f"{folder}: tokens are {dtype!r}, expected {' or '.join(DTYPES)}")
        if size != int(offsets[-1]) * np.dtype(dtype).itemsize:
            raise ValueError(f"{path}: has {size:,} bytes and not as many as its offsets tell")
        if offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ValueError(f"{folder}: a sentence in it ends before it begins")
        with path.open("rb") as file:
            return cls(map_tokens(file, dtype), offsets, file)

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def padded(
        self,
        rows: NDArray[np.int64],
        pad: int,
        before: int | None = None,
        after: int | None = None,
        taken: slice = ALL,
    ) -> NDArray[np.int64]:
        """Sentences ``rows`` as one [B, T] array, with a token put before and after each.

        If only some of them are ``taken``, the others are not read, and the array is as wide as with them.
        """
        lengths = self.lengths[rows]
        width = int(lengths.max(initial=0))
        rows, lengths = rows[taken], lengths[taken]
        extra = (before is not None) + (after is not None)
        out = np.full((len(rows), width + extra), pad, dtype=np.int64)
        column = np.arange(out.shape[1]) - (before is not None)
        inside = (column >= 0) & (column < lengths[:, None])
        if self._descriptor is None:
            out[inside] = self.tokens[(self.offsets[rows][:, None] + column)[inside]]
        else:
            out[inside] = self._read(self._descriptor, rows)
        if before is not None:
            out[:, 0] = before
        if after is not None:
            out[np.arange(len(rows)), lengths + extra - 1] = after
        return out

    def greatest(self) -> int:
        """The greatest of all tokens; -1 if there are none."""
        greatest = -1
        for start in range(0, len(self.tokens), READ_AT_ONCE):
            greatest = max(greatest, int(self.tokens[start : start + READ_AT_ONCE].max()))
            self.release()
        return greatest

    def _read(self, descriptor: int, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The tokens of sentences ``rows``, one after another."""
        size = self.tokens.itemsize
        places = zip((size * self.lengths[rows]).tolist(), (size * self.offsets[rows]).tolist(), strict=True)
        content = b"".join([os.pread(descriptor, length, start) for length, start in places])
        return np.frombuffer(content, self.tokens.dtype)

    def release(self) -> None:
        """Takes out of memory what was read of mapped files; it is read again when it is used."""
        for mapped in (self.tokens.base, self.offsets.base):
            if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)


def _load(path: Path, dtype: str) -> NDArray[Any]:
    """A file of whole numbers in a row, mapped."""
    require_regular(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a header that numpy has to mend: none that it writes
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (SyntaxError, TokenError, RecursionError, OverflowError, Warning) as error:  # the header is Python
        raise ValueError(f"{path}: is damaged ({error})") from None
    if array.ndim != 1 or array.dtype != np.dtype(dtype):
        raise ValueError(f"{path}: holds {array.ndim} dimensions of {array.dtype}, expected one of {dtype}")
    return array


def map_tokens(file: BinaryIO, dtype: str | np.dtype[Any]) -> NDArray[Any]:
    """The tokens in a file; they are paged in as they are used."""
    file.seek(0, io.SEEK_END)
    return np.memmap(file, dtype, "r") if file.tell() else np.empty(0, dtype)  # an empty file cannot be mapped


class _ArrayFile:
    """A .npy file that grows: byte for byte what ``np.save`` writes of all parts together, none of which is kept."""

    def __init__(self, path: Path, dtype: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._dtype = np.dtype(dtype)
        self._count = 0
        self._write_header()

    def append(self, part: NDArray[Any]) -> None:
        self._file.write(part.astype(self._dtype).data)
        self._count += len(part)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()  # as long as before: there is room in it for any count
        self._file.close()

    def _write_header(self) -> None:
        about = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._file, about)


@dataclass(frozen=True)
class _Encoded:
    """What becomes of a chunk of pairs."""

    read: int
    group: NDArray[np.int32]
    """Of the pairs that are kept, as all that follows."""
    line: NDArray[np.int64]
    tokens: list[NDArray[Any]]
    """Of all sources and of all targets, one after another."""
    lengths: list[NDArray[np.int64]]
    dropped: list[tuple[str, str]]
    """Reason and place of each pair that is left out."""


class _Writer:
    """The files of a store; what is appended is not kept in memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._tokens = [open(folder / f"{side}.bin", "wb") for side in SIDES]  # noqa: SIM115 - closed by close()
        self._offsets = [_ArrayFile(folder / f"{side}.offsets.npy", "<i8") for side in SIDES]
        self._ends = [0, 0]
        self._group = _ArrayFile(folder / "group.npy", "<i4")
        self._line = _ArrayFile(folder / "line.npy", "<i8")
        for offsets in self._offsets:
            offsets.append(np.zeros(1))

    def append(self, encoded: _Encoded) -> None:
        for side, (tokens, lengths) in enumerate(zip(encoded.tokens, encoded.lengths, strict=True)):
            self._tokens[side].write(tokens.data)
            self._offsets[side].append(self._ends[side] + np.cumsum(lengths))
            self._ends[side] += len(tokens)
        self._group.append(encoded.group)
        self._line.append(encoded.line)

    def close(self) -> None:
        for tokens in self._tokens:
            tokens.close()
        for array in (*self._offsets, self._group, self._line):
            array.close()


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
    sides: tuple[str, str] = ("source", "target"),
) -> Corpus:
    """Tokenizes ``examples`` into a new store, leaving out pairs with an empty or over-long side.

    ``max_length`` bounds the tokens of a side with its end token. ``progress`` is told how many
    pairs were read. ``tags`` has a token for each group, to be put before its sources. ``sides`` are
    called so where one is at fault. Every core
    tokenizes a chunk at a time; what is stored, and in which order, depends neither on the chunks nor
    on the cores, and resident memory not on the size of the corpus.
    """
    dtypes = [np.dtype("<u2" if each.vocab_size <= 1 << 16 else "<u4") for each in (src_tokenizer, tgt_tokenizer)]

    def encode(chunk: list[tuple[int, Example]]) -> _Encoded:
        examples = [example for _, example in chunk]
        src = src_tokenizer.encode([example.src for example in examples])
        tgt = tgt_tokenizer.encode([example.tgt for example in examples])
        if tags:
            src = [[tags[group], *ids] if ids else ids for (group, _), ids in zip(chunk, src, strict=True)]
        lengths = [np.fromiter(map(len, side), np.int64, len(side)) for side in (src, tgt)]
        kept = np.array([not example.left_out for example in examples])
        kept &= (np.minimum(*lengths) > 0) & (np.maximum(*lengths) < max_length)
        dropped = []
        for i in np.flatnonzero(~kept).tolist():
            reason = examples[i].left_out or _reason_to_drop(len(src[i]), len(tgt[i]), max_length, sides)
            dropped.append((reason, origin(groups[chunk[i][0]], examples[i].line)))
        return _Encoded(
            read=len(chunk),
            group=np.array([group for group, _ in chunk], np.int32)[kept],
            line=np.array([example.line for example in examples], np.int64)[kept],
            tokens=[
                np.fromiter(chain.from_iterable(compress(side, kept) if dropped else side), dtype)
                for side, dtype in zip((src, tgt), dtypes, strict=True)
            ],
            lengths=[side[kept] for side in lengths],
            dropped=dropped,
        )

    done = 0
    with closing(_Writer(folder)) as store:
        for encoded in _in_threads(encode, _chunks(examples)):
            for reason, where in encoded.dropped:
                dropped.add(reason, where)
            store.append(encoded)
            done += encoded.read
            progress(done)
    about = {"groups": groups, "src_dtype": dtypes[0].str, "tgt_dtype": dtypes[1].str}
    (folder / "corpus.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    return Corpus(folder)


def _reason_to_drop(src: int, tgt: int, max_length: int, sides: tuple[str, str]) -> str:
    """What is wrong with a pair of so many tokens."""
    if not src or not tgt:
        return "both sides empty" if not src and not tgt else f"an empty {sides[bool(src)]}"
    return f"a {sides[src < max_length]} of {max_length:,} tokens or more"


def _chunks(examples: Iterable[tuple[int, Example]]) -> Iterator[list[tuple[int, Example]]]:
    iterator = iter(examples)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _in_threads(work: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[ResultT]:
    """``work`` of each item, in their order: a thread for each core is at it while others are read and stored."""
    threads = cores()
    pool = ThreadPoolExecutor(threads, "tokenizer")
    at_work: deque[Future[ResultT]] = deque()
    try:
        for item in items:
            at_work.append(pool.submit(work, item))
            if len(at_work) > threads + 1:
                yield at_work.popleft().result()
        while at_work:
            yield at_work.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def require_pairs(corpus: Corpus, name: str, dropped: Dropped, what: str = "no usable sentence pair") -> None:
    """Raises DataError if nothing is left to work with."""
    if not len(corpus):
        files = " and ".join(chain.from_iterable(corpus.groups))
        lost = f" ({dropped})" if dropped.counts else ""
        raise DataError(f"{files}: {what}{lost}, expected a {name} corpus")
