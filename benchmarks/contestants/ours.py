"""Seqloom: the trainer's own update, in a process arranged as ``seqloom train`` arranges it.

It also drives earlier versions (``benchmarks/against.py``), so it touches as little of the package as it can.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from stage import Batch, Contestant, Terms, perform, read_batches

from seqloom.config import ModelConfig, TrainingConfig
from seqloom.data.batch import PairBatch, collate
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training.loop import Meter, Trainer
from seqloom.training.planning import Trial
from seqloom.training.process import arrange
from seqloom.training.timeline import Timeline

try:
    from seqloom.training import allocator
except ImportError:  # an earlier version
    allocator = None


class Given(Translate):
    """Translation with the batches of the contest."""

    given: list[Batch]

    def training_batches(self) -> Any:
        return Endless(self.given)


class Endless:
    """The batches over and over, for the trial of how many workers are fastest."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[PairBatch]:
        while True:
            yield from map(pair_batch, self.batches)


class Silent:
    """A display for nobody."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


class Side(NamedTuple):
    """One side of a corpus that is one batch: ids as if padded after the begin, or before the end."""

    begun: Any
    ended: Any

    def padded(self, rows: Any, pad: int, before: int | None = None, after: int | None = None, **taken: slice) -> Any:
        return self.begun if after is None else self.ended


def pair_batch(batch: Batch) -> PairBatch:
    src, tgt, targets = (side.numpy() for side in (batch.src, batch.tgt, batch.targets))
    pairs: Any = SimpleNamespace(src=Side(None, src), tgt=Side(tgt, targets))
    return collate(pairs, np.arange(len(src)))


def transformer(terms: Terms) -> Any:
    return ModelConfig.model_validate(
        {
            "d_model": terms.d_model,
            "d_ff": terms.d_ff,
            "num_heads": terms.num_heads,
            "num_layers": terms.num_layers,
            "norm": "pre",
            "dropout": terms.dropout,
            "attention_dropout": terms.dropout,
            "feedforward_dropout": terms.dropout,
        }
    )


def recurrent(terms: Terms) -> Any:
    from seqloom.config import RecurrentConfig  # earlier versions have none

    sizes = {"d_model": terms.d_model, "num_layers": terms.num_layers, "dropout": terms.dropout}
    return RecurrentConfig.model_validate(sizes)


CONFIGS = {"transformer": transformer, "recurrent": recurrent}


def prepare(terms: Terms) -> Contestant:
    if allocator is not None:
        allocator._is_program = lambda: True  # else it starts only the command line again
        allocator.restart()
    arrange(terms.threads)
    model = CONFIGS[terms.kind](terms)
    training = TrainingConfig(
        learning_rate=terms.learning_rate,
        betas=terms.betas,
        weight_decay=terms.weight_decay,
        label_smoothing=terms.label_smoothing,
        clip=terms.clip,
        warmup=0,
    )
    config = TranslateConfig(model=model, training=training)
    vocabulary: Any = SimpleNamespace(vocab_size=terms.vocab_size)
    setup = TranslatorSetup(model, vocabulary, vocabulary, ("en", "de"), 256, config.decoding)
    task = Given(setup, config=config)
    task.given = read_batches(terms)
    display: Any = Silent()
    where = Path(terms.batches).parent, torch.device("cpu"), terms.dtype
    workers = Trial(*where, display).workers(task, config)
    trainer = Trainer(task, training, *where, Timeline.of_steps(10**9), display, workers=workers)
    trainer.model.train()

    def update(batch: Batch) -> float:
        meter = Meter()
        trainer._update(iter([pair_batch(batch)]), meter)
        trainer.progress.step += 1
        return meter.loss / meter.tokens

    remark = f"workers: {workers}, allocator: {allocator.in_use() if allocator else 'glibc'}"
    return Contestant(update, sum(p.numel() for p in trainer.model.parameters()), remark)


if __name__ == "__main__":
    perform(prepare)
