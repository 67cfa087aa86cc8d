import torch

from seqloom.layers.masks import causal_mask, key_mask


def test_causal_mask_lets_a_position_see_itself_and_what_came_before():
    mask = causal_mask(5)
    assert mask.shape == (1, 1, 5, 5)
    assert mask.dtype == torch.bool
    assert all(bool(mask[0, 0, q, k]) == (k <= q) for q in range(5) for k in range(5))


def test_key_mask_holds_for_every_head_and_query():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert key_mask(mask).shape == (2, 1, 1, 3)
    assert torch.equal(key_mask(mask).expand(2, 5, 7, 3)[:, 4, 6], mask)
