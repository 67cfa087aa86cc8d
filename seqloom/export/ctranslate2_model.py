"""A trained translator as a CTranslate2 model folder: its weights in the layout of CTranslate2's Transformer."""

from pathlib import Path
from typing import Any

import torch
from ctranslate2.specs import attention_spec, common_spec, transformer_spec
from torch import Tensor, nn

from seqloom.config import ModelConfig
from seqloom.data.tokenizers import BOS, EOS, UNK, SentencePiece
from seqloom.export.shortlist import Shortlist, write_vmap
from seqloom.export.store import ABOUT, SHORTLIST, Export, make_export
from seqloom.export.transformer import transformer_of
from seqloom.files import copy_files, new_folder
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.sequence_to_sequence import SequenceToSequence
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import trained_model

ACTIVATIONS = {
    "relu": common_spec.Activation.RELU,
    "gelu": common_spec.Activation.GELU,
    "silu": common_spec.Activation.SWISH,
    "swiglu": common_spec.Activation.SWISH,
    "geglu": common_spec.Activation.GELU,
}
GATED = {"swiglu", "geglu"}

PLACES = 1024
"""Rows of the table of positions where the model knows no end, unless its longest output asks for more."""


def export_model(folder: ModelFolder, variant: str, proofs: dict[str, dict[str, Any]] | None = None) -> Export:
    """Exports a model, read with its weights, as one of ``VARIANTS`` to where its exports are kept."""
    setup = TranslatorSetup.from_folder(folder)
    model = trained_model(folder, setup)
    return make_export(
        folder, variant, places(setup), lambda path: write_ctranslate2(model, setup, path, variant), proofs
    )


def write_ctranslate2(
    model: SequenceToSequence, setup: TranslatorSetup, folder: Path, variant: str, shortlist: Shortlist | None = None
) -> None:
    """Writes ``model.bin``, ``config.json`` and the vocabularies into ``folder``, which is there.

    Args:
        model: the trained model, with parts that CTranslate2 has (``engine.missing_parts``).
        setup: its vocabularies.
        folder: an empty folder.
        variant: how the weights are stored: float32, bfloat16, or int8 with float32 for the rest.
        shortlist: for a variant that has one.
    """
    transformer, config = transformer_of(model, setup.model, "CTranslate2")
    rows = places(setup)
    with torch.inference_mode():
        spec = transformer_spec.TransformerSpec(
            _encoder(transformer, config, rows), _decoder(transformer, config, rows)
        )
        src, tgt = setup.src_tokenizer, setup.tgt_tokenizer
        target = tgt.pieces(range(tgt.vocab_size))
        spec.register_source_vocabulary(src.pieces(range(src.vocab_size)))
        spec.register_target_vocabulary(target)
        spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = (target[i] for i in (UNK, BOS, EOS))
        spec.config.decoder_start_token = target[BOS]
        spec.config.add_source_eos = True
        spec.config.layer_norm_epsilon = float(_first_norm(transformer).eps)
        spec.validate()
        kind = variant.removesuffix(SHORTLIST)
        spec.optimize(quantization="int8_float32" if kind == "int8" else kind)
        spec.save(str(folder))
    if shortlist is not None:
        write_vmap(shortlist, src.pieces(range(src.vocab_size)), target, folder / "vmap.txt")


def write_for_others(export: Export, setup: TranslatorSetup, out: Path) -> Path:
    """Copies an export into the folder ``out`` with the tokenizers and a README, for use without this program."""
    with new_folder(out) as new:
        copy_files(export.path, new, {ABOUT, "machines.json"})
        _, files = setup.describe()
        for name, content in files.items():
            (new / name).write_bytes(content)
        (new / "README.md").write_text(_readme(setup, export), encoding="utf-8")
    return out


SCRIPT = """import ctranslate2, sentencepiece, unicodedata
src = sentencepiece.SentencePieceProcessor("src.model")
tgt = sentencepiece.SentencePieceProcessor("{tgt}")
text = unicodedata.normalize("NFC", " ".join(input().split()))
found = ctranslate2.Translator(".").translate_batch([{tag}src.encode(text, out_type=str)], beam_size={beam}{more})
print(tgt.decode(found[0].hypotheses[0]))
"""


def _readme(setup: TranslatorSetup, export: Export) -> str:
    """How to use the folder, and what is known of it."""
    names = ", ".join(map(str, setup.directions)) or "-".join(setup.languages)
    parts = [f"# A translator ({names}) for CTranslate2, {export.variant}"]
    if isinstance(setup.src_tokenizer, SentencePiece) and isinstance(setup.tgt_tokenizer, SentencePiece):
        parts.append("Needs `pip install ctranslate2 sentencepiece`. Run in this folder, it translates one line:")
        parts.append(f"```python\n{_script(setup, export)}```")
    else:
        parts.append("The vocabulary is a list of words in JSON, `src.model`: texts have to be cut into these first.")
    if setup.directions:
        tags = ", ".join(direction.tag for direction in setup.directions)
        parts.append(f"The first token of a source says which language is wanted: {tags}.")
    for proof in export.proofs.values():
        plain, own = proof["float32"], proof[export.variant]
        parts.append(
            f"Beside float32, on {proof['sentences']:,} sentences, {proof['direction']}: BLEU {own['bleu']:.2f} and "
            f"{plain['bleu']:.2f}, chrF++ {own['chrf']:.2f} and {plain['chrf']:.2f}; {proof['changed']:.1%} of them "
            f"are translated otherwise. BLEU `{proof['signatures']['bleu']}`, chrF++ `{proof['signatures']['chrf']}`."
        )
    return "\n\n".join(parts) + "\n"


