"""How much of the source a hypothesis has looked at: Wu et al. 2016, section 7, equation 14."""

import torch
from torch import Tensor


def coverage(attention: Tensor, src_mask: Tensor) -> Tensor:
    """The sum of log(min(attention to a source token in all steps, 1)): [..., S] -> [...].

    0 where every real token of the source was looked at in full, negative where some were not.
    """
    tiny = torch.finfo(attention.dtype).tiny  # a token never looked at is a great loss, not an infinite one
    return attention.clamp(tiny, 1).log().masked_fill(~src_mask, 0).sum(-1)
