"""How well a line of one side fits a line of the other: learnt from the corpus in which a drift is sought.

The words of both sides are embedded in one space by the singular vectors of their co-occurrence over pairs
(canonical correlation with diagonal covariances; Dhillon et al. 2015, "Eigenwords", section 3). A logistic
regression weighs how close two lines are in it with their lengths (Gale and Church 1993, section 3) and what
is copied as it stands.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

from seqloom.data.checks.drift_features import HASHES, Features

MOST_PAIRS = 40_000
"""To learn from; more make it hardly better."""

MOST_WORDS = 30_000
SMOOTHING = 3.0
"""Added to the count of a word, so that those seen but a few times do not count most."""

ROUNDS = 3
"""Of the power iteration."""

SURE = 4.0
"""No pair counts for more: one that fits perfectly may be chance, one that does not a free translation."""

NEAR, NEWTON_STEPS = 3.0, 10
"""Precision of the belief that a regression's weights are the usual ones, and how often they are bettered."""

TILE = 64

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class Lexicon(NamedTuple):
    """Embeddings of the words of two sides in one space."""

    src: "Embeddings"
    tgt: "Embeddings"

    @classmethod
    def learn(cls, src: NDArray[np.uint16], tgt: NDArray[np.uint16], size: int) -> "Lexicon":
        """From the words of N pairs.

        Args:
            src: [N, words]; 0 is none.
            tgt: likewise.
            size: dimensions.
        """
        one, other = _Side(src), _Side(tgt)
        basis = np.random.Generator(np.random.PCG64(1)).standard_normal((other.scale.size, size)).astype(np.float32)
        for _ in range(ROUNDS):
            basis = _rotate(basis)[0]
            left = _rotate(one.gather(other.spread(basis)) - np.outer(one.common, other.common @ basis))[0]
            basis = other.gather(one.spread(left)) - np.outer(other.common, one.common @ left)
        right, rotation, strength = _rotate(basis)
        root = np.sqrt(strength)
        return cls(one.embeddings(left @ rotation * root), other.embeddings(right * root))


class Embeddings(NamedTuple):
    """Those of the words of one side."""

    row_of: NDArray[np.int32]
    """[HASHES]; the last row is that of all words that are not known."""
    table: Floats
    """[words + 1, D]."""
    mean: Floats
    """[D]; of the sum over a line."""

    def __call__(self, words: NDArray[np.uint16]) -> Floats:
        """Unit vectors of lines, or zeros for lines without a known word."""
        total = _sum_rows(self.row_of[words], self.table)
        known = total.any(1)
        total -= self.mean
        norm = np.sqrt(np.einsum("nd,nd->n", total, total))
        total *= (known / np.maximum(norm, 1e-9))[:, None]
        return total


class _Side:
    """The pairs-by-words matrix X of one side, its columns scaled by D = 1 / sqrt(count)."""

    def __init__(self, words: NDArray[np.uint16]) -> None:
        count = np.bincount(words.ravel(), minlength=HASHES)
        count[0] = 0
        kept = np.flatnonzero(count > 1)
        kept = kept[np.argsort(-count[kept], kind="stable")[:MOST_WORDS]]
        count = count[kept]
        self._pairs = max(1, len(words))
        self.scale = (1 / np.sqrt(count + SMOOTHING)).astype(np.float32)
        self.common = (count * self.scale / np.sqrt(self._pairs)).astype(np.float32)
        """D X^T 1 / sqrt(N): words that are everywhere co-occur with all and say nothing."""
        self._row_of = np.full(HASHES, kept.size, np.int32)
        self._row_of[kept] = np.arange(kept.size)
        self._rows = self._row_of[words]
        flat = self._rows.ravel()
        order = np.argsort(flat, kind="stable")
        order = order[: np.searchsorted(flat[order], kept.size)]
        self._pair_of = order // words.shape[1]
        self._first = np.flatnonzero(np.diff(flat[order], prepend=-1))

    def spread(self, by_word: Floats) -> Floats:
        """X D by_word: [N, D]."""
        return _sum_rows(self._rows, _with_none(by_word * self.scale[:, None]))

    def gather(self, by_pair: Floats) -> Floats:
        """D X^T by_pair: [words, D]."""
        if not self._first.size:
            return np.zeros((0, by_pair.shape[1]), np.float32)
        strips = [  # of a few dimensions at a time, which bounds the memory
            np.add.reduceat(np.ascontiguousarray(by_pair[:, start : start + 16])[self._pair_of], self._first, axis=0)
            for start in range(0, by_pair.shape[1], 16)
        ]
        return np.concatenate(strips, axis=1) * self.scale[:, None]

    def embeddings(self, by_word: Floats) -> Embeddings:
        mean = self.common @ by_word / np.float32(np.sqrt(self._pairs))
        return Embeddings(self._row_of, _with_none(by_word * self.scale[:, None]), mean)


def _rotate(columns: Floats) -> tuple[Floats, Floats, Floats]:
    """The singular value decomposition of a tall matrix, by its small Gram matrix: U, V, S."""
    squares, rotation = np.linalg.eigh((columns.T @ columns).astype(np.float64))
    strength = np.sqrt(np.maximum(squares, max(1e-7 * squares[-1], 1e-30))).astype(np.float32)
    rotation = rotation.astype(np.float32)
    return columns @ (rotation / strength), rotation, strength


def _with_none(by_word: Floats) -> Floats:
    return np.concatenate([by_word, np.zeros((1, by_word.shape[1]), np.float32)])


def _sum_rows(rows: NDArray[np.int32], table: Floats) -> Floats:
    total = table[rows[:, 0]]
    for row in rows[:, 1:].T:
        total += table[row]
    return total


