"""seqloom distill"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from seqloom.cli import recipe_options as options
from seqloom.cli.running import Threads, open_translator


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder of the teacher.", show_default=False)],
    into: Annotated[Path, typer.Option(metavar="SMALL", help="The run folder of the student.", show_default=False)],
    src: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Sentences to compare both with; unless given, those that the teacher was validated with.",
            show_default=False,
        ),
    ] = None,
    ref: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Their reference translations.", show_default=False)
    ] = None,
    beam: Annotated[int, typer.Option(metavar="N", min=1, help="Of the teacher's search.")] = 4,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Updates of the student in all.", show_default=False)
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The best student within this time, such as 20m.", show_default=False),
    ] = None,
    config: options.Config = None,
    set_: options.Set = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Everything random follows from it.", show_default=False)
    ] = None,
    threads: Threads = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object about both.")] = False,
) -> None:
    """Train a smaller model on a teacher's translations of its training set, and compare the two.

    The same command again goes on after an interrupt.
    """
    from seqloom.training.allocator import restart

    restart()
    from seqloom.data.readers import read_pairs
    from seqloom.errors import UserError
    from seqloom.pipeline.distillation import Distillation
    from seqloom.training.loop import Stopped
    from seqloom.training.process import arrange
    from seqloom.training.run_folder import read_run
    from seqloom.training.session import train_session

    if (src is None) != (ref is None):
        raise UserError("--src and --ref belong together: sentences to compare with, and their references")
    given = [(pair.src, pair.tgt) for pair in read_pairs(src, ref)] if src and ref else []
    if not (run / "run.json").is_file() or read_run(run) is None:
        raise UserError(f"{run}: is no run folder; the teacher's training data is needed, which is in its run folder")
    # In one type whatever is proven meanwhile: for what is gone on with, and for who is compared.
    opened = partial(open_translator, threads=threads, compute_type="float32")
    teacher = opened(run)
    if teacher.setup.directions:
        raise UserError(f"{run}: translates several directions; a teacher of one is needed")
    distillation = Distillation(run, teacher, beam)
    begun = time.perf_counter()
    for progress in distillation.run():
        seconds = time.perf_counter() - begun
        typer.echo(f"{progress.done:,} of {progress.total:,} sentences translated, {seconds:.0f} s", err=True)
    started = time.perf_counter()  # a budget is the student's alone
    arrange(threads)
    vocabularies = [run / "data" / name for name in ("src.model", "tgt.model")]
    flags: dict[str, Any] = {
        **dict.fromkeys(("data.src", "data.tgt", "data.valid_src", "data.valid_tgt"), ()),  # a recipe may have some
        "data.data": [str(distillation.path)],
        "data.valid_data": [str(distillation.valid_path)],
        "data.src_lang": teacher.languages[0],
        "data.tgt_lang": teacher.languages[1],
        "data.tokenizer_file": [str(path) for path in vocabularies if path.is_file()],
        "training.steps": steps,
        "training.budget": budget,
        "training.seed": seed,
    }
    begun_before = read_run(into)  # by a program that may have decided otherwise
    model = begun_before["config"]["model"] if begun_before else teacher.setup.model.model_dump()
    tied = {"model.tied_embeddings": model["tied_embeddings"]}  # as the teacher's vocabularies allow
    try:
        train_session(
            into, "translate", recipe=config, settings=set_ or (), flags=flags, defaults=tied, started=started
        )
    except Stopped:
        typer.echo("Stopped and saved; the same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    from seqloom.pipeline.tradeoff import weigh

    pairs = given or distillation.texts(distillation.valid)
    sources, references = ([pair[side] for pair in pairs] for side in (0, 1))
    report = weigh([teacher, opened(into)], sources, references)
    typer.echo(json.dumps(report.as_dict(), ensure_ascii=False) if json_ else report.as_table())
