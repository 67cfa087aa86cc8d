"""A trained model of whatever task, ready for use."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqloom.pipeline.engines import TASK, Name
from seqloom.pipeline.translator import Translator
from seqloom.pipeline.translator import load as load_translator
from seqloom.tasks.folder import read_config

if TYPE_CHECKING:
    from seqloom.pipeline.predictor import Predictor


def load(
    path: str | Path | Sequence[str | Path], device: str = "cpu", engine: Name = "auto", threads: int | None = None
) -> "Translator | Predictor":
    """A translator, or of any other task a predictor; several folders are an ensemble of translators."""
    if not isinstance(path, str | Path) or read_config(Path(path))["task"] == TASK:
        return load_translator(path, device, engine, threads)
    from seqloom.pipeline.predictor import open_predictor  # which loads torch

    return open_predictor(Path(path), device, engine)
