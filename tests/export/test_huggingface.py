"""Marian models to Hugging Face's library and back: the same logits, the same tokens."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers

from seqloom.config import DecodingConfig, ModelConfig
from seqloom.data.tokenizers import EOS, NUM_SPECIAL, PAD, SentencePiece
from seqloom.errors import ModelFolderError, UserError
from seqloom.export.huggingface import not_exportable, write_huggingface
from seqloom.export.huggingface_import import DEFAULTS, import_huggingface, read_huggingface
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.kinds import build
from seqloom.pipeline.translator import load
from seqloom.tasks.folder import read_model
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import TorchEngine, trained_model

# Punctuation is not in question here.
pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")

SOURCES = ["one two three", "four, five!", "sieben", "a b c d e f", "Ünïcode ☃"]
TARGETS = ["eins zwei drei", "vier, fünf!", "seven", "f e d c b a", "x"]


def spm(path: Path, texts: list[str], **settings: Any) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 7),
        model_prefix=str(path.with_suffix("")),
        minloglevel=2,
        hard_vocab_limit=False,
        **settings,
    )
    path.with_suffix(".model").rename(path)


@pytest.fixture(
    scope="module",
    params=[(5, {"activation_function": "swish"}), (13, {"activation_function": "relu", "tie_word_embeddings": False})],
    ids=str,
)
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Marian model as their library saves it, with a vocabulary in its own order and gaps on both sides."""
    seed, settings = request.param  # the seed for translations that differ
    folder = tmp_path_factory.mktemp("marian")
    spm(folder / "source.spm", SOURCES, vocab_size=41)
    spm(folder / "target.spm", TARGETS, vocab_size=43, model_type="bpe")
    models = [sentencepiece.SentencePieceProcessor(str(folder / name)) for name in ("source.spm", "target.spm")]
    pieces = {model.id_to_piece(i) for model in models for i in range(3, model.get_piece_size())}
    shuffled = sorted(pieces - {sorted(pieces)[3], sorted(pieces)[-5]})[::-1]  # two pieces that it does not have
    names = ["</s>", "<unk>", *shuffled, "<pad>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    config = transformers.MarianConfig(
        vocab_size=len(names),
        d_model=28,
        encoder_layers=2,
        decoder_layers=3,
        encoder_ffn_dim=53,
        decoder_ffn_dim=53,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        **settings,
        scale_embedding=True,
        max_position_embeddings=64,
        pad_token_id=vocabulary["<pad>"],
        decoder_start_token_id=vocabulary["<pad>"],
        eos_token_id=0,
        forced_eos_token_id=0,
    )
    torch.manual_seed(seed)
    model = transformers.MarianMTModel(config).eval()
    with torch.no_grad():
        for parameter in [*model.parameters(), model.final_logits_bias]:
            if parameter.requires_grad or parameter is model.final_logits_bias:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    model.generation_config.num_beams = 3
    model.generation_config.max_length = 31
    model.save_pretrained(folder)
    transformers.MarianTokenizer(
        str(folder / "source.spm"), str(folder / "target.spm"), str(folder / "vocab.json")
    ).save_pretrained(folder)
    return folder


def test_their_logits_and_tokens_are_ours(theirs: Path) -> None:
    their_model = transformers.MarianMTModel.from_pretrained(theirs).eval()
    their_tokenizer = transformers.MarianTokenizer.from_pretrained(theirs)
    weights, setup = read_huggingface(theirs, ("en", "de"))
    ours = build(setup.model, *setup.vocab_sizes).eval()
    assert set(weights) == set(dict(ours.named_parameters()))
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(weights[name])
    own = setup.src_tokenizer.pieces(range(setup.vocab_sizes[0]))
    known = json.loads((theirs / "vocab.json").read_text())
    rows = torch.tensor([known[piece] for piece in own[NUM_SPECIAL:] if piece in known])
    for source, target in zip(SOURCES, TARGETS, strict=True):
        batch = their_tokenizer(source, text_target=target, return_tensors="pt")
        (src,), (tgt,) = setup.sources([source]), setup.targets([target])
        assert [known.get(own[i], 1) for i in src[:-1]] == batch.input_ids[0, :-1].tolist()
        start = torch.full((1, 1), their_model.config.decoder_start_token_id)
        said = torch.cat([start, batch.labels[:, :-1]], 1)
        with torch.no_grad():
            expected = their_model(input_ids=batch.input_ids, decoder_input_ids=said).logits
            found = ours(torch.tensor([src]), torch.tensor([[2, *tgt[:-1]]]))
        torch.testing.assert_close(found[:, :, EOS], expected[:, :, 0], atol=1e-4, rtol=0)
        count = len(rows)
        torch.testing.assert_close(
            found[:, :, NUM_SPECIAL : NUM_SPECIAL + count], expected[:, :, rows], atol=1e-4, rtol=0
        )
        assert bool((found[:, :, [PAD, 2, *range(NUM_SPECIAL + count, setup.vocab_sizes[1])]] < -1e3).all())


