"""Texts to classes: a classifier's setup and its model at work."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from seqloom.data.batching import plan_batches
from seqloom.data.tokenizers import PAD, pad
from seqloom.models.classifier import Classified, Classifier
from seqloom.tasks.classifier_setup import ClassifierSetup

BATCH_TOKENS = 4096
"""What is read together, padding counted, unless told otherwise."""


class Prediction(NamedTuple):
    """What a classifier says of one text."""

    label: str
    """The most probable one; empty for an empty text, of which nothing can be said."""
    probability: float
    probabilities: dict[str, float]
    """Of all labels, the most probable one first."""
    weights: list[tuple[str, float]] | None
    """How much each word counted, adding up to 1; None where the model does not weigh words."""

    def line(self, weights: bool) -> str:
        """Label and probability with a tab between; then, if ``weights`` are wanted, ``word=weight`` of each word."""
        if not self.label:
            return ""
        words = [f"{word}={weight:.3f}" for word, weight in self.weights or ()] if weights else []
        return "\t".join([self.label, f"{self.probability:.4f}", *([" ".join(words)] if weights else [])])

    def as_dict(self, weights: bool) -> dict[str, Any]:
        """The same for programs."""
        about = {name: round(value, 6) for name, value in self.probabilities.items()}
        found = {"label": self.label, "probability": round(self.probability, 6), "probabilities": about}
        return found | ({"weights": [[word, round(w, 6)] for word, w in self.weights or ()]} if weights else {})


EMPTY = Prediction("", 0.0, {}, [])


def classify(
    setup: ClassifierSetup, model: Classifier, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS
) -> list[Prediction]:
    """The class of each text, which is read whole however long it is.

    ``batch_tokens`` bounds what is read together, and changes nothing but the speed.

    Raises:
        FloatingPointError: if the model calculates what is no number.
    """
    tokens = setup.encode(texts)
    lengths = np.array([len(ids) for ids in tokens], np.int64)
    budget = max(batch_tokens, int(lengths.max(initial=1)))
    answers = [EMPTY] * len(tokens)
    device = next(model.parameters()).device
    for rows in plan_batches(lengths, lengths, budget, np.flatnonzero(lengths)):
        read = [tokens[row] for row in rows]
        ids = torch.from_numpy(pad(read)).to(device)
        with torch.inference_mode():
            found = model(ids, ids != PAD)
        of_rows = [texts[row] for row in rows]
        for row, answer in zip(rows.tolist(), _predictions(setup, found, of_rows), strict=True):
            answers[row] = answer
    return answers


def _predictions(setup: ClassifierSetup, found: Classified, texts: Sequence[str]) -> Iterator[Prediction]:
    probabilities = found.logits.float().softmax(-1)
    if probabilities.isnan().any():
        raise FloatingPointError("a probability is not a number")
    weights = [None] * len(texts) if found.weights is None else found.weights.tolist()
    for probs, text, own in zip(probabilities.tolist(), texts, weights, strict=True):
        ranked = dict(sorted(zip(setup.labels.names, probs, strict=True), key=lambda each: -each[1]))
        label, probability = next(iter(ranked.items()))
        yield Prediction(label, probability, ranked, None if own is None else _words(setup, text, own))


def _words(setup: ClassifierSetup, text: str, weights: Sequence[float]) -> list[tuple[str, float]]:
    """Each token as it stands in the text, with its weight; spaces and parts of a character count for what follows."""
    words, before = [], 0.0
    surfaces = setup.tokenizer.surfaces(setup.reading.text(text))
    for surface, weight in zip(surfaces, weights[: len(surfaces)], strict=True):
        before += weight
        if surface.strip():
            words.append((surface.strip(), before))
            before = 0.0
    return words
