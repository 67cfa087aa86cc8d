"""How well a key answers a query: the scores whose softmax is attention, by the names of the field.

Luong et al. 2015, section 3.1; Bahdanau et al. 2015, appendix A.1.2; Vaswani et al. 2017, section 3.2.1.
"""

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from seqloom.layers.masks import hiding
from seqloom.layers.reused import Reused


class Score(nn.Module):
    """A number for each query and key.

    Args:
        query_size: width of the queries.
        key_size: width of the keys.
    """

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__()

    def keys(self, memory: Tensor) -> Reused:
        """What of ``memory`` [B, K, key_size] all queries are compared with; made once."""
        return Reused(memory)

    def forward(self, q: Tensor, keys: Reused) -> Tensor:
        """``q`` [B, Q, query_size], keys of :meth:`keys` -> [B, Q, K]."""
        raise NotImplementedError


class ProductScore(Score):
    """A product of what is made of a query and what is made of a key.

    The one is ``scale`` times :meth:`of_query`, the other :meth:`of_key`.
    """

    scale = 1.0

    def of_query(self, q: Tensor) -> Tensor:
        """[..., query_size] -> [..., E]."""
        return q

    def of_key(self, k: Tensor) -> Tensor:
        """[..., key_size] -> [..., E]."""
        return k

    def keys(self, memory: Tensor) -> Reused:
        return Reused(self.of_key(memory))

    def forward(self, q: Tensor, keys: Reused) -> Tensor:
        return keys(self.of_query(q) * self.scale)


class Dot(ProductScore):
    """q k^T: Luong et al. 2015, section 3.1."""

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        if query_size != key_size:
            raise ValueError(f"a product of queries and keys needs one width, got {query_size} and {key_size}")


class ScaledDot(Dot):
    """q k^T / sqrt(E): Vaswani et al. 2017, section 3.2.1."""

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.scale = 1.0 / math.sqrt(query_size)


class Cosine(Dot):
    """exp(t) q k^T / (|q| |k|), with a learned temperature that starts at exp(t) = 10.

    Graves et al. 2014, "Neural Turing Machines", equations 5 and 6.
    """

    START: ClassVar[float] = 10.0

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(self.START)))

    def of_query(self, q: Tensor) -> Tensor:
        return nn.functional.normalize(q, dim=-1) * self.log_temperature.exp()

    def of_key(self, k: Tensor) -> Tensor:
        return nn.functional.normalize(k, dim=-1)


class Bilinear(ProductScore):
    """q W k^T: "general" in Luong et al. 2015, section 3.1."""

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.key = nn.Linear(key_size, query_size, bias=False)
        nn.init.xavier_uniform_(self.key.weight)

    def of_key(self, k: Tensor) -> Tensor:
        projected: Tensor = self.key(k)
        return projected


class Additive(Score):
    """v tanh(W q + U k + b): Bahdanau et al. 2015, appendix A.1.2.

    Without the tanh it would be v W q + v U k: the first term is the same for all keys of a query, so the softmax
    cancels it, and every query would look at the same place.
    """

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.query = nn.Linear(query_size, query_size, bias=False)
        self.key = nn.Linear(key_size, query_size)
        self.value = nn.Linear(query_size, 1, bias=False)
        for linear in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.key.bias)

    def keys(self, memory: Tensor) -> Reused:
        return Reused(self.key(memory))

    def forward(self, q: Tensor, keys: Reused) -> Tensor:
        together = self.query(q)[:, :, None] + keys.weight[:, None]  # [B, Q, K, E]
        score: Tensor = self.value(together.tanh())
        return score[..., 0]


PRODUCT_SCORES: dict[str, type[Dot]] = {"scaled_dot": ScaledDot, "dot": Dot, "cosine": Cosine}
"""Those that make sense where queries and keys are projected already, and that fast kernels can calculate."""

SCORES: dict[str, type[Score]] = {**PRODUCT_SCORES, "bilinear": Bilinear, "additive": Additive}


class Memory(NamedTuple):
    """What can be looked at."""

    keys: Reused
    """[B, K, E], as the score compares them."""
    values: Reused
    """[B, D, K]."""
    bias: Tensor | None
    """[B, 1, K], -inf where one may not look."""

    @property
    def sentences(self) -> int:
        """B."""
        return self.values.weight.size(0)

    def index_select(self, sentences: Tensor) -> "Memory":
        """That of some ``sentences``, for searches."""
        bias = None if self.bias is None else self.bias.index_select(0, sentences)
        return Memory(self.keys.index_select(sentences), self.values.index_select(sentences), bias)


class ScoredAttention(nn.Module):
    """Attention with one head and no projections but those of its score: softmax(score(q, k)) v.

    Args:
        score: one of ``SCORES``.
    """

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score

    def memorise(self, memory: Tensor, mask: Tensor | None = None) -> Memory:
        """``memory`` [B, K, D], which is looked at many times, ``mask`` [B, K], True at what may be seen."""
        bias = None if mask is None else hiding(mask[:, None], memory.dtype)
        return Memory(self.score.keys(memory), Reused(memory.transpose(1, 2)), bias)

    def forward(self, q: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """``q`` [B, Q, E] -> what each query sees [B, Q, D], and how much of each it looked at [B, Q, K]."""
        scores = self.score(q, memory.keys)
        if memory.bias is not None:
            scores = scores + memory.bias
        weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        return memory.values(weights), weights
