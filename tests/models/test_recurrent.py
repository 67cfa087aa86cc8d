from typing import Any

import pytest
import torch
from torch import Tensor

from seqloom.config import RecurrentConfig
from seqloom.layers.projection import smoothed_cross_entropy
from seqloom.layers.scoring import SCORES
from seqloom.models.recurrent import DECODERS, RecurrentModel
from tests.layers.copied_weights import padding, places_of

V, B, S, T = 29, 3, 7, 5

PARTS: list[dict[str, Any]] = [
    *({"decoder": name} for name in DECODERS),
    {"decoder": "luong", "input_feeding": False},
    *({"cell": name, "decoder": decoder} for name in ("rnn", "gru") for decoder in ("luong", "cho")),
    *({"score": name} for name in SCORES if name != "bilinear"),
    {"bidirectional": False},
    {"bidirectional": False, "shared_cells": True, "num_encoder_layers": 2},
    {"num_encoder_layers": 1, "num_decoder_layers": 3},
    {"tied_embeddings": "none", "output_bias": True, "decoder": "bahdanau"},
]
"""Each part once, as settings."""

each_part = pytest.mark.parametrize("settings", PARTS, ids=lambda part: " ".join(map(str, part.values())))


def small_config(**settings: Any) -> RecurrentConfig:
    sizes = {"d_model": 22, "num_encoder_layers": 2, "num_decoder_layers": 2, "dropout": 0}
    return RecurrentConfig.model_validate({**sizes, **settings})


def small_model(vocab: int = V, **settings: Any) -> RecurrentModel:
    """A random float64 model whose biases are not what they start as."""
    torch.manual_seed(1)
    model = RecurrentModel(small_config(**settings), vocab, vocab).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.15)
    return model


def assert_equal(found: Tensor, expected: Tensor) -> None:
    """Equal but for the order in which a product of another shape is summed."""
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@pytest.fixture
def batch():
    """Source ids, their mask, target ids; every row of another length."""
    generator = torch.Generator().manual_seed(7)
    src = torch.randint(3, V, (B, S), generator=generator)
    tgt = torch.randint(3, V, (B, T), generator=generator)
    return src, padding(S, 4, 2), tgt


# --- what it is ---


def by_paper(model, config, src, tgt):
    """Logits of one sentence, token by token, each line as its paper has it; one layer, one direction, LSTM."""
    encoder, decoder = model.encoder.stack.cells()[0], model.decoder.layers()[0]
    state = encoder.start(src[:, 0].double())
    outputs = []
    for token in src.unbind(1):
        state = encoder(model.src_embedding.vectors(token), state)
        outputs.append(state[0])
    code, memory = state[0], torch.stack(outputs, 1)[0]  # [S, D]
    fed = torch.zeros_like(code)
    logits = []
    for token in tgt.unbind(1):
        e = model.tgt_embedding.vectors(token)
        see = lambda h: ((h @ model.decoder.attention.score.key.weight @ memory.t()).softmax(-1)) @ memory  # noqa: E731
        if config.decoder == "bahdanau":
            told = see(state[0])
        else:
            told = {"cho": code, "luong": fed, "sutskever": None}[config.decoder]
        gates = decoder.input(e) if told is None else decoder.input(e) + told @ model.decoder.feed.weight.t()
        state = decoder.update(gates, decoder.recurrent(state[0]), state)
        h = state[0]
        if config.decoder == "sutskever":
            said = h
        elif config.decoder == "luong":
            said = fed = model.decoder.combine(torch.cat([see(h), h], -1)).tanh()
        else:
            said = model.decoder.combine(torch.cat([h, told, e], -1)).tanh()
        logits.append(model.output(said))
    return torch.stack(logits, 1)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_its_paper_written_out(name, batch):
    src, _, tgt = batch
    settings = {"decoder": name, "bidirectional": False, "num_encoder_layers": 1, "num_decoder_layers": 1}
    model = small_model(**settings)
    assert_equal(model(src[:1], tgt[:1]), by_paper(model, small_config(**settings), src[:1], tgt[:1]))


def test_a_decoder_knows_what_its_paper_gives_it(batch):
    """All but Sutskever's are told more than a token at each step; only two look at what was read."""
    told = {name: any("feed" in key for key, _ in small_model(decoder=name).named_parameters()) for name in DECODERS}
    assert told == {"luong": True, "bahdanau": True, "cho": True, "sutskever": False}
    src, mask, tgt = batch
    for name in DECODERS:
        model = small_model(decoder=name)
        read = model.encode(src, mask)
        outputs_only = model.decode(tgt, read._replace(outputs=read.outputs + 1), mask)
        seen = not torch.equal(outputs_only, model.decode(tgt, read, mask))
        assert seen == (name in ("luong", "bahdanau"))


