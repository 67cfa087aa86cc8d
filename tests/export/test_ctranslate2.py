"""The same model by both engines: every part and every search that CTranslate2 has, in float32."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom.config import DecodingConfig, ModelConfig
from seqloom.data.languages import Direction
from seqloom.data.tokenizers import EOS, NUM_SPECIAL, SentencePiece, Words
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.export.ctranslate2_engine import KNOWN, CTranslate2Engine, Shape, missing_parts
from seqloom.export.ctranslate2_model import places, write_ctranslate2, write_for_others
from seqloom.export.store import Export
from seqloom.layers.feedforward import ACTIVATIONS
from seqloom.layers.linear import LINEARS
from seqloom.layers.normalization import NORMALIZATIONS
from seqloom.layers.positions import POSITIONS
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import TorchEngine

SIZES = {"d_model": 28, "d_ff": 53, "num_heads": 2, "num_encoder_layers": 3, "num_decoder_layers": 2, "norm": "pre"}

RUNNABLE = [
    *({"positions": name} for name in POSITIONS if name in KNOWN["positions"]),
    *({"normalization": name, "norm": norm} for name, norm in itertools.product(NORMALIZATIONS, ("pre", "post"))),
    *({"activation": name} for name in ACTIVATIONS),
    *({"linear": name} for name in LINEARS),
    {"num_kv_heads": 1},
    {"num_heads": 4, "num_kv_heads": 2},
    {"output_bias": True},
    {"num_kv_heads": 1, "positions": "rotary", "norm": "post"},
    {"d_model": 48, "num_heads": 6, "num_kv_heads": 2, "positions": "rotary", "norm": "post"},
    *({"tied_embeddings": name} for name in ("output", "none")),
]


def vocabulary(size: int) -> Words:
    words = ("".join(letters) for letters in itertools.product("abcdefg", repeat=2))
    found = Words.train(itertools.islice(words, size - NUM_SPECIAL), size)
    assert found.vocab_size == size
    return found


def made(settings: dict[str, Any], longest: int = 60) -> tuple[EncoderDecoder, TranslatorSetup]:
    torch.manual_seed(7)
    src, tgt = vocabulary(37), vocabulary(41)
    if settings.get("tied_embeddings", "output") == "all":
        tgt = src
    config = ModelConfig.model_validate({"tied_embeddings": "output", **SIZES, **settings})
    setup = TranslatorSetup(config, src, tgt, ("xx", "yy"), longest, DecodingConfig())
    model = EncoderDecoder(config, *setup.vocab_sizes).eval()
    with torch.no_grad():  # so that outputs differ by source, and end at different lengths
        for parameter in model.parameters():
            parameter.mul_(1.7).add_(torch.randn_like(parameter) * 0.03)
    return model, setup


def engines(settings: dict[str, Any], folder: Path) -> tuple[TorchEngine, CTranslate2Engine]:
    model, setup = made(settings)
    write_ctranslate2(model, setup, folder, "float32")
    return TorchEngine(model), CTranslate2Engine(Export(folder, "float32", places(setup)), setup, Shape(2, 1, 7))


def sentences(lengths: tuple[int, ...] = (1, 2, 3, 5, 7, 11, 13, 17, 19, 23)) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [[*torch.randint(NUM_SPECIAL, 37, (n,), generator=generator).tolist(), EOS] for n in lengths]


def require_same(ours: list[list[Hypothesis]], theirs: list[list[Hypothesis]]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert [each.tokens for each in one] == [each.tokens for each in other]
        assert [each.finished for each in one] == [each.finished for each in other]
        assert [each.score for each in one] == pytest.approx([each.score for each in other], abs=2e-4)
        assert [each.log_prob for each in one] == pytest.approx([each.log_prob for each in other], abs=5e-3)


@pytest.mark.parametrize("settings", RUNNABLE, ids=str)
def test_every_part_is_the_same_by_both(settings: dict[str, Any], tmp_path: Path) -> None:
    ours, theirs = engines(settings, tmp_path)
    decoding = DecodingConfig(beam=3, max_length=29)
    found = ours.search(sentences(), decoding, n_best=2)
    assert len({tuple(each[0].tokens) for each in found}) > 3
    require_same(found, theirs.search(sentences(), decoding, n_best=2))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[TorchEngine, CTranslate2Engine]:
    return engines({}, tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    "settings",
    [
        {"beam": 1},
        {"beam": 5},
        {"beam": 4, "length_penalty": 0.0},
        {"beam": 4, "length_penalty": 0.6},
        {"beam": 4, "length_penalty": 2.0},
        {"beam": 3, "max_length": 1},
        {"beam": 3, "max_length": 5},
        {"beam": 3, "max_length_ratio": 0.7},
        {"beam": 3, "length_penalty": 1.3, "max_length_ratio": 1.5},
        {"beam": 3, "repetition_penalty": 1.4},
        {"beam": 1, "repetition_penalty": 1.2},
        {"beam": 50},
    ],
    ids=str,
)
def test_every_search_is_the_same_by_both(
    both: tuple[TorchEngine, CTranslate2Engine], settings: dict[str, Any]
) -> None:
    decoding = DecodingConfig.model_validate({"max_length": 31, **settings})
    n_best = min(decoding.beam, 3)
    assert both[1].cannot_search(sentences(), decoding) == ""
    require_same(*(each.search(sentences(), decoding, n_best) for each in both))


@pytest.mark.parametrize("beam", [1, 3])
def test_without_scores_the_same_is_found(both: tuple[TorchEngine, CTranslate2Engine], beam: int) -> None:
    decoding = DecodingConfig(beam=beam, max_length=31)
    scored, export = both[1], both[1].export
    plain = CTranslate2Engine(export, made({})[1], scored.shape, scores=False)
    found, expected = (engine.search(sentences(), decoding) for engine in (plain, scored))
    assert [each.tokens for (each,) in found] == [each.tokens for (each,) in expected]
    assert [each.finished for (each,) in found] == [each.finished for (each,) in expected]
    assert all(each.score < 0 for (each,) in expected)
    assert all(each.score == 0 for (each,) in found) == (beam == 1)


def test_scores_of_given_targets_are_the_same_by_both(both: tuple[TorchEngine, CTranslate2Engine]) -> None:
    sources, targets = sentences(), sentences((23, 1, 2, 19, 3, 17, 5, 13, 7, 11))
    assert both[1].cannot_score(sources, targets) == ""
    for one, other in zip(*(each.score(sources, targets) for each in both), strict=True):
        assert one.tokens == other.tokens
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sample": True}, "sampling"),
        ({"diversity": 0.5}, "diverse search"),
        ({"no_repeat_ngram": 3}, "no_repeat_ngram"),
        ({"min_length": 3}, "a least length"),
        ({"min_length_ratio": 0.5}, "a least length"),
        ({"length_formula": "gnmt"}, "length_formula"),
        ({"coverage_penalty": 0.2}, "coverage_penalty"),
        ({"max_length": 1025}, "text of more than 1,024 tokens"),
    ],
)
def test_what_it_cannot_do_exactly_it_says(
    both: tuple[TorchEngine, CTranslate2Engine], settings: dict[str, Any], reason: str
) -> None:
    _, engine = both
    assert engine.cannot_search(sentences(), DecodingConfig(**settings)) == reason
    assert engine.cannot_search([[5] * 1025], DecodingConfig()) == "text of more than 1,024 tokens"
    assert engine.cannot_score([[5, EOS]], [[EOS]]) == "the score of an empty text"


@pytest.mark.parametrize("name", sorted(POSITIONS.keys() - KNOWN["positions"]))
def test_parts_that_it_lacks_are_named(name: str) -> None:
    assert missing_parts(ModelConfig.model_validate({"positions": name})) == f"model.positions = {name!r}"
    assert missing_parts(ModelConfig.model_validate({})) == ""


def test_more_places_than_the_table_has_are_left_to_torch(tmp_path: Path) -> None:
    _, engine = engines({"positions": "learned", "max_positions": 3000}, tmp_path)
    assert engine.longest == 3000
    long = [[*[5] * 1500, EOS]]
    assert engine.cannot_search(long, DecodingConfig()) == "text of more than 1,024 tokens"
    assert engine.cannot_search(sentences(), DecodingConfig(max_length=2000)) == "text of more than 1,024 tokens"
    assert engine.cannot_score(long, long) == "text of more than 1,024 tokens"
    assert engine.cannot_search(sentences(), DecodingConfig(max_length=200)) == ""


TEXTS = ["one two three", "four, five!", "a b c d e f"]
PROOF: dict[str, Any] = {
    "direction": "xx-yy",
    "sentences": 1031,
    "changed": 0.1746,
    "float32": {"bleu": 31.5, "chrf": 52.75},
    "int8-shortlist": {"bleu": 30.25, "chrf": 51.125},
    "signatures": {"bleu": "nrefs:1|tok:13a", "chrf": "nrefs:1|nw:2"},
}


@pytest.mark.parametrize("shortlisted", [False, True])
@pytest.mark.parametrize("tagged", [False, True])
def test_the_readme_says_what_a_folder_needs_and_what_it_costs(tmp_path: Path, shortlisted: bool, tagged: bool) -> None:
    tokenizer = SentencePiece.train(TEXTS, 300)
    directions = (Direction("xx", "yy"), Direction("yy", "xx")) if tagged else ()
    decoding = DecodingConfig(beam=3, length_penalty=0.6)
    setup = replace(
        made({})[1], src_tokenizer=tokenizer, tgt_tokenizer=tokenizer, directions=directions, decoding=decoding
    )
    kept = tmp_path / "kept"
    kept.mkdir()
    export = Export(kept, "int8-shortlist", 60, {"yy": PROOF}) if shortlisted else Export(kept, "float32", 60)
    write_for_others(export, setup, tmp_path / "out")
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    names = "xx-yy, yy-xx" if tagged else "xx-yy"
    assert readme.startswith(f"# A translator ({names}) for CTranslate2, {export.variant}\n")
    script = readme.partition("```python\n")[2].partition("```")[0]
    compile(script, "README.md", "exec")
    assert ('translate_batch([["<2yy>"] + src.encode' in script) == tagged
    assert ("The first token of a source says which language is wanted: <2yy>, <2xx>." in readme) == tagged
    assert f"beam_size=3, length_penalty=0.6{', use_vmap=True' if shortlisted else ''})" in script
    proof = (
        "Beside float32, on 1,031 sentences, xx-yy: BLEU 30.25 and 31.50, chrF++ 51.12 and 52.75; 17.5% of them "
        "are translated otherwise. BLEU `nrefs:1|tok:13a`, chrF++ `nrefs:1|nw:2`."
    )
    assert (proof in readme) == shortlisted


def test_there_are_places_for_the_longest_source_and_output() -> None:
    _, setup = made({}, longest=2000)
    assert places(setup) == 2002
    _, bounded = made({"positions": "learned", "max_positions": 67})
    assert places(bounded) == 67
