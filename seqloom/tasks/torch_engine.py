"""Translators run by torch: every search there is, exactly, on any device."""

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import cast

import numpy as np
import torch
from torch import Tensor

from seqloom.config import DecodingConfig
from seqloom.data.batching import plan_batches
from seqloom.data.tokenizers import BOS, EOS, PAD, pad
from seqloom.decoding.constraints import Prefix
from seqloom.decoding.decode import Sources, decode
from seqloom.decoding.ensemble import Ensemble
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.decoding.shortlist import Shortlist, Shortlisted
from seqloom.models.kinds import build
from seqloom.models.sequence_to_sequence import SequenceToSequence
from seqloom.tasks.device import device_named
from seqloom.tasks.engine import BATCH_TOKENS, TokenScores
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.weights import filled, require_fit

CHUNK = 512
"""Tokens whose logits are held at once when given targets are scored."""


class TorchEngine:
    """Runs a model, or several as one, in their own types; see :class:`seqloom.tasks.engine.Engine`.

    With a ``shortlist`` one model chooses among what is likely for each source; after a prefix, which may be
    anything, among all.
    """

    def __init__(self, model: SequenceToSequence | Ensemble, shortlist: Shortlist | None = None) -> None:
        if shortlist is not None and isinstance(model, Ensemble):
            raise ValueError("a shortlist is that of one model, got several")
        self.model = model.eval()
        self.shortlist = shortlist
        self.members = cast(list[SequenceToSequence], list(model.members) if isinstance(model, Ensemble) else [model])
        self.device = next(model.parameters()).device

    @property
    def longest(self) -> int | None:
        return self.model.longest

    def search(
        self,
        sources: Sequence[Sequence[int]],
        decoding: DecodingConfig,
        n_best: int = 1,
        batch_tokens: int = BATCH_TOKENS,
        prefixes: Sequence[Prefix] | None = None,
    ) -> list[list[Hypothesis]]:
        lengths = np.array([len(ids) for ids in sources], dtype=np.int64)
        budget = max(batch_tokens // decoding.beam, int(lengths.max(initial=1)))
        keys = np.array([_key(ids) for ids in sources] if decoding.sample else [0] * len(sources), np.uint64)
        found: list[list[Hypothesis]] = [[] for _ in sources]
        if self.model.training:
            self.model.eval()
        with torch.inference_mode():
            for rows in plan_batches(lengths, lengths, budget, np.arange(len(sources))):
                together = [sources[row] for row in rows]
                src = torch.from_numpy(pad(together)).to(self.device)
                forced = [prefixes[row] for row in rows] if prefixes else None
                batch = Sources(src, src != PAD, keys[rows], forced)
                if self.shortlist is None or forced:
                    best = decode(self.model, batch, decoding, BOS, EOS, n_best)
                else:
                    best = self._choose(self.shortlist, together, batch, decoding, n_best)
                for row, hypotheses in zip(rows.tolist(), best, strict=True):
                    found[row] = hypotheses
        return found

    def _choose(
        self,
        shortlist: Shortlist,
        sources: Sequence[Sequence[int]],
        batch: Sources,
        decoding: DecodingConfig,
        n_best: int,
    ) -> list[list[Hypothesis]]:
        pieces, own = shortlist.of(sources)
        model = Shortlisted(
            self.members[0], torch.from_numpy(pieces).to(self.device), torch.from_numpy(own).to(self.device)
        )
        bos, eos = np.searchsorted(pieces, (BOS, EOS)).tolist()
        return [
            [each._replace(tokens=pieces[each.tokens].tolist()) for each in hypotheses]
            for hypotheses in decode(model, batch, decoding, bos, eos, n_best)
        ]

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], batch_tokens: int = BATCH_TOKENS
    ) -> list[TokenScores]:
        src_lengths, tgt_lengths = (np.array([len(ids) for ids in side], dtype=np.int64) for side in (sources, targets))
        budget = max(batch_tokens, int(src_lengths.max(initial=1)), int(tgt_lengths.max(initial=1)))
        found = [TokenScores([], [])] * len(targets)
        if self.model.training:
            self.model.eval()
        with torch.inference_mode():
            for rows in plan_batches(src_lengths, tgt_lengths, budget, np.arange(len(targets))):
                src, said = (
                    torch.from_numpy(pad([side[row] for row in rows])).to(self.device) for side in (sources, targets)
                )
                each = torch.stack([_log_probs(member, src, said) for member in self.members])
                # The mean of the members' probabilities, as in a search by all of them.
                log_probs = (each.logsumexp(0) - math.log(len(self.members))).tolist()
                for row in rows.tolist():
                    length = len(targets[row])
                    found[row] = TokenScores(list(targets[row]), log_probs[:length])
                    log_probs = log_probs[length:]
        return found


def open_torch_engine(
    folder: ModelFolder, setup: TranslatorSetup, device: str = "cpu", shortlist: Shortlist | None = None
) -> TorchEngine:
    """What runs the model of a folder that was read with its weights."""
    return TorchEngine(trained_model(folder, setup).to(device_named(device)), shortlist)


def trained_model(folder: ModelFolder, setup: TranslatorSetup) -> SequenceToSequence:
    """The model of a folder that was read with its weights.

    Raises:
        ModelFolderError: if the weights are not those of such a model.
    """
    model = build(setup.model, *setup.vocab_sizes)
    require_fit(model, folder)
    return filled(model, folder)


def _log_probs(model: SequenceToSequence, src: Tensor, said: Tensor) -> Tensor:
    """The log-probability of each real token of ``said`` [B, T] given ``src`` [B, S], row by row: [N]."""
    tgt = torch.nn.functional.pad(said[:, :-1], (1, 0), value=BOS)
    real = said != PAD
    hidden = model.decode(tgt, model.encode(src, src != PAD), src != PAD)[real]  # [N, D]
    parts = [
        model.output(h).log_softmax(-1, dtype=torch.promote_types(h.dtype, torch.float32)).gather(1, y[:, None])
        for h, y in zip(hidden.split(CHUNK), said[real].split(CHUNK), strict=True)
    ]
    return torch.cat(parts)[:, 0]


def _key(ids: Sequence[int]) -> int:
    """A number for a source, the same in any company, from which its random draws follow."""
    return int.from_bytes(blake2b(np.array(ids, np.int64).tobytes(), digest_size=8).digest(), "little")
