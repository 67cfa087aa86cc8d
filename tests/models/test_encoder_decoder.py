import pytest
import torch

from seqloom.config import ModelConfig
from seqloom.layers.attention import MultiHeadAttention
from seqloom.models.encoder_decoder import EncoderDecoder
from tests.layers.copied_weights import padding, places_of
from tests.models.configs import B, T, V, assert_equal, small_batch, small_config, small_model

# --- what it is ---


def paper_parameters(d_model, d_ff, layers, vocab):
    attention = 4 * (d_model * d_model + d_model)
    feedforward = 2 * d_model * d_ff + d_ff + d_model
    norm = 2 * d_model
    return layers * (attention + feedforward + 2 * norm + 2 * attention + feedforward + 3 * norm) + vocab * d_model


@pytest.mark.parametrize(("preset", "sizes"), [("base", (512, 2048, 6, 8)), ("big", (1024, 4096, 6, 16))])
def test_presets_are_the_models_of_the_paper(preset, sizes):
    """Table 3, with the shared vocabulary of 37,000: 65 and 213 million parameters."""
    d_model, d_ff, layers, heads = sizes
    with torch.device("meta"):
        model = EncoderDecoder(ModelConfig.model_validate({"preset": preset}), 37_000, 37_000)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == paper_parameters(d_model, d_ff, layers, 37_000)
    assert count == pytest.approx({"base": 65e6, "big": 213e6}[preset], rel=0.04)
    assert {each.num_heads for each in model.modules() if isinstance(each, MultiHeadAttention)} == {heads}
    assert not list(model.encoder.norm.parameters()), "post-norm has no norm at the end of its own"


def test_depths_may_differ():
    model = EncoderDecoder(small_config(num_encoder_layers=5, num_decoder_layers=2), V, V)
    assert (len(model.encoder.blocks), len(model.decoder.blocks)) == (5, 2)


SHARED = {"all": (True, True), "output": (False, True), "inputs": (True, False), "none": (False, False)}


@pytest.mark.parametrize("tied", SHARED)
def test_tied_embeddings_share_what_they_say(tied):
    model = EncoderDecoder(small_config(tied_embeddings=tied), V, V)
    src, tgt, out = model.src_embedding.table.weight, model.tgt_embedding.table.weight, model.output.weight
    assert (src is tgt, tgt is out) == SHARED[tied]
    assert src is not out or tied == "all"
    assert len({p.data_ptr() for p in model.parameters()}) == len(list(model.parameters()))


@pytest.mark.parametrize("tied", ["all", "output", "inputs"])
def test_a_tied_weight_learns_from_all_its_places(tied):
    """Its gradient is the sum of those that an untied model of the same weights has."""
    src, mask, tgt = small_batch()
    tied_model, untied = small_model(tied_embeddings=tied), small_model(tied_embeddings="none")
    untied.load_state_dict(tied_model.state_dict())
    tied_weight = tied_model.tgt_embedding.table.weight
    for model in (tied_model, untied):
        model.loss(src, tgt, tgt.roll(-1, 1), mask, places_of(padding(T, 3, 1)), 0.1).backward()
    places = [untied.tgt_embedding.table.weight]
    if tied in ("all", "output"):
        places.append(untied.output.weight)
    if tied in ("all", "inputs"):
        places.append(untied.src_embedding.table.weight)
    gradients = [place.grad for place in places if place.grad is not None]
    assert len(gradients) == len(places)
    assert all(gradient.any() for gradient in gradients)
    assert tied_weight.grad is not None
    assert_equal(tied_weight.grad, torch.stack(gradients).sum(0))


@pytest.mark.parametrize("tied", ["all", "inputs"])
def test_one_table_for_two_vocabularies_is_refused(tied):
    with pytest.raises(ValueError, match="one vocabulary, got 29 and 31"):
        EncoderDecoder(small_config(tied_embeddings=tied), 29, 31)


def test_two_vocabularies_may_share_what_is_of_one_side():
    model = EncoderDecoder(small_config(tied_embeddings="output"), 29, 31)
    assert model(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long)).shape == (1, 3, 31)


def test_forward_is_encode_and_decode():
    src, mask, tgt = small_batch()
    model = small_model()
    composed = model.output(model.decode(tgt, model.encode(src, mask), mask))
    assert torch.equal(model(src, tgt, mask), composed)
    assert composed.shape == (B, T, V)


def test_loss_does_not_depend_on_what_padding_holds():
    src, mask, tgt = small_batch()
    model, targets, real = small_model(), tgt.roll(-1, 1), padding(T, 3, 1)
    other = [each.masked_fill(~where, 1) for each, where in ((src, mask), (tgt, real), (targets, real))]
    found = model.loss(other[0], other[1], other[2], mask, places_of(real))
    assert_equal(found, model.loss(src, tgt, targets, mask, places_of(real)))


# --- what it must not see ---


def test_memory_of_padding_is_not_seen():
    src, mask, tgt = small_batch()
    model = small_model()
    memory = model.encode(src, mask)
    other = memory.masked_fill(~mask[:, :, None], 1e3)
    assert torch.equal(model.decode(tgt, other, mask), model.decode(tgt, memory, mask))
    assert not torch.equal(model.decode(tgt, other), model.decode(tgt, memory))


def test_autocast_reaches_the_memory():
    src, mask, _ = small_batch()
    with torch.autocast("cpu", torch.bfloat16):
        assert small_model().float().encode(src, mask).dtype == torch.bfloat16
