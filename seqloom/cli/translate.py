"""seqloom translate"""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    TEXT = "text"
    JSONL = "jsonl"


class Errors(StrEnum):
    STRICT = "strict"
    REPLACE = "replace"


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a model folder.", show_default=False)],
    beam: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Hypotheses kept at each step; 1 is greedy. Default: the model's.",
            show_default=False,
        ),
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(metavar="ALPHA", help="Scores are divided by length^ALPHA.", show_default=False)
    ] = None,
    n_best: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Translations of each line; in text format side by side, with tabs between."
        ),
    ] = 1,
    scores: Annotated[bool, typer.Option("--scores", help="Put the score and a tab before each translation.")] = False,
    format_: Annotated[Format, typer.Option("--format", help="text, or one JSON object a line.")] = Format.TEXT,
    errors: Annotated[
        Errors, typer.Option(help="What to do with a line that is not UTF-8: stop, or replace the bytes by U+FFFD.")
    ] = Errors.STRICT,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processor threads; all cores unless given.", show_default=False),
    ] = None,
) -> None:
    """Translate standard input to standard output: one line out for each line in, in order.

    An empty line stays empty; a long one is cut into sentences and put together again.
    """
    from seqloom.pipeline.translator import load
    from seqloom.training.process import arrange

    arrange(threads)
    translator = load(run, device)
    out = sys.stdout.buffer
    for translation in translator.stream(_lines(errors), n_best=n_best, beam=beam, length_penalty=length_penalty):
        if format_ is Format.JSONL:
            found = [{"text": text, "score": round(score, 6)} for text, score in translation.alternatives]
            line = json.dumps({**found[0], "segments": translation.segments, "n_best": found}, ensure_ascii=False)
        elif scores:
            line = "\t".join(f"{score:.4f}\t{text}" for text, score in translation.alternatives)
        else:
            line = "\t".join(text for text, _ in translation.alternatives)
        out.write(line.encode() + b"\n")
        out.flush()


def _lines(errors: Errors) -> Iterator[str]:
    from seqloom.data.readers import decode_line

    offset = 0
    for number, raw in enumerate(sys.stdin.buffer, start=1):
        text = raw.removesuffix(b"\n").removesuffix(b"\r")
        yield (
            text.decode(errors="replace")
            if errors is Errors.REPLACE
            else decode_line(text, "standard input", number, offset)
        )
        offset += len(raw)
