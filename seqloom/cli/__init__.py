"""The command line: one file for each command, and what all of them share.

Nothing heavy is imported here or at the top of a command's file: ``seqloom --help`` loads no torch.
"""

import errno
import os
import sys
import traceback

import typer
from typer.exceptions import TyperException

from seqloom.cli import (
    bench,
    check,
    compare,
    config,
    distill,
    evaluate,
    export,
    import_,
    info,
    lab,
    predict,
    score,
    train,
    translate,
)
from seqloom.errors import FULL, SeqloomError, shown

app = typer.Typer(
    name="seqloom",
    help="Train a translator on your own sentence pairs, on your own machine, and use it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for module in (
    check,
    train,
    translate,
    predict,
    evaluate,
    score,
    compare,
    distill,
    export,
    import_,
    info,
    config,
    lab,
):
    app.command(name=module.__name__.rpartition(".")[2].rstrip("_"), no_args_is_help=True)(module.command)
app.add_typer(bench.app)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"seqloom {version('seqloom')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
    debug: bool = typer.Option(
        False, "--debug", help="Show a traceback with an error. May stand anywhere on the line."
    ),
) -> None: ...


MOST_LINES, MOST_CHARACTERS = 50, 4_000
"""Of a message, which may quote what was read: nothing in it steers the terminal or fills it."""


CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG}
"""Errors of the system about a place that a user has named."""


def main() -> None:
    """Runs a command: exit status 2 for a user's mistake, 1 for a fault of ours, 130 on interrupt."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        # An interrupt comes back as the status 130.
        status = app(args=arguments, prog_name="seqloom", standalone_mode=False) or 0
    except SystemExit as ended:  # which the library makes of a closed pipe
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        _leave_output()
        status = 0  # the reader of our output, such as `head`, has had enough
    except typer.Abort:
        status = 130
    except Exception as error:  # noqa: BLE001 - it is reported
        if debug:
            traceback.print_exc()
        status = _report(error)
    sys.exit(status)


def _leave_output() -> None:
    """What could not be written is not tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception) -> int:
    """Says what went wrong and returns the exit status."""
    if isinstance(error, SeqloomError):
        for line in str(error).split("\n")[:MOST_LINES]:
            sys.stderr.write(f"seqloom: error: {shown(line, MOST_CHARACTERS)}\n")
        return error.exit_status
    if isinstance(error, TyperException):  # the command line itself is wrong
        getattr(error, "show", lambda: sys.stderr.write(f"seqloom: error: {error}\n"))()
        return 2
    if isinstance(error, OSError) and error.errno in (FULL if error.filename is None else CLOSED | FULL):
        if error.filename is None:
            _leave_output()
        what = "written" if error.errno in FULL else "read or written"
        place = "the output" if error.filename is None else shown(error.filename, MOST_CHARACTERS)
        sys.stderr.write(
            f"seqloom: error: {place}: cannot be {what} ({error.strerror}); give another place, or make room or give "
            f"leave there\n"
        )
        return 2
    sys.stderr.write(
        f"seqloom: internal error: {type(error).__name__}: {shown(error, MOST_CHARACTERS)}\nPlease report it with what --debug shows.\n"
    )
    return 1
