"""seqloom bench"""

import json
import re
import signal
from pathlib import Path
from typing import Annotated

import typer

from seqloom.cli import recipe_options as options

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

    if threads is not None and not re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", threads):
        raise typer.BadParameter(f"{threads!r} is no list of numbers; expected such as 1,2", param_hint="--threads")
    arrange(None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: a temporary folder is to be removed
    report = bench_session(
        task,
        run=run,
        recipe=config,
        settings=set_ or (),
        flags=options.flags_of(context) | {"training.precision": precision},
        device=device,
        threads=[int(number) for number in threads.split(",")] if threads else (),
        seconds=seconds,
    )
    typer.echo(json.dumps(report.as_dict()) if json_ else report.as_table())
    if report.interrupted:
        raise typer.Exit(130)
