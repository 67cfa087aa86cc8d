"""Teacher forcing: how probable given sequences are to a model."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from seqloom.data.batching import plan_batches
from seqloom.data.tokenizers import BOS, PAD, pad
from seqloom.decoding.ensemble import Ensemble
from seqloom.models.encoder_decoder import EncoderDecoder

CHUNK = 512
"""Tokens whose logits are held at once."""


class TokenScores(NamedTuple):
    """How probable one sequence is."""

    tokens: list[int]
    """With the end token."""
    log_probs: list[float]
    """Of each token, given the source and all tokens before it; natural logarithms."""
    source_length: int
    """Tokens of the source, without its end."""


def score_tokens(
    model: EncoderDecoder | Ensemble,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    batch_tokens: int,
) -> Iterator[TokenScores]:
    """Yields the scores of ``targets``, each given its source, in their order; all with their end tokens.

    ``batch_tokens`` bounds what is read together and changes nothing but the speed.
    """
    device = next(model.parameters()).device
    members = cast(list[EncoderDecoder], list(model.members) if isinstance(model, Ensemble) else [model])
    src_lengths, tgt_lengths = (np.array([len(ids) for ids in side], dtype=np.int64) for side in (sources, targets))
    budget = max(batch_tokens, int(src_lengths.max(initial=1)), int(tgt_lengths.max(initial=1)))
    found: dict[int, TokenScores] = {}
    model.eval()
    with torch.inference_mode():
        for rows in plan_batches(src_lengths, tgt_lengths, budget, np.arange(len(targets))):
            src, said = (torch.from_numpy(pad([side[row] for row in rows])).to(device) for side in (sources, targets))
            each = torch.stack([_log_probs(member, src, said) for member in members])
            # The mean of the members' probabilities, as in a search by all of them.
            log_probs = (each.logsumexp(0) - math.log(len(members))).tolist()
            for row in rows.tolist():
                length = len(targets[row])
                found[row] = TokenScores(list(targets[row]), log_probs[:length], len(sources[row]) - 1)
                log_probs = log_probs[length:]
    for row in range(len(targets)):
        yield found.pop(row)


def _log_probs(model: EncoderDecoder, src: Tensor, said: Tensor) -> Tensor:
    """The log-probability of each real token of ``said`` [B, T] given ``src`` [B, S], row by row: [N]."""
    tgt = torch.nn.functional.pad(said[:, :-1], (1, 0), value=BOS)
    real = said != PAD
    hidden = model.decode(tgt, model.encode(src, src != PAD), src != PAD)[real]  # [N, D]
    parts = [
        model.output(h).log_softmax(-1, dtype=torch.promote_types(h.dtype, torch.float32)).gather(1, y[:, None])
        for h, y in zip(hidden.split(CHUNK), said[real].split(CHUNK), strict=True)
    ]
    return torch.cat(parts)[:, 0]
