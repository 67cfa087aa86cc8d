"""seqloom compare"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqloom.cli.direction import SrcLang, TgtLang
from seqloom.cli.running import Device, Engine, EngineName, Threads, open_translator

if TYPE_CHECKING:
    from seqloom.pipeline.translator import Translator


def command(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="A run, a model folder, or a file of translations.", show_default=False)
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="What to compare it with, likewise.", show_default=False)],
    ref: Annotated[Path, typer.Option(metavar="FILE", help="The reference translations.", show_default=False)],
    src: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The sources; not needed for two files of translations.", show_default=False),
    ] = None,
    src_lang: SrcLang = None,
    tgt_lang: TgtLang = None,
    ter: Annotated[bool, typer.Option("--ter", help="Compare by TER as well, which takes longer.")] = False,
    resamplings: Annotated[int, typer.Option(metavar="N", min=1, help="Of each of the two tests.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Everything random follows from it.")] = 12345,
    top: Annotated[int, typer.Option(metavar="N", min=0, help="Clearest wins and losses shown.")] = 3,
    beam: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Hypotheses that models keep at each step. Default: theirs.", show_default=False
        ),
    ] = None,
    engine: Engine = EngineName.AUTO,
    device: Device = "cpu",
    threads: Threads = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell whether A translates better than B, or whether it may be chance, and show where they differ most."""
    from seqloom.pipeline.comparison import compare_systems

    def opened(path: Path) -> "Translator":
        return open_translator(path, device, engine, threads)

    metrics = ("bleu", "chrf", "ter") if ter else ("bleu", "chrf")
    languages = tgt_lang or "", src_lang or ""
    report = compare_systems(a, b, ref, src, *languages, metrics, resamplings, seed, opened, beam=beam)
    typer.echo(json.dumps(report.as_dict(top), ensure_ascii=False) if json_ else report.as_table(top))
