"""Training speed of this tree beside that of an earlier commit: the same batches, in turns.

    python benchmarks/against.py COMMIT [--rounds 5] [--steps 12] [--threads 2] [--model small|base]
                                 [--precision bfloat16] [--json]

The files of COMMIT are unpacked into a temporary folder; nothing of the repository changes. Both packages are
driven by this tree's ``contestants/ours.py``, or, where that cannot drive the old one, by its own; a commit that
neither can drive is refused. Against ``HEAD``, with nothing changed, it shows how far two equals are apart.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from contest import MODELS, SCRIPTS, Contest, MissedError, Player, Terms, end_gently, machine, speed, spread

ROOT = Path(__file__).parent.parent


def unpack(commit: str, folder: Path) -> None:
    """Writes the files of a commit.

    Raises:
        SystemExit: if there is none of that name.
    """
    packed = subprocess.run(["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        raise SystemExit(f"{commit}: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")


def player_of(folder: Path, terms: Terms) -> Player:
    """The package in ``folder``, ready to train.

    Raises:
        SystemExit: if it cannot be driven.
    """
    reasons = []
    for script in (SCRIPTS / "ours.py", folder / "benchmarks/contestants/ours.py"):
        try:
            return Player(script, sys.executable, terms, path=folder)
        except MissedError as error:
            reasons.append(str(error))
    raise SystemExit(f"{folder}: the package cannot be driven from here: {reasons[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="updates in a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--model", choices=MODELS, default="small")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    end_gently()
    missed: dict[str, str] = {}
    with ExitStack() as stack:
        earlier = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="against-")))
        unpack(options.commit, earlier)
        sizes = MODELS[options.model], options.threads, options.rounds, options.steps
        contest = stack.enter_context(Contest(*sizes))
        terms = contest.terms(options.precision)
        trees = {options.commit: earlier, "this tree": ROOT}
        players = {name: stack.enter_context(player_of(folder, terms)) for name, folder in trees.items()}
        turns = list(contest.turns(players, missed))
        memory = {name: turns[-1][name]["peak_memory"] for name in trees if name in turns[-1]}
    if missed:
        raise SystemExit("\n".join(f"{name}: {reason}" for name, reason in missed.items()))
    speeds = {name: [speed(turn[name]) for turn in turns] for name in trees}
    ratios = [new / old for old, new in zip(*speeds.values(), strict=True)]
    if options.json:
        print(json.dumps({"tokens_per_second": speeds, "ratios": ratios, "peak_memory": memory}))
        return
    print(f"{date.today()}, {machine()}, threads: {options.threads}, {options.model}, {options.precision}")
    for name, values in speeds.items():
        print(f"{name:<20}{spread(values)} tokens/s, {memory[name] / 2**20:,.0f} MiB")
    print(f"{'this tree is faster':<20}{spread(ratios, '.3f')} times, {statistics.stdev(ratios):.3f} apart")


if __name__ == "__main__":
    main()
