import pytest
import torch
from torch import nn

from seqloom.layers.attention import Cache, KeysValues, MultiHeadAttention
from seqloom.layers.blocks import RESIDUALS, DecoderBlock, EncoderBlock
from seqloom.layers.feedforward import ACTIVATIONS
from seqloom.layers.masks import causal_mask, hiding, key_mask
from tests.layers.copied_weights import (
    TOLERANCES,
    copy_decoder_layer,
    copy_encoder_layer,
    gradients,
    padding,
    randomize,
)

D, HEADS, D_FF = 21, 3, 37


def residual(norm):
    return RESIDUALS[norm](nn.LayerNorm(D), 0.0)


def encoder_block(norm, activation):
    return EncoderBlock(MultiHeadAttention(D, HEADS), ACTIVATIONS[activation](D, D_FF), lambda: residual(norm))


def decoder_block(norm, activation="relu"):
    attention, across = MultiHeadAttention(D, HEADS), MultiHeadAttention(D, HEADS)
    return DecoderBlock(attention, across, ACTIVATIONS[activation](D, D_FF), lambda: residual(norm))


@pytest.mark.parametrize("lengths", [None, (7, 2, 5)])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_encoder_block_is_torchs_encoder_layer(dtype, tolerance, norm, activation, lengths):
    torch.manual_seed(1)
    theirs = nn.TransformerEncoderLayer(
        D, HEADS, D_FF, 0.0, activation, batch_first=True, norm_first=norm == "pre", dtype=dtype
    )
    randomize(theirs)
    ours = encoder_block(norm, activation).to(dtype)
    copy_encoder_layer(ours, theirs)
    x = torch.randn(3, 7, D, dtype=dtype, requires_grad=True)
    mask = None if lengths is None else padding(*lengths)
    expected = theirs(x, src_key_padding_mask=None if mask is None else ~mask)
    found = ours(x, None if mask is None else key_mask(mask))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    mine = gradients(found, x, *(linear.weight for linear in (ours.feedforward.hidden, ours.feedforward.output)))
    other = gradients(expected, x, theirs.linear1.weight, theirs.linear2.weight)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("lengths", [None, (5, 3, 1)])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_decoder_block_is_torchs_decoder_layer(dtype, tolerance, norm, activation, lengths):
    torch.manual_seed(2)
    theirs = nn.TransformerDecoderLayer(
        D, HEADS, D_FF, 0.0, activation, batch_first=True, norm_first=norm == "pre", dtype=dtype
    )
    randomize(theirs)
    ours = decoder_block(norm, activation).to(dtype)
    copy_decoder_layer(ours, theirs)
    x = torch.randn(3, 7, D, dtype=dtype, requires_grad=True)
    memory = torch.randn(3, 5, D, dtype=dtype, requires_grad=True)
    mask = None if lengths is None else padding(*lengths)
    expected = theirs(
        x,
        memory,
        tgt_mask=~causal_mask(7)[0, 0],
        memory_key_padding_mask=None if mask is None else ~mask,
    )
    found = ours(x, memory, causal_mask(7), None if mask is None else key_mask(mask))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    cross, own = ours.cross_attention, ours.attention
    mine = gradients(found, x, memory, ours.feedforward.hidden.weight, own.output.weight, cross.output.weight)
    other = gradients(
        expected,
        x,
        memory,
        theirs.linear1.weight,
        theirs.self_attn.out_proj.weight,
        theirs.multihead_attn.out_proj.weight,
    )
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("norm", RESIDUALS)
def test_steps_of_a_decoder_block_equal_the_block(norm):
    torch.manual_seed(3)
    block = decoder_block(norm).double()
    x, memory = torch.randn(4, 7, D, dtype=torch.float64), torch.randn(2, 5, D, dtype=torch.float64)
    mask = key_mask(padding(5, 3))
    with torch.no_grad():
        # Two hypotheses for each of the two sentences.
        whole = block(x, memory.repeat_interleave(2, 0), causal_mask(7), mask.repeat_interleave(2, 0))
        step, past, sources = block.ready(), Cache(), KeysValues(*block.cross_attention.keys_values(memory))
        steps = [step(x[:, t], past, sources, hiding(mask, x.dtype)) for t in range(7)]
    torch.testing.assert_close(torch.stack(steps, 1), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", RESIDUALS)
def test_a_residual_drops_what_its_sublayer_says_and_nothing_else(norm):
    torch.manual_seed(4)
    residual = RESIDUALS[norm](nn.LayerNorm(17), 0.5).double()
    x = torch.randn(3, 5, 17, dtype=torch.float64)
    kept = residual.norm(x) if norm == "post" else x
    # The sublayer's answer is dropped or doubled; with a change of zero the residual is all there is.
    torch.testing.assert_close(residual(x, torch.zeros_like), kept)
    changed = residual.add(x, torch.ones_like(x)) - x
    assert set(changed.round(decimals=9).flatten().tolist()) == {0.0, 2.0}
    residual.eval()
    torch.testing.assert_close(residual.add(x, torch.ones_like(x)), x + 1)
