"""One encoder and one decoder layer, readable as figure 1 of Vaswani et al. 2017.

A block is handed its parts ready made, and the maker of its residual connections, of which it needs several.
"""

from collections.abc import Callable

from torch import Tensor, nn

from seqloom.layers.attention import Cache, MultiHeadAttention
from seqloom.layers.dropout import add_dropout
from seqloom.layers.feedforward import FeedForward
from seqloom.layers.positions import Places


class PostNorm(nn.Module):
    """Norm(x + Dropout(Sublayer(x))): the paper's residual connection, section 5.4."""

    def __init__(self, norm: nn.Module, drop: float) -> None:
        super().__init__()
        self.norm = norm
        self.drop = drop

    def add(self, x: Tensor, change: Tensor) -> Tensor:
        return add_dropout(x, change, self.drop) if self.training else x + change

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        normed: Tensor = self.norm(self.add(x, sublayer(x)))
        return normed


class PreNorm(PostNorm):
    """x + Dropout(Sublayer(Norm(x))): trains without care at any depth (Xiong et al. 2020)."""

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        return self.add(x, sublayer(self.norm(x)))


RESIDUALS: dict[str, type[PostNorm]] = {"post": PostNorm, "pre": PreNorm}


class EncoderBlock(nn.Module):
    """Self-attention and feed-forward, each in a residual connection."""

    def __init__(
        self, attention: MultiHeadAttention, feedforward: FeedForward, residual: Callable[[], PostNorm]
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feedforward = feedforward
        self.attention_residual = residual()
        self.feedforward_residual = residual()

    def forward(self, x: Tensor, mask: Tensor | None = None, places: Places | None = None) -> Tensor:
        """``x`` [B, T, D]; ``mask`` broadcastable to [B, H, T, T]."""
        x = self.attention_residual(x, lambda h: self.attention(h, h, mask, places))
        return self.feedforward_residual(x, self.feedforward)


class DecoderBlock(nn.Module):
    """Self-attention, attention to the encoder's output, feed-forward, each in a residual connection."""

    def __init__(
        self,
        attention: MultiHeadAttention,
        cross_attention: MultiHeadAttention,
        feedforward: FeedForward,
        residual: Callable[[], PostNorm],
    ) -> None:
        super().__init__()
        self.attention = attention
        self.cross_attention = cross_attention
        self.feedforward = feedforward
        self.attention_residual = residual()
        self.cross_attention_residual = residual()
        self.feedforward_residual = residual()

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        places: Places | None = None,
    ) -> Tensor:
        """``x`` [B, T, D], ``memory`` [B, S, D]; masks broadcastable to [B, H, T, T], [B, H, T, S]."""
        x = self.attention_residual(x, lambda h: self.attention(h, h, mask, places))
        x = self.cross_attention_residual(x, lambda h: self.cross_attention(h, memory, memory_mask))
        return self.feedforward_residual(x, self.feedforward)

    def step(
        self, x: Tensor, own: Cache, memory: Cache, memory_bias: Tensor | None = None, places: Places | None = None
    ) -> Tensor:
        """One new token of each hypothesis: ``x`` [B * beam, 1, D].

        ``own`` holds the keys and values of the tokens so far and is extended. ``memory`` holds
        those of the B sentences, once each: the hypotheses of a sentence query them side by side.
        ``memory_bias`` [B, 1, 1, S] is added to the scores of what is looked at there.
        """
        k, v = memory.keys, memory.values
        assert k is not None
        assert v is not None

        def look_back(h: Tensor) -> Tensor:
            q, *new = self.attention.queries_keys_values(h, places)
            return self.attention.attend(q, *own.append(*new), places=places)

        def look_across(h: Tensor) -> Tensor:
            beams = h.view(k.size(0), -1, h.size(-1))  # [B, beam, D]
            if memory.record:
                memory.weights = self.cross_attention.weights(beams, k, memory_bias)
            return self.cross_attention.attend_to(beams, k, v, memory_bias).view_as(h)

        x = self.attention_residual(x, look_back)
        x = self.cross_attention_residual(x, look_across)
        return self.feedforward_residual(x, self.feedforward)