class Lines(NamedTuple):
    """What is compared of N lines."""

    vectors: Floats
    """[N, D]; of length 1."""
    length: Floats
    """[N]; standardised logarithms."""
    numbers: NDArray[np.uint32]
    names: NDArray[np.uint32]
    empty: NDArray[np.bool_]


def standard_lengths(features: Features) -> Floats:
    """Logarithms with a mean of 0 and a deviation of 1, the few far off brought nearer."""
    logarithms = np.log(features.lengths + np.float32(5))
    some = logarithms[features.lengths > 0]
    if not some.size:
        return np.zeros_like(logarithms)
    return np.clip((logarithms - some.mean()) / max(some.std(), 0.05), -3, 3)


class Comparison(NamedTuple):
    """A logistic regression: the logarithm of how much likelier two lines are a pair than two strangers."""

    weights: NDArray[np.float64]
    """One for each of :func:`signs` and a constant."""

    @classmethod
    def learn(cls, pairs: Floats, strangers: Floats) -> "Comparison":
        """From signs [N, F] of lines that belong together and of such that do not.

        With few of them the weights stay near :data:`BY_LENGTH`.
        """
        x = np.concatenate([pairs, strangers]).astype(np.float64)
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        is_pair = np.repeat([True, False], [len(pairs), len(strangers)])
        importance = np.where(is_pair, 0.5 / max(1, len(pairs)), 0.5 / max(1, len(strangers))) * len(x)
        usual = BY_LENGTH.weights

        def loss(weights: NDArray[np.float64]) -> float:
            wrong = np.where(is_pair, -1.0, 1.0) * (x @ weights)
            return float(importance @ np.logaddexp(0, wrong) + NEAR * ((weights - usual) ** 2).sum() / 2)

        weights = np.zeros_like(usual)
        for _ in range(NEWTON_STEPS):
            p = 0.5 + 0.5 * np.tanh(x @ weights / 2)
            slope = x.T @ (importance * (p - is_pair)) + NEAR * (weights - usual)
            curvature = (x * (importance * p * (1 - p))[:, None]).T @ x + NEAR * np.eye(weights.size)
            step, least = np.linalg.solve(curvature, slope), loss(weights)
            while loss(weights - step) > least + 1e-9 * abs(least):
                step /= 2
            weights = weights - step
        return cls(weights)

    def __call__(self, signs: Sequence[Floats]) -> Floats:
        """Of signs of any one shape."""
        total = np.full_like(signs[0], self.weights[-1])
        for weight, sign in zip(self.weights[:-1], signs, strict=True):
            total += np.float32(weight) * sign
        return np.clip(total, -SURE, SURE)


BY_LENGTH = Comparison(np.array([0.0, 0.7, -0.25, 1.5, -0.4, 0.4, 0.0, 0.0]))
"""Before anything was learnt: a correlation of lengths that nearly all languages have, shared numbers and names."""


def signs(closeness: Floats, one: tuple[NDArray, ...], other: tuple[NDArray, ...]) -> list[Floats]:
    """What a comparison weighs.

    Args:
        closeness: of the embeddings.
        one: standardised length, numbers and names of the sources, of a shape that broadcasts to ``closeness``.
        other: likewise of the targets.
    """
    (length, numbers, names), (other_length, other_numbers, other_names) = one, other

    def shared(these: NDArray[np.uint32], those: NDArray[np.uint32]) -> tuple[Floats, Floats]:
        both = np.bitwise_count(these & those).astype(np.float32)
        either = np.bitwise_count(these ^ those).astype(np.float32)
        return np.minimum(both, 3), np.minimum(either, 4)

    same_numbers, different_numbers = shared(numbers, other_numbers)
    same_names, different_names = shared(names, other_names)
    return [
        closeness,
        length * other_length,
        length**2 + other_length**2,
        same_numbers,
        different_numbers,
        same_names,
        different_names,
    ]


def compare_rows(src: Lines, tgt: Lines) -> list[Floats]:
    """Signs of source n with target n."""
    closeness = np.einsum("nd,nd->n", src.vectors, tgt.vectors)
    return signs(closeness, src[1:4], tgt[1:4])


def compare_band(src: Lines, tgt: Lines) -> list[Floats]:
    """Signs of target n with each of the sources n to n + K - 1, [N, K] each, where src has N + K - 1 lines."""
    width = len(src.length) - len(tgt.length) + 1
    windows = tuple(sliding_window_view(part, width) for part in src[1:4])
    return signs(band_products(src.vectors, tgt.vectors), windows, tuple(part[:, None] for part in tgt[1:4]))


def band_products(src: Floats, tgt: Floats) -> Floats:
    """The product of target n with each of the sources n to n + K - 1, where src has N + K - 1 lines: [N, K]."""
    (count, size), width = tgt.shape, len(src) - len(tgt) + 1
    tiles, reach = -(-count // TILE), TILE + width - 1
    tgt = np.concatenate([tgt, np.zeros((tiles * TILE - count, size), np.float32)])
    src = np.concatenate([src, np.zeros((tiles * TILE - count, size), np.float32)])
    row, column = src.strides
    windows = as_strided(src, (tiles, reach, size), (TILE * row, row, column), writeable=False)
    products = tgt.reshape(tiles, TILE, size) @ windows.transpose(0, 2, 1)  # [tiles, TILE, reach]
    tile, row, column = products.strides
    diagonals = as_strided(products, (tiles, TILE, width), (tile, row + column, column), writeable=False)
    return diagonals.reshape(tiles * TILE, width)[:count]
