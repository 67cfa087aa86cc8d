"""Folders of Hugging Face's Transformers with a Marian model, such as OPUS-MT's, read to run and to fine-tune."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
import torch
from pydantic import ValidationError
from torch import Tensor

from seqloom.config import DecodingConfig, ModelConfig
from seqloom.data.tokenizers import BOS, NUM_SPECIAL, PAD, SentencePiece, model_proto
from seqloom.data.tokenizers.tokenizer import SPECIAL_PIECES
from seqloom.errors import ModelFolderError, shown
from seqloom.export.marian import FUNCTIONS, from_marian
from seqloom.files import read_bytes, read_json, require_free, require_regular
from seqloom.machine import memory
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.tasks.folder import read_tensors, write_model
from seqloom.tasks.setup import TranslatorSetup

LONGEST_SOURCE = 256
"""Tokens of a source that an imported model is given at once: how long those of its training were is not known."""

MAX_JSON_BYTES, MAX_SPM_BYTES = 1 << 26, 1 << 28

MAX_ROWS = 1 << 24
"""Of a vocabulary."""

PART = re.compile(r"[\w.-]+\.safetensors")
"""The name of a file with some of the weights; it leads nowhere else."""

DEFAULTS: dict[str, Any] = {
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "scale_embedding": False,
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "share_encoder_decoder_embeddings": True,
    "tie_word_embeddings": True,
    "decoder_start_token_id": 58100,
    "pad_token_id": 58100,
    "eos_token_id": 0,
}
"""What their ``MarianConfig`` takes for a key that is not in a config.json."""


class Vocabulary(NamedTuple):
    """One of theirs in our order, whose special tokens stand in front."""

    pieces: list[str]
    rows: list[int]
    """Which row of their table each has."""
    silent: list[int]
    """What is never said."""


def read_huggingface(folder: Path, languages: tuple[str, str]) -> tuple[dict[str, Tensor], TranslatorSetup]:
    """Weights and setup of a Marian folder, such as those of OPUS-MT.

    Pieces that its SentencePiece models know and its vocabulary does not are read as unknown, as its own
    tokenizer does; letters that they do not know and it does, as what they are
    (:func:`seqloom.data.tokenizers.model_proto.with_vocabulary`). Moses' normalisation of punctuation is not applied.

    Args:
        folder: with ``config.json``, ``vocab.json``, ``source.spm``, ``target.spm`` and ``model.safetensors``, or
            the index of its parts; ``target_vocab.json`` where the two sides have a vocabulary each.
        languages: source and target, by their codes.

    Raises:
        ModelFolderError: if something is missing or damaged, or it is another kind of model.
    """
    config = DEFAULTS | _json(folder / "config.json")
    settings = _model_config(folder / "config.json", config)
    joint = config["share_encoder_decoder_embeddings"]  # the vocabulary, be the weights tied or not
    known = _vocabulary_file(folder / "vocab.json")
    known_target = known if joint else _vocabulary_file(folder / "target_vocab.json")
    paths = [folder / name for name in ("source.spm", "target.spm")]
    models = [_spm(path) for path in paths]
    foreign = [_foreign(*each) for each in zip(models, (known, known_target), paths, strict=True)]
    if joint:
        foreign = [list(dict.fromkeys([*foreign[0], *foreign[1]]))] * 2
    src, tgt = (
        _vocabulary(folder, config, each, more) for each, more in zip((known, known_target), foreign, strict=True)
    )
    tokenizers = _arranged(models[0], src.pieces, folder), _arranged(models[1], tgt.pieces, folder)
    path = _weights_file(folder)
    try:
        found = _tensors(path)
        if sum(weight.numel() for weight in found.values()) < settings.least_weights:
            raise ValueError("it has fewer numbers than a model of these sizes")
        weights = from_marian(found, settings, src.rows, tgt.rows, tgt.silent)
        _require_shapes(weights, settings, len(src.pieces), len(tgt.pieces))
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise ModelFolderError(f"{path}: is damaged, or does not fit config.json ({shown(error, 200)})") from None
    path = folder / ("generation_config.json" if (folder / "generation_config.json").is_file() else "config.json")
    names = {"beam": "num_beams", "length_penalty": "length_penalty", "max_length": "max_length"}
    generation = {"max_length": 512} | {key: value for key, value in _json(path).items() if value is not None}
    try:
        decoding = DecodingConfig(**{own: generation[name] for own, name in names.items() if name in generation})
    except ValidationError as error:
        raise ModelFolderError(f"{path}: {_first(error)}") from None
    return weights, TranslatorSetup(settings, *tokenizers, languages, LONGEST_SOURCE, decoding)


def _weights_file(folder: Path) -> Path:
    """The file with the weights, or the index of those that have them in parts."""
    path = folder / "model.safetensors"
    for found in (path, folder / f"{path.name}.index.json"):
        if found.is_file():
            return found
    raise ModelFolderError(
        f"{path}: no such file; a folder with pytorch_model.bin, which can run code when it is read, has to be "
        f"saved as safetensors first"
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    """All weights; KeyError for one that is not where the index says."""
    if path.suffix != ".json":
        return read_tensors(path)
    where = _json(path).get("weight_map")
    if not isinstance(where, dict) or not all(type(name) is str and PART.fullmatch(name) for name in where.values()):
        raise ModelFolderError(f"{path}: expected in weight_map the .safetensors file beside it that has each weight")
    parts, room = {}, memory()
    for name in sorted(set(where.values())):
        part = path.with_name(name)
        try:
            room -= require_regular(part, room)
        except OSError as error:
            raise ModelFolderError(f"{part}: cannot be read ({error.strerror}); copy the folder again") from None
        parts[name] = read_tensors(part)
    return {weight: parts[name][weight] for weight, name in where.items()}


def _require_shapes(weights: dict[str, Tensor], config: ModelConfig, src_vocab: int, tgt_vocab: int) -> None:
    with torch.device("meta"):
        model = EncoderDecoder(config, src_vocab, tgt_vocab)
    for name, parameter in model.named_parameters():
        if weights[name].shape != parameter.shape:
            raise ValueError(f"{name} would have shape {list(weights[name].shape)}, expected {list(parameter.shape)}")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path, MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(found, dict):
        raise ModelFolderError(f"{path}: holds no JSON object")
    return found


def _model_config(path: Path, config: dict[str, Any]) -> ModelConfig:
    """Its sizes, if it is what ours can be."""
    if config.get("model_type") != "marian":
        raise ModelFolderError(f"{path}: is a model of the type {shown(config.get('model_type'))!r}, expected 'marian'")
    plain = {
        "scale_embedding": True,
        "normalize_before": False,
        "normalize_embedding": False,
        "add_final_layer_norm": False,
        "encoder_ffn_dim": config["decoder_ffn_dim"],
        "encoder_attention_heads": config["decoder_attention_heads"],
    }
    for key, expected in plain.items():
        if config[key] != expected:
            raise ModelFolderError(f"{path}: {key} is {shown(config[key])}, and only {shown(expected)} can be read")
    ours = {theirs: own for own, theirs in FUNCTIONS.items()} | {"silu": "silu"}
    shared, tied = config["share_encoder_decoder_embeddings"], config["tie_word_embeddings"]
    try:
        return ModelConfig(
            norm="post",
            d_model=config["d_model"],
            d_ff=config["decoder_ffn_dim"],
            num_heads=config["decoder_attention_heads"],
            num_encoder_layers=config["encoder_layers"],
            num_decoder_layers=config["decoder_layers"],
            dropout=config["dropout"],
            attention_dropout=config["attention_dropout"],
            feedforward_dropout=config["activation_dropout"],
            activation=ours[config["activation_function"]],
            tied_embeddings="none" if not tied else "all" if shared else "output",
            output_bias=True,
        )
    except (KeyError, TypeError):  # the latter of a list in the place of a name
        known = ", ".join(ours)
        raise ModelFolderError(
            f"{path}: activation_function is {shown(config['activation_function'])}, expected one of {known}"
        ) from None
    except ValidationError as error:
        raise ModelFolderError(f"{path}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first of pydantic's findings."""
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _spm(path: Path) -> bytes:
    try:
        return read_bytes(path, MAX_SPM_BYTES)
    except OSError as error:
        raise ModelFolderError(f"{path}: cannot be read ({error.strerror})") from None


