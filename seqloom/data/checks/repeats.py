"""Which pairs were there before, by hashes of 64 bits, in memory that does not grow with the corpus.

Two different texts among n have the same hash with a chance of about n^2 / 2^65: one in 37 million for a
million pairs, one in 370 for a hundred million. Beyond ``IN_MEMORY`` pairs the hashes lie in files
of a temporary folder, parted by their first bits so that equal ones are in one file.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 4_000_000
FILES = 64

EXACT, PAIR, SRC, TGT = range(4)
"""Columns of the keys."""

RECORD = np.dtype([("key", "<u8"), ("pair", "<u8"), ("index", "<i8")])

MOST_SHOWN = 10


class Repeated(NamedTuple):
    """Pairs that have something in common with an earlier or another one."""

    rows: NDArray[np.int64]
    """All of them; of duplicates all but the first."""
    worst: list[tuple[int, int, int]]
    """Of those repeated most often: a pair, the one it repeats, how many there are in all."""


class Repeats:
    """Collects keys, and finds the same ones among them."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []
        self._indices: list[NDArray[np.int64]] = []
        self._held = 0
        self._folder: Path | None = None

    def add(self, keys: NDArray[np.uint64], start: int) -> None:
        """The keys [N, 4] of the pairs from ``start`` on; those that are 0 are not compared."""
        self._parts.append(keys)
        self._indices.append(np.arange(start, start + len(keys)))
        self._held += len(keys)
        if self._held >= IN_MEMORY:
            self._spill()

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def duplicates(self, column: int, without: NDArray[np.int64] | None = None) -> Repeated:
        """Pairs whose key stood before; those of ``without`` are passed over."""
        found, worst = [], []
        for records in self._records(column):
            records = records[np.lexsort((records["index"], records["key"]))]
            again = records["key"][1:] == records["key"][:-1]
            rows = records["index"][1:][again]
            if without is not None:
                rows = rows[~np.isin(rows, without)]
            found.append(rows)
            worst += _most_repeated(records, rows)
        return _together(found, worst)

    def variants(self, column: int) -> Repeated:
        """Pairs with a key that others have together with a different pair."""
        found, worst = [], []
        for records in self._records(column):
            records = records[np.lexsort((records["index"], records["pair"], records["key"]))]
            group = np.flatnonzero(np.diff(records["key"], prepend=np.uint64(0)))
            if not group.size:
                continue
            new = np.diff(records["pair"], prepend=np.uint64(0)) != 0
            new[group] = True
            kinds = np.add.reduceat(new.astype(np.int64), group)
            sizes = np.diff(group, append=len(records))
            rows = records["index"][np.repeat(kinds > 1, sizes)]
            found.append(rows)
            for place in np.argsort(-kinds)[:MOST_SHOWN].tolist():
                if kinds[place] > 1:
                    mine = records[group[place] : group[place] + sizes[place]]
                    other = int(np.flatnonzero(mine["pair"] != mine["pair"][0])[0])
                    worst.append((int(mine["index"][other]), int(mine["index"][0]), int(kinds[place])))
        return _together(found, worst)

    def _records(self, column: int) -> Iterator["NDArray[np.void]"]:
        """The keys of a column with their pairs; in parts none of which has a key of another."""
        if self._folder is None:
            yield self._of_memory(column)
            return
        self._spill()
        for number in range(FILES):
            path = self._folder / f"{column}.{number}"
            if path.exists():
                yield np.fromfile(path, RECORD)

    def _of_memory(self, column: int) -> "NDArray[np.void]":
        if not self._parts:
            return np.zeros(0, RECORD)
        keys, indices = np.concatenate(self._parts), np.concatenate(self._indices)
        kept = keys[:, column] != 0
        records = np.empty(int(kept.sum()), RECORD)
        records["key"], records["pair"], records["index"] = keys[kept, column], keys[kept, PAIR], indices[kept]
        return records

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="seqloom-check-"))
        for column in (EXACT, PAIR, SRC, TGT):
            records = self._of_memory(column)
            number = records["key"] // np.uint64((1 << 64) // FILES)
            order = np.argsort(number, kind="stable")
            bounds = np.searchsorted(number[order], np.arange(FILES + 1, dtype=np.uint64))
            for file in range(FILES):
                part = records[order[bounds[file] : bounds[file + 1]]]
                if len(part):
                    with open(self._folder / f"{column}.{file}", "ab") as out:
                        out.write(part.tobytes())
        self._parts.clear()
        self._indices.clear()
        self._held = 0


def _most_repeated(records: "NDArray[np.void]", rows: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Of sorted records, those with the most copies among ``rows``."""
    starts = np.flatnonzero(np.diff(records["key"], prepend=np.uint64(0)))
    sizes = np.diff(starts, append=len(records))
    wanted = np.isin(records["index"], rows)
    copies = np.add.reduceat(wanted.astype(np.int64), starts) if starts.size else np.zeros(0, np.int64)
    worst = []
    for place in np.argsort(-copies, kind="stable")[:MOST_SHOWN].tolist():
        mine = slice(starts[place], starts[place] + sizes[place])
        if copies[place]:
            again = records["index"][mine][wanted[mine]]
            worst.append((int(again[0]), int(records["index"][starts[place]]), int(copies[place]) + 1))
    return worst


def _together(found: list[NDArray[np.int64]], worst: list[tuple[int, int, int]]) -> Repeated:
    rows = np.sort(np.concatenate([np.zeros(0, np.int64), *found]))
    return Repeated(rows, sorted(worst, key=lambda each: (-each[2], each[0]))[:MOST_SHOWN])
