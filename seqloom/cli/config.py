"""seqloom config"""

from typing import Annotated

import typer


def command(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task, such as translate.", show_default=False)],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting to put into it, such as model.kind=recurrent."),
    ] = None,
) -> None:
    """Print a recipe with every setting of a task, its default and what it does."""
    from seqloom.config import load_config, recipe_text
    from seqloom.training.session import task_named

    config = load_config(task_named(task).Config, settings=set_ or ())
    typer.echo(recipe_text(config, f"seqloom train RUN --config THIS_FILE --task {task}"))
