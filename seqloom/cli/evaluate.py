"""seqloom evaluate"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqloom.cli.direction import SrcLang, TgtLang
from seqloom.cli.guarding import HELP, Guard
from seqloom.cli.running import Device, Engine, EngineName, Run, Shortlist, Threads, open_translator

if TYPE_CHECKING:
    from seqloom.tasks.task import Report


FOR_ALL = {"run", "data", "bootstrap", "device", "threads", "json_"}
"""Options that do not belong to translators alone."""


def command(
    context: typer.Context,
    run: Run,
    src: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Source sentences, one a line, plain or compressed.", show_default=False),
    ] = None,
    ref: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Their reference translations.", show_default=False)
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="For any other task than translation: a file like those that it is trained on. Repeatable.",
            show_default=False,
        ),
    ] = None,
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
    """Score a model on a test set: BLEU, chrF++ and TER by sacreBLEU; accuracy and F1 of a classifier."""
    from seqloom.errors import UserError
    from seqloom.tasks.folder import read_config

    if data:
        if given := [name for name in context.params if name not in FOR_ALL and _is_given(context, name)]:
            raise UserError(
                f"--{given[0].rstrip('_').replace('_', '-')} is for translators, and --data for other tasks; give one"
            )
        _print(_tested(run, data, bootstrap, device, threads), json_)
        return
    if src is None or ref is None:
        task = read_config(run)["task"]
        expected = "--src FILE and --ref FILE" if task == "translate" else "--data FILE"
        raise UserError(f"{run}: is a model for the task {task!r}; expected {expected} to score it on")
    from seqloom.config import DecodingConfig, section_settings
    from seqloom.pipeline.evaluation import evaluate

    translator = open_translator([run, *(ensemble or [])], device, engine, threads, shortlist).towards(
        src_lang, tgt_lang
    )
    decoding = section_settings("decoding", DecodingConfig, set_ or ())
    decoding |= {key: value for key, value in (("beam", beam), ("length_penalty", length_penalty)) if value is not None}
    if output and not output.parent.is_dir():
        raise UserError(f"{output}: there is no folder {output.parent} to write to; make it first")
    report = evaluate(translator, src, ref, domains, bootstrap, guard.value, **decoding)
    _print(report, json_)
    if output:
        try:
            output.write_text("".join(text + "\n" for text in report.translations), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{output}: cannot be written ({error.strerror}); give another file") from None


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _tested(run: Path, data: list[Path], bootstrap: int, device: str, threads: int | None) -> "Report":
    from seqloom.training.process import arrange

    arrange(threads)
    from seqloom.pipeline.predictor import open_predictor

    return open_predictor(run, device).test(data, bootstrap)


def _print(report: "Report", json_: bool) -> None:
    typer.echo(json.dumps(report.as_dict(), ensure_ascii=False) if json_ else report.as_table())
