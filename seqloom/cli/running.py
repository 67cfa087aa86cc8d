"""By what a model is run: the options that all commands that run one have."""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from seqloom.pipeline.engines import Running
    from seqloom.pipeline.translator import Translator


class EngineName(StrEnum):
    AUTO = "auto"
    TORCH = "torch"
    CTRANSLATE2 = "ctranslate2"


class Format(StrEnum):
    TEXT = "text"
    JSONL = "jsonl"


Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a model folder.", show_default=False)]
Engine = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        help="What runs the model: ctranslate2 is faster, torch knows every search; auto takes the first wherever it gives the same.",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="cpu or cuda.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="Processor threads; all cores unless given.", show_default=False
    ),
]
Shortlist = Annotated[
    bool,
    typer.Option(
        "--shortlist",
        help="Choose among likely pieces alone: faster, but by CTranslate2 a translation may depend on its neighbours.",
    ),
]


def running(
    device: str = "cpu",
    engine: EngineName = EngineName.AUTO,
    threads: int | None = None,
    shortlist: bool = False,
    scores: bool = True,
    compute_type: str | None = None,
) -> "Running":
    """What the options say; what there is to know of engines goes to the screen."""
    from seqloom.pipeline.engines import Running

    def before_torch() -> None:
        from seqloom.training.process import arrange

        arrange(threads)

    say = partial(typer.echo, err=True)
    return Running(device, engine.value, threads, say, before_torch, shortlist, scores, compute_type)


def open_translator(
    path: Path | Sequence[Path],
    device: str = "cpu",
    engine: EngineName = EngineName.AUTO,
    threads: int | None = None,
    shortlist: bool = False,
    scores: bool = False,
    compute_type: str | None = None,
) -> "Translator":
    """A model, or several as one, ready to translate; ``scores`` where somebody reads those of translations."""
    from seqloom.pipeline.translator import open_translator as opened

    return opened(path, running(device, engine, threads, shortlist, scores, compute_type))
