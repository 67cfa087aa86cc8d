"""JoeyNMT's own search, with its own model, which is given the weights in memory.

Greedy search comes to the same texts as Seqloom's. Its beam search cannot be made to: a hypothesis of length n
scores log-probability / ((5 + n) / 6)^alpha, hypotheses of one length are chosen by that score, and one that has
ended keeps its place in the beam, while elsewhere the search goes on with as many that have not. So it finds another
text now and then; its ``alpha`` is the length penalty of the others.
"""

import json
from collections.abc import Iterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import torch
from booth import BOS, EOS, PAD, UNK, Contestant, Pieces, Terms, in_batches, padded, perform
from joeynmt.batch import Batch
from joeynmt.model import build_model
from joeynmt.search import search
from joeynmt.vocabulary import Vocabulary
from safetensors.torch import load_file
from torch import Tensor, nn

OWN_UNK, OWN_PAD = range(2)
"""Where its own begins otherwise: UNK, PAD, BOS, EOS, which is fixed."""
SPECIAL = SimpleNamespace(
    unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>", sep_token=None, lang_tags=[],
    unk_id=OWN_UNK, pad_id=OWN_PAD, bos_id=BOS, eos_id=EOS,
)  # fmt: skip

KNOWN = {
    "positions": ("sinusoidal",),
    "normalization": ("layer",),
    "activation": ("relu",),
    "num_kv_heads": (None,),
    "tied_embeddings": ("all", "output", "none"),
    "output_bias": (False,),
}
"""The settings that a model must have to be one of its own; what an old folder does not name is the first."""

ROLES = {".q_layer": ".query", ".k_layer": ".key", ".v_layer": ".value", ".output_layer": ".output"}
FEEDFORWARD = {
    "feed_forward.pwff_layer.0": "feedforward.hidden",
    "feed_forward.pwff_layer.3": "feedforward.output",
    "feed_forward.layer_norm": "feedforward_residual.norm",
}
PARTS = {
    "encoder": {"src_src_att": "attention", "layer_norm": "attention_residual.norm", **FEEDFORWARD},
    "decoder": {
        "trg_trg_att": "attention",
        "x_layer_norm": "attention_residual.norm",
        "src_trg_att": "cross_attention",
        "dec_layer_norm": "cross_attention_residual.norm",
        **FEEDFORWARD,
    },
}
"""The layers of a block by its names, and by Seqloom's."""


def prepare(terms: Terms) -> Contestant:
    torch.set_num_threads(terms.threads)
    pieces = Pieces(terms)
    model = convert(terms)

    def searched(rows: list[list[int]], beam: int) -> list[list[int]]:
        src = swapped(torch.tensor(padded(rows, PAD)))
        batch = Batch(
            src=src,
            src_length=(src != OWN_PAD).sum(1),
            src_prompt_mask=None,
            trg=None,
            trg_prompt_mask=None,
            indices=torch.arange(len(src)),
            device=torch.device("cpu"),
            pad_index=OWN_PAD,
            eos_index=EOS,
            is_train=False,
        )
        found, _, _ = search(
            model, batch, terms.max_length, beam_size=beam, beam_alpha=terms.length_penalty, min_output_length=0
        )
        answers: list[list[int]] = swapped(torch.from_numpy(found)).tolist()
        return answers

    def translate(texts: list[str], beam: int, batch: int) -> list[str]:
        return pieces.decode(in_batches(lambda rows: searched(rows, beam), pieces.encode(texts), batch, len))

    remark = f"JoeyNMT {version('joeynmt')}, PyTorch {torch.__version__}; another beam search: see its script"
    return Contestant(translate, remark)


def convert(terms: Terms) -> nn.Module:
    """Its model with the weights of the model folder.

    Raises:
        SystemExit: for a model that it has not.
    """
    about = json.loads((terms.model / "config.json").read_text(encoding="utf-8"))
    config = about["model"]
    unknown = [
        f"model.{key} = {config[key]!r}" for key, known in KNOWN.items() if config.get(key, known[0]) not in known
    ]
    if unknown:
        raise SystemExit(f"JoeyNMT has no {', '.join(unknown)}")
    sides = {}
    for side in ("encoder", "decoder"):
        sides[side] = {
            "type": "transformer",
            "num_layers": config[f"num_{side}_layers"],
            "num_heads": config["num_heads"],
            "hidden_size": config["d_model"],
            "ff_size": config["d_ff"],
            "dropout": 0.0,
            "layer_norm": config["norm"],
            "activation": config["activation"],
            "embeddings": {"embedding_dim": config["d_model"], "scale": True, "dropout": 0.0},
        }
    shared = config["tied_embeddings"] == "all"
    src, tgt = (Vocabulary([f"piece {n}" for n in range(size - 4)], SPECIAL) for size in about["vocab_sizes"])
    tied = {"tied_embeddings": shared, "tied_softmax": config["tied_embeddings"] != "none"}
    model = build_model({**sides, **tied}, src, src if shared else tgt)
    weights = load_file(terms.model / "model.safetensors")
    with torch.no_grad():
        for own, ours in names(config):
            weight = weights[ours]
            table = own.endswith("lut.weight") or own == "decoder.output_layer.weight"
            model.get_parameter(own).copy_(weight[swapped(torch.arange(len(weight)))] if table else weight)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5  # as the weights were trained; its own is 1e-6
    return model.eval()


def swapped(ids: Tensor) -> Tensor:
    """Ids of one of the two orders in the other."""
    return torch.where(ids < BOS, UNK - ids, ids)


def names(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Its name of each parameter, and Seqloom's."""
    layers = {"src_embed.lut": "src_embedding.table"}
    if config["tied_embeddings"] != "all":
        layers["trg_embed.lut"] = "tgt_embedding.table"
    yield from ((f"{own}.weight", f"{ours}.weight") for own, ours in layers.items())
    if config["tied_embeddings"] == "none":
        yield "decoder.output_layer.weight", "output.weight"
    layers = {}
    for side, parts in PARTS.items():
        for number in range(config[f"num_{side}_layers"]):
            for own, ours in parts.items():
                roles = ROLES if own.endswith("_att") else {"": ""}
                for own_role, role in roles.items():
                    layers[f"{side}.layers.{number}.{own}{own_role}"] = f"{side}.blocks.{number}.{ours}{role}"
        if config["norm"] == "pre":
            layers[f"{side}.layer_norm"] = f"{side}.norm"
    yield from ((f"{own}.{kind}", f"{ours}.{kind}") for own, ours in layers.items() for kind in ("weight", "bias"))


if __name__ == "__main__":
    perform(prepare)
