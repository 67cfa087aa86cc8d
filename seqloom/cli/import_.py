"""seqloom import"""

import signal
from pathlib import Path
from typing import Annotated

import typer


def command(
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A Marian model in Hugging Face's format.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The model folder to write.", show_default=False)],
    src_lang: Annotated[str, typer.Option(metavar="LANG", help="Source language, such as de.", show_default=False)],
    tgt_lang: Annotated[str, typer.Option(metavar="LANG", help="Target language.", show_default=False)],
) -> None:
    """Make a model folder of another program's model: OPUS-MT and its like, to run and to fine-tune."""
    from seqloom.data.languages import require_code
    from seqloom.export.huggingface_import import import_huggingface

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: a temporary folder is to be removed
    require_code(src_lang, "--src-lang")
    require_code(tgt_lang, "--tgt-lang")
    import_huggingface(source, out, (src_lang, tgt_lang))
    typer.echo(f"{out}: translates {src_lang}-{tgt_lang}")
