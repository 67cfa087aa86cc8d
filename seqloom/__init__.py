"""Seqloom: train a Transformer on your own data, on your own machine, and use it.

>>> import seqloom
>>> translator = seqloom.load("run")
>>> translator.translate(["我爱购物。"], beam=4)[0].text
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from seqloom.pipeline.translator import Translation

__all__ = ["load", "train", "translate"]


def load(
    path: str | Path | Sequence[str | Path],
    device: str = "cpu",
    engine: Literal["auto", "torch", "ctranslate2"] = "auto",
    threads: int | None = None,
) -> Any:
    """Loads the model of a run folder or a model folder, or several as an ensemble of translators, ready for use.

    Returns:
        A :class:`~seqloom.pipeline.translator.Translator`, or for any other task a
        :class:`~seqloom.pipeline.predictor.Predictor`.

    Args:
        path: the folder, or several.
        device: ``cpu`` or ``cuda``.
        engine: ``ctranslate2`` is faster, ``torch`` knows every search; ``auto`` takes the first wherever it gives
            the same.
        threads: processor threads that CTranslate2 may use; all cores unless given.
    """
    from seqloom.pipeline.loading import load as load_any

    return load_any(path, device, engine, threads)


def translate(path: str | Path | Sequence[str | Path], texts: list[str], **options: Any) -> "list[Translation]":
    """Loads a model and translates ``texts``; keep the result of :func:`load` to do it often."""
    from seqloom.pipeline.translator import load as load_translator

    return load_translator(path).translate(texts, **options)


def train(
    run: str | Path,
    recipe: str | Path | None = None,
    device: str = "cpu",
    task: str = "translate",
    repeat: int = 1,
    **settings: Any,
) -> dict[str, Any]:
    """Trains into a run folder, or resumes the run that is there; returns its summary.

    Args:
        run: the run folder.
        recipe: a TOML recipe.
        device: ``cpu`` or ``cuda``.
        task: what is trained.
        repeat: how many such runs to make in ``run``, each with a seed of its own, to see what is luck.
        **settings: settings by section, such as ``data={"src": ["a.zh"], "tgt": ["a.en"],
            "src_lang": "zh", "tgt_lang": "en"}, training={"steps": 1000}``.
    """
    from seqloom.training.session import train_session

    flags = {f"{section}.{key}": value for section, table in settings.items() for key, value in table.items()}
    place = Path(recipe) if recipe else None
    return train_session(Path(run), task, recipe=place, flags=flags, device=device, repeat=repeat)
