"""seqloom score"""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seqloom.cli.direction import SrcLang, TgtLang
from seqloom.cli.running import Device, Engine, EngineName, Run, Threads, open_translator


class Format(StrEnum):
    TEXT = "text"
    JSONL = "jsonl"


def command(
    run: Run,
    src: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Source sentences, one a line, plain or compressed.", show_default=False),
    ],
    tgt: Annotated[Path, typer.Option(metavar="FILE", help="Their translations, line by line.", show_default=False)],
    src_lang: SrcLang = None,
    tgt_lang: TgtLang = None,
    per_token: Annotated[bool, typer.Option("--per-token", help="Show each token with its log-probability.")] = False,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="text (log-probability, mean, perplexity, tokens; tabs between), or one JSON object a line.",
        ),
    ] = Format.TEXT,
    engine: Engine = EngineName.AUTO,
    device: Device = "cpu",
    threads: Threads = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print one JSON object about all pairs instead of a line for each.")
    ] = False,
) -> None:
    """Tell how probable given translations are to a model: one line for each pair, in order.

    Logarithms are natural, and the end of the sentence counts as a token.
    """
    from seqloom.data.readers import read_pairs
    from seqloom.errors import UserError
    from seqloom.pipeline.scoring import Total

    if json_ and (per_token or format_ is not Format.TEXT):
        raise UserError("--json prints one object about all pairs; leave it out to see each, with --format jsonl")
    translator = open_translator(run, device, engine, threads).towards(src_lang, tgt_lang)
    total = Total(translator.setup.longest_source)
    pairs = ((example.src, example.tgt) for example in read_pairs(src, tgt))
    for scored in translator.score_stream(pairs, names=(f"{src}:", f"{tgt}:")):
        total.add(scored)
        if json_:
            continue
        if format_ is Format.JSONL:
            line = json.dumps(scored.as_dict(per_token), ensure_ascii=False)
        else:
            line = f"{scored.log_prob:.4f}\t{scored.mean:.4f}\t{scored.perplexity:.4f}\t{scored.tokens}"
            if per_token:
                each = zip(scored.pieces, scored.log_probs, strict=True)
                line += "\t" + " ".join(f"{piece}={log_prob:.4f}" for piece, log_prob in each)
        sys.stdout.buffer.write(line.encode() + b"\n")
    summary = total.as_dict()
    if json_:
        typer.echo(json.dumps(summary))
        return
    sys.stdout.buffer.flush()
    typer.echo(
        f"{total.pairs:,} pairs, {total.tokens:,} tokens: perplexity {summary['perplexity']:.4f}, "
        f"mean log-probability {summary['mean']:.4f}",
        err=True,
    )
    if total.longer:
        typer.echo(
            f"{total.longer:,} sources have more tokens than any in training ({total.longest_source:,}): "
            f"their scores say little",
            err=True,
        )
