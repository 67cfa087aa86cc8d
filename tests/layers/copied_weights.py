"""Our layers with the weights of torch's, and torch's masks from ours: what parity tests stand on."""

import torch
from torch import Tensor, nn

from seqloom.layers.attention import MultiHeadAttention
from seqloom.layers.blocks import DecoderBlock, EncoderBlock
from seqloom.layers.feedforward import FeedForward

TOLERANCES = [(torch.float32, 1e-5), (torch.float64, 1e-12)]


def randomize(module: nn.Module) -> None:
    """Random biases and norms too: torch starts them at 0 and 1, where a swap could hide."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3).add_(0.1)


def copy_linear(ours: nn.Module, theirs: nn.Module | None) -> None:
    assert theirs is not None
    ours.load_state_dict(theirs.state_dict())


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    assert theirs.in_proj_weight is not None
    with torch.no_grad():
        rows = zip(theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True)
        for linear, (weight, bias) in zip((ours.query, ours.key, ours.value), rows, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
    copy_linear(ours.output, theirs.out_proj)


def copy_feedforward(ours: FeedForward, theirs: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) -> None:
    copy_linear(ours.hidden, theirs.linear1)
    copy_linear(ours.output, theirs.linear2)


def copy_encoder_layer(ours: EncoderBlock, theirs: nn.TransformerEncoderLayer) -> None:
    copy_attention(ours.attention, theirs.self_attn)
    copy_feedforward(ours.feedforward, theirs)
    copy_linear(ours.attention_residual.norm, theirs.norm1)
    copy_linear(ours.feedforward_residual.norm, theirs.norm2)


def copy_decoder_layer(ours: DecoderBlock, theirs: nn.TransformerDecoderLayer) -> None:
    copy_attention(ours.attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    copy_feedforward(ours.feedforward, theirs)
    copy_linear(ours.attention_residual.norm, theirs.norm1)
    copy_linear(ours.cross_attention_residual.norm, theirs.norm2)
    copy_linear(ours.feedforward_residual.norm, theirs.norm3)


def gradients(out: Tensor, *wanted: Tensor | None) -> list[Tensor]:
    """Gradients of one random projection of ``out``, whatever its memory layout."""
    direction = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(97))
    inputs = [each for each in wanted if each is not None]
    return list(torch.autograd.grad((out * direction).sum(), inputs, retain_graph=True))


def padding(*lengths: int) -> Tensor:
    """[B, T] mask, True at the first ``lengths`` of each row."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def places_of(mask: Tensor) -> Tensor:
    """[N], where ``mask`` [B, T] is True, counted through."""
    return mask.flatten().nonzero()[:, 0]
