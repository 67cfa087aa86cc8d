"""The settings of ``[decoding]`` and the sentences of a batch -> a search with its parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqloom.config import DecodingConfig
from seqloom.decoding.choice import Choice, Diverse, Sampling
from seqloom.decoding.constraints import Constraint, ForcedPrefix, MinLength, NoRepeat, Prefix
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.decoding.lengths import length_bounds
from seqloom.decoding.ranking import Ranking
from seqloom.decoding.search import Search
from seqloom.decoding.step import StepModel


@dataclass(frozen=True)
class Sources:
    """What the B sentences of a batch bring to their search."""

    ids: Tensor
    """[B, S], what the model reads."""
    mask: Tensor
    """[B, S], True at real tokens; the end token of a source is one of them."""
    keys: NDArray[np.uint64] | None = None
    """What tells the sentences apart when something is drawn for each, [B]."""
    prefixes: Sequence[Prefix] | None = None
    """What each output starts with."""


def decode(
    model: StepModel, sources: Sources, config: DecodingConfig, bos: int, eos: int, n_best: int = 1
) -> list[list[Hypothesis]]:
    """The ``n_best`` outputs for each sentence, best first.

    Fewer are found where hypotheses say the same, as draws and diverse ones may.
    """
    device = sources.mask.device
    max_lengths, min_lengths = lengths(sources, config, model.longest)
    constraints: list[Constraint] = []
    if config.no_repeat_ngram:
        constraints.append(NoRepeat(config.no_repeat_ngram))
    if bool(min_lengths.any()):
        constraints.append(MinLength(min_lengths, eos))
    if sources.prefixes:
        constraints.append(ForcedPrefix(sources.prefixes, device))
    choice: Choice | None = Diverse(config.diversity) if config.diversity else None
    if config.sample:
        keys = np.zeros(len(sources.mask), np.uint64) if sources.keys is None else sources.keys
        choice = Sampling(keys, config.seed, config.temperature, config.top_k, config.top_p, config.min_p)
    search = Search(
        bos=bos,
        eos=eos,
        beam=config.beam,
        n_best=n_best,
        max_length=max_lengths,
        ranking=Ranking(config.length_penalty, config.length_formula, config.coverage_penalty),
        choice=choice,
        constraints=constraints,
        repetition_penalty=config.repetition_penalty,
        src_mask=sources.mask,
    )
    return search.run(model.step, model.start(sources.ids, sources.mask), len(sources.mask), device)


def lengths(sources: Sources, config: DecodingConfig, places: int | None = None) -> tuple[Tensor, Tensor]:
    """The greatest and the least length of each output, [B] each, on the device of the sources.

    ``places`` is how many tokens the model can tell apart by their position.
    """
    forced = [prefix.longest for prefix in sources.prefixes] if sources.prefixes else [0] * len(sources.mask)
    read = sources.mask.sum(1).tolist()
    bounds = [length_bounds(*each) for each in zip(read, repeat(config), repeat(places), forced, strict=False)]
    longest, shortest = torch.tensor(bounds, device=sources.mask.device).unbind(1)
    return longest, shortest
