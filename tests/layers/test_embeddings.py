import math

import torch

from seqloom.layers.embeddings import TokenEmbedding


def test_token_embedding_looks_up_and_scales():
    torch.manual_seed(1)
    embedding = TokenEmbedding(1009, 67)
    tokens, positions = torch.tensor([[3, 1008, 0]]), torch.arange(3)
    mask = torch.tensor([[True, True, False]])
    out = embedding(tokens, positions, mask)
    torch.testing.assert_close(out.x, embedding.table.weight[[3, 1008, 0]][None] * math.sqrt(67))
    assert out.positions is positions
    assert out.mask is mask
    # Vectors of unit variance, so that positions of amplitude 1 neither drown nor are drowned.
    assert abs(float(embedding(torch.arange(1009)[None], positions).x.detach().std()) - 1) < 0.02
