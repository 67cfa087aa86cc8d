"""Training speed beside a plain PyTorch loop: the same model, the same batches, one machine.

    python benchmarks/train.py [--rounds 3] [--steps 12] [--threads 2] [--json]

The plain loop is what a careful person writes from PyTorch's own parts: ``nn.Transformer`` with
its fused attention, tied embeddings, ``nn.functional.cross_entropy`` with label smoothing, fused
AdamW and clipping, in float32 and under bfloat16 autocast. The contestants take turns on the same
batches; figures are real target tokens a second, the median over the rounds.

Data: Multi30k en-de from ``$SEQLOOM_DATA`` (default ../shared/data).
"""

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqloom.config import load_config
from seqloom.data.batch import PairBatch
from seqloom.layers.positions import Sinusoidal
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training.loop import Meter, Trainer
from seqloom.training.process import arrange
from seqloom.training.timeline import Timeline

DATA = Path(os.environ.get("SEQLOOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
CPU = torch.device("cpu")


class PlainTransformer(nn.Module):
    """The same topology from ``torch.nn`` alone."""

    def __init__(self, task: Translate) -> None:
        super().__init__()
        config = task.model_config
        width = config.d_model
        self.embedding = nn.Embedding(task.src_tokenizer.vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.positions = Sinusoidal(width)
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = nn.Transformer(
            width, config.num_heads, config.num_encoder_layers, config.num_decoder_layers, config.d_ff,
            config.dropout, batch_first=True, norm_first=config.norm == "pre",
        )  # fmt: skip

    def embed(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)
        embedded: Tensor = self.dropout(self.positions.embed(x, torch.arange(tokens.size(1))))
        return embedded

    def forward(self, batch: PairBatch) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(batch.tgt.size(1)).isinf()
        hidden = self.transformer(
            self.embed(batch.src), self.embed(batch.tgt), tgt_mask=causal,
            src_key_padding_mask=~batch.src_mask, memory_key_padding_mask=~batch.src_mask, tgt_is_causal=True,
        )  # fmt: skip
        logits: Tensor = hidden @ self.embedding.weight.t()
        return logits


def plain_update(task: Translate, dtype: torch.dtype) -> Callable[[PairBatch], None]:
    """One update of the plain loop."""
    torch.manual_seed(1)
    model = PlainTransformer(task).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)

    def update(batch: PairBatch) -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = model(batch)
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1), batch.targets.flatten(), ignore_index=0, label_smoothing=0.1
            )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return update


class _Silent:
    """A display for nobody."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


def our_update(task: Translate, dtype: torch.dtype, folder: Path) -> Callable[[PairBatch], None]:
    """One update of ours, the trainer's own."""
    trainer = Trainer(task, task.config.training, folder, CPU, dtype, Timeline.of_steps(10_000), _Silent())
    trainer.model.train()

    def update(batch: PairBatch) -> None:
        trainer._update(iter([batch]), Meter())
        trainer.progress.step += 1

    return update


def prepare(folder: Path, model: dict[str, Any]) -> Translate:
    """The task on Multi30k en-de with an 8k joint vocabulary."""
    files = {"src": [str(DATA / "multi30k/train.en.gz")], "tgt": [str(DATA / "multi30k/train.de.gz")]}
    valid = {"valid_src": [str(DATA / "multi30k/val.en.gz")], "valid_tgt": [str(DATA / "multi30k/val.de.gz")]}
    flags = {f"data.{key}": value for key, value in {**files, **valid, "src_lang": "en", "tgt_lang": "de"}.items()}
    flags |= {f"model.{key}": value for key, value in model.items()}
    config = load_config(TranslateConfig, flags={**flags, "data.vocab_size": 8000, "data.batch_tokens": 4096})
    return Translate.prepare(config, folder / "data", lambda text: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="updates a contestant and round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    arrange(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task = prepare(
            folder, {"preset": "small", "dropout": 0.25, "attention_dropout": 0.25, "feedforward_dropout": 0.25}
        )
        contestants = {
            "seqloom, bfloat16": our_update(task, torch.bfloat16, folder),
            "plain loop, bfloat16": plain_update(task, torch.bfloat16),
            "seqloom, float32": our_update(task, torch.float32, folder),
            "plain loop, float32": plain_update(task, torch.float32),
        }
        stream = iter(task.training_batches())
        for update in contestants.values():
            update(next(stream))  # not counted: memory is taken, code is chosen
        speeds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            batches = [next(stream) for _ in range(options.steps)]
            tokens = sum(batch.num_targets for batch in batches)
            for name, update in contestants.items():
                start = time.perf_counter()
                for batch in batches:
                    update(batch)
                speeds[name].append(tokens / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    best_plain = max(medians[name] for name in medians if name.startswith("plain"))
    about = f"{date.today()}, {platform.machine()}, {options.threads} threads, PyTorch {torch.__version__}"
    if options.json:
        ratio = medians["seqloom, bfloat16"] / best_plain
        print(json.dumps({"about": about, "tokens_per_second": speeds, "medians": medians, "ratio": ratio}))
        return
    print(about)
    for name, values in speeds.items():
        figures = f"{medians[name]:>9,.0f} tokens/s  ({min(values):,.0f} to {max(values):,.0f})"
        print(f"{name:<24}{figures}  {medians[name] / best_plain:5.2f} x the best plain loop")


if __name__ == "__main__":
    main()