def _script(setup: TranslatorSetup, export: Export) -> str:
    _, files = setup.describe()
    alpha = setup.decoding.length_penalty
    more = ("" if alpha == 1 else f", length_penalty={alpha:g}") + (", use_vmap=True" if export.shortlist else "")
    tag = f'["{setup.directions[0].tag}"] + ' if setup.directions else ""
    tgt = "tgt.model" if "tgt.model" in files else "src.model"
    return SCRIPT.format(tgt=tgt, tag=tag, beam=setup.decoding.beam, more=more)


def places(setup: TranslatorSetup) -> int:
    """How many tokens an exported model can tell apart by their position."""
    needed = max(PLACES, setup.longest_source + 2, setup.decoding.max_length + 1)
    return needed if setup.model.places is None else min(needed, setup.model.places)


def _encoder(model: EncoderDecoder, config: ModelConfig, rows: int) -> transformer_spec.TransformerEncoderSpec:
    """``rows``: of the table of positions."""
    spec = transformer_spec.TransformerEncoderSpec(
        config.num_encoder_layers, num_source_embeddings=1, **_common(config)
    )
    _embed(spec.embeddings[0], model.src_embedding.table)
    spec.position_encodings.encodings = _table(model.encoder.positions, rows, config.d_model)
    _set_norm(getattr(spec, "layer_norm", None), model.encoder.norm)
    for layer, block in zip(spec.layer, list(model.encoder.blocks), strict=True):
        _self_attention(layer.self_attention, block.attention, block.attention_residual.norm)
        _feedforward(layer.ffn, block.feedforward, block.feedforward_residual.norm)
    return spec


def _decoder(model: EncoderDecoder, config: ModelConfig, rows: int) -> transformer_spec.TransformerDecoderSpec:
    """As :func:`_encoder`."""
    spec = transformer_spec.TransformerDecoderSpec(config.num_decoder_layers, **_common(config))
    _embed(spec.embeddings, model.tgt_embedding.table)
    if hasattr(spec, "position_encodings"):
        spec.position_encodings.encodings = _table(model.decoder.positions, rows, config.d_model)
    _set_norm(getattr(spec, "layer_norm", None), model.decoder.norm)
    spec.projection.weight = model.output.weight
    if model.output.bias is not None:
        spec.projection.bias = model.output.bias
    for layer, block in zip(spec.layer, model.decoder.layers(), strict=True):
        _self_attention(layer.self_attention, block.attention, block.attention_residual.norm)
        across = block.cross_attention
        _linear(layer.attention.linear[0], across.query)
        _linear(layer.attention.linear[1], across.key, across.value)
        _linear(layer.attention.linear[2], across.output)
        _set_norm(layer.attention.layer_norm, block.cross_attention_residual.norm)
        _feedforward(layer.ffn, block.feedforward, block.feedforward_residual.norm)
    return spec


def _common(config: ModelConfig) -> dict[str, Any]:
    """What encoder and decoder are made with."""
    return {
        "num_heads": config.num_heads,
        "pre_norm": config.norm == "pre",
        "activation": ACTIVATIONS[config.activation],
        "ffn_glu": config.activation in GATED,
        "rms_norm": config.normalization == "rms",
        "num_heads_kv": config.num_kv_heads or config.num_heads,
        **({"rotary_dim": 0, "rotary_interleave": True} if config.positions == "rotary" else {}),
    }


def _embed(spec: common_spec.EmbeddingsSpec, table: nn.Embedding) -> None:
    spec.weight = table.weight  # times sqrt(D), by scale_embeddings


def _table(positions: Any, rows: int, width: int) -> Tensor:
    """What an additive encoding adds at each of ``rows`` places; zeros for one that adds nothing."""
    added: Tensor = positions.embed(torch.zeros(1, rows, width), torch.arange(rows))[0]
    return added


def _self_attention(spec: attention_spec.MultiHeadAttentionSpec, attention: Any, norm: Any) -> None:
    _linear(spec.linear[0], attention.query, attention.key, attention.value)
    _linear(spec.linear[1], attention.output)
    _set_norm(spec.layer_norm, norm)


def _feedforward(spec: transformer_spec.FeedForwardSpec, feedforward: Any, norm: Any) -> None:
    if hasattr(spec, "linear_0_noact"):
        _linear(spec.linear_0, feedforward.gate)
        _linear(spec.linear_0_noact, feedforward.hidden)
    else:
        _linear(spec.linear_0, feedforward.hidden)
    _linear(spec.linear_1, feedforward.output)
    _set_norm(spec.layer_norm, norm)


def _linear(spec: common_spec.LinearSpec, *layers: Any) -> None:
    """Several layers of one input side by side, as one."""
    spec.weight = torch.cat([layer.weight for layer in layers])
    spec.bias = torch.cat([layer.bias for layer in layers])


def _set_norm(spec: common_spec.LayerNormSpec | None, norm: Any) -> None:
    if spec is not None:
        spec.gamma = norm.weight
        if hasattr(spec, "beta"):
            spec.beta = norm.bias


def _first_norm(model: EncoderDecoder) -> Any:
    return model.decoder.layers()[0].attention_residual.norm
