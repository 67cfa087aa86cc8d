"""Classification: labelled texts -> a model that names the class of a text."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from seqloom.config import ClassifierConfig, ClassifierTraining, LabelledDataConfig, Section
from seqloom.data.batch import LabelledBatch, collate_labelled
from seqloom.data.batching import TrainingBatches, evaluation_batches, sample_rows
from seqloom.data.prepare_labelled import PreparedTexts, labelled_key, prepare_labelled, read_labelled
from seqloom.errors import DataError
from seqloom.metrics.classification import Report, report
from seqloom.models.classifier import Classifier, TransformerClassifier
from seqloom.tasks.card import classifier_card, predict_command
from seqloom.tasks.carry_over import carry_over
from seqloom.tasks.classifier_setup import TOKENIZER, ClassifierSetup
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.plan import Plan
from seqloom.tasks.predictions import BATCH_TOKENS, Prediction, classify
from seqloom.tasks.task import SAMPLES, Evaluation, Loss, Sample, Say, Task

OF_CLASSES = ("output.", "bag.", "table.", "bias")
"""Beginnings of the names of weights that mean nothing to other classes."""


class ClassifyTextConfig(Section):
    """All settings of a classifier."""

    data: LabelledDataConfig = LabelledDataConfig()
    model: ClassifierConfig = ClassifierConfig()
    training: ClassifierTraining = ClassifierTraining()


class ClassifyText(Task[ClassifierSetup, PreparedTexts, ClassifyTextConfig]):
    """From a text to the name of its class."""

    name: ClassVar[str] = "classify_text"
    Config: ClassVar[type[Section]] = ClassifyTextConfig
    best_by: ClassVar[str] = "accuracy"

    @classmethod
    def prepare(cls, config: ClassifyTextConfig, folder: Path, say: Say) -> "ClassifyText":
        prepared = prepare_labelled(config.data, folder, say)
        read = prepared.tokenizer, prepared.labels, prepared.reading
        return cls(ClassifierSetup(config.model, *read), prepared, config)

    @classmethod
    def plan_start(cls, origin: ModelFolder, config: Any) -> Plan:
        about = ClassifierSetup.from_folder(origin)
        model = about.model.model_dump(mode="json")
        settings: dict[str, Any] = {f"model.{key}": value for key, value in model.items()}
        settings["data.lowercase"] = about.reading.lowercase
        settings["data.tokenizer_file"] = [str((origin.path / TOKENIZER).resolve())]
        return Plan(settings, [f"vocabulary and sizes are those of {origin.path}"])

    def adopt(self, model: nn.Module, origin: ModelFolder, say: Say) -> None:
        about = ClassifierSetup.from_folder(origin)
        if about.labels.names != self.setup.labels.names:
            weights = {name: w for name, w in origin.weights.items() if not name.startswith(OF_CLASSES)}
            origin = replace(origin, weights=weights)
        if about.tokenizer.to_bytes() != self.setup.tokenizer.to_bytes():  # rows of a bag are of other words
            weights = {name: w for name, w in origin.weights.items() if not name.startswith(("table.", "bag.table."))}
            origin = replace(origin, weights=weights)
        say(carry_over(model, origin, {"embedding.weight": (about.tokenizer, self.setup.tokenizer)}))

    def reconfigured(self, config: ClassifyTextConfig) -> "ClassifyText":
        return type(self)(replace(self.setup, model=config.model), self._prepared, config)

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> "ClassifyText":
        return cls(ClassifierSetup.from_folder(folder))

    def card(self, config: dict[str, Any]) -> str:
        return classifier_card(config, self.setup.labels.names)

    @classmethod
    def usage(cls, config: dict[str, Any], run: str) -> str:
        return predict_command(run)

    @classmethod
    def data_key(cls, config: ClassifyTextConfig) -> str:
        return labelled_key(config.data)

    @property
    def weighs_words(self) -> bool:
        return self.setup.model.kind != "bag"

    def build_model(self) -> Classifier:
        model = self.setup.build()
        if self._prepared is not None:
            corpus, tokens = self._prepared.train, 2 * self.config.data.batch_tokens
            batches = evaluation_batches(corpus, tokens, np.arange(len(corpus)), collate_labelled)
            model.count((batch.tokens, batch.mask, batch.labels) for batch in batches)
        return model

    def stacks(self, model: nn.Module) -> list[nn.Module]:
        return [model.encoder] if isinstance(model, TransformerClassifier) else []

    def training_batches(self) -> TrainingBatches:
        # Batch normalisation sees all texts of a batch: to part it would change what it learns.
        whole = self.setup.model.normalization == "batch"
        collate = partial(collate_labelled, whole=whole)
        training, batch_tokens = self.config.training, self.config.data.batch_tokens
        return TrainingBatches(self.prepared.train, batch_tokens, training.seed, collate_with=collate, whole=whole)

    def loss(
        self, model: nn.Module, batch: LabelledBatch, random: torch.Generator | None = None, progress: float = 0.0
    ) -> Loss:
        assert isinstance(model, Classifier)
        training = self.config.training
        how = training.label_smoothing, training.consistency, random
        return Loss(model.loss(batch.tokens, batch.labels, batch.mask, *how), batch.num_targets)

    def evaluate(self, model: nn.Module, split: str = "valid") -> Evaluation:
        """Loss without smoothing, accuracy and the mean F1 of the classes."""
        assert isinstance(model, Classifier)
        corpus = getattr(self.prepared, split)
        device = next(model.parameters()).device
        rows = sample_rows(len(corpus), self.config.training.validation_pairs)
        model.eval()
        total, answers = 0.0, np.zeros(len(corpus), np.int64)
        with torch.inference_mode():
            for batch in evaluation_batches(corpus, 2 * self.config.data.batch_tokens, rows, collate_labelled):
                moved = batch.to(device)
                logits = model(moved.tokens, moved.mask).logits.float()
                total += float(nn.functional.cross_entropy(logits, moved.labels, reduction="sum"))
                answers[batch.rows] = logits.argmax(-1).cpu()
        model.train()
        names, expected = self.setup.labels.names, corpus.tgt.tokens[rows].astype(np.int64)
        found = report(answers[rows], expected, names)
        texts = self.setup.tokenizer.decode([corpus.src[row].tolist() for row in rows[:SAMPLES]])
        labels = [(names[right], names[answers[row]]) for right, row in zip(expected, rows, strict=True)]
        return Evaluation(
            scores={"valid_loss": total / len(rows), "accuracy": found.accuracy, "f1": found.f1},
            signatures=found.signature,
            samples=[Sample(text, *pair) for text, pair in zip(texts, labels, strict=False)],
            headline=f"accuracy {found.accuracy:.1f}",
        )

    def test(self, model: nn.Module, files: Sequence[str], bootstrap: int = 0) -> Report:
        labels = self.setup.labels
        examples = read_labelled(files, self.setup.reading, labels)
        found = []
        for (where, _), answer in zip(examples, self.predict(model, [text.src for _, text in examples]), strict=True):
            if not answer.label:
                raise DataError(
                    f"{where}: nothing of the text becomes a token, expected a text with words; delete the line, or "
                    f"complete it"
                )
            found.append(labels.number(answer.label))
        return report(found, [labels.number(text.tgt) for _, text in examples], labels.names, bootstrap)

    def predict(  # type: ignore[override]
        self, model: nn.Module, inputs: Sequence[str], batch_tokens: int = BATCH_TOKENS
    ) -> Iterator[Prediction]:
        """The label of each text, whole however long it is; ``batch_tokens`` changes nothing but the speed."""
        assert isinstance(model, Classifier)
        yield from classify(self.setup, model, inputs, batch_tokens)
