"""A trained model of any task but translation, held ready: texts in, answers out."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqloom.errors import ConfigError, ModelFolderError, UserError, shown
from seqloom.pipeline.streaming import as_they_come
from seqloom.tasks.device import device_named
from seqloom.tasks.folder import ModelFolder, not_a_number, read_model
from seqloom.tasks.registry import TASKS
from seqloom.tasks.task import Report, Task
from seqloom.tasks.translate import Translate
from seqloom.tasks.weights import loaded


class Predictor:
    """Holds a model ready; made by :func:`open_predictor`."""

    def __init__(self, folder: ModelFolder, task: Task, device: str = "cpu") -> None:
        self.path = folder.path
        self.config = folder.config
        self.task = task
        self.model = loaded(task.build_model, folder).to(device_named(device))

    def predict(self, texts: Sequence[str], **options: Any) -> list[Any]:
        """The task's answer to each text, in order.

        Raises:
            UserError: for a text that is not Unicode.
            ModelFolderError: if no number comes out of the model.
        """
        if isinstance(texts, str):
            raise UserError("predict() takes a list of texts; put the text into a list: predict([text])")
        for number, text in enumerate(texts, start=1):
            try:
                text.encode()
            except (UnicodeEncodeError, AttributeError):
                raise UserError(f"text {number} is not Unicode text ({text!r:.60}); decode it first") from None
        with self._calculating():
            return list(self.task.predict(self.model, texts, **options))

    def stream(self, lines: Iterable[str], **options: Any) -> Iterator[Any]:
        """Answers lines as they come: many at once when they are waiting, one when it is alone."""
        for chunk in as_they_come(lines):
            yield from self.predict(chunk, **options)

    def require_weights(self) -> None:
        """UserError if the model does not weigh the words of a text."""
        if not self.task.weighs_words:
            raise UserError(
                f"{self.path}: this model does not weigh words; train one with another model.kind, such as recurrent"
            )

    def test(self, files: Sequence[str | Path], bootstrap: int = 1000) -> Report:
        """The scores of the model on ``files``, which are like those that it was trained on.

        ``bootstrap`` is how many resamplings the confidence intervals are from; 0 for none.

        Raises:
            DataError: if the files are not like those.
            ModelFolderError: if no number comes out of the model.
        """
        with self._calculating():
            return self.task.test(self.model, [str(file) for file in files], bootstrap)

    @contextmanager
    def _calculating(self) -> Iterator[None]:
        try:
            yield
        except FloatingPointError:
            raise not_a_number(self.path) from None


def open_predictor(path: Path, device: str = "cpu", engine: str = "auto") -> Predictor:
    """The model of a run folder or a model folder.

    Raises:
        ConfigError: if another engine than torch is asked for, or a device that is not there.
        ModelFolderError: if there is no model, or it is damaged, or translates.
    """
    folder = read_model(path)
    name = folder.config["task"]
    if name == Translate.name:
        usage = Translate.usage(folder.config, str(path))
        raise ModelFolderError(f"{folder.path}: is a model for the task {name!r}; use it with {usage}")
    if name not in TASKS:
        raise ModelFolderError(
            f"{folder.path}: is a model for the task {shown(name)!r}, known are {', '.join(TASKS)}; install a newer "
            f"seqloom"
        )
    if engine not in ("auto", "torch"):
        raise ConfigError(f"the engine {engine} runs translators alone; for {name} use auto or torch")
    return Predictor(folder, TASKS[name].from_folder(folder), device)
