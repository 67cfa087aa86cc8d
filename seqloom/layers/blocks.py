"""One encoder and one decoder layer, readable as figure 1 of Vaswani et al. 2017.

A block is handed its parts ready made, and the maker of its residual connections, of which it needs several.
"""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol

from torch import Tensor, nn

from seqloom.layers.attention import Cache, KeysValues, MultiHeadAttention
from seqloom.layers.dropout import add_dropout
from seqloom.layers.feedforward import FeedForward
from seqloom.layers.normalization import ready
from seqloom.layers.positions import Places

More = ParamSpec("More")
Sublayer = Callable[Concatenate[Tensor, More], Tensor]
"""Changes a vector at each place; may be told more."""


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

    def ready(self, sublayer: Sublayer[More]) -> Sublayer[More]:
        """The connection around ``sublayer`` for a search, with the weights as they are now."""
        norm = ready(self.norm)

        def connected(x: Tensor, *more: More.args, **named: More.kwargs) -> Tensor:
            return norm(x + sublayer(x, *more, **named))

        return connected


class PreNorm(PostNorm):
    """x + Dropout(Sublayer(Norm(x))): trains without care at any depth (Xiong et al. 2020)."""

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        return self.add(x, sublayer(self.norm(x)))

    def ready(self, sublayer: Sublayer[More]) -> Sublayer[More]:
        norm = ready(self.norm)

        def connected(x: Tensor, *more: More.args, **named: More.kwargs) -> Tensor:
            return x + sublayer(norm(x), *more, **named)

        return connected


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

    def ready(self) -> "Step":
        """The block for a search, with the weights as they are now.

        A step of one token is so short that the calls and checks of modules take as long as its numbers; here they
        are behind it.
        """
        look_back = self.attention_residual.ready(self.attention.look_back())
        look_across = self.cross_attention_residual.ready(self.cross_attention.look_across())
        feed_forward = self.feedforward_residual.ready(self.feedforward.ready())

        def step(
            x: Tensor, past: Cache, sources: KeysValues, source_bias: Tensor | None = None, places: Places | None = None
        ) -> Tensor:
            return feed_forward(look_across(look_back(x, past, places), sources, source_bias))

        return step


class Step(Protocol):
    """One new token of each hypothesis, [R, D] -> [R, D].

    ``past`` holds the keys and values of the tokens so far and is extended. ``sources`` holds those of the B
    sentences, once each: the R / B hypotheses of a sentence query them side by side. ``source_bias`` [B, 1, 1, S] is
    added to the scores of what is looked at there.
    """

    def __call__(
        self,
        x: Tensor,
        past: Cache,
        sources: KeysValues,
        source_bias: Tensor | None = None,
        places: Places | None = None,
    ) -> Tensor: ...
