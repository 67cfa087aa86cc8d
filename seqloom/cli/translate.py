"""seqloom translate"""

import json
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seqloom.cli.direction import SrcLang, TgtLang
from seqloom.cli.guarding import HELP, Found, Guard
from seqloom.cli.input import Errors, ErrorsOption, standard_input
from seqloom.cli.running import Device, Engine, EngineName, Format, Run, Shortlist, Threads, open_translator


class Agreement(StrEnum):
    CHRF = "chrf"
    BLEU = "bleu"


def command(
    run: Run,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Another model with the same vocabulary that takes each step together with the first. Repeatable.",
            show_default=False,
        ),
    ] = None,
    src_lang: SrcLang = None,
    tgt_lang: TgtLang = None,
    beam: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Hypotheses kept at each step, or drawn; 1 is greedy. Default, here and below: the model's.",
            show_default=False,
        ),
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(metavar="ALPHA", help="Scores are divided by length^ALPHA.", show_default=False)
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="N", help="Longest output in tokens.", show_default=False)
    ] = None,
    min_length: Annotated[
        int | None, typer.Option(metavar="N", help="Shortest output in tokens.", show_default=False)
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What every translation starts with.", show_default=False),
    ] = None,
    prefixes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What each translation starts with, a line for each; may be empty.", show_default=False
        ),
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw --beam translations at random.")] = False,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T", help="Of sampling: below 1 keeps to what is probable, above 1 is wilder.", show_default=False
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(metavar="K", help="Sample among the K best tokens.", show_default=False)
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="P", help="Sample among the best tokens that make up P.", show_default=False),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Sample among tokens at least P times as probable as the best.", show_default=False
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of sampling.", show_default=False)] = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            metavar="LAMBDA", help="Diverse beam search: what a token loses that another took.", show_default=False
        ),
    ] = None,
    mbr: Annotated[
        Agreement | None,
        typer.Option(help="Choose, of all found, the one that agrees most with the others.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting of [decoding], such as decoding.no_repeat_ngram=4. Repeatable.",
            show_default=False,
        ),
    ] = None,
    n_best: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Translations of each line; in text format side by side, with tabs between."
        ),
    ] = 1,
    scores: Annotated[bool, typer.Option("--scores", help="Put the score and a tab before each translation.")] = False,
    format_: Annotated[Format, typer.Option("--format", help="text, or one JSON object a line.")] = Format.TEXT,
    errors: ErrorsOption = Errors.STRICT,
    guard: Annotated[Guard, typer.Option(help=HELP)] = Guard.RETRY,
    engine: Engine = EngineName.AUTO,
    shortlist: Shortlist = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Translate standard input to standard output: one line out for each line in, in order.

    An empty line stays empty; a long one is cut into sentences and put together again.
    """
    from seqloom.config import DecodingConfig, section_settings
    from seqloom.data.readers import read_lines
    from seqloom.errors import UserError

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: a temporary folder is to be removed
    if prefix is not None and prefixes is not None:
        raise UserError("--prefix and --prefixes both say what a translation starts with; give one of them")
    scored = scores or format_ is Format.JSONL
    translator = open_translator([run, *(ensemble or [])], device, engine, threads, shortlist, scored)
    translator = translator.towards(src_lang, tgt_lang)
    flags = {
        "beam": beam,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "min_length": min_length,
        "sample": sample or None,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "seed": seed,
        "diversity": diversity,
        "mbr": mbr and mbr.value,
    }
    decoding = section_settings("decoding", DecodingConfig, set_ or ())
    decoding |= {key: value for key, value in flags.items() if value is not None}
    if seed is not None and not decoding.get("sample", translator.setup.decoding.sample):
        raise UserError("--seed is of sampling, and nothing is drawn at random; give --sample too, or leave it out")
    starts = read_lines(prefixes) if prefixes else prefix
    out = sys.stdout.buffer
    guarded = Found()
    lines = translator.stream(standard_input(errors), prefixes=starts, n_best=n_best, guard=guard.value, **decoding)
    for translation in lines:
        guarded.add(translation)
        if format_ is Format.JSONL:
            found = [{"text": text, "score": round(score, 6)} for text, score in translation.alternatives]
            about = {
                **found[0],
                "segments": translation.segments,
                "n_best": found,
                "flags": translation.flags,
                "caught": translation.caught,
                "retried": translation.retried,
            }
            line = json.dumps(about, ensure_ascii=False)
        elif scores:
            line = "\t".join(f"{score:.4f}\t{text}" for text, score in translation.alternatives)
        else:
            line = "\t".join(text for text, _ in translation.alternatives)
        out.write(line.encode() + b"\n")
        out.flush()
    if format_ is Format.TEXT and guarded.sentence():
        typer.echo(guarded.sentence(), err=True)
