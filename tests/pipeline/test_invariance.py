"""In float32 a translation is the same in any company: every kind of model, engine and width of search."""

from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqloom.config import DecodingConfig
from seqloom.data.tokenizers import EOS, NUM_SPECIAL
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.export.ctranslate2_engine import CTranslate2Engine, Shape, missing_parts
from seqloom.export.ctranslate2_model import places, write_ctranslate2
from seqloom.export.store import Export
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.kinds import build
from seqloom.tasks.engine import Engine
from seqloom.tasks.setup import TranslatorSetup, model_config
from seqloom.tasks.torch_engine import TorchEngine
from tests.export.test_ctranslate2 import vocabulary

SRC, TGT = 37, 41
TRANSFORMER = {"d_model": 28, "d_ff": 53, "num_heads": 2, "num_encoder_layers": 2, "num_decoder_layers": 2}
RECURRENT = {"kind": "recurrent", "d_model": 22, "num_encoder_layers": 2, "num_decoder_layers": 2}
MODELS: list[dict[str, Any]] = [
    {**TRANSFORMER, "norm": "pre"},
    {**TRANSFORMER, "norm": "post", "num_kv_heads": 1},
    *({**TRANSFORMER, "positions": name} for name in ("rotary", "alibi", "t5", "shaw", "none")),
    *({**RECURRENT, "decoder": name} for name in ("luong", "bahdanau", "cho", "sutskever")),
    {**RECURRENT, "cell": "gru", "bidirectional": False, "score": "additive"},
]

ROUNDING = 1e-5
"""Of scores, relative; hypotheses whose scores are this near are equally good, and which is first is chance."""


class Found(NamedTuple):
    engines: list[Engine]
    sources: list[list[int]]


@pytest.fixture(
    scope="module", params=MODELS, ids=lambda given: " ".join(map(str, list(given.values())[5:])) or "plain"
)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A random model whose outputs differ by source, by each engine that runs it, and sentences."""
    torch.manual_seed(7)
    config = model_config({"tied_embeddings": "output", **request.param})
    setup = TranslatorSetup(config, vocabulary(SRC), vocabulary(TGT), ("xx", "yy"), 60, DecodingConfig())
    model = build(config, *setup.vocab_sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.7).add_(torch.randn_like(parameter) * 0.03)
    engines: list[Engine] = [TorchEngine(model)]
    if isinstance(model, EncoderDecoder) and not missing_parts(config):
        folder = tmp_path_factory.mktemp("model")
        write_ctranslate2(model, setup, folder, "float32")
        engines.append(CTranslate2Engine(Export(folder, "float32", places(setup)), setup, Shape(2, 1, 7)))
    generator = torch.Generator().manual_seed(3)
    lengths = (1, 2, 2, 3, 5, 7, 11, 13, 17, 23, 29)
    sources = [[*torch.randint(NUM_SPECIAL, SRC, (n,), generator=generator).tolist(), EOS] for n in lengths]
    assert len({tuple(best[0].tokens) for best in engines[0].search(sources, DecodingConfig(beam=1))}) > 3
    return Found(engines, sources)


def test_each_kind_runs_on_every_engine_that_can(found: Found) -> None:
    alone = [
        [engine.search([source], DecodingConfig(beam=3, max_length=31))[0] for source in found.sources]
        for engine in found.engines
    ]
    for engine in alone[1:]:
        for one, other in zip(alone[0], engine, strict=True):
            _require_same(one, other)


@settings(max_examples=7)
@given(st.data())
def test_neighbours_order_and_batches_change_nothing(found: Found, data: st.DataObject) -> None:
    beam = data.draw(st.integers(1, 6), "beam")
    decoding = DecodingConfig(beam=beam, max_length=31, length_penalty=data.draw(st.sampled_from([0.0, 0.6, 1.0])))
    rows = data.draw(st.lists(st.sampled_from(range(len(found.sources))), min_size=1, max_size=13), "rows")
    n_best = data.draw(st.integers(1, beam), "n_best")
    batch_tokens = data.draw(st.integers(1, 300), "batch_tokens")
    for engine in found.engines:
        together = engine.search([found.sources[row] for row in rows], decoding, n_best, batch_tokens)
        alone = {row: engine.search([found.sources[row]], decoding, n_best)[0] for row in set(rows)}
        for row, best in zip(rows, together, strict=True):
            _require_same(best, alone[row])


def _require_same(ours: list[Hypothesis], theirs: list[Hypothesis]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert other.score == pytest.approx(one.score, rel=ROUNDING, abs=1e-4)
        equally_good = [each for each in theirs if each.score == pytest.approx(one.score, rel=ROUNDING)]
        assert one.tokens in [other.tokens, *(each.tokens for each in equally_good)]
