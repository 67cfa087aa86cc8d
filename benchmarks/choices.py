"""Which positions, norms, activations and optimizers learn most in the same time? Multi30k, several seeds.

    SEQLOOM_DATA=../shared/data python benchmarks/choices.py OUT [--budget 5m] [--seeds 3] [--jobs 2] [--only muon]

Every choice is trained with `--budget` on one thread, sizes and rates alike, one thing changed; as
many side by side as there are jobs, the seeds in turn, so that what else the machine does falls on
all of them. Runs are kept in the folder OUT and not made twice. The table is of greedy validation
BLEU: the mean, and the standard deviation over the seeds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BASE = {
    "model.d_model": 128,
    "model.d_ff": 512,
    "model.num_heads": 4,
    "model.num_layers": 4,
    "model.norm": "pre",
    "model.dropout": 0.1,
    "data.vocab_size": 6500,
    "data.joint_vocab": "true",
    "data.batch_tokens": 2048,
    "data.max_length": 100,
    "training.learning_rate": 3e-3,
    "training.warmup": 300,
    "training.schedule": "linear",
    "training.workers": 1,
}

CHOICES: dict[str, dict[str, str | float]] = {
    "base: sinusoidal, pre-norm, LayerNorm, ReLU, AdamW, linear": {},
    **{
        f"positions {name}": {"model.positions": name}
        for name in ("learned", "rotary", "alibi", "t5", "shaw", "index", "random", "none")
    },
    "post-norm": {"model.norm": "post"},
    "RMSNorm": {"model.normalization": "rms"},
    "weight-normalised linear layers": {"model.linear": "weight_norm"},
    "GELU": {"model.activation": "gelu"},
    # A gated layer has three matrices: at two thirds of the width it has as many parameters.
    "SwiGLU": {"model.activation": "swiglu", "model.d_ff": 341},
    "GEGLU": {"model.activation": "geglu", "model.d_ff": 341},
    "one head of keys and values": {"model.num_kv_heads": 1},
    "Adam": {"training.optimizer": "adam"},
    "Muon": {"training.optimizer": "muon"},
    "cosine": {"training.schedule": "cosine"},
    "warmup, stable, decay": {"training.schedule": "wsd"},
    "EMA": {"training.ema": 0.995},
    "R-Drop": {"training.consistency": 1.0},
    "BPE dropout": {"data.subword_dropout": 0.05},
}


def train(folder: Path, settings: dict[str, str | float], budget: str, seed: int) -> tuple[float, int]:
    """BLEU and steps of one run."""
    data = Path(os.environ.get("SEQLOOM_DATA", "../shared/data")) / "multi30k"
    files = {"src": "train.en", "tgt": "train.de", "valid-src": "val.en", "valid-tgt": "val.de"}
    command = [sys.executable, "-m", "seqloom", "train", str(folder), "--src-lang", "en", "--tgt-lang", "de"]
    command += ["--budget", budget, "--seed", str(seed), "--threads", "1", "--json"]
    for option, name in files.items():
        command += [f"--{option}", str(data / f"{name}.gz")]
    for key, value in {**BASE, **settings}.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{folder}: {done.stderr[-500:]}")
    summary = json.loads(done.stdout)
    return summary["scores"]["valid"]["bleu"], summary["steps"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="choices whose names hold this, beside the base")
    options = parser.parse_args()
    chosen = {name: change for name, change in CHOICES.items() if options.only in name or not change}

    def run(job: tuple[int, str]) -> tuple[str, float, int]:
        seed, name = job
        folder = options.out / f"{name.split(':')[0].replace(' ', '-').replace(',', '')}-{seed}"
        bleu, steps = train(folder, chosen[name], options.budget, seed)
        print(f"{name}, seed {seed}: {bleu:.2f} after {steps:,} steps", file=sys.stderr, flush=True)
        return name, bleu, steps

    jobs = [(seed, name) for seed in range(1, options.seeds + 1) for name in chosen]
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run, jobs))
    print("\n".join(table(results, list(chosen))))


def table(results: list[tuple[str, float, int]], names: list[str]) -> Iterator[str]:
    """Rows of Markdown."""
    yield "| choice | validation BLEU | spread | steps |"
    yield "|---|---|---|---|"
    for name in names:
        scores = [bleu for found, bleu, _ in results if found == name]
        steps = [steps for found, _, steps in results if found == name]
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        yield f"| {name} | {statistics.mean(scores):.1f} | {spread:.1f} | {statistics.mean(steps):,.0f} |"


if __name__ == "__main__":
    main()
