"""seqloom lab"""

import time
from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The experiment, or `all`.", show_default=False)],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Where the page and its picture are written.")
    ] = Path("lab"),
    full: Annotated[bool, typer.Option("--full", help="Measure more; takes longer.")] = False,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processor threads; all cores unless given.", show_default=False),
    ] = None,
) -> None:
    """Measure a claim about Transformers, and write a page of it: table, plot and verdict.

    Experiments: depth, distance, fixed-code, heads, length, order, parallel, projection, scaling, small-data.
    """
    from importlib.util import find_spec

    from seqloom.errors import UserError, did_you_mean
    from seqloom.lab.page import write_page
    from seqloom.lab.registry import LAB

    if name not in (*LAB, "all"):
        raise UserError(f"there is no experiment {name!r}; {did_you_mean(name, LAB)}")
    if threads:
        import torch

        torch.set_num_threads(threads)
    # Measuring takes long, and what it finds must have a place.
    if find_spec("matplotlib") is None:
        raise UserError("plots need matplotlib; pip install 'seqloom[look]'")
    out.mkdir(parents=True, exist_ok=True)
    for each in LAB if name == "all" else (name,):
        begun = time.perf_counter()
        typer.echo(f"{each} ...", err=True)
        page = LAB[each](full)
        command_line = f"seqloom lab {each}{' --full' if full else ''}"
        path = write_page(page, out, command_line, time.perf_counter() - begun)
        typer.echo(f"{page.verdict.en}\n{page.verdict.zh}\n{path}")
