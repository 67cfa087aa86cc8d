"""Does training in bfloat16 learn as well as in float32? Multi30k, several seeds, the same steps.

    SEQLOOM_DATA=../shared/data python benchmarks/precision.py OUT [--steps 800] [--seeds 3] [--threads 2]

Both train on the same batches from the same weights with the same dropout; only the type of the matrix
products differs. Runs are kept in the folder OUT and not made twice. The table has the loss of the last
tenth of the training, the validation loss and greedy validation BLEU: mean and standard deviation over
the seeds, and the difference seed by seed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SETTINGS = {
    "model.d_model": 128,
    "model.d_ff": 512,
    "model.num_heads": 4,
    "model.num_layers": 3,
    "model.norm": "pre",
    "model.dropout": 0.1,
    "model.attention_dropout": 0.1,
    "model.feedforward_dropout": 0.1,
    "data.vocab_size": 6500,
    "data.joint_vocab": "true",
    "data.batch_tokens": 2048,
    "training.learning_rate": 3e-3,
    "training.warmup": 200,
}
PRECISIONS = "float32", "bfloat16"
FIGURES = "training loss", "validation loss", "BLEU"


def train(folder: Path, precision: str, seed: int, steps: int, threads: int) -> tuple[float, ...]:
    """The figures of one run."""
    data = Path(os.environ.get("SEQLOOM_DATA", "../shared/data")) / "multi30k"
    files = {"src": "train.en", "tgt": "train.de", "valid-src": "val.en", "valid-tgt": "val.de"}
    command = [sys.executable, "-m", "seqloom", "train", str(folder), "--src-lang", "en", "--tgt-lang", "de"]
    command += ["--steps", str(steps), "--seed", str(seed), "--threads", str(threads), "--json"]
    for option, name in files.items():
        command += [f"--{option}", str(data / f"{name}.gz")]
    for key, value in {**SETTINGS, "training.precision": precision, "training.validate_every": steps}.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{folder}: {done.stderr[-500:]}")
    scores = json.loads(done.stdout)["scores"]["valid"]
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [record["loss"] for record in records if "loss" in record and record["step"] > 0.9 * steps]
    return statistics.mean(losses), scores["valid_loss"], scores["bleu"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, ...]]] = {precision: [] for precision in PRECISIONS}
    for seed in range(1, options.seeds + 1):
        for precision in PRECISIONS:
            folder = options.out / f"{precision}-{seed}"
            found[precision].append(train(folder, precision, seed, options.steps, options.threads))
            print(precision, seed, *(f"{value:.3f}" for value in found[precision][-1]), file=sys.stderr)
    if options.json:
        print(json.dumps({"figures": FIGURES, **found}))
        return
    print("| | " + " | ".join(FIGURES) + " |\n|" + "---|" * (len(FIGURES) + 1))
    for precision, runs in found.items():
        columns = [f"{statistics.mean(column):.3f} ± {_spread(column):.3f}" for column in zip(*runs, strict=True)]
        print(f"| {precision} | " + " | ".join(columns) + " |")
    pairs = zip(*(found[precision] for precision in PRECISIONS), strict=True)
    gaps = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairs]
    columns = [f"{statistics.mean(column):+.3f} ± {_spread(column):.3f}" for column in zip(*gaps, strict=True)]
    print("| difference, seed by seed | " + " | ".join(columns) + " |")


def _spread(values: tuple[float, ...]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
