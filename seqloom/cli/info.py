"""seqloom info"""

import json
from typing import Annotated

import typer

from seqloom.cli.running import Run
from seqloom.errors import shown

MOST_SHOWN = 500
"""Characters of one value: a folder may hold anything."""


def command(
    run: Run,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a model is, what it was made from, and how good it is; checksums are verified."""
    from seqloom.export.store import VARIANTS, find_export
    from seqloom.tasks.folder import read_model

    folder = read_model(run)
    size = sum(path.stat().st_size for path in folder.path.iterdir() if path.is_file())
    about = {"path": str(folder.path), "bytes": size, "checksums": "verified", **folder.config}
    exports = [find_export(folder, variant)[0] for variant in VARIANTS]
    about["exports"] = {each.variant: "proven" if each.proven else "not proven" for each in exports if each is not None}
    run_file = folder.path.parent / "run.json"
    if run_file.is_file():
        from seqloom.training.run_folder import read_run

        started = read_run(run_file.parent) or {}
        about["run"] = {key: started.get(key, "") for key in ("precision", "environment", "config")}
    if json_:
        typer.echo(json.dumps(about, ensure_ascii=False))
        return
    if "run" in about and isinstance(about.get("made_by"), dict):
        about["made_by"].pop("recipe", None)  # which the run's settings hold
    for line in _lines(about):
        typer.echo(shown(line, MOST_SHOWN))


def _lines(about: dict[str, object], indent: str = "") -> list[str]:
    lines = []
    for key, value in about.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<{max(1, 25 - len(indent))}} {_shown(value)}")
    return lines


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
