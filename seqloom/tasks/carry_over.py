"""The rows of a vocabulary, for another vocabulary."""

import torch
from torch import Tensor

from seqloom.data.tokenizers import Tokenizer, initial_pieces


def carried_over(table: Tensor, old: Tokenizer, new: Tokenizer) -> tuple[Tensor, int]:
    """The rows of ``table`` [old V, D] for the pieces of ``new``, and how many of these ``old`` does not have.

    A new piece gets the mean of the rows of those that ``old`` cuts it into.
    """
    places = {piece: row for row, piece in enumerate(old.pieces(range(old.vocab_size)))}
    pieces = new.pieces(range(new.vocab_size))
    added = [row for row, piece in enumerate(pieces) if piece not in places]
    carried = table[torch.tensor([places.get(piece, 0) for piece in pieces])]
    for row, ids in zip(added, initial_pieces(old, [pieces[row] for row in added]), strict=True):
        carried[row] = table[torch.tensor(ids)].mean(0)
    return carried, len(added)
