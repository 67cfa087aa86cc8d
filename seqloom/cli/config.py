"""seqloom config"""

from typing import Annotated

import typer


def command(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task, such as translate.", show_default=False)],
) -> None:
    """Print a recipe with every setting of a task, its default and what it does."""
    from seqloom.config import recipe_text
    from seqloom.training.session import task_named

    typer.echo(recipe_text(task_named(task).Config(), f"seqloom train RUN --config THIS_FILE --task {task}"))
