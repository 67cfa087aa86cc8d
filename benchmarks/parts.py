"""What each part of a model costs: the time of a training step and of a decoding step beside the default's.

    python benchmarks/parts.py [--rounds 12] [--threads 1] [--precision bfloat16] [--only positions]

The preset ``small`` with 8,000 pieces and one part changed. All take turns, in another order each
round, on one random batch of 3,072 padded tokens (sentences of 16 to 25); decoding steps are those
of 16 sentences with 4 hypotheses each, 40 tokens long. The best time of each counts, for the others
tell what else the machine did.
"""

import argparse
import os
import platform
import random
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import torch

from seqloom.config import ModelConfig
from seqloom.layers.feedforward import ACTIVATIONS
from seqloom.layers.linear import LINEARS
from seqloom.layers.normalization import NORMALIZATIONS
from seqloom.layers.positions import POSITIONS
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.training.process import arrange

V, ROWS, LENGTH = 8000, 122, 25
SENTENCES, BEAM, TOKENS = 16, 4, 40

# A gated layer has three matrices: at two thirds of the width it has as many parameters.
WIDTHS = {"swiglu": {"d_ff": 683}, "geglu": {"d_ff": 683}}

CHANGES: list[dict[str, Any]] = [
    {},
    *({"positions": name} for name in POSITIONS if name != "sinusoidal"),
    {"norm": "post"},
    *({"normalization": name} for name in NORMALIZATIONS if name != "layer"),
    *({"linear": name} for name in LINEARS if name != "plain"),
    *({"activation": name, **WIDTHS.get(name, {})} for name in ACTIVATIONS if name != "relu"),
    {"num_kv_heads": 2},
    {"num_kv_heads": 1},
]


def contestant(change: dict[str, Any], precision: torch.dtype) -> tuple[Callable[[], None], Callable[[], None]]:
    """A training step and a decoding of a model."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    model = EncoderDecoder(ModelConfig.model_validate({"preset": "small", **change}), V, V)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    src, tgt = (torch.randint(3, V, (ROWS, LENGTH), generator=generator) for _ in range(2))
    mask = torch.arange(LENGTH) < torch.randint(16, LENGTH + 1, (ROWS, 1), generator=generator)

    def train() -> None:
        model.train()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = model.loss(src, tgt, tgt.roll(-1, 1), mask, mask.flatten().nonzero()[:, 0], 0.1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def decode() -> None:
        model.eval()
        first, rows = torch.arange(SENTENCES).repeat_interleave(BEAM), torch.arange(SENTENCES * BEAM)
        with torch.inference_mode():
            state = model.start(src[:SENTENCES], mask[:SENTENCES])
            model.step(tgt[:SENTENCES, 0], state)
            state.reorder(first)
            for step in range(1, TOKENS):
                model.step(tgt[first, step % LENGTH], state)
                state.reorder(rows)

    return train, decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16", help="of training")
    parser.add_argument("--only", default="", help="a key of the model: leave out what changes others")
    options = parser.parse_args()
    arrange(options.threads)
    changes = [change for change in CHANGES if not change or options.only in ("", next(iter(change)))]
    contestants = [contestant(change, getattr(torch, options.precision)) for change in changes]
    best = [[float("inf")] * 2 for _ in changes]
    turns = list(range(len(changes)))
    shuffle = random.Random(1).shuffle
    for counted in [False, *[True] * options.rounds]:
        shuffle(turns)
        for turn in turns:
            for kind, run in enumerate(contestants[turn]):
                start = time.perf_counter()
                run()
                if counted:
                    best[turn][kind] = min(best[turn][kind], time.perf_counter() - start)
    print(
        f"{date.today()}, {platform.machine()}, {options.threads} of {os.cpu_count()} threads, "
        f"{options.precision}, PyTorch {torch.__version__}"
    )
    print(f"{'':<24}{'training step':>20}{'decoding step':>20}")
    for change, (train, decode) in zip(changes, best, strict=True):
        name = "=".join(map(str, next(iter(change.items())))) if change else "the default"
        trained = f"{1e3 * train:.0f} ms {train / best[0][0]:5.2f}"
        print(f"{name:<24}{trained:>20}{f'{1e3 * decode / TOKENS:.1f} ms {decode / best[0][1]:5.2f}':>20}")


if __name__ == "__main__":
    main()