def _foreign(model: bytes, known: dict[str, Any], path: Path) -> list[str]:
    """What a SentencePiece model cuts a text into that the vocabulary does not have."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        ids = range(processor.get_piece_size())
        return [
            processor.id_to_piece(i)
            for i in ids
            if not (processor.is_control(i) or processor.is_unknown(i)) and processor.id_to_piece(i) not in known
        ]
    except (RuntimeError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"{path}: is no SentencePiece model, or damaged ({shown(error, 200)})") from None


def _vocabulary_file(path: Path) -> dict[str, Any]:
    """Pieces with their rows."""
    known = _json(path)
    if not all(type(row) is int and 0 <= row < MAX_ROWS for row in known.values()):
        raise ModelFolderError(f"{path}: expected a row number for each piece")
    return known


def _vocabulary(folder: Path, config: dict[str, Any], known: dict[str, Any], foreign: list[str]) -> Vocabulary:
    """Our order: the special tokens, the pieces in their order, and those that are read as unknown."""
    pieces = sorted(known, key=known.__getitem__)
    names = {role: config[f"{role}_token_id"] for role in ("pad", "eos", "decoder_start")}
    for role, row in names.items():
        if type(row) is not int or row not in known.values():
            raise ModelFolderError(
                f"{folder / 'config.json'}: {role}_token_id is {shown(row)}, which the vocabulary does not have"
            )
    if "<unk>" not in known:
        raise ModelFolderError(f"{folder}: the vocabulary has no '<unk>'")
    first = [names["pad"], known["<unk>"], names["decoder_start"], names["eos"]]
    rest = [piece for piece in pieces if known[piece] not in first and piece not in SPECIAL_PIECES]
    rows = [*first, *(known[piece] for piece in rest), *[known["<unk>"]] * len(foreign)]
    size = len(first) + len(rest)
    return Vocabulary([*SPECIAL_PIECES, *rest, *foreign], rows, [PAD, BOS, *range(size, size + len(foreign))])


def _arranged(model: bytes, pieces: list[str], folder: Path) -> SentencePiece:
    """A SentencePiece model whose ids are those of a vocabulary."""
    try:
        return SentencePiece(model_proto.with_vocabulary(model, pieces[NUM_SPECIAL:], SPECIAL_PIECES), str(folder))
    except (ValueError, IndexError) as error:
        raise ModelFolderError(f"{folder}: a SentencePiece model in it is damaged ({error})") from None


def import_huggingface(folder: Path, out: Path, languages: tuple[str, str]) -> None:
    """Writes the model of a Marian folder as a model folder of our own.

    Raises:
        ModelFolderError: if it cannot be read.
        UserError: if ``out`` is in use.
    """
    require_free(out)
    weights, setup = read_huggingface(folder, languages)
    about, files = setup.describe()
    config = {"task": "translate", **about, "imported_from": folder.name, "scores": {"valid": {}, "signatures": {}}}
    files["README.md"] = CARD.format(*languages, name=folder.resolve().name).encode()
    write_model(out, config, files, weights)


CARD = """# A translator from {} to {}

Imported from `{name}`, a Marian model in Hugging Face's format. Use it with

    echo "..." | seqloom translate THIS_FOLDER

and go on training it with `seqloom train RUN --init-from THIS_FOLDER`. Its licence is that of the original.
"""
