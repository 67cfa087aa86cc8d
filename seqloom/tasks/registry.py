"""The tasks, by the name that ``--task`` and config.json use."""

from seqloom.tasks.classify_text import ClassifyText
from seqloom.tasks.task import Task
from seqloom.tasks.translate import Translate

TASKS: dict[str, type[Task]] = {task.name: task for task in (Translate, ClassifyText)}
