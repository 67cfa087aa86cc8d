"""A trained translator: a model folder in, texts to texts."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from seqloom.config import DecodingConfig, load_config
from seqloom.data.tokenizers import normalize
from seqloom.errors import ModelFolderError, UserError
from seqloom.pipeline.segment import join, segment
from seqloom.tasks.device import device_named
from seqloom.tasks.folder import ModelFolder, read_model
from seqloom.tasks.registry import TASKS
from seqloom.tasks.translate import Answer, Translate

SHORTEST_LIMIT = 24
"""Tokens that are translated in one piece whatever the training data was."""

MAX_LINES_AT_ONCE = 1024


@dataclass(frozen=True)
class Translation:
    """What became of one text."""

    text: str
    score: float
    """Log-probability / length^alpha; over the pieces of a long text, their mean."""
    alternatives: list[tuple[str, float]] = field(default_factory=list)
    """All n-best translations with their scores, the first being ``text``."""
    segments: int = 1
    """Into how many pieces the text was cut for the model."""


class Translator:
    """Holds a model ready; made by :func:`load`."""

    def __init__(self, folder: ModelFolder, task: Translate, device: torch.device) -> None:
        self.path = folder.path
        self.config = folder.config
        self.task = task
        self.model = task.build_model()
        own = dict(self.model.named_parameters())
        wrong = [
            f"{name} is {'missing' if name in own else 'unknown'}"
            if name not in own or name not in folder.weights
            else f"{name} has shape {list(folder.weights[name].shape)}, expected {list(own[name].shape)}"
            for name in sorted(own.keys() | folder.weights.keys())
            if name not in own or name not in folder.weights or own[name].shape != folder.weights[name].shape
        ]
        if wrong:
            raise ModelFolderError(
                f"{self.path / 'model.safetensors'}: does not fit config.json: {'; '.join(wrong[:5])}"
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(folder.weights[name])
        self.model.to(device).eval()
        self.limit = max(SHORTEST_LIMIT, task.longest_source)

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.task.languages

    def translate(
        self, texts: Sequence[str], *, n_best: int = 1, batch_tokens: int = 4096, **decoding: Any
    ) -> list[Translation]:
        """Translates each text; an empty one stays empty, a long one is cut and put together again.

        Args:
            texts: any Unicode text; white space, line ends included, is read as one space.
            n_best: how many translations of each; ``beam`` must be at least as wide.
            batch_tokens: bounds what is translated together; changes nothing but the speed.
            **decoding: settings of the search, such as ``beam=4`` or ``length_penalty=0.6``.

        Raises:
            ConfigError: for a setting that does not exist or is out of range.
            UserError: for a text that is not Unicode.
        """
        if isinstance(texts, str):
            raise UserError("translate() takes a list of texts; put the text into a list: translate([text])")
        settings = self._decoding(decoding, n_best)
        parts: list[str] = []
        spans: list[tuple[int, int]] = []
        for number, text in enumerate(texts):
            cut = segment(self._checked(text, number), self.limit, self._count)
            spans.append((len(parts), len(parts) + len(cut)))
            parts += cut
        distinct = {part: row for row, part in enumerate(dict.fromkeys(parts))}
        answers = list(self.task.predict(self.model, list(distinct), settings, n_best, batch_tokens))
        return [self._assembled([answers[distinct[part]] for part in parts[start:end]]) for start, end in spans]

    def stream(self, lines: Iterable[str], **options: Any) -> Iterator[Translation]:
        """Translates lines as they come: many at once when they are waiting, one when it is alone."""
        waiting: queue.Queue[str | BaseException | None] = queue.Queue(maxsize=4 * MAX_LINES_AT_ONCE)

        def read() -> None:
            try:
                for line in lines:
                    waiting.put(line)
                waiting.put(None)
            except BaseException as error:  # noqa: BLE001 - raised again where the results are read
                waiting.put(error)

        threading.Thread(target=read, daemon=True).start()
        end: BaseException | str | None = ""
        while isinstance(end, str):
            chunk: list[str] = []
            end = waiting.get()
            while isinstance(end, str):
                chunk.append(end)
                if len(chunk) == MAX_LINES_AT_ONCE or waiting.empty():
                    break
                end = waiting.get()
            yield from self.translate(chunk, **options)
        if end is not None:
            raise end

    def _decoding(self, given: dict[str, Any], n_best: int) -> DecodingConfig:
        stored = self.task.decoding.model_dump()
        if given.get("beam") is None and n_best > stored["beam"]:
            stored["beam"] = n_best
        wanted = {**stored, **{key: value for key, value in given.items() if value is not None}}
        flags = {f"decoding.{key}": value for key, value in wanted.items()}
        decoding: DecodingConfig = load_config(Translate.Config, flags=flags).decoding  # type: ignore[attr-defined]
        if n_best > decoding.beam:
            raise UserError(f"{n_best} translations of each text need a beam of {n_best} or more, got {decoding.beam}")
        return decoding

    @staticmethod
    def _checked(text: str, number: int) -> str:
        try:
            text.encode()
        except (UnicodeEncodeError, AttributeError):
            raise UserError(f"text {number + 1} is not Unicode text ({text!r:.60}); decode it first") from None
        return normalize(text)

    def _count(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.task.src_tokenizer.encode(texts)]

    def _assembled(self, answers: list[Answer]) -> Translation:
        ranks = min(len(answer.texts) for answer in answers)
        alternatives = [
            (
                join([answer.texts[rank] for answer in answers], self.languages[1]),
                sum(answer.scores[rank] for answer in answers) / len(answers),
            )
            for rank in range(ranks)
        ]
        return Translation(*alternatives[0], alternatives, len(answers))


def load(path: str | Path, device: str = "cpu") -> Translator:
    """Loads the model of a run folder or a model folder.

    Raises:
        ModelFolderError: if there is none, or it is damaged, or of a newer version.
    """
    chosen = device_named(device)
    folder = read_model(Path(path))
    task_class = TASKS.get(folder.config["task"])
    if task_class is None:
        raise ModelFolderError(
            f"{folder.path}: is a model for the task {folder.config['task']!r}, which this version does not know"
        )
    task = task_class.from_folder(folder)
    assert isinstance(task, Translate)
    return Translator(folder, task, chosen)
