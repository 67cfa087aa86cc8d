"""Marian in Hugging Face's format, both ways: our models for its library, and OPUS-MT and its like for us.

Theirs is the Transformer of the paper with the channels of its positions in another order: first all
sines, then all cosines. The order of channels is a matter of convention, so a model is carried over
exactly by putting the channels of everything that reads or writes the residual stream in the other
order. Their decoder starts from padding, and adds a number to the score of each token.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqloom.config import ModelConfig, NetworkConfig
from seqloom.models.encoder_decoder import EncoderDecoder

FUNCTIONS = {"relu": "relu", "gelu": "gelu", "silu": "swish"}
"""Activations by our names, and theirs."""

NEVER = -1e4
"""What is added to the score of a token that is never said; minus infinity would make sums of scores useless."""


class Layer(NamedTuple):
    """A linear layer or a norm, by both names."""

    ours: str
    theirs: str
    reads: bool
    """Whether it reads the residual stream."""
    writes: bool
    """Whether what it gives goes there."""


def layers(config: ModelConfig) -> Iterator[Layer]:
    """Everything between the embeddings and the projection."""
    for stack, count in (("encoder", config.num_encoder_layers), ("decoder", config.num_decoder_layers)):
        for number in range(count):
            ours, theirs = f"{stack}.blocks.{number}", f"model.{stack}.layers.{number}"
            attentions = [("attention", "self_attn")] + [("cross_attention", "encoder_attn")] * (stack == "decoder")
            for own, other in attentions:
                for role, name in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
                    yield Layer(f"{ours}.{own}.{role}", f"{theirs}.{other}.{name}", True, False)
                yield Layer(f"{ours}.{own}.output", f"{theirs}.{other}.out_proj", False, True)
                yield Layer(f"{ours}.{own}_residual.norm", f"{theirs}.{other}_layer_norm", False, True)
            yield Layer(f"{ours}.feedforward.hidden", f"{theirs}.fc1", True, False)
            yield Layer(f"{ours}.feedforward.output", f"{theirs}.fc2", False, True)
            yield Layer(f"{ours}.feedforward_residual.norm", f"{theirs}.final_layer_norm", False, True)


def sines_first(width: int) -> Tensor:
    """The order of channels in which ours become theirs."""
    return torch.cat([torch.arange(0, width, 2), torch.arange(1, width, 2)])


def not_marian(config: NetworkConfig) -> str:
    """What of a model Marian has not, as settings; empty if it is one."""
    known: dict[str, set[Any]] = {
        "kind": {"transformer"},
        "norm": {"post"},
        "positions": {"sinusoidal"},
        "normalization": {"layer"},
        "activation": set(FUNCTIONS),
        "num_kv_heads": {None, getattr(config, "num_heads", None)},
        "score": {"scaled_dot"},
        "tied_embeddings": {"all", "output", "none"},
    }
    return ", ".join(config.beyond(known))


def to_marian(model: EncoderDecoder, config: ModelConfig) -> dict[str, Tensor]:
    """The weights of a model for which ``not_marian`` is empty, by their names."""
    order = sines_first(config.d_model)
    found: dict[str, Tensor] = {}
    for layer in layers(config):
        module: Any = model.get_submodule(layer.ours)
        weight, bias = module.weight, module.bias
        if layer.reads:
            weight = weight[:, order]
        if layer.writes:
            weight, bias = weight[order], bias[order]
        found |= {f"{layer.theirs}.weight": weight, f"{layer.theirs}.bias": bias}
    src, tgt, output = (
        table.weight[:, order] for table in (model.src_embedding.table, model.tgt_embedding.table, model.output)
    )
    if config.tied_embeddings == "all":
        found["model.shared.weight"] = src
    else:
        found |= {"model.encoder.embed_tokens.weight": src, "model.decoder.embed_tokens.weight": tgt}
    if config.tied_embeddings == "none":
        found["lm_head.weight"] = output
    bias = torch.zeros(len(output)) if model.output.bias is None else model.output.bias
    found["final_logits_bias"] = bias[None]
    return {name: tensor.detach().contiguous() for name, tensor in found.items()}


def from_marian(
    weights: Mapping[str, Tensor], config: ModelConfig, src_rows: list[int], tgt_rows: list[int], silent: list[int]
) -> dict[str, Tensor]:
    """Their weights by our names, for a model of ``config``.

    Args:
        weights: as in their file.
        config: its sizes, with ``output_bias``.
        src_rows: for each of our source tokens the row of theirs.
        tgt_rows: likewise of the target.
        silent: target tokens that are never said.

    Raises:
        KeyError: for weights that are not there.
    """
    order = sines_first(config.d_model).argsort()
    found: dict[str, Tensor] = {}
    for layer in layers(config):
        weight, bias = weights[f"{layer.theirs}.weight"], weights[f"{layer.theirs}.bias"]
        if layer.reads:
            weight = weight[:, order]
        if layer.writes:
            weight, bias = weight[order], bias[order]
        found |= {f"{layer.ours}.weight": weight, f"{layer.ours}.bias": bias}
    shared = weights.get("model.shared.weight")
    src = weights.get("model.encoder.embed_tokens.weight", shared)
    tgt = weights.get("model.decoder.embed_tokens.weight", shared)
    if src is None or tgt is None:
        raise KeyError("model.shared.weight")
    found["src_embedding.table.weight"] = src[src_rows][:, order]
    if config.tied_embeddings != "all":
        found["tgt_embedding.table.weight"] = tgt[tgt_rows][:, order]
    if config.tied_embeddings == "none":
        found["output.weight"] = weights["lm_head.weight"][tgt_rows][:, order]
    added = weights.get("final_logits_bias", torch.zeros(1, len(tgt)))[0][tgt_rows]
    added[silent] = NEVER
    found["output.bias"] = added
    return {name: tensor.float().contiguous() for name, tensor in found.items()}
