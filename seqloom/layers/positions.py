"""How a token's place in its sequence is told to the model.

An encoding overrides what it needs of :class:`Positions`. A new one is one class and one line in
``POSITIONS``; the contract tests then run on it. Positions count from 0 and are [T], or [B, T]
where every row has its own.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seqloom.errors import UserError


class Positions(nn.Module):
    """No encoding at all: the base of the others, and the entry ``none``.

    Args:
        d_model: width of the stack that it serves.
        num_heads: heads of its attention.
        bidirectional: whether a token sees those after it, as in an encoder.
        max_positions: how many places an encoding has that holds a vector for each.
    """

    bias_reads_queries: ClassVar[bool] = False
    """Whether ``bias`` depends on the queries, so that every layer has its own."""

    limit: int | None = None
    """How many places there are; None where there is no end to them."""

    def __init__(self, d_model: int, num_heads: int = 1, bidirectional: bool = True, max_positions: int = 0) -> None:
        super().__init__()
        self.d_model = d_model
        self.num_heads = num_heads
        self.head_dim = d_model // num_heads
        self.bidirectional = bidirectional
        self.max_positions = max_positions

    def check(self, length: int) -> None:
        """Refuses sequences longer than there are places.

        Raises:
            UserError: if ``length`` is above ``limit``.
        """
        if self.limit is not None and length > self.limit:
            raise UserError(
                f"the model has places for {self.limit:,} tokens ({type(self).__name__.lower()} positions), "
                f"got {length:,}; cut the text or train with larger model.max_positions"
            )

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Adds to the embeddings ``x`` [B, T, D]."""
        return x

    def embed_next(self, x: Tensor, place: int) -> Tensor:
        """:meth:`embed` of one token of each sequence, ``x`` [B, D], all at one place; for searches."""
        # Not a tensor of a number: that would wait for the device.
        return self.embed(x, torch.arange(place, place + 1, device=x.device))

    @property
    def only_embeds(self) -> bool:
        """Whether attention need not know about it."""
        own = type(self)
        return own.rotate is Positions.rotate and own.bias is Positions.bias

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        """Turns queries or keys ``x`` [B, H, T, E]."""
        return x

    def bias(self, q: Tensor, positions: Tensor, k_positions: Tensor) -> Tensor | None:
        """What is added to the scores of ``q`` [B, H, Q, E] with K keys: [H, Q, K] or [B, H, Q, K], in q's type."""
        return None


class Places:
    """An encoding at the positions of one forward pass: what each self-attention of a stack is handed.

    A bias that does not depend on the queries is computed once for all layers.
    """

    def __init__(self, encoding: Positions, positions: Tensor, k_positions: Tensor | None = None) -> None:
        self.encoding = encoding
        self.positions = positions
        self.k_positions = positions if k_positions is None else k_positions
        self._shared: list[Tensor | None] = []

    def rotate(self, x: Tensor) -> Tensor:
        """Queries or new keys [B, H, Q, E], turned as far as their positions say."""
        return self.encoding.rotate(x, self.positions)

    def share(self, x: Tensor) -> None:
        """Makes what all layers share, in the type of ``x``, before the first of them, which may be done twice."""
        if not self.encoding.bias_reads_queries:
            self.bias(x)

    def bias(self, q: Tensor) -> Tensor | None:
        """What is added to the scores of ``q`` [B, H, Q, E] with all keys."""
        if self.encoding.bias_reads_queries:
            return self.encoding.bias(q, self.positions, self.k_positions)
        if not self._shared:
            self._shared.append(self.encoding.bias(q, self.positions, self.k_positions))
        return self._shared[0]


def angles(positions: Tensor, size: int) -> Tensor:
    """position / 10000^(2i / size) for the pairs i of ``size`` numbers: [..., size / 2].

    In float64 where the device has it, so that late positions are as exact as early ones.
    """
    dtype = torch.float32 if positions.device.type == "mps" else torch.float64
    scale = 10000.0 ** (torch.arange(0, size, 2, dtype=dtype, device=positions.device) / size)
    return positions[..., None].to(dtype) / scale


def offsets(positions: Tensor, k_positions: Tensor) -> Tensor:
    """How far each key stands after each query: [Q, K] or [B, Q, K]."""
    return k_positions[..., None, :] - positions[..., :, None]


class Sinusoidal(Positions):
    """Sines and cosines of geometrically growing wavelengths, Vaswani et al. 2017, section 3.5.

    PE(pos, 2i) = sin(pos / 10000^(2i / D)), PE(pos, 2i+1) = cos(the same).
    """

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self._table = torch.empty(0, self.d_model, dtype=torch.float64)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        if positions.device.type == "cpu" and not torch.compiler.is_compiling():
            return x + self._known(int(positions.max()) + 1)[positions].to(x.dtype)
        return x + self._waves(positions).to(x.dtype)

    def embed_next(self, x: Tensor, place: int) -> Tensor:
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            return x + self._known(place + 1)[place].to(x.dtype)
        return super().embed_next(x, place)

    def _waves(self, positions: Tensor) -> Tensor:
        angle = angles(positions, self.d_model)
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)

    def _known(self, length: int) -> Tensor:
        """The vectors of the first ``length`` places or more, [T, D]: made once, for a step of a search is short."""
        table = self._table
        if len(table) < length:
            with torch.inference_mode(False):  # it may be met again while training
                self._table = table = self._waves(torch.arange(max(64, 2 * length)))
        return table


class Learned(Positions):
    """A vector for each place, learnt as those of the tokens are: Gehring et al. 2017, section 3.1.

    Drawn and scaled as in :class:`~seqloom.layers.embeddings.TokenEmbedding`, so that a place weighs
    as much as a token and learns as fast.
    """

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.limit = self.max_positions
        self.table = nn.Embedding(self.max_positions, self.d_model)
        nn.init.normal_(self.table.weight, std=self.d_model**-0.5)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + (self.table(positions) * math.sqrt(self.d_model)).to(x.dtype)


