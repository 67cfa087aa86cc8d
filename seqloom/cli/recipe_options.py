"""What a training is made of: the options that `train` and `bench train` share, and the settings that they are."""

from pathlib import Path
from typing import Annotated, Any

import typer

Src = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Source sentences, one a line, plain or compressed (.gz .xz .bz2 .zst). May be given several times.",
        show_default=False,
    ),
]
Tgt = Annotated[
    list[str] | None, typer.Option(metavar="FILE", help="Their translations, line by line.", show_default=False)
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="A file with both sides: .tsv .csv .jsonl .parquet .tmx .po .xlf; instead of --src and --tgt, or beside them.",
        show_default=False,
    ),
]
SrcLang = Annotated[
    str | None,
    typer.Option(
        metavar="LANG", help="Source language, such as zh; told by the text if not given.", show_default=False
    ),
]
TgtLang = Annotated[str | None, typer.Option(metavar="LANG", help="Target language, such as en.", show_default=False)]
BothDirections = Annotated[
    bool, typer.Option("--both-directions", help="One model for both ways: every pair is also learnt turned round.")
]
Direction = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SRC-TGT",
        help="For a model of several languages: en-de or the like, once for each training file.",
        show_default=False,
    ),
]
ValidDirection = Annotated[
    list[str] | None,
    typer.Option(metavar="SRC-TGT", help="The same for each validation file.", show_default=False),
]
Weight = Annotated[
    list[float] | None,
    typer.Option(
        metavar="N",
        help="How often a pass sees each training file: 2 is twice, 0.1 a tenth of it. Once for each, in the order of --src and then --data.",
        show_default=False,
    ),
]
Domain = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="What each training file is called in reports.", show_default=False),
]
ValidSrc = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="Validation source; without it a share is held out.", show_default=False),
]
ValidTgt = Annotated[list[str] | None, typer.Option(metavar="FILE", help="Validation target.", show_default=False)]
Valid = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="Validation file with both sides, as for --data.", show_default=False),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A recipe; `seqloom config translate` prints one.", show_default=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting of a recipe, such as model.num_layers=4.",
        show_default=False,
    ),
]
InitFrom = Annotated[
    str | None,
    typer.Option(
        metavar="RUN", help="Start from the weights and the vocabulary of a trained model.", show_default=False
    ),
]
Task = Annotated[str, typer.Option(metavar="NAME", help="What to train.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")]

FLAGS = {
    "src": "data.src",
    "tgt": "data.tgt",
    "data": "data.data",
    "src_lang": "data.src_lang",
    "tgt_lang": "data.tgt_lang",
    "both_directions": "data.both_directions",
    "direction": "data.directions",
    "valid_direction": "data.valid_directions",
    "weight": "data.weights",
    "domain": "data.domains",
    "valid_src": "data.valid_src",
    "valid_tgt": "data.valid_tgt",
    "valid": "data.valid_data",
    "init_from": "training.init_from",
}
"""The setting that each option is, by the name of its parameter."""


def flags_of(context: typer.Context) -> dict[str, Any]:
    """What was given of ``FLAGS``, by setting."""
    return {setting: context.params[name] for name, setting in FLAGS.items() if context.params[name]}
