"""Which way a model of several languages is to translate; what other models know must agree."""

from typing import Annotated

import typer

SrcLang = Annotated[
    str | None,
    typer.Option(
        "--src-lang", metavar="LANG", help="Source language, where the model knows several.", show_default=False
    ),
]
TgtLang = Annotated[
    str | None,
    typer.Option(
        "--tgt-lang", metavar="LANG", help="Target language, where the model knows several.", show_default=False
    ),
]
