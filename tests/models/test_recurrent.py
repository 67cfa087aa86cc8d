from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from seqloom.models.recurrent import DECODERS, RecurrentModel
from tests.layers.copied_weights import padding, places_of
from tests.models import configs
from tests.models.configs import RECURRENT_PARTS, B, S, T, V, assert_equal, each_recurrent_part, small_batch

small_config = partial(configs.small_config, kind="recurrent")
small_model = partial(configs.small_model, kind="recurrent")


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
def test_a_decoder_is_its_paper_written_out(name):
    src, _, tgt = small_batch()
    settings = {"decoder": name, "bidirectional": False, "num_encoder_layers": 1, "num_decoder_layers": 1}
    model = small_model(**settings)
    assert_equal(model(src[:1], tgt[:1]), by_paper(model, small_config(**settings), src[:1], tgt[:1]))


def test_a_decoder_knows_what_its_paper_gives_it():
    """All but Sutskever's are told more than a token at each step; only two look at what was read."""
    told = {name: any("feed" in key for key, _ in small_model(decoder=name).named_parameters()) for name in DECODERS}
    assert told == {"luong": True, "bahdanau": True, "cho": True, "sutskever": False}
    src, mask, tgt = small_batch()
    for name in DECODERS:
        model = small_model(decoder=name)
        read = model.encode(src, mask)
        outputs_only = model.decode(tgt, read._replace(outputs=read.outputs + 1), mask)
        seen = not torch.equal(outputs_only, model.decode(tgt, read, mask))
        assert seen == (name in ("luong", "bahdanau"))


def test_shared_cells_are_one():
    settings = {"bidirectional": False, "num_encoder_layers": 2}
    apart, shared = small_model(**settings), small_model(**settings, shared_cells=True)
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (apart, shared)]
    cells = sum(parameter.numel() for cell in apart.decoder.layers() for parameter in cell.parameters())
    assert counts[0] - counts[1] == cells > 0
    assert shared.encoder.stack.cells() == shared.decoder.layers()


def test_it_has_no_fewer_weights_than_the_least():
    for settings in RECURRENT_PARTS:
        config = small_config(**settings)
        with torch.device("meta"):
            weights = sum(weight.numel() for weight in RecurrentModel(config, 5, 5).parameters())
        assert weights / 3 < config.least_weights <= weights, settings


@pytest.mark.parametrize("settings", each_recurrent_part())
def test_gradients_made_after_the_loop_are_those_of_autograd(settings, monkeypatch):
    src, mask, tgt = small_batch()
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


# --- step by step ---


@pytest.mark.parametrize("name", ["luong", "bahdanau"])
def test_where_it_looked_can_be_told(name):
    src, mask, tgt = small_batch()
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


def test_without_progress_all_tokens_are_those_of_the_teacher():
    src, mask, tgt = small_batch()
    plain, scheduled = small_model().train(), small_model(scheduled_sampling=0.9).train()
    assert_equal(scheduled.taught(src, tgt, mask, 0.0), plain.taught(src, tgt, mask, 0.0))
    assert not torch.equal(scheduled.taught(src, tgt, mask, 1.0), plain.taught(src, tgt, mask, 1.0))
    scheduled.eval()
    assert_equal(scheduled.taught(src, tgt, mask, 1.0), plain.taught(src, tgt, mask, 1.0))


@pytest.mark.parametrize("settings", [{"decoder": name} for name in DECODERS] + [{"input_feeding": False}])
def test_at_its_most_each_token_is_the_models_own_greedy_one(settings, monkeypatch):
    src, mask, tgt = small_batch()
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
