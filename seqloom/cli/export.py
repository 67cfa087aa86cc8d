"""seqloom export"""

import json
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seqloom.cli.direction import SrcLang, TgtLang
from seqloom.cli.running import Run


class Target(StrEnum):
    CTRANSLATE2 = "ctranslate2"
    ONNX = "onnx"
    HUGGINGFACE = "huggingface"


class Quantization(StrEnum):
    INT8 = "int8"
    BF16 = "bf16"


def command(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="A new folder, for use without seqloom. Without it the export stays with the model, for seqloom's own use.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[Target, typer.Option(help="The format.")] = Target.CTRANSLATE2,
    quantize: Annotated[
        Quantization | None,
        typer.Option(
            help="Keep the weights in fewer bits, if that costs little; needs --src and --ref.", show_default=False
        ),
    ] = None,
    shortlist: Annotated[
        bool,
        typer.Option(
            "--shortlist",
            help="Choose among likely pieces alone, learnt from the run's training data; needs --src and --ref.",
        ),
    ] = False,
    src: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Sentences to measure the cost of --quantize and --shortlist with.", show_default=False
        ),
    ] = None,
    ref: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Their reference translations.", show_default=False)
    ] = None,
    src_lang: SrcLang = None,
    tgt_lang: TgtLang = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            metavar="BLEU",
            min=0,
            help="Refuse a quantization that costs more than this; 0.5 unless given.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processor threads; all cores unless given.", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a model in another engine's format; with --quantize, measure what that costs and keep the proof."""
    from seqloom.errors import UserError
    from seqloom.export.store import SHORTLIST
    from seqloom.pipeline.exporting import export, export_plain
    from seqloom.training.process import arrange

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: a temporary folder is to be removed
    if (quantize is not None or shortlist) != (src is not None) or (src is None) != (ref is None):
        raise UserError(
            "--quantize or --shortlist, --src and --ref belong together: the cost is measured on these sentences"
        )
    measuring = {"--max-loss": max_loss, "--src-lang": src_lang, "--tgt-lang": tgt_lang}
    idle = [option for option, value in measuring.items() if value is not None]
    if idle and src is None:
        raise UserError(
            f"{idle[0]} says how the cost of --quantize or --shortlist is measured, and neither was given; give one, or "
            f"leave it out"
        )
    arrange(threads)
    if to is not Target.CTRANSLATE2:
        if out is None or quantize or shortlist:
            raise UserError(
                f"--to {to.value} needs a folder to write to, DIR, and knows no --quantize and no --shortlist"
            )
        report = export_plain(run, out, to.value)
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False) if json_ else report.as_table())
        return
    variant = {None: "float32", Quantization.INT8: "int8", Quantization.BF16: "bfloat16"}[quantize]
    variant += SHORTLIST if shortlist else ""
    report = export(
        run,
        out,
        variant,
        (src, ref) if src and ref else None,
        (src_lang or "", tgt_lang or ""),
        0.5 if max_loss is None else max_loss,
        threads,
        lambda text: typer.echo(text, err=True),
    )
    typer.echo(json.dumps(report.as_dict(), ensure_ascii=False) if json_ else report.as_table())