def test_a_letter_that_one_side_alone_knows_has_its_own_row(theirs: Path) -> None:
    their_tokenizer = transformers.MarianTokenizer.from_pretrained(theirs)
    _, setup = read_huggingface(theirs, ("en", "de"))
    known = json.loads((theirs / "vocab.json").read_text())
    for text in ("one x z two", "axb ü", "x 中 xa"):
        pieces = setup.src_tokenizer.pieces(setup.src_tokenizer.encode([text])[0])
        assert [known.get(piece, known["<unk>"]) for piece in pieces] == their_tokenizer(text).input_ids[:-1]
    for text in ("☃ eins hat", "ï zwei o", "x 中 xt"):
        pieces = setup.tgt_tokenizer.pieces(setup.tgt_tokenizer.encode([text])[0])
        assert [known.get(piece, known["<unk>"]) for piece in pieces] == their_tokenizer(text_target=text).input_ids[
            :-1
        ]
    assert set("xzü☃htïo") <= known.keys()


def test_an_imported_folder_translates_as_theirs(theirs: Path, tmp_path: Path) -> None:
    import_huggingface(theirs, tmp_path / "ours", ("en", "de"))
    their_model = transformers.MarianMTModel.from_pretrained(theirs).eval()
    their_tokenizer = transformers.MarianTokenizer.from_pretrained(theirs)
    batch = their_tokenizer(SOURCES, return_tensors="pt", padding=True)
    generated = their_model.generate(
        **batch, num_beams=1, max_length=20, do_sample=False, bad_words_ids=[[their_model.config.pad_token_id]]
    )
    expected = their_tokenizer.batch_decode(generated, skip_special_tokens=True)
    for engine in ("torch", "ctranslate2"):
        translator = load(tmp_path / "ours", engine=engine)
        found = translator.translate(SOURCES, beam=1, max_length=18, guard="off")
        assert translator.languages == ("en", "de")
        assert [each.text for each in found] == expected
        assert len(set(expected)) > 1
    assert load(tmp_path / "ours").setup.decoding.beam == 3


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "gelu"},
        {"activation": "silu", "tied_embeddings": "output"},
        {"tied_embeddings": "none", "output_bias": True},
        {"linear": "weight_norm"},
    ],
    ids=str,
)
def test_our_logits_are_theirs(settings: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(3)
    src = SentencePiece.train(SOURCES, 300)
    tgt = src if settings.get("tied_embeddings", "all") == "all" else SentencePiece.train(TARGETS, 290)
    sizes = {"d_model": 28, "d_ff": 53, "num_heads": 2, "num_encoder_layers": 2, "num_decoder_layers": 3}
    config = ModelConfig.model_validate({**sizes, "norm": "post", **settings})
    setup = TranslatorSetup(config, src, tgt, ("en", "de"), 31, DecodingConfig(beam=1, max_length=37))
    model = EncoderDecoder(config, *setup.vocab_sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    write_huggingface(model, setup, tmp_path / "out")
    loaded: Any = transformers.MarianMTModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    theirs, said = loaded
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    tokenizer = transformers.MarianTokenizer.from_pretrained(tmp_path / "out")
    for source, target in zip(SOURCES, TARGETS, strict=True):
        batch = tokenizer(source, text_target=target, return_tensors="pt")
        (own,), (wanted,) = setup.sources([source]), setup.targets([target])
        assert batch.input_ids[0].tolist() == own
        assert batch.labels[0].tolist() == wanted
        said_so_far = torch.tensor([[2, *wanted[:-1]]])
        with torch.no_grad():
            expected = theirs.eval()(input_ids=batch.input_ids, decoder_input_ids=said_so_far).logits
            torch.testing.assert_close(model(batch.input_ids, said_so_far), expected, atol=1e-4, rtol=0)
    batch = tokenizer(SOURCES, return_tensors="pt", padding=True)
    generated = theirs.generate(**batch, max_length=20, do_sample=False)
    ours = TorchEngine(model).search(setup.sources(SOURCES), DecodingConfig(beam=1, max_length=19))
    for row, best in zip(generated.tolist(), ours, strict=True):
        said_by_us = best[0].tokens
        assert row[1 : 1 + min(len(said_by_us), 15)] == said_by_us[:15]


@pytest.mark.parametrize("tied", ["all", "output", "none"])
def test_there_and_back_again(tmp_path: Path, tied: str) -> None:
    torch.manual_seed(3)
    src = SentencePiece.train(SOURCES, 300)
    tgt = src if tied == "all" else SentencePiece.train(TARGETS, 290)
    sizes = {"d_model": 28, "d_ff": 53, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 2}
    config = ModelConfig.model_validate({**sizes, "norm": "post", "tied_embeddings": tied})
    setup = TranslatorSetup(config, src, tgt, ("en", "de"), 31, DecodingConfig())
    model = EncoderDecoder(config, *setup.vocab_sizes).eval()
    write_huggingface(model, setup, tmp_path / "theirs")
    import_huggingface(tmp_path / "theirs", tmp_path / "ours", ("en", "de"))
    folder = read_model(tmp_path / "ours")
    again = TranslatorSetup.from_folder(folder)
    assert again.src_tokenizer.encode(SOURCES) == src.encode(SOURCES)
    assert again.tgt_tokenizer.encode(TARGETS) == tgt.encode(TARGETS)
    ids = torch.tensor(setup.sources(SOURCES[:1])), torch.tensor([[2, 5, 7]])
    with torch.no_grad():
        found, expected = trained_model(folder, again)(*ids), model(*ids)
    torch.testing.assert_close(found[:, :, EOS:], expected[:, :, EOS:], atol=1e-5, rtol=0)


def copy_of(folder: Path, out: Path, **changes: dict[str, Any]) -> Path:
    """The same with other values in its JSON files; None takes a key away."""
    shutil.copytree(folder, out)
    for name, values in changes.items():
        path = out / f"{name}.json"
        content = json.loads(path.read_text(encoding="utf-8")) | values
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return out


def test_their_settings_of_the_search_are_taken(theirs: Path, tmp_path: Path) -> None:
    said = {"num_beams": 5, "length_penalty": 0, "max_length": 37}
    _, setup = read_huggingface(copy_of(theirs, tmp_path / "said", generation_config=said), ("en", "de"))
    assert setup.decoding == DecodingConfig(beam=5, length_penalty=0, max_length=37)
    silent = dict.fromkeys(said)
    _, setup = read_huggingface(copy_of(theirs, tmp_path / "silent", generation_config=silent), ("en", "de"))
    assert setup.decoding == DecodingConfig(max_length=512)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"norm": "pre"}, "Marian has no model.norm = 'pre'"),
        ({"positions": "rotary"}, "Marian has no model.positions = 'rotary'"),
        (
            {"num_kv_heads": 1, "activation": "geglu"},
            "Marian has no model.activation = 'geglu', model.num_kv_heads = 1",
        ),
    ],
)
def test_what_is_no_marian_is_refused(settings: dict[str, Any], reason: str, tmp_path: Path) -> None:
    src = SentencePiece.train(SOURCES, 300)
    config = ModelConfig.model_validate({"d_model": 28, "num_heads": 2, "norm": "post", **settings})
    setup = TranslatorSetup(config, src, src, ("en", "de"), 31, DecodingConfig())
    assert not_exportable(setup) == reason
    with pytest.raises(UserError, match="cannot be exported for Hugging Face"):
        write_huggingface(EncoderDecoder(config, *setup.vocab_sizes), setup, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", {"model_type": "bert"}, "is a model of the type 'bert', expected 'marian'"),
        ("config.json", {"scale_embedding": False}, "scale_embedding is False, and only True can be read"),
        ("config.json", {"decoder_ffn_dim": "\0\x1b[2J"}, r"and only \\x00\\x1b\[2J can be read"),
        (
            "config.json",
            {"activation_function": "mish"},
            "activation_function is mish, expected one of relu, gelu, swish, silu",
        ),
        ("config.json", {"activation_function": ["relu"]}, r"activation_function is \['relu'\], expected one of relu"),
        ("config.json", {"scale_embedding": None}, "scale_embedding is False, and only True can be read"),
        ("config.json", {"encoder_ffn_dim": None}, "encoder_ffn_dim is 4096, and only 53 can be read"),
        ("config.json", {"pad_token_id": 999}, "pad_token_id is 999, which the vocabulary does not have"),
        ("config.json", {"decoder_ffn_dim": 51, "encoder_ffn_dim": 51}, "is damaged, or does not fit config.json"),
        ("vocab.json", None, "cannot be read as JSON"),
        ("source.spm", None, "cannot be read"),
        ("model.safetensors", None, "a folder with pytorch_model.bin, which can run code when it is read"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(
    theirs: Path, tmp_path: Path, name: str, content: dict[str, Any] | None, message: str
) -> None:
    folder = copy_of(theirs, tmp_path / "theirs", **({name.removesuffix(".json"): content} if content else {}))
    if content is None:
        (folder / name).unlink()
    with pytest.raises(ModelFolderError, match=message):
        import_huggingface(folder, tmp_path / "out", ("en", "de"))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def parted(theirs: Path, tmp_path: Path) -> Path:
    """The same with its weights in several files, as their library saves large ones."""
    folder = copy_of(theirs, tmp_path / "parted")
    (folder / "model.safetensors").unlink()
    transformers.MarianMTModel.from_pretrained(theirs).save_pretrained(folder, max_shard_size="17KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


def test_weights_in_parts_are_put_together(theirs: Path, parted: Path) -> None:
    whole, expected = read_huggingface(theirs, ("en", "de"))
    weights, setup = read_huggingface(parted, ("en", "de"))
    assert setup.describe() == expected.describe()
    assert weights.keys() == whole.keys()
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"model.encoder.layers.0.fc1.bias": "../model.safetensors"}, "the .safetensors file beside it that has each"),
        ({"model.encoder.layers.0.fc1.bias": "/dev/zero"}, "the .safetensors file beside it that has each"),
        ({"model.encoder.layers.0.fc1.bias": 3}, "the .safetensors file beside it that has each"),
        ({"model.encoder.layers.0.fc1.bias": "gone.safetensors"}, "gone.safetensors: cannot be read"),
        ({"none": ""}, r"index\.json: is damaged, or does not fit .* \('none'\)"),
        (None, "expected in weight_map"),
    ],
)
def test_an_index_leads_nowhere_else(parted: Path, names: dict[str, Any] | None, message: str) -> None:
    index = parted / "model.safetensors.index.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    first = min(content["weight_map"].values())
    named = names and {name: first if name == "none" else value for name, value in names.items()}
    index.write_text(json.dumps({"weight_map": named and content["weight_map"] | named}), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=message):
        read_huggingface(parted, ("en", "de"))


def test_parts_are_no_larger_together_than_the_memory(parted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = max(path.stat().st_size for path in parted.glob("model-*.safetensors"))
    monkeypatch.setattr("seqloom.export.huggingface_import.memory", lambda: largest + 7)
    with pytest.raises(ModelFolderError, match=r"cannot be read \(has .* bytes, more than"):
        read_huggingface(parted, ("en", "de"))


def test_what_a_folder_does_not_say_is_as_in_their_library() -> None:
    theirs = transformers.MarianConfig()
    assert {key: getattr(theirs, key, False) for key in DEFAULTS} == DEFAULTS  # normalize_before and its like are gone
