"""All of a classifier but its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seqloom.config import ClassifierConfig
from seqloom.data.labels import Labels
from seqloom.data.prepare_labelled import Reading
from seqloom.data.tokenizers import UNK, Tokenizer, load_tokenizer
from seqloom.errors import ModelFolderError
from seqloom.models.classifier import Classifier, build_classifier
from seqloom.tasks.folder import ModelFolder, whole

TOKENIZER, LABELS = "text.model", "labels.json"


@dataclass(frozen=True)
class ClassifierSetup:
    """Sizes, vocabulary and classes."""

    model: ClassifierConfig
    tokenizer: Tokenizer
    labels: Labels
    reading: Reading

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> "ClassifierSetup":
        """What a model folder says.

        Raises:
            ModelFolderError: if that is not whole.
        """
        config = folder.path / "config.json"
        for name in (TOKENIZER, LABELS):
            if name not in folder.files:
                raise ModelFolderError(f"{config}: names no {name}; the folder is damaged")
        with whole(config):
            about = folder.config["reading"]
            if not isinstance(about["lowercase"], bool) or not isinstance(about["label_until"], str):
                raise ValueError("reading")
            return cls(
                ClassifierConfig.model_validate(folder.config["model"]),
                load_tokenizer(folder.files[TOKENIZER], str(folder.path / TOKENIZER)),
                Labels.from_bytes(folder.files[LABELS], str(folder.path / LABELS)),
                Reading(about["lowercase"], about["label_until"]),
            )

    def describe(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """What ``from_folder`` reads: a part of config.json, and files."""
        reading = {"lowercase": self.reading.lowercase, "label_until": self.reading.label_until}
        about = {"model": self.model.model_dump(mode="json"), "reading": reading}
        return about, {TOKENIZER: self.tokenizer.to_bytes(), LABELS: self.labels.to_bytes()}

    def build(self) -> Classifier:
        """A new model with random weights."""
        return build_classifier(self.model, self.tokenizer.vocab_size, len(self.labels), UNK)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; an empty one has none."""
        return self.tokenizer.encode([self.reading.text(text) for text in texts])
