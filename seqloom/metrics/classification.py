"""Accuracy and F1 of classes that were predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqloom.metrics.significance import SEED, Statistics, interval, resample

Numbers = Sequence[int] | NDArray[np.int64]


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


def confusion(predicted: Numbers, expected: Numbers, classes: int) -> NDArray[np.int64]:
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


@dataclass(frozen=True)
class Report:
    """Scores of answers to labelled examples."""

    accuracy: float
    """In percent."""
    f1: float
    """Macro, in percent."""
    confidence: dict[str, tuple[float, float]]
    """Of both, the 95 % interval by bootstrap resampling of the examples; empty where none were made."""
    labels: dict[str, ClassScore]
    confusion: NDArray[np.int64]
    """[expected, predicted], in the order of ``labels``."""
    signature: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """What ``seqloom evaluate --json`` prints."""
        return {
            "accuracy": self.accuracy,
            "f1": self.f1,
            "signature": self.signature,
            "confidence": {name: list(ends) for name, ends in self.confidence.items()},
            "texts": int(self.confusion.sum()),
            "labels": {name: score._asdict() for name, score in self.labels.items()},
            "confusion": self.confusion.tolist(),
        }

    def as_table(self) -> str:
        """The same for a person."""
        lines = [f"{int(self.confusion.sum()):,} texts"]
        for name, value in (("accuracy", self.accuracy), ("f1", self.f1)):
            low, high = self.confidence.get(name, (value, value))
            interval = f"  [{low:.2f}, {high:.2f}]" if name in self.confidence else ""
            lines.append(f"  {name:<9}{value:7.2f}{interval}  {self.signature[name]}")
        width = max(5, *map(len, self.labels))
        lines.append(f"  {'label':<{width}}  precision  recall      f1   texts")
        for name, score in self.labels.items():
            figures = f"{100 * score.precision:11.2f}{100 * score.recall:8.2f}{100 * score.f1:8.2f}{score.support:8,}"
            lines.append(f"  {name:<{width}}{figures}")
        return "\n".join(lines)


def report(predicted: Numbers, expected: Numbers, labels: Sequence[str], bootstrap: int = 0) -> Report:
    """Scores numbers of ``labels`` against the expected ones.

    Args:
        predicted: the answers.
        expected: as many labels.
        labels: the names of all.
        bootstrap: resamplings for the confidence intervals; 0 for none.
    """
    classes = len(labels)
    counts = confusion(predicted, expected, classes)
    confidence = {}
    if bootstrap:
        # Few of all the cells of a large table hold anything.
        cells, which = np.unique(np.asarray(expected) * classes + np.asarray(predicted), return_inverse=True)
        drawn = (sums for part in resample(np.eye(len(cells))[which], bootstrap) for sums in part)
        scores = np.array([_of_cells(cells, sums, classes) for sums in drawn])
        confidence = {name: interval(scores[:, column]) for column, name in enumerate(("accuracy", "f1"))}
    about = f"classes:{classes}|texts:{len(expected)}" + (f"|bootstrap:{bootstrap}|seed:{SEED}" if bootstrap else "")
    return Report(
        accuracy(counts),
        macro_f1(counts),
        confidence,
        dict(zip(labels, class_scores(counts), strict=True)),
        counts,
        {"accuracy": f"accuracy|{about}", "f1": f"f1|average:macro|{about}"},
    )


def _of_cells(cells: Numbers, sums: Statistics, classes: int) -> tuple[float, float]:
    """Accuracy and F1 of the table that holds ``sums`` in its ``cells`` and nothing else."""
    table = np.zeros(classes**2, np.int64)
    table[cells] = sums
    return accuracy(table.reshape(classes, classes)), macro_f1(table.reshape(classes, classes))


def _share(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else 0.0
