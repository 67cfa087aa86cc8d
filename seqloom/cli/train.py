"""seqloom train"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run folder; an existing run is resumed.", show_default=False)
    ],
    src: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Source sentences, one a line, plain or compressed (.gz .xz .bz2 .zst). May be given several times.",
            show_default=False,
        ),
    ] = None,
    tgt: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Their translations, line by line.", show_default=False)
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A file with both sides: .tsv .csv .jsonl .parquet .tmx .po .xlf; instead of --src and --tgt, or beside them.",
            show_default=False,
        ),
    ] = None,
    src_lang: Annotated[
        str | None,
        typer.Option(
            metavar="LANG", help="Source language, such as zh; told by the text if not given.", show_default=False
        ),
    ] = None,
    tgt_lang: Annotated[
        str | None, typer.Option(metavar="LANG", help="Target language, such as en.", show_default=False)
    ] = None,
    both_directions: Annotated[
        bool, typer.Option("--both-directions", help="One model for both ways: every pair is also learnt turned round.")
    ] = False,
    direction: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SRC-TGT",
            help="For a model of several languages: en-de or the like, once for each training file.",
            show_default=False,
        ),
    ] = None,
    valid_direction: Annotated[
        list[str] | None,
        typer.Option(metavar="SRC-TGT", help="The same for each validation file.", show_default=False),
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(
            metavar="N",
            help="How often a pass sees each training file: 2 is twice, 0.1 a tenth of it. Once for each, in the order of --src and then --data.",
            show_default=False,
        ),
    ] = None,
    domain: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What each training file is called in reports.", show_default=False),
    ] = None,
    valid_src: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Validation source; without it a share is held out.", show_default=False),
    ] = None,
    valid_tgt: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Validation target.", show_default=False)
    ] = None,
    valid: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Validation file with both sides, as for --data.", show_default=False),
    ] = None,
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
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A recipe; `seqloom config translate` prints one.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting of a recipe, such as model.num_layers=4.",
            show_default=False,
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Start from the weights and the vocabulary of a trained model.", show_default=False
        ),
    ] = None,
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
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a corpus in which a pair would be dropped.")] = False,
    task: Annotated[str, typer.Option(metavar="NAME", help="What to train.")] = "translate",
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processor threads; all cores unless given.", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Train a model into a run folder, or resume the run that is there.

    The same command again resumes after an interrupt; on a finished run it does nothing.
    """
    from seqloom.tasks.folder import read_config

    started = time.perf_counter()  # a budget pays for the imports, too
    from seqloom.training.loop import Stopped
    from seqloom.training.process import arrange
    from seqloom.training.session import train_session

    arrange(threads)
    flags = {
        "data.src": src,
        "data.tgt": tgt,
        "data.data": data,
        "data.src_lang": src_lang,
        "data.tgt_lang": tgt_lang,
        "data.both_directions": both_directions or None,
        "data.directions": direction,
        "data.valid_directions": valid_direction,
        "data.weights": weight,
        "data.domains": domain,
        "data.valid_src": valid_src,
        "data.valid_tgt": valid_tgt,
        "data.valid_data": valid,
        "data.strict": strict or None,
        "training.steps": steps,
        "training.budget": budget,
        "training.init_from": init_from,
        "training.replay": replay,
        "training.seed": seed,
    }
    try:
        summary = train_session(
            run, task, recipe=config, settings=set_ or (), flags=flags, device=device, started=started
        )
    except Stopped:
        typer.echo("Stopped and saved; the same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    if json_:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    typer.echo(f"The best model is in {summary['model']}:")
    for name, value in summary["scores"]["valid"].items():
        typer.echo(f"  {name:<12} {value:8.2f}  {summary['scores']['signatures'].get(name, '')}".rstrip())
    about = read_config(run)
    way = f" --tgt-lang {about['languages'][1]}" if about["directions"] else ""
    typer.echo(f"Next: seqloom translate {run}{way} < FILE")
