"""seqloom bench"""

import json
import re
import signal
from pathlib import Path
from typing import Annotated

import typer

from seqloom.cli import recipe_options as options
from seqloom.cli.direction import SrcLang, TgtLang
from seqloom.cli.running import Device, Run, Threads, running
from seqloom.errors import UserError

app = typer.Typer(
    name="bench",
    help="Measure how fast this machine is, and how fast it could be.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(no_args_is_help=True)
def train(
    context: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            help="A run folder: its task, settings and prepared data, which is only read. The options below go before its own.",
            show_default=False,
        ),
    ] = None,
    src: options.Src = None,
    tgt: options.Tgt = None,
    data: options.Data = None,
    src_lang: options.SrcLang = None,
    tgt_lang: options.TgtLang = None,
    both_directions: options.BothDirections = False,
    direction: options.Direction = None,
    valid_direction: options.ValidDirection = None,
    weight: options.Weight = None,
    domain: options.Domain = None,
    valid_src: options.ValidSrc = None,
    valid_tgt: options.ValidTgt = None,
    valid: options.Valid = None,
    config: options.Config = None,
    set_: options.Set = None,
    init_from: options.InitFrom = None,
    task: options.Task = "translate",
    device: options.Device = "cpu",
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="float32, bfloat16 or auto, the setting training.precision.", show_default=False
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help="Numbers of processor threads to compare, such as 1,2; all cores unless given.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(metavar="N", min=0.1, help="How long to train with each of them; it takes half as long again."),
    ] = 20,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a training: tokens/s, where the time goes, memory, and the share of what this machine could do.

    Trains for a moment and leaves nothing behind. Ctrl-C ends it with what was measured so far.
    """
    from seqloom.training.allocator import restart

    if device == "cpu":
        restart()
    from seqloom.training.bench import bench_session
    from seqloom.training.process import arrange

    if run is not None:
        source = context.get_parameter_source("task")  # it has a default
        given = {"--task": source is not None and source.name == "COMMANDLINE", "--init-from": init_from is not None}
        for option in (option for option, is_given in given.items() if is_given):
            raise UserError(f"{option} was given beside {run}, a run that has its own; leave out one of the two")
    compared = numbers(threads, "--threads") if threads is not None else []
    arrange(None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: a temporary folder is to be removed
    report = bench_session(
        task,
        run=run,
        recipe=config,
        settings=set_ or (),
        flags=options.flags_of(context) | {"training.precision": precision},
        device=device,
        threads=compared,
        seconds=seconds,
    )
    typer.echo(json.dumps(report.as_dict()) if json_ else report.as_table())
    if report.interrupted:
        raise typer.Exit(130)


@app.command(no_args_is_help=True)
def decode(
    run: Run,
    src: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Sentences to translate; unless given, those that the run was validated with.",
            show_default=False,
        ),
    ] = None,
    src_lang: SrcLang = None,
    tgt_lang: TgtLang = None,
    beam: Annotated[str, typer.Option(metavar="N,N", help="Widths of the search to compare.")] = "1,4",
    batch: Annotated[str, typer.Option(metavar="N,N", help="Numbers of sentences given at once.")] = "1,16,64",
    seconds: Annotated[float, typer.Option(metavar="N", min=0.1, help="How long to translate with each of them.")] = 3,
    device: Device = "cpu",
    threads: Threads = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure translating by each engine: tokens/s, sentences/s, and the time from a batch to its translations.

    Ctrl-C ends it with what was measured so far.
    """
    from seqloom.pipeline.bench import bench_decode

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = bench_decode(
        run,
        src,
        numbers(beam, "--beam"),
        numbers(batch, "--batch"),
        seconds,
        (src_lang or "", tgt_lang or ""),
        running(device, threads=threads),
    )
    typer.echo(json.dumps(report.as_dict()) if json_ else report.as_table())
    if report.interrupted:
        raise typer.Exit(130)


def numbers(text: str, option: str) -> list[int]:
    """A list of numbers as an option has it."""
    if not re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", text):
        raise typer.BadParameter(f"{text!r} is no list of numbers; expected such as 1,2", param_hint=option)
    return [int(number) for number in text.split(",")]
