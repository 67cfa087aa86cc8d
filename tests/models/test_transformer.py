import pytest
import torch
from torch import nn

from seqloom.layers.blocks import DecoderBlock, EncoderBlock
from seqloom.layers.embeddings import Embedded
from seqloom.layers.masks import causal_mask
from seqloom.models.transformer import Decoder, Encoder
from tests.layers.copied_weights import (
    TOLERANCES,
    copy_decoder_layer,
    copy_encoder_layer,
    copy_linear,
    gradients,
    padding,
    randomize,
)
from tests.models.configs import small_config

D, S, T = 34, 7, 5
NORMS = ["post", "pre"]
GROUND = torch.arange(max(S, T))


def torchs_layer(kind, config, dtype):
    return kind(
        config.d_model,
        config.num_heads,
        config.d_ff,
        0.0,
        batch_first=True,
        norm_first=config.norm == "pre",
        dtype=dtype,
    )


def last_norm(config, dtype):
    return nn.LayerNorm(config.d_model, dtype=dtype) if config.norm == "pre" else None


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_encoder_is_torchs_stack(dtype, tolerance, norm):
    torch.manual_seed(1)
    config = small_config(norm=norm, positions="none")
    theirs = nn.TransformerEncoder(
        torchs_layer(nn.TransformerEncoderLayer, config, dtype), 2, last_norm(config, dtype), enable_nested_tensor=False
    )
    randomize(theirs)
    ours = Encoder(config).to(dtype)
    for block, layer in zip(ours.blocks, theirs.layers, strict=True):
        assert isinstance(block, EncoderBlock)
        copy_encoder_layer(block, layer)
    if norm == "pre":
        copy_linear(ours.norm, theirs.norm)
    x = torch.randn(3, S, D, dtype=dtype, requires_grad=True)
    mask = padding(S, 3, 4)
    expected, found = theirs(x, src_key_padding_mask=~mask), ours(Embedded(x, GROUND[:S], mask))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradients(found, x), gradients(expected, x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_decoder_is_torchs_stack(dtype, tolerance, norm):
    torch.manual_seed(2)
    config = small_config(norm=norm, positions="none")
    theirs = nn.TransformerDecoder(torchs_layer(nn.TransformerDecoderLayer, config, dtype), 3, last_norm(config, dtype))
    randomize(theirs)
    ours = Decoder(config).to(dtype)
    for block, layer in zip(ours.blocks, theirs.layers, strict=True):
        assert isinstance(block, DecoderBlock)
        copy_decoder_layer(block, layer)
    if norm == "pre":
        copy_linear(ours.norm, theirs.norm)
    x = torch.randn(3, T, D, dtype=dtype, requires_grad=True)
    memory = torch.randn(3, S, D, dtype=dtype, requires_grad=True)
    mask = padding(S, 3, 4)
    expected = theirs(x, memory, tgt_mask=~causal_mask(T)[0, 0], memory_key_padding_mask=~mask)
    found = ours(Embedded(x, GROUND[:T], None), memory, mask)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for a, b in zip(gradients(found, x, memory), gradients(expected, x, memory), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_flows_from_a_position_to_a_later_one(norm):
    torch.manual_seed(3)
    decoder = Decoder(small_config(norm=norm)).double()
    x = torch.randn(2, T, D, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, S, D, dtype=torch.float64)
    out = decoder(Embedded(x, GROUND[:T], None), memory)
    for t in range(T):
        (gradient,) = gradients(out[:, t], x)
        assert torch.count_nonzero(gradient[:, t + 1 :]) == 0
        assert (gradient[:, : t + 1].abs().amax(-1) > 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_flows_to_padding_or_to_another_sentence(norm):
    torch.manual_seed(4)
    encoder, decoder = Encoder(small_config(norm=norm)).double(), Decoder(small_config(norm=norm)).double()
    src = torch.randn(2, S, D, dtype=torch.float64, requires_grad=True)
    tgt = torch.randn(2, T, D, dtype=torch.float64)
    mask = padding(S, 3)
    memory = encoder(Embedded(src, GROUND[:S], mask))
    (own,) = gradients(memory[1, :3], src)
    (across,) = gradients(decoder(Embedded(tgt, GROUND[:T], None), memory, mask)[1], src)
    (to_memory,) = gradients(decoder(Embedded(tgt, GROUND[:T], None), memory, mask), memory)
    for gradient in (own, across):
        assert torch.count_nonzero(gradient[0]) == 0
        assert torch.count_nonzero(gradient[1, 3:]) == 0
        assert (gradient[1, :3].abs().amax(-1) > 0).all()
    assert torch.count_nonzero(to_memory[1, 3:]) == 0
    assert (to_memory[0].abs().amax(-1) > 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_sum_of_embedding_and_position_is_dropped(norm):
    """Section 5.4; with blocks that change nothing, what enters is what leaves."""
    torch.manual_seed(5)
    encoder = Encoder(small_config(norm=norm, dropout=0.5))
    encoder.blocks, encoder.norm = nn.ModuleList(), nn.Identity()
    x = torch.ones(2, S, D)
    plain = encoder.eval()(Embedded(x, GROUND[:S], None))
    dropped = encoder.train()(Embedded(x, GROUND[:S], None))
    assert 0.3 < float((dropped == 0).float().mean()) < 0.7
    torch.testing.assert_close(dropped[dropped != 0], 2 * plain[dropped != 0])
