"""Accuracy and F1 of classes that were predicted."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ClassScore(NamedTuple):
    """How well one class is told from the others, as shares of 1; 0 where nothing could be counted."""

    precision: float
    """Of what was taken for the class, how much is of it."""
    recall: float
    """Of what is of the class, how much was taken for it."""
    f1: float
    """2 * precision * recall / (precision + recall)."""
    support: int
    """How many are of the class."""


def confusion(predicted: Sequence[int], expected: Sequence[int], classes: int) -> NDArray[np.int64]:
    """[classes, classes]: how many of each expected class (row) were taken for which (column)."""
    if not len(expected) or len(predicted) != len(expected):
        raise ValueError(f"{len(predicted)} answers and {len(expected)} labels, expected as many, and some")
    cells = np.asarray(expected, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def accuracy(counts: NDArray[np.int64]) -> float:
    """The percentage of right answers in a :func:`confusion`."""
    return 100 * float(counts.trace() / counts.sum())


def class_scores(counts: NDArray[np.int64]) -> list[ClassScore]:
    """Precision, recall and F1 of each class."""
    right, taken, there = counts.diagonal(), counts.sum(0), counts.sum(1)
    return [
        ClassScore(_share(r, t), _share(r, e), _share(2 * r, t + e), int(e))
        for r, t, e in zip(right, taken, there, strict=True)
    ]


def macro_f1(counts: NDArray[np.int64]) -> float:
    """The mean F1, in percent, of the classes that occur, expected or predicted: each counts alike."""
    occurring = counts.sum(0) + counts.sum(1) > 0
    return 100 * float(np.mean([score.f1 for score in class_scores(counts)], where=occurring))


def signature(labels: Sequence[str], count: int) -> dict[str, str]:
    """How the scores were made."""
    classes = f"classes:{len(labels)}|texts:{count}"
    return {"accuracy": f"accuracy|{classes}", "f1": f"f1|average:macro|{classes}"}


def _share(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else 0.0
