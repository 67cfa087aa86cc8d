"""EOLE: its model, its loss, and the training step of its Trainer.

What it does besides for each batch, reading and cutting text into tokens in processes of its own, is left out.
"""

from importlib.metadata import version

import eole.utils
import pyonmttok
import torch
from eole.config.run import TrainConfig
from eole.models.model import get_model_class
from eole.trainer import build_trainer
from eole.utils.optimizers import Optimizer
from stage import Batch, Contestant, Terms, perform

SPECIAL = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
CPU = -1


def prepare(terms: Terms) -> Contestant:
    torch.set_num_threads(terms.threads)
    pieces = [f"piece {number}" for number in range(terms.vocab_size - len(SPECIAL))]
    for name, place in sorted(zip(SPECIAL.values(), (terms.pad, terms.unk, terms.bos, terms.eos), strict=True)):
        pieces.insert(place, name)
    vocabulary = pyonmttok.build_vocab_from_tokens(pieces, maximum_size=terms.vocab_size)
    vocabularies = {"src": vocabulary, "tgt": vocabulary, "specials": SPECIAL, "decoder_start_token": "<s>"}
    config = TrainConfig(
        data={},
        src_vocab="none",
        tgt_vocab="none",
        share_vocab=True,
        decoder_start_token="<s>",
        **SPECIAL,
        model={
            "architecture": "transformer",
            "layers": terms.num_layers,
            "hidden_size": terms.d_model,
            "transformer_ff": terms.d_ff,
            "heads": terms.num_heads,
            "embeddings": {"word_vec_size": terms.d_model, "position_encoding_type": "SinusoidalInterleaved"},
            "share_embeddings": True,
            "share_decoder_embeddings": True,
            "generator_bias": False,
            "mlp_activation_fn": "relu",
            "add_qkvbias": True,
            "add_final_linear_bias": True,
            "add_ffnbias": True,
        },
        training={
            "optim": "adamw",
            "adam_beta1": terms.betas[0],
            "adam_beta2": terms.betas[1],
            "weight_decay": terms.weight_decay,
            "learning_rate": terms.learning_rate,
            "dropout": [terms.dropout],
            "attention_dropout": [terms.dropout],
            "label_smoothing": terms.label_smoothing,
            "max_grad_norm": terms.clip,
            "normalization": "tokens",
            "param_init_method": "xavier_uniform",
            "compute_dtype": "bf16" if terms.precision == "bfloat16" else "fp32",
        },
    )
    model = get_model_class(config.model).for_training(config.model, vocabularies, config.training, device_id=CPU)
    optimizer = Optimizer.from_config(model, config)
    trainer = build_trainer(config, CPU, model, vocabularies, optimizer)

    def update(batch: Batch) -> float:
        own = {
            "src": batch.src,
            "srclen": (batch.src != terms.pad).sum(1),
            "tgt": torch.cat([batch.tgt[:, :1], batch.targets], 1),
            "images": None,
            "prefix_len": None,
            "cid": ["multi30k"] * len(batch.src),
            "cid_line_number": range(len(batch.src)),
        }
        told = eole.utils.Statistics()
        for batches, normalization in trainer._accum_batches([(own, 0)]):
            trainer._train_step(batches, normalization, told, eole.utils.Statistics())
        return told.xent()

    return Contestant(update, sum(p.numel() for p in model.parameters()), f"EOLE {version('eole')}")


if __name__ == "__main__":
    perform(prepare)
