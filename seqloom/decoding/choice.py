"""How a hypothesis goes on where each has one continuation: the best token, a random or a different one."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LIKELY = 32
"""Tokens that top-p looks at first, and eight times as many where they are not enough: to sort a whole
vocabulary takes longer than the model's step."""


class Walkers(NamedTuple):
    """The hypotheses of one step, [A, width]: of A sentences each so many."""

    sentences: Tensor  # [A], their places in the batch
    numbers: Tensor  # [A, width], which hypothesis of its sentence each is
    going: Tensor  # [A, width], False for one that has ended and only fills its place
    length: int  # of what they will then have said


class Choice(Protocol):
    """Log-probabilities [A, width, V] -> the tokens that they go on with, [A, width]."""

    def __call__(self, log_probs: Tensor, walkers: Walkers) -> Tensor: ...


def greedy(log_probs: Tensor, walkers: Walkers) -> Tensor:
    """The most probable token."""
    return log_probs.max(-1).indices  # a tenth quicker than argmax


@dataclass(frozen=True)
class Diverse:
    """The best token after a ``penalty`` for each earlier hypothesis of the sentence that took it now.

    Vijayakumar et al. 2016, "Diverse Beam Search", algorithm 1 with groups of one and Hamming diversity.
    """

    penalty: float

    def __call__(self, log_probs: Tensor, walkers: Walkers) -> Tensor:
        taken = torch.zeros_like(log_probs[:, 0])  # [A, V]
        tokens = []
        for number, going in enumerate(walkers.going.to(taken.dtype).unbind(1)):
            tokens.append((log_probs[:, number] - self.penalty * taken).argmax(-1))
            taken.scatter_add_(1, tokens[-1][:, None], going[:, None])
        return torch.stack(tokens, 1)


@dataclass(frozen=True)
class Sampling:
    """A token drawn by its probability, after temperature, top-k, top-p and min-p, in this order.

    Each of them sees the distribution that the one before has left. A draw depends on ``seed``, the
    key of its sentence, its number and its length alone: not on what else is in the batch, nor on
    how many draws there are.
    """

    keys: NDArray[np.uint64]
    """A number for each sentence of the batch, [B]; sentences with one key draw the same."""
    seed: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __call__(self, log_probs: Tensor, walkers: Walkers) -> Tensor:
        keys = self.keys[walkers.sentences.numpy(force=True)][:, None]
        chance = uniform(self.seed, keys, walkers.numbers.numpy(force=True), walkers.length)
        cumulative = self.weights(log_probs.contiguous()).cumsum(-1)
        drawn = torch.from_numpy(chance).to(cumulative).unsqueeze(-1) * cumulative[:, :, -1:]
        return torch.searchsorted(cumulative, drawn.contiguous(), right=True)[:, :, 0].clamp_max(log_probs.size(-1) - 1)

    def weights(self, log_probs: Tensor) -> Tensor:
        """What the probability of each token is proportional to, [..., V]; the greatest is 1."""
        scores = log_probs / self.temperature
        if self.top_k:
            scores = top_k(scores, self.top_k)
        if self.top_p < 1:
            scores = top_p(scores, self.top_p)
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        return weights.masked_fill(weights < self.min_p, 0) if self.min_p else weights  # Nguyen et al. 2024


def top_k(scores: Tensor, k: int) -> Tensor:
    """``scores`` [..., V] with -inf at all but the ``k`` best (Fan et al. 2018, section 5)."""
    best, index = scores.topk(min(k, scores.size(-1)))
    return torch.full_like(scores, -math.inf).scatter(-1, index, best)


def top_p(scores: Tensor, p: float) -> Tensor:
    """``scores`` [..., V] with -inf at all but the fewest best whose probability reaches ``p``.

    Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    flat = scores.flatten(0, -2)  # [R, V]
    total = flat.logsumexp(-1, keepdim=True)
    kept = torch.full_like(flat, -math.inf)
    rows, size = torch.arange(len(flat), device=flat.device), LIKELY
    while len(rows):
        best, index = flat[rows].topk(min(size, flat.size(1)))
        reached = (best - total[rows]).exp().cumsum(-1)
        enough = (reached[:, -1] >= p) | (size >= flat.size(1))
        missing = torch.cat([torch.full_like(reached[:, :1], p), p - reached[:, :-1]], -1)  # before each is taken
        nucleus = torch.full_like(flat[rows], -math.inf).scatter(-1, index, best.masked_fill(missing <= 0, -math.inf))
        kept[rows[enough]] = nucleus[enough]
        rows, size = rows[~enough], 8 * size
    return kept.view(scores.shape)


def uniform(seed: int, keys: NDArray[np.uint64], draws: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) by counting instead of by a state: the same ones for the same arguments.

    Each argument is hashed with the finaliser of SplitMix64 (Steele et al. 2014). The numbers have 24
    bits, as many as a float32 holds below 1.
    """
    bits = _mixed(keys + _mixed(np.array([seed], np.uint64)))
    bits = _mixed(bits + _mixed(draws.astype(np.uint64)))
    bits = _mixed(bits + _mixed(np.array([length], np.uint64)))
    return (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
