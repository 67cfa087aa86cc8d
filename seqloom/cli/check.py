"""seqloom check"""

from pathlib import Path
from typing import Annotated

import typer

from seqloom.cli.recipe_options import Data, Src, SrcLang, Tgt, TgtLang

FOUND = 3
"""Exit status where something fatal or a problem was found."""

TOLD_EVERY = 200_000


def command(
    src: Src = None,
    tgt: Tgt = None,
    data: Data = None,
    src_lang: SrcLang = None,
    tgt_lang: TgtLang = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A test or validation set, one side or both, that the corpus must have nothing of. Repeatable.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write what was found as a page (.html) or for programs (.json). Repeatable.",
            show_default=False,
        ),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a cleaned corpus into this new folder, and dropped.tsv, which names what was left out and why.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="At work side by side; all cores unless given.", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Tell whether a corpus is all right: lines out of step, wrong languages, leaked test sentences and more.

    Exit status 3 if something fatal or a problem was found, 0 if not. No file is changed.
    """
    from seqloom.data.checks.doctor import check
    from seqloom.data.checks.findings import Severity
    from seqloom.data.checks.fix import write_fixed
    from seqloom.data.checks.overlap import held_against
    from seqloom.data.checks.report import as_json, as_text, require_format, write_report
    from seqloom.data.languages import require_code
    from seqloom.data.readers import Options, PairFiles
    from seqloom.errors import DataError
    from seqloom.files import require_free

    languages = src_lang or "", tgt_lang or ""
    for language, option in zip(languages, ("--src-lang", "--tgt-lang"), strict=True):
        require_code(language, option)
    files = PairFiles(src or (), tgt or (), data or (), name="checking")
    if not files:
        raise DataError("no files to check were given; expected --src FILE --tgt FILE, or --data FILE")
    for path in report or ():
        require_format(path)
    if fix:
        require_free(fix)
    groups = files.reading([Options(*languages)] * len(files.groups)).groups

    told = 0

    def progress(pairs: int) -> None:
        nonlocal told
        if not told <= pairs < told + TOLD_EVERY:
            told = pairs - pairs % TOLD_EVERY
            typer.echo(f"{pairs:,} pairs so far ...", err=True)

    held = held_against(against or (), languages)
    diagnosis = check(groups, held, languages, processes=processes, progress=progress)
    for path in report or ():
        write_report(diagnosis, path)
    typer.echo(as_json(diagnosis) if json_ else as_text(diagnosis))
    if fix:
        typer.echo(str(write_fixed(diagnosis, fix)), err=True)
    if diagnosis.worst is not Severity.NOTE:
        raise typer.Exit(FOUND)
