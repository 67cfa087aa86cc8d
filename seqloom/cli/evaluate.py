"""seqloom evaluate"""

import json
from pathlib import Path
from typing import Annotated

import typer

from seqloom.cli.direction import SrcLang, TgtLang
from seqloom.cli.guarding import HELP, Guard
from seqloom.cli.running import Device, Engine, EngineName, Shortlist, Threads, open_translator


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a model folder.", show_default=False)],
    src: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Source sentences, one a line, plain or compressed.", show_default=False),
    ],
    ref: Annotated[Path, typer.Option(metavar="FILE", help="Their reference translations.", show_default=False)],
    domains: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A domain name for each line; scores are given for each as well.", show_default=False
        ),
    ] = None,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN", help="Another model that translates with the first. Repeatable.", show_default=False
        ),
    ] = None,
    src_lang: SrcLang = None,
    tgt_lang: TgtLang = None,
    beam: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Hypotheses kept at each step. Default: the model's.", show_default=False
        ),
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(metavar="ALPHA", help="Scores are divided by length^ALPHA.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting of [decoding], such as decoding.mbr=chrf. Repeatable.",
            show_default=False,
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", min=0, help="Resamplings for the 95 % confidence interval; 0 for none.")
    ] = 1000,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the translations here.", show_default=False)
    ] = None,
    guard: Annotated[Guard, typer.Option(help=HELP)] = Guard.RETRY,
    engine: Engine = EngineName.AUTO,
    shortlist: Shortlist = False,
    device: Device = "cpu",
    threads: Threads = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Translate a test set and score it: BLEU, chrF++ and TER by sacreBLEU, with signatures."""
    from seqloom.config import section_settings
    from seqloom.pipeline.evaluation import evaluate

    translator = open_translator([run, *(ensemble or [])], device, engine, threads, shortlist).towards(
        src_lang, tgt_lang
    )
    decoding = section_settings("decoding", set_ or ())
    decoding |= {key: value for key, value in (("beam", beam), ("length_penalty", length_penalty)) if value is not None}
    report = evaluate(translator, src, ref, domains, bootstrap, guard.value, **decoding)
    if output:
        output.write_text("".join(text + "\n" for text in report.translations), encoding="utf-8")
    if json_:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False))
        return
    typer.echo(report.as_table())
