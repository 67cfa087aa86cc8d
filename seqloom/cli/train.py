"""seqloom train"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from seqloom.cli import recipe_options as options


def command(
    context: typer.Context,
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run folder; an existing run is resumed.", show_default=False)
    ],
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
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Updates in all; a larger number continues a finished run.", show_default=False),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="The best model within this time, such as 20m or 1h30m: sizes and schedule that are not given are chosen for it. A larger one continues the run.",
            show_default=False,
        ),
    ] = None,
    config: options.Config = None,
    set_: options.Set = None,
    init_from: options.InitFrom = None,
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The plan.json of a run with --budget: the same run again, step by step.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Everything random follows from it.", show_default=False)
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Make the run N times with seeds in a row, in folders in RUN, and tell mean and spread of the scores.",
            show_default=False,
        ),
    ] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a corpus in which a pair would be dropped.")] = False,
    task: options.Task = "translate",
    device: options.Device = "cpu",
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processor threads; all cores unless given.", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Train a model into a run folder, or resume the run that is there.

    The same command again resumes after an interrupt; on a finished run it does nothing.
    """
    from seqloom.training.allocator import restart

    if device == "cpu":
        restart()
    started = time.perf_counter()  # a budget pays for the imports, too
    from seqloom.tasks.folder import read_config
    from seqloom.tasks.registry import TASKS
    from seqloom.training.distributed import is_first, threads_each
    from seqloom.training.loop import Stopped
    from seqloom.training.process import arrange
    from seqloom.training.session import train_session

    arrange(threads or threads_each())
    flags = options.flags_of(context) | {
        "data.strict": strict or None,
        "training.steps": steps,
        "training.budget": budget,
        "training.replay": replay,
        "training.seed": seed,
    }
    try:
        summary = train_session(
            run,
            task,
            recipe=config,
            settings=set_ or (),
            flags=flags,
            device=device,
            repeat=repeat,
            started=started,
        )
    except Stopped:
        if is_first():
            typer.echo("Stopped and saved; the same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    if not is_first():
        return
    if json_:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    if repeat > 1:
        typer.echo(f"{repeat} runs in {run}, mean and standard deviation of their best models:")
        for name, spread in summary["scores"]["valid"].items():
            of = ", ".join(f"{value:.2f}" for value in spread["values"])
            typer.echo(f"  {name:<12} {spread['mean']:8.2f} ± {spread['deviation']:.2f}  ({of})")
        return
    typer.echo(f"The best model is in {summary['model']}:")
    for name, value in summary["scores"]["valid"].items():
        typer.echo(f"  {name:<12} {value:8.2f}  {summary['scores']['signatures'].get(name, '')}".rstrip())
    typer.echo(f"Next: {TASKS[task].usage(read_config(run), str(run))} < FILE")