def test_shared_cells_are_one(batch):
    settings = {"bidirectional": False, "num_encoder_layers": 2}
    apart, shared = small_model(**settings), small_model(**settings, shared_cells=True)
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (apart, shared)]
    cells = sum(parameter.numel() for cell in apart.decoder.layers() for parameter in cell.parameters())
    assert counts[0] - counts[1] == cells > 0
    assert shared.encoder.stack.cells() == shared.decoder.layers()


def test_it_has_no_fewer_weights_than_the_least():
    for settings in PARTS:
        config = small_config(**settings)
        with torch.device("meta"):
            weights = sum(weight.numel() for weight in RecurrentModel(config, 5, 5).parameters())
        assert weights / 3 < config.least_weights <= weights, settings


@each_part
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_that_of_the_real_targets(settings, smoothing, batch):
    src, mask, tgt = batch
    model, targets, real = small_model(**settings), tgt.roll(-1, 1), padding(T, 3, 1)
    found = model.loss(src, tgt, targets, mask, places_of(real), smoothing)
    logits = model(src, tgt, mask)
    assert_equal(found, smoothed_cross_entropy(logits[real], targets[real], smoothing))
    by_sentence = [
        model.loss(src[[b]], tgt[[b]], targets[[b]], mask[[b]], places_of(real[[b]]), smoothing).detach()
        for b in range(B)
    ]
    assert_equal(torch.stack(by_sentence).sum(), found.detach())


@each_part
def test_gradients_made_after_the_loop_are_those_of_autograd(settings, batch, monkeypatch):
    src, mask, tgt = batch
    model, real = small_model(**settings), padding(T, 3, 1)
    found = []
    for plain in (False, True):
        if plain:  # no linear layer and no memory keeps anything for later
            monkeypatch.setattr("seqloom.layers.reused.Reused.__init__", _keep_nothing)
        model.zero_grad()
        model.loss(src, tgt, tgt.roll(-1, 1), mask, places_of(real), 0.1).backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in found[0].items():
        plain_gradient = found[1][name]
        assert gradient is not None, name
        assert plain_gradient is not None, name
        assert_equal(gradient, plain_gradient)


def _keep_nothing(self, weight, bias=None):
    self.weight, self.bias, self._met = weight, bias, None


# --- what it must not see ---


@each_part
def test_the_future_is_not_seen(settings, batch):
    src, mask, tgt = batch
    model = small_model(**settings)
    logits = model(src, tgt, mask)
    for t in range(1, T):
        changed = tgt.clone()
        changed[:, t:] = (changed[:, t:] + 11) % V
        after = model(src, changed, mask)
        assert_equal(after[:, :t], logits[:, :t])
        assert (after[:, t:] != logits[:, t:]).any(-1).all()


@each_part
def test_source_padding_is_not_seen(settings, batch):
    src, mask, tgt = batch
    model = small_model(**settings)
    logits = model(src, tgt, mask)
    assert torch.equal(model(src.masked_fill(~mask, 1), tgt, mask), logits)
    longer = torch.cat([src, torch.full((B, 6), 2)], 1)
    assert_equal(model(longer, tgt, torch.cat([mask, torch.zeros(B, 6).bool()], 1)), logits)
    for b, length in enumerate((S, 4, 2)):  # and no padding at all, no neighbour, no mask
        assert_equal(model(src[b : b + 1, :length], tgt[b : b + 1]), logits[b : b + 1])


@each_part
def test_neighbours_and_their_order_do_not_matter(settings, batch):
    src, mask, tgt = batch
    model = small_model(**settings)
    logits = model(src, tgt, mask)
    order = torch.tensor([2, 0, 1])
    assert_equal(model(src[order], tgt[order], mask[order]), logits[order])


# --- step by step ---


