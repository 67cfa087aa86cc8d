import torch

from seqloom.data.tokenizers import TOKENIZERS
from seqloom.tasks.carry_over import rows_for

TEXTS = ["the man walks the dog", "the dog walks", "a man and a dog", "dogs and men walk"] * 5


def test_known_pieces_keep_their_rows_and_new_ones_are_the_mean_of_theirs() -> None:
    old = TOKENIZERS["bpe"](TEXTS, 300, 1.0)
    new = old.appended(["manwalk"], control=False)
    table = torch.randn(old.vocab_size, 5, generator=torch.Generator().manual_seed(1))
    rows, added = rows_for(table, old, new)
    assert added == 1
    assert torch.equal(rows[:-1], table)
    parts = [token for token in old.encode(["manwalk"])[0] if old.pieces([token]) != ["\u2581"]]
    torch.testing.assert_close(rows[-1], table[parts].mean(0))


def test_another_vocabulary_finds_its_pieces_wherever_they_stand() -> None:
    old, new = TOKENIZERS["bpe"](TEXTS, 300, 1.0), TOKENIZERS["characters"](TEXTS, 300, 1.0)
    table = torch.randn(old.vocab_size, 5, generator=torch.Generator().manual_seed(1))
    rows, added = rows_for(table, old, new)
    assert len(rows) == new.vocab_size
    places = {piece: row for row, piece in enumerate(old.pieces(range(old.vocab_size)))}
    for row, piece in enumerate(new.pieces(range(new.vocab_size))):
        if piece in places:
            assert torch.equal(rows[row], table[places[piece]]), piece
    assert torch.isfinite(rows).all()
    assert added == sum(piece not in places for piece in new.pieces(range(new.vocab_size)))
