"""Folders of Hugging Face's Transformers with a Marian model, written for others."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from seqloom.config import ModelConfig
from seqloom.data.tokenizers import BOS, EOS, PAD, UNK, SentencePiece
from seqloom.errors import UserError
from seqloom.export.marian import FUNCTIONS, not_marian, to_marian
from seqloom.export.transformer import transformer_of
from seqloom.files import new_folder
from seqloom.models.sequence_to_sequence import SequenceToSequence
from seqloom.tasks.setup import TranslatorSetup

SERIALIZED = {"format": "pt"}
"""What their library asks of a safetensors file."""


def not_exportable(setup: TranslatorSetup) -> str:
    """Why a translator cannot be a Marian folder; empty if it can."""
    if missing := not_marian(setup.model):
        return f"Marian has no {missing}"
    if not isinstance(setup.src_tokenizer, SentencePiece) or not isinstance(setup.tgt_tokenizer, SentencePiece):
        return "Marian's tokenizer is SentencePiece, and the model has a list of words"
    if setup.directions:
        return "Marian marks the wanted language by other words than this model, which knows several"
    return ""


def write_huggingface(model: SequenceToSequence, setup: TranslatorSetup, out: Path) -> None:
    """Writes a folder that ``MarianMTModel`` and ``MarianTokenizer`` load.

    Raises:
        UserError: if the model is not one of theirs.
    """
    if reason := not_exportable(setup):
        raise UserError(f"cannot be exported for Hugging Face: {reason}; train with other settings for that")
    transformer, config = transformer_of(model, setup.model, "Hugging Face")
    with new_folder(out) as new:
        save_file(to_marian(transformer, config), new / "model.safetensors", SERIALIZED)
        for name, content in _configs(config, setup).items():
            (new / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        (new / "source.spm").write_bytes(setup.src_tokenizer.to_bytes())
        (new / "target.spm").write_bytes(setup.tgt_tokenizer.to_bytes())


def _configs(config: ModelConfig, setup: TranslatorSetup) -> dict[str, Any]:
    decoding = setup.decoding
    src, tgt = (
        tokenizer.pieces(range(tokenizer.vocab_size)) for tokenizer in (setup.src_tokenizer, setup.tgt_tokenizer)
    )
    shared = config.tied_embeddings == "all"
    ids = {"pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": BOS, "forced_eos_token_id": EOS}
    special = {"unk_token": src[UNK], "eos_token": src[EOS], "pad_token": src[PAD]}
    places = max(512, setup.longest_source + 2, decoding.max_length + 1)
    vocabularies = {"vocab.json": {piece: number for number, piece in enumerate(src)}}
    if not shared:
        vocabularies["target_vocab.json"] = {piece: number for number, piece in enumerate(tgt)}
    return {
        **vocabularies,
        "config.json": {
            "model_type": "marian",
            "architectures": ["MarianMTModel"],
            "d_model": config.d_model,
            "encoder_layers": config.num_encoder_layers,
            "decoder_layers": config.num_decoder_layers,
            "encoder_ffn_dim": config.d_ff,
            "decoder_ffn_dim": config.d_ff,
            "encoder_attention_heads": config.num_heads,
            "decoder_attention_heads": config.num_heads,
            "activation_function": FUNCTIONS[config.activation],
            "dropout": config.dropout,
            "attention_dropout": config.attention_dropout,
            "activation_dropout": config.feedforward_dropout,
            "max_position_embeddings": places,
            "scale_embedding": True,
            "static_position_embeddings": True,
            "share_encoder_decoder_embeddings": shared,
            "tie_word_embeddings": config.tied_embeddings != "none",
            "vocab_size": len(src),
            "decoder_vocab_size": len(tgt),
            **ids,
        },
        "generation_config.json": {
            **ids,
            "bad_words_ids": [[PAD], [BOS]],
            "num_beams": decoding.beam,
            "length_penalty": decoding.length_penalty,
            "max_length": decoding.max_length,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "MarianTokenizer",
            "source_lang": setup.languages[0],
            "target_lang": setup.languages[1],
            "separate_vocabs": not shared,
            "model_max_length": places,
            **special,
        },
    }