@each_part
def test_steps_equal_the_whole(settings, batch):
    src, mask, _ = batch
    model = small_model(**settings)
    tgt = torch.randint(3, V, (B, 23), generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        whole = model(src, tgt, mask)
        state = model.start(src, mask)
        for t in range(23):
            assert_equal(model.step(tgt[:, t], state), whole[:, t])


@each_part
def test_steps_after_reordering_equal_the_whole(settings, batch):
    """Hypotheses are taken twice, dropped and swapped, a sentence leaves, and each keeps its own past."""
    src, mask, _ = batch
    model = small_model(**settings)
    generator = torch.Generator().manual_seed(13)
    sentences, past = torch.arange(B), torch.full((B, 1), 1)
    plan = [
        ([0, 0, 1, 1, 2, 2], None),  # two hypotheses each
        ([1, 0, 3, 3, 4, 5], None),
        ([0, 0, 5, 4], [0, 2]),  # the middle sentence is finished
        ([2, 2, 2], [1]),  # three hypotheses of the last one, of one origin
    ]
    with torch.no_grad():
        state = model.start(src, mask)
        model.step(past[:, -1], state)
        for rows, going in plan:
            state.reorder(torch.tensor(rows), None if going is None else torch.tensor(going))
            sentences = sentences if going is None else sentences[going]
            past = torch.cat([past[rows], torch.randint(3, V, (len(rows), 1), generator=generator)], 1)
            logits = model.step(past[:, -1], state)
            owners = sentences.repeat_interleave(len(rows) // len(sentences))
            assert_equal(logits, model(src[owners], past, mask[owners])[:, -1])


@pytest.mark.parametrize("name", ["luong", "bahdanau"])
def test_where_it_looked_can_be_told(name, batch):
    src, mask, tgt = batch
    model = small_model(decoder=name)
    with torch.no_grad():
        state = model.start(src, mask)
        assert state.attention is None
        state.record_attention = True
        state.reorder(torch.tensor([0, 0, 1, 1, 2, 2]))
        model.step(tgt[:, 0].repeat_interleave(2), state)
    assert state.attention is not None
    assert state.attention.shape == (2 * B, S)
    torch.testing.assert_close(state.attention.sum(1), torch.ones(2 * B).double())
    assert not state.attention[~mask.repeat_interleave(2, 0)].any()


# --- scheduled sampling ---


def test_without_progress_all_tokens_are_those_of_the_teacher(batch):
    src, mask, tgt = batch
    plain, scheduled = small_model().train(), small_model(scheduled_sampling=0.9).train()
    assert_equal(scheduled.taught(src, tgt, mask, 0.0), plain.taught(src, tgt, mask, 0.0))
    assert not torch.equal(scheduled.taught(src, tgt, mask, 1.0), plain.taught(src, tgt, mask, 1.0))
    scheduled.eval()
    assert_equal(scheduled.taught(src, tgt, mask, 1.0), plain.taught(src, tgt, mask, 1.0))


@pytest.mark.parametrize("settings", [{"decoder": name} for name in DECODERS] + [{"input_feeding": False}])
def test_at_its_most_each_token_is_the_models_own_greedy_one(settings, batch, monkeypatch):
    src, mask, tgt = batch
    model = small_model(scheduled_sampling=1.0, **settings).train()
    monkeypatch.setattr("seqloom.models.recurrent.keep_mask", lambda shape, p: torch.zeros(shape, dtype=torch.int8))
    found = model.output(model.taught(src, tgt, mask, 1.0))
    with torch.no_grad():
        model.eval()
        state, token = model.start(src, mask), tgt[:, 0]
        for t in range(T):
            logits = model.step(token, state)
            assert_equal(found[:, t], logits)
            token = logits.argmax(-1)


def test_its_share_is_as_large_as_it_is_told(monkeypatch):
    """Half of the share at half of the run; the draws are those of the generator that is given."""
    model = small_model(scheduled_sampling=0.5).train()
    src, tgt = torch.randint(3, V, (200, 3)), torch.randint(3, V, (200, 50))
    shares = []
    forward = model.decoder.forward

    def seen(x: Tensor, state: Any, own: Any, replaced: Tensor) -> Tensor:
        shares.append(replaced)
        return forward(x, state)

    monkeypatch.setattr(model.decoder, "forward", seen)
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        model.loss(src, tgt, tgt, None, torch.arange(200 * 50), random=generator, progress=0.5)
    assert float(shares[0].double().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(shares[0], shares[1])
    assert not torch.equal(shares[0], shares[2])


# --- bfloat16 and dropout ---


@each_part
def test_bfloat16_autocast_is_near_float32(settings):
    torch.manual_seed(1)
    sizes = {"d_model": 128, "num_layers": 2, "dropout": 0, **settings}
    if sizes.get("shared_cells"):
        del sizes["num_encoder_layers"]
    model = RecurrentModel(RecurrentConfig.model_validate(sizes), 1009, 1009)
    src, tgt = torch.randint(3, 1009, (7, 13)), torch.randint(3, 1009, (7, 13))
    mask = padding(13, 11, 7, 13, 2, 3, 5)

    def loss_and_gradient():
        model.zero_grad()
        loss = model.loss(src, tgt, tgt.roll(-1, 1), mask, places_of(mask), 0.1)
        loss.backward()
        return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    loss, gradient = loss_and_gradient()
    with torch.autocast("cpu", torch.bfloat16):
        near, near_gradient = loss_and_gradient()
    assert near.dtype == near_gradient.dtype == torch.float32
    assert near_gradient.isfinite().all()
    assert float((near / loss - 1).abs()) < 0.002
    assert float((near_gradient - gradient).norm() / gradient.norm()) < 0.08


@each_part
def test_training_drops_and_evaluation_does_not(settings, batch):
    src, mask, tgt = batch
    torch.manual_seed(2)
    model = RecurrentModel(small_config(**{**settings, "dropout": 0.3}), V, V)
    assert not torch.equal(model(src, tgt, mask), model(src, tgt, mask))
    model.eval()
    assert torch.equal(model(src, tgt, mask), model(src, tgt, mask))
