"""seqloom predict"""

import json
import sys
from typing import Annotated

import typer

from seqloom.cli.input import Errors, ErrorsOption, standard_input
from seqloom.cli.running import Device, Format, Run, Threads


def command(
    run: Run,
    weights: Annotated[
        bool, typer.Option("--weights", help="Show how much each word counted: word=weight, adding up to 1.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="text, or one JSON object a line.")] = Format.TEXT,
    errors: ErrorsOption = Errors.STRICT,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Answer standard input on standard output: one line out for each line in, in order.

    Of a classifier an answer is a label and its probability, with a tab between. An empty line stays empty.
    """
    from seqloom.training.process import arrange

    arrange(threads)
    from seqloom.pipeline.predictor import open_predictor

    predictor = open_predictor(run, device)
    if weights:
        predictor.require_weights()
    out = sys.stdout.buffer
    for answer in predictor.stream(standard_input(errors)):
        if format_ is Format.JSONL:
            line = json.dumps(answer.as_dict(weights), ensure_ascii=False)
        else:
            line = answer.line(weights)
        out.write(line.encode() + b"\n")
        out.flush()
