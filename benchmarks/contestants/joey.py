"""JoeyNMT: its model, its batches, its loss, and the training step of its TrainManager.

What it does besides for each batch, cutting text into tokens and looking them up, is left out.
"""

import random
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from joeynmt.batch import Batch as JoeyBatch
from joeynmt.config import parse_train_args
from joeynmt.model import build_model
from joeynmt.training import TrainManager
from joeynmt.vocabulary import Vocabulary
from stage import Batch, Contestant, Terms, make_batch, perform
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

UNK, PAD, BOS, EOS = range(4)
"""The order of its special tokens is fixed."""
SPECIAL = SimpleNamespace(
    unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>", sep_token=None, lang_tags=[],
    unk_id=UNK, pad_id=PAD, bos_id=BOS, eos_id=EOS,
)  # fmt: skip
CPU = torch.device("cpu")
BATCH_TOKENS = 4096


def transformer(terms: Terms) -> dict[str, Any]:
    stack = {
        "type": "transformer",
        "num_layers": terms.num_layers,
        "num_heads": terms.num_heads,
        "hidden_size": terms.d_model,
        "ff_size": terms.d_ff,
        "dropout": terms.dropout,
        "layer_norm": "pre",
        "embeddings": {"embedding_dim": terms.d_model, "scale": True, "dropout": terms.dropout},
    }
    return {"encoder": stack, "decoder": stack}


def recurrent(terms: Terms) -> dict[str, Any]:
    stack = {
        "type": "recurrent",
        "rnn_type": "lstm",
        "num_layers": terms.num_layers,
        "hidden_size": terms.d_model,
        "dropout": terms.dropout,
        "embeddings": {"embedding_dim": terms.d_model, "scale": True, "dropout": terms.dropout},
    }
    luong = {"attention": "luong", "input_feeding": True, "hidden_dropout": terms.dropout, "init_hidden": "last"}
    return {"encoder": {**stack, "hidden_size": terms.d_model // 2, "bidirectional": True}, "decoder": stack | luong}


STACKS = {"transformer": transformer, "recurrent": recurrent}


def prepare(terms: Terms) -> Contestant:
    torch.set_num_threads(terms.threads)
    vocabulary = Vocabulary([f"piece {number}" for number in range(terms.vocab_size - 4)], SPECIAL)
    sizes = {"tied_embeddings": True, "tied_softmax": True, **STACKS[terms.kind](terms)}
    model = build_model(sizes, vocabulary, vocabulary)
    model.loss_function = ("crossentropy", terms.label_smoothing)
    training = {
        "optimizer": "adamw",
        "adam_betas": terms.betas,
        "learning_rate": terms.learning_rate,
        "weight_decay": terms.weight_decay,
        "scheduling": "decaying",  # after each epoch: never here
        "normalization": "tokens",
        "label_smoothing": terms.label_smoothing,
        "clip_grad_norm": terms.clip,
        "batch_size": BATCH_TOKENS,
        "batch_type": "token",
    }
    halved = terms.precision == "bfloat16"
    manager = TrainManager(
        rank=0,
        model=model,
        model_dir=Path(tempfile.mkdtemp(dir=Path(terms.batches).parent)),
        device=CPU,
        autocast={"device_type": "cpu", "enabled": halved, "dtype": torch.bfloat16},
        train_args=parse_train_args(training),
    )
    own_ids = torch.arange(terms.vocab_size)
    own_ids[[terms.unk, terms.pad, terms.bos, terms.eos]] = torch.tensor([UNK, PAD, BOS, EOS])

    def update(batch: Batch) -> float:
        src, targets = own_ids[batch.src], own_ids[batch.targets]
        own = JoeyBatch(
            src=src,
            src_length=(src != PAD).sum(1),
            src_prompt_mask=None,
            trg=torch.cat([torch.full_like(targets[:, :1], BOS), targets], 1),
            trg_prompt_mask=None,
            indices=torch.arange(len(src)),
            device=CPU,
            pad_index=PAD,
            eos_index=EOS,
        )
        own.sort_by_src_length()  # as its loop does; recurrent encoders need it
        loss, _ = manager._train_step(own)
        manager.clip_grad_fun(parameters=model.parameters())
        manager.optimizer.step()
        model.zero_grad()
        return loss

    def rebatch(batches: Sequence[Batch]) -> list[Batch]:
        """In any order, each until its rows x its longest side reach the bound: as its TokenBatchSampler does."""
        sides = [pair for batch in batches for pair in zip(batch.src, batch.targets, strict=True)]
        random.shuffle(sides)
        groups: list[list[list[Tensor]]] = [[]]
        for pair in sides:
            groups[-1].append([side[side != terms.pad] for side in pair])
            if len(groups[-1]) * max(len(side) for row in groups[-1] for side in row) >= BATCH_TOKENS:
                groups.append([])
        groups = [group for group in groups if group]
        padded = [[pad_sequence(side, True, terms.pad) for side in zip(*group, strict=True)] for group in groups]
        return [make_batch(src, targets, terms) for src, targets in padded]

    remark = f"JoeyNMT {version('joeynmt')}; its loss is smaller by the entropy of the smoothed targets"
    if halved:
        remark += "; autocast as in its code, which its configuration does not allow on a CPU"
    if terms.own_batches:
        remark += "; the same pairs, but batches as it makes them"
    parameters = sum(p.numel() for p in model.parameters())
    return Contestant(update, parameters, remark, rebatch if terms.own_batches else list)


if __name__ == "__main__":
    perform(prepare)
