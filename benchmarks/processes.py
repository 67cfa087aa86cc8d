"""What several processes gain, what they wait for, and what that would come to on many GPUs.

    python benchmarks/processes.py [--processes 1,2,4] [--rounds 3] [--steps 60] [--set KEY=VALUE]

Real trainings by torchrun on Multi30k en-de, the processes with one thread each, by turns. Target tokens/s are those of
all together, the median over the lines of the log; `exchange` is the share of the time in which a process adds up
gradients with the others, or waits for them. The bytes that each sends in an update are those of a ring (Patarasu and
Yuan 2009): 2 (N - 1) / N of the gradients.

On paper an update of N processes takes t(1) / N to calculate, and bytes / bandwidth to exchange, with nothing at the
same time. The bandwidth is the one that explains two processes; the table shows what that foretells for more, and what
came. With GPUs the same model has the figures of `GPU`.

Data: Multi30k en-de from ``$SEQLOOM_DATA`` (default ../shared/data).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path(os.environ.get("SEQLOOM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "multi30k"

FLOPS = 400e12
"""Products a second of one GPU: 40 % of the bfloat16 peak of an H100."""
NEAR, FAR = 300e9, 40e9
"""Bytes a second that a GPU sends: to others in its machine, and through the network."""
IN_MACHINE = 8
TOKENS = 25_000
"""Target tokens that each GPU takes of a batch; as many source tokens."""


def train(count: int, steps: int, settings: list[str], folder: Path) -> tuple[float, float, float, int]:
    """Target tokens/s, seconds of an update, share of them in exchange, and parameters, of one training."""
    data = {"--src": "train.en.gz", "--tgt": "train.de.gz", "--valid-src": "val.en.gz", "--valid-tgt": "val.de.gz"}
    options = [text for option, name in data.items() for text in (option, str(DATA / name))]
    options += ["--src-lang", "en", "--tgt-lang", "de", "--steps", str(steps), "--threads", "1"]
    options += [text for setting in ("training.workers=1", *settings) for text in ("--set", setting)]
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
    command = [sys.executable, *launch, "-m", "seqloom", "train", str(folder), *options, "--json"]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    if ran.returncode:
        sys.exit(ran.stderr)
    parameters = json.loads(ran.stdout)["parameters"]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if "loss" in line]
    tokens = (lines[-1]["tokens"] - lines[0]["tokens"]) / (lines[-1]["step"] - lines[0]["step"])
    speed = statistics.median(line["tokens_per_second"] for line in lines[1:])
    return speed, tokens / speed, statistics.median(line.get("exchange", 0.0) for line in lines[1:]), parameters


def sent(count: int, parameters: int) -> float:
    """Bytes that each process sends in an update."""
    return 2 * (count - 1) / count * 4 * parameters


def measured(counts: list[int], rounds: int, steps: int, settings: list[str]) -> None:
    found: dict[int, list[tuple[float, float, float, int]]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(rounds):
            for count in counts:
                found[count].append(train(count, steps, settings, Path(temporary, f"{count}-{number}")))
                print(f"{count} processes: {found[count][-1][0]:,.0f} target tokens/s", file=sys.stderr)
    middle = {count: [statistics.median(column) for column in zip(*each, strict=True)] for count, each in found.items()}
    parameters = int(middle[counts[0]][3])
    alone, pair = middle[1][1], middle.get(2)
    bandwidth = sent(2, parameters) / max(1e-9, pair[1] - alone / 2) if pair else None
    print(f"\n{parameters / 1e6:.1f} M parameters, {os.cpu_count()} cores, {rounds} rounds of {steps} steps\n")
    print("| processes | target tokens/s | of each | update | on paper | exchange | each sends |")
    print("|---|---|---|---|---|---|---|")
    for count, (speed, seconds, exchange, _) in middle.items():
        here = min(count, os.cpu_count() or 1)
        paper = alone / here + (sent(count, parameters) / bandwidth if bandwidth else 0.0)
        print(
            f"| {count} | {speed:,.0f} | {speed / count:,.0f} | {1e3 * seconds:,.0f} ms | {1e3 * paper:,.0f} ms "
            f"| {exchange:.1%} | {sent(count, parameters) / 1e6:,.1f} MB |"
        )


def on_paper() -> None:
    print("\n| GPUs | 61 M parameters | 209 M | 1,000 M |\n|---|---|---|---|")
    for count in (1, 8, 64, 512):
        shares = []
        for parameters in (61e6, 209e6, 1e9):
            seconds = 6 * parameters * TOKENS / FLOPS
            exchange = sent(count, int(parameters)) / (NEAR if count <= IN_MACHINE else FAR)
            tokens = count * TOKENS / (seconds + exchange)
            shares.append(f"{tokens / 1e6:,.1f} M tokens/s ({seconds / (seconds + exchange):.0%})")
        print(f"| {count} | {' | '.join(shares)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    measured([int(each) for each in options.processes.split(",")], options.rounds, options.steps, options.settings)
    on_paper()


if __name__ == "__main__":
    main()
