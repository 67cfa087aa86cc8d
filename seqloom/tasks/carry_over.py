"""The weights of a trained model, for a model that may have other sizes and another vocabulary."""

import torch
from torch import Tensor, nn

from seqloom.data.tokenizers import Tokenizer, initial_pieces
from seqloom.errors import ModelFolderError
from seqloom.tasks.folder import WEIGHTS, ModelFolder

Vocabularies = tuple[Tokenizer, Tokenizer]
"""Of the trained model, and of the new one."""


def carry_over(model: nn.Module, origin: ModelFolder, vocabularies: dict[str, Vocabularies]) -> str:
    """Copies into ``model`` the weights of ``origin`` that have its shapes; says which in one sentence.

    ``vocabularies`` names the weights that have a row for each piece of a vocabulary.
    """
    own = dict(model.named_parameters())
    taken, fresh, new_rows = 0, [], 0
    with torch.no_grad():
        for name, weight in own.items():
            known = origin.weights.get(name)
            if known is not None and name in vocabularies and known.shape[1:] == weight.shape[1:]:
                rows = vocabularies[name][0].vocab_size
                if len(known) != rows:
                    raise ModelFolderError(
                        f"{origin.path / WEIGHTS}: {name} has {len(known):,} rows, and its vocabulary {rows:,} pieces; "
                        f"copy the model folder again"
                    )
                known, added = rows_for(known, *vocabularies[name])
                new_rows = max(new_rows, added)
            if known is None or known.shape != weight.shape:
                fresh.append(name)
            else:
                weight.copy_(known)
                taken += weight.numel()
    unused = sorted(origin.weights.keys() - own.keys())
    parts = [
        f"Taken from {origin.path}: {taken:,} weights",
        f"{new_rows:,} new tokens start as the mean of their pieces" if new_rows else "",
        f"new and random: {', '.join(fresh)}" if fresh else "",
        f"not used: {', '.join(unused)}" if unused else "",
    ]
    return "; ".join(filter(None, parts)) + "."


def rows_for(table: Tensor, old: Tokenizer, new: Tokenizer) -> tuple[Tensor, int]:
    """The rows of ``table`` [old V, D] for the pieces of ``new``, and how many of these ``old`` does not have.

    A new piece gets the mean of the rows of those that ``old`` cuts it into.
    """
    places = {piece: row for row, piece in enumerate(old.pieces(range(old.vocab_size)))}
    pieces = new.pieces(range(new.vocab_size))
    added = [row for row, piece in enumerate(pieces) if piece not in places]
    rows = table[torch.tensor([places.get(piece, 0) for piece in pieces])]
    for row, ids in zip(added, initial_pieces(old, [pieces[row] for row in added]), strict=True):
        rows[row] = table[torch.tensor(ids)].mean(0)
    return rows, len(added)
