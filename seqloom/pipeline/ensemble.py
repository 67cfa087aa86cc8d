"""Which models can translate together."""

from collections.abc import Sequence

from seqloom.data.languages import Direction
from seqloom.errors import ModelFolderError
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.translate import Translate


def require_one_vocabulary(members: Sequence[tuple[ModelFolder, Translate]]) -> None:
    """An ensemble averages what its members say of each token, so all must mean the same by it.

    Raises:
        ModelFolderError: naming the first member that differs from the first of all, and in what.
    """
    (first, task), *others = members
    for folder, other in others:
        if _directions(other) != _directions(task):
            difference = f"it translates {_directions(other)} and {first.path} {_directions(task)}"
        elif other.src_tokenizer.to_bytes() != task.src_tokenizer.to_bytes():
            difference = f"its source vocabulary is not that of {first.path}"
        elif other.tgt_tokenizer.to_bytes() != task.tgt_tokenizer.to_bytes():
            difference = f"its target vocabulary is not that of {first.path}"
        else:
            continue
        raise ModelFolderError(
            f"{folder.path}: cannot be in one ensemble, {difference}; train the members with the same "
            f"data.tokenizer_file, or on the same data"
        )


def _directions(task: Translate) -> str:
    return ", ".join(map(str, task.directions or [Direction(*task.languages)]))
