"""Which models can translate together."""

from collections.abc import Sequence
from pathlib import Path

from seqloom.data.languages import Direction
from seqloom.errors import ModelFolderError
from seqloom.tasks.setup import TranslatorSetup


def require_one_vocabulary(members: Sequence[tuple[Path, TranslatorSetup]]) -> None:
    """An ensemble averages what its members say of each token, so all must mean the same by it.

    Raises:
        ModelFolderError: naming the first member that differs from the first of all, and in what.
    """
    (first, setup), *others = members
    for path, other in others:
        if _directions(other) != _directions(setup):
            difference = f"it translates {_directions(other)} and {first} {_directions(setup)}"
        elif other.src_tokenizer.to_bytes() != setup.src_tokenizer.to_bytes():
            difference = f"its source vocabulary is not that of {first}"
        elif other.tgt_tokenizer.to_bytes() != setup.tgt_tokenizer.to_bytes():
            difference = f"its target vocabulary is not that of {first}"
        else:
            continue
        raise ModelFolderError(
            f"{path}: cannot be in one ensemble, {difference}; train the members with the same "
            f"data.tokenizer_file, or on the same data"
        )


def _directions(setup: TranslatorSetup) -> str:
    return ", ".join(map(str, setup.directions or [Direction(*setup.languages)]))