class Random(Learned):
    """A random vector for each place that stays as it was drawn: are distinct places enough?

    It is saved with the weights, for no generator is the same in every version.
    """

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.table.requires_grad_(False)


class Index(Positions):
    """The number of the place itself, divided by ``SCALE``, along one learnt direction.

    What comes to mind first. Neighbours are hard to tell apart, and late places drown the token.
    """

    SCALE = 100

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.direction = nn.Parameter(torch.randn(self.d_model))

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + (positions[..., None] / self.SCALE * self.direction).to(x.dtype)


class Rotary(Positions):
    """Queries and keys turned by angles that grow with their place: RoPE, Su et al. 2021, section 3.2.2.

    Numbers 2i and 2i+1 of a head are one complex number, multiplied with e^(i pos / 10000^(2i / E)).
    A product of two that are turned so depends on the distance of their places alone.
    """

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self._last: tuple[Tensor, Tensor] | None = None

    def _turns(self, positions: Tensor, dtype: torch.dtype) -> Tensor:
        """The complex factors of ``positions``, kept until others come: all layers of a pass share them."""
        last = self._last
        if last is None or last[0] is not positions or last[1].dtype != dtype:
            with torch.inference_mode(False):  # they may be met again while training
                angle = angles(positions, self.head_dim).unsqueeze(-3)
                self._last = last = positions, torch.polar(torch.ones_like(angle), angle).to(dtype)
        return last[1]  # [1, T, E / 2] or [B, 1, T, E / 2]

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        accurate = torch.promote_types(x.dtype, torch.float32)
        if torch.compiler.is_exporting():  # graphs have no complex numbers
            angle = angles(positions, self.head_dim).unsqueeze(-3)
            cos, sin = angle.cos().to(accurate), angle.sin().to(accurate)
            a, b = x.to(accurate).unflatten(-1, (-1, 2)).unbind(-1)
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)
        pairs = torch.view_as_complex(x.to(accurate).unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * self._turns(positions, pairs.dtype)).flatten(-2).to(x.dtype)


class ALiBi(Positions):
    """Scores fall in proportion to the distance, at a slope of its own in each head: Press et al. 2022, section 3.

    The slopes are a geometric sequence that starts at 2^(-8/H) and has this ratio, for any H. The
    paper has decoders only: in an encoder a key after the query is as far as one before it.
    """

    def bias(self, q: Tensor, positions: Tensor, k_positions: Tensor) -> Tensor:
        accurate = torch.promote_types(q.dtype, torch.float32)
        heads = torch.arange(1, self.num_heads + 1, dtype=accurate, device=q.device)
        slopes = torch.exp2(heads * (-8 / self.num_heads))[:, None, None]
        return (-slopes * offsets(positions, k_positions).abs().unsqueeze(-3)).to(q.dtype)


class T5(Positions):
    """A learnt number for each head and range of distances, added to the scores: Raffel et al. 2020, section 2.1.

    32 ranges: one for each small distance, then ever longer ones up to 128, the last without end. In
    an encoder, half of them are for keys after the query. All layers of a stack share them.
    """

    BUCKETS, FURTHEST = 32, 128

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.buckets = self.BUCKETS // (2 if self.bidirectional else 1)
        self.table = nn.Embedding(self.BUCKETS, self.num_heads)
        nn.init.normal_(self.table.weight, std=self.d_model**-0.5)
        exact = self.buckets // 2
        ranges = self.buckets - exact
        longer = (math.ceil(exact * (self.FURTHEST / exact) ** (i / ranges)) for i in range(1, ranges))
        self.register_buffer("starts", torch.tensor([*range(1, exact + 1), *longer]), persistent=False)

    def bucket(self, offset: Tensor) -> Tensor:
        """The range that each offset of a key from its query is in."""
        distance = offset.abs() if self.bidirectional else (-offset).clamp_min(0)
        found = torch.bucketize(distance, self.get_buffer("starts"), right=True)
        return found + self.buckets * (offset > 0) if self.bidirectional else found

    def bias(self, q: Tensor, positions: Tensor, k_positions: Tensor) -> Tensor:
        return self.table(self.bucket(offsets(positions, k_positions))).movedim(-1, -3).to(q.dtype)  # [.., H, Q, K]


class Shaw(Positions):
    """A learnt vector for each distance, added to the key that stands so far from the query: Shaw et al. 2018.

    Equation 4 only: not the vectors that equation 3 adds to the values. Distances are clipped at 16,
    and the vectors shared by all heads and, unlike in the paper, by all layers of a stack.
    """

    bias_reads_queries = True
    CLIP = 16

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.table = nn.Embedding(2 * self.CLIP + 1, self.head_dim)
        nn.init.normal_(self.table.weight, std=self.head_dim**-0.5)

    def bias(self, q: Tensor, positions: Tensor, k_positions: Tensor) -> Tensor:
        which = offsets(positions, k_positions).clamp(-self.CLIP, self.CLIP) + self.CLIP
        scores = nn.functional.linear(q, self.table.weight) / math.sqrt(self.head_dim)  # [B, H, Q, 2 * CLIP + 1]
        return scores.gather(-1, which.unsqueeze(-3).expand(*q.shape[:-1], -1))  # [B, H, Q, K]


POSITIONS: dict[str, type[Positions]] = {
    "sinusoidal": Sinusoidal,
    "learned": Learned,
    "rotary": Rotary,
    "alibi": ALiBi,
    "t5": T5,
    "shaw": Shaw,
    "index": Index,
    "random": Random,
    "none": Positions,
}
