"""Scaled dot-product attention and the multi-head module around it.

Vaswani et al. 2017, "Attention Is All You Need", sections 3.2.1 and 3.2.2.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from seqloom.layers.dropout import dropout
from seqloom.layers.linear import MakeLinear, PlainLinear, Together
from seqloom.layers.masks import hiding
from seqloom.layers.positions import Places
from seqloom.layers.scoring import ProductScore, ScaledDot

FEWEST_KEYS = 16
"""torch's softmax of rows that are shorter than a vector register of a CPU takes ten times as long."""

GROWTH = 32
"""A self-attention cache grows by this many positions at a time."""


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    drop: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """softmax(scale q k^T + bias) v, over the keys that ``mask`` lets through.

    On a CPU the softmax is explicit where gradients are wanted: for sentences that is faster, forward and
    backward, than torch's fused kernel, whose advantage starts at several hundred positions.

    Args:
        q: [B, H, Q, E].
        k: [B, G, K, E], where H is a multiple of G: each head of keys serves H / G neighbouring heads
            of queries (Ainslie et al. 2023, "GQA", section 2.2).
        v: [B, G, K, E].
        mask: boolean, broadcastable to [B, H, Q, K]; True = may attend. Every query needs a key.
        bias: added to the scores, broadcastable to [B, H, Q, K].
        drop: probability of dropping an attention weight.
        scale: 1 / sqrt(E) unless given.

    Returns:
        [B, H, Q, E].
    """
    # Written out in a graph for others, who do not all calculate a kernel as exactly.
    for_others = torch.compiler.is_exporting()
    if q.device.type == "cuda" or not (torch.is_grad_enabled() or for_others):
        seen = mask
        if bias is not None:
            seen = (bias if mask is None else bias.masked_fill(~mask, -math.inf)).to(q.dtype)
        return scaled_dot_product_attention(q, k, v, seen, drop, scale=scale, enable_gqa=q.size(1) != k.size(1))
    if not for_others and k.size(2) < FEWEST_KEYS:  # a graph is one for all numbers of keys, and asks for none
        k, v, mask, bias = _with_unseen_keys(k, v, mask, bias)
    weights = dropout(attention_weights(q, k, mask, bias, scale), drop)
    return (weights.view(*_grouped(q, k), k.size(2)) @ v).view(q.shape)


