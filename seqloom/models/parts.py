"""The parts of a Transformer as a ModelConfig names them: the one place where its keys become layers."""

from functools import partial

from torch import nn

from seqloom.config import ModelConfig
from seqloom.layers.attention import MultiHeadAttention
from seqloom.layers.blocks import RESIDUALS, DecoderBlock, EncoderBlock, PostNorm
from seqloom.layers.dropout import Dropout
from seqloom.layers.feedforward import ACTIVATIONS, FeedForward
from seqloom.layers.linear import LINEARS
from seqloom.layers.normalization import NORMALIZATIONS
from seqloom.layers.positions import POSITIONS, Positions
from seqloom.layers.scoring import PRODUCT_SCORES


def positions(config: ModelConfig, bidirectional: bool) -> Positions:
    """The positional encoding of one stack."""
    return POSITIONS[config.positions](config.d_model, config.num_heads, bidirectional, config.max_positions)


def embedding_dropout(config: ModelConfig) -> Dropout:
    """What falls on the sum of embedding and position, section 5.4."""
    return Dropout(config.dropout if config.embedding_dropout is None else config.embedding_dropout)


def normalization(config: ModelConfig) -> nn.Module:
    """One norm; every place has its own."""
    return NORMALIZATIONS[config.normalization](config.d_model)


def last_norm(config: ModelConfig) -> nn.Module:
    """With pre-norm nothing has normalised the residual stream before it leaves the stack."""
    return normalization(config) if config.norm == "pre" else nn.Identity()


def residual(config: ModelConfig) -> PostNorm:
    """The connection around one sublayer."""
    return RESIDUALS[config.norm](normalization(config), config.dropout)


def attention(config: ModelConfig) -> MultiHeadAttention:
    """Self- or cross-attention of one block."""
    return MultiHeadAttention(
        config.d_model,
        config.num_heads,
        config.attention_dropout,
        config.num_kv_heads,
        LINEARS[config.linear],
        PRODUCT_SCORES[config.score],
    )


def feedforward(config: ModelConfig) -> FeedForward:
    """The feed-forward layers of one block."""
    return ACTIVATIONS[config.activation](
        config.d_model, config.d_ff, config.feedforward_dropout, LINEARS[config.linear]
    )


def encoder_block(config: ModelConfig) -> EncoderBlock:
    """One layer of the encoder."""
    return EncoderBlock(attention(config), feedforward(config), partial(residual, config))


def decoder_block(config: ModelConfig) -> DecoderBlock:
    """One layer of the decoder."""
    return DecoderBlock(attention(config), attention(config), feedforward(config), partial(residual, config))
