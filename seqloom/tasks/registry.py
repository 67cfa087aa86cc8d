"""The tasks, by the name that ``--task`` and config.json use."""

from seqloom.tasks.task import Task
from seqloom.tasks.translate import Translate

TASKS: dict[str, type[Task]] = {Translate.name: Translate}