def _with_unseen_keys(
    k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The same attention over ``FEWEST_KEYS`` keys, of which those that are new may not be seen."""
    more = FEWEST_KEYS - k.size(2)
    if mask is None:
        mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=k.device)
    mask = mask.expand(-1, -1, -1, k.size(2))
    if bias is not None and bias.size(-1) > 1:
        bias = pad(bias, (0, more))
    return pad(k, (0, 0, 0, more)), pad(v, (0, 0, 0, more)), pad(mask, (0, more)), bias


def attention_weights(
    q: Tensor, k: Tensor, mask: Tensor | None = None, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """How much each query looks at each key, the softmax in :func:`attend`: [B, H, Q, K]."""
    scale = 1.0 / math.sqrt(q.size(-1)) if scale is None else scale
    scaled = (q * scale).reshape(*_grouped(q, k), q.size(3))  # [B, G, H / G * Q, E]
    scores = (scaled @ k.transpose(-2, -1)).view(*q.shape[:3], k.size(2))  # [B, H, Q, K]
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        # Added and not filled in: a fraction of the time, and no work on the way back. It is made as
        # large as the scores of one head, because a sum that repeats short rows is slow.
        unseen = hiding(mask, scores.dtype)
        scores = scores + unseen.expand(-1, -1, scores.size(2), -1).contiguous()
    # In float32 at least: more exact, and torch's own softmax of bfloat16 is several times slower on a CPU.
    exact = torch.promote_types(scores.dtype, torch.float32)
    return scores.softmax(dim=-1, dtype=exact).to(scores.dtype)


def _grouped(q: Tensor, k: Tensor) -> tuple[int, int, int]:
    """B, G, H / G * Q: the queries of all heads that share a head of keys are one list."""
    return q.size(0), k.size(1), q.size(1) // k.size(1) * q.size(2)


class Cache:
    """Keys and values of a self-attention while a sequence is decoded token by token.

    Both lie in one tensor, which grows in steps: a new token costs one column and not a copy of all that came before.
    """

    def __init__(self) -> None:
        self.store: Tensor | None = None  # [B, 2 G, capacity, E], the keys first
        self.length = 0

    def append(self, new: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the keys and values of a token, [B, 2 G, 1, E]; returns those of all so far, two [B, G, K, E]."""
        store, start = self.store, self.length
        if store is None or start == store.size(2):
            batch, heads, _, size = new.shape
            grown = new.new_empty(batch, heads, start + GROWTH, size)
            if store is not None:
                grown[:, :, :start] = store
            self.store = store = grown
        store.narrow(2, start, 1).copy_(new)
        self.length += 1
        return self.so_far()

    def so_far(self) -> tuple[Tensor, Tensor]:
        """The keys and values of all tokens, two [B, G, K, E]."""
        assert self.store is not None, "nothing has been said"
        keys, values = self.store.narrow(2, 0, self.length).chunk(2, 1)
        return keys, values

    def reorder(self, rows: Tensor) -> None:
        """Keeps the given rows of the batch, in their order; a row may be taken more than once."""
        if self.store is not None:
            self.store = self.store.index_select(0, rows)


class PureCache(Cache):
    """One that is never written into, for graphs: a new token costs a copy of all that came before."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self._so_far = keys, values

    def append(self, new: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = (torch.cat(each, 2) for each in zip(self._so_far, new.chunk(2, 1), strict=True))
        self._so_far = keys, values
        return keys, values

    def so_far(self) -> tuple[Tensor, Tensor]:
        return self._so_far

    def reorder(self, rows: Tensor) -> None:
        keys, values = self._so_far
        self._so_far = keys.index_select(0, rows), values.index_select(0, rows)


class KeysValues:
    """Keys and values of B sources, each of which several hypotheses look at side by side."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values  # [B, G, S, E]
        self.record = False
        self.weights: Tensor | None = None  # of the last step, [B, Q, S], where they are recorded

    def reorder(self, sentences: Tensor) -> None:
        """Keeps the given sentences."""
        self.keys, self.values = self.keys.index_select(0, sentences), self.values.index_select(0, sentences)


class MultiHeadAttention(nn.Module):
    """H heads of attention, each on its own projection of the input.

    Args:
        d_model: width of inputs and output; a multiple of ``num_heads``.
        num_heads: H, heads of queries.
        drop: probability of dropping an attention weight while training.
        num_kv_heads: G, heads of keys and values, which H is a multiple of; H unless given.
        linear: makes its linear layers.
        score: makes what queries and keys are compared by, from the width of both; ``ScaledDot`` as in the paper.
            What else a score learns is the same for all heads.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        drop: float = 0.0,
        num_kv_heads: int | None = None,
        linear: MakeLinear = PlainLinear,
        score: Callable[[int, int], ProductScore] = ScaledDot,
    ) -> None:
        super().__init__()
        num_kv_heads = num_kv_heads or num_heads
        if d_model % num_heads:
            raise ValueError(f"d_model ({d_model}) must be a multiple of num_heads ({num_heads})")
        if num_heads % num_kv_heads:
            raise ValueError(f"num_heads ({num_heads}) must be a multiple of num_kv_heads ({num_kv_heads})")
        self.num_heads = num_heads
        self.head_dim = d_model // num_heads
        self.drop = drop
        self.query = linear(d_model, d_model)
        self.key = linear(d_model, num_kv_heads * self.head_dim)
        self.value = linear(d_model, num_kv_heads * self.head_dim)
        self.output = linear(d_model, d_model)
        self.score = score(self.head_dim, self.head_dim)
        self._together = Together()

    def train(self, mode: bool = True) -> "MultiHeadAttention":
        if mode != self.training:
            self._together.forget()
        return super().train(mode)

    def split(self, x: Tensor) -> Tensor:
        """[B, T, H * E] -> [B, H, T, E]; with G in the place of H for keys and values."""
        return x.view(*x.shape[:2], x.size(2) // self.head_dim, self.head_dim).transpose(1, 2).contiguous()

    def keys_values(self, memory: Tensor, places: Places | None = None) -> tuple[Tensor, Tensor]:
        """The projected keys and values of ``memory`` [B, K, D]: two [B, G, K, E]."""
        k, v = map(self.split, self._together(memory, self.key, self.value))
        return self._comparable(k, places), v

    def queries_keys_values(self, x: Tensor, places: Places | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What self-attention makes of ``x`` [B, T, D]: queries [B, H, T, E], keys and values [B, G, T, E]."""
        q, k, v = map(self.split, self._together(x, self.query, self.key, self.value))
        return q, self._comparable(k, places), v

    def _comparable(self, k: Tensor, places: Places | None) -> Tensor:
        """Keys as queries are compared with them."""
        return self.score.of_key(k if places is None else places.rotate(k))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None, places: Places | None = None) -> Tensor:
        """Lets ``x`` [B, Q, D] attend to ``memory`` [B, K, D]; self-attention when both are one.

        ``places`` tells self-attention where its tokens stand.
        """
        if x is not memory:
            q = self.split(self.query(x))
            return self.attend(q, *self.keys_values(memory, places), mask, places)
        return self.attend(*self.queries_keys_values(x, places), mask, places)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, places: Places | None = None
    ) -> Tensor:
        """Queries [B, H, Q, E], keys and values [B, G, K, E], all projected, the keys comparable -> [B, Q, D]."""
        bias = None
        if places is not None:
            q = places.rotate(q)
            bias = places.bias(q)
        drop = self.drop if self.training else 0.0
        attended = attend(self.score.of_query(q), k, v, mask, bias, drop, self.score.scale)
        return self._merge(attended)

    def _merge(self, attended: Tensor) -> Tensor:
        return self.output(attended.transpose(1, 2).flatten(2))  # [B, Q, D]

    def look_back(self) -> Callable[[Tensor, Cache, Places | None], Tensor]:
        """Self-attention of a search, with the weights as they are now.

        Lets the newest token of each hypothesis, [R, D], attend to itself and to its past, which it joins.
        """
        project, output = self._together.product(self.query, self.key, self.value), self.output.ready()
        size, queries, keys = self.head_dim, self.num_heads, self.key.out_features // self.head_dim

        def look(x: Tensor, past: Cache, places: Places | None = None) -> Tensor:
            heads = project(x).view(x.size(0), -1, 1, size)
            q, k, v = heads.split_with_sizes([queries, keys, keys], 1)
            comparable = self._comparable(k, places)
            new = heads.narrow(1, queries, 2 * keys) if comparable is k else torch.cat([comparable, v], 1)
            bias = None
            if places is not None:
                q = places.rotate(q)
                bias = places.bias(q)
            k, v = past.append(new)
            return output(attend(self.score.of_query(q), k, v, bias=bias, scale=self.score.scale).flatten(1))

        return look

    def look_across(self) -> Callable[[Tensor, KeysValues, Tensor | None], Tensor]:
        """Attention of a search to its sources, with the weights as they are now.

        Lets the newest token of each hypothesis, [R, D], attend to its source; a bias [B, 1, 1, S] is added to the
        scores.
        """
        project, output = self.query.ready(), self.output.ready()

        def look(x: Tensor, sources: KeysValues, bias: Tensor | None = None) -> Tensor:
            k = sources.keys
            q = project(x).view(k.size(0), -1, self.num_heads, self.head_dim).transpose(1, 2)  # [B, H, R / B, E]
            q = self.score.of_query(q)
            if sources.record:
                sources.weights = attention_weights(q, k, bias=bias, scale=self.score.scale).mean(1)
            attended = attend(q, k, sources.values, bias=bias, scale=self.score.scale)
            return output(attended.transpose(1, 2).reshape(x.shape))

        return look
