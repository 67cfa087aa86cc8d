"""Which lines of a test or validation set are in a corpus."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqloom.data.checks.characters import Texts
from seqloom.data.checks.lines import keys_of
from seqloom.data.readers import READERS, PairFiles, read_lines
from seqloom.data.readers.compression import without_compression
from seqloom.data.readers.example import Options

TOGETHER = 10_000


class HeldAgainst:
    """Lines of one file, or one side of it, compared by their letters and digits alone."""

    def __init__(self, name: str, numbered: Iterable[tuple[int, str]]) -> None:
        self.name = name
        lines, keys, sentences = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)], [np.zeros(0, bool)]
        iterator = iter(numbered)
        while read := list(islice(iterator, TOGETHER)):
            texts = [text for _, text in read]
            lines.append(np.array([line for line, _ in read], np.int64))
            keys.append(keys_of(texts))
            sentences.append(Texts(texts).sentences)
        order = np.argsort(np.concatenate(keys), kind="stable")
        self._keys, self._lines, self._sentences = (np.concatenate(each)[order] for each in (keys, lines, sentences))
        known = np.searchsorted(self._keys, np.uint64(1))  # behind those that have no letter
        self._keys, self._lines, self._sentences = self._keys[known:], self._lines[known:], self._sentences[known:]
        self.size = len(self._lines)
        self._found = np.zeros(self.size, bool)

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """For each of the keys of some texts the line that is the same, 0 for none; remembers what was found."""
        out = np.zeros(len(keys), np.int64)
        if not self.size:
            return out
        place = np.searchsorted(self._keys, keys)
        same = self._keys[np.minimum(place, self.size - 1)] == keys
        out[same] = self._lines[place[same]]
        self._found[place[same]] = True
        return out

    @property
    def found(self) -> int:
        """How many of its lines were found so far."""
        return int(self._all_found().sum())

    @property
    def found_sentences(self) -> int:
        """The same without greetings and the like."""
        return int((self._all_found() & self._sentences).sum())

    def _all_found(self) -> NDArray[np.bool_]:
        first = np.diff(self._keys, prepend=np.uint64(0)) != 0  # of equal lines, the first alone is remembered
        return self._found[first][np.cumsum(first) - 1]


def held_against(paths: Sequence[Path], languages: tuple[str, str] = ("", "")) -> list[HeldAgainst]:
    """The lines of plain files, and both sides of files that hold two.

    Raises:
        DataError: if one cannot be read.
    """
    found = []
    for path in paths:
        if not _has_both_sides(path):
            found.append(HeldAgainst(str(path), enumerate(read_lines(path), start=1)))
            continue
        files = PairFiles(data=[str(path)], name="comparison").reading([Options(*languages)])
        found += [
            HeldAgainst(f"{path} ({name})", _texts(files, side)) for side, name in enumerate(("source", "target"))
        ]
    return found


def _texts(files: PairFiles, side: int) -> Iterator[tuple[int, str]]:
    return ((example.line, example[side]) for _, example in files)  # type: ignore[misc]


def _has_both_sides(path: Path) -> bool:
    """By the ending of its name; one in .txt only if its first line has a tab."""
    ending = Path(without_compression(path.name)).suffix
    if ending == ".txt":
        return "\t" in next(iter(read_lines(path)), "")
    return ending in READERS
