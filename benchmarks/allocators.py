"""What a training gains from the way its memory is handed out, and what it costs in memory.

    python benchmarks/allocators.py [--rounds 2] [--steps 150] [--threads 2] [--only "nothing done"] [--set KEY=VALUE]

A real `seqloom train` of the preset ``small`` with 8,000 pieces on batches of 4,096 tokens of Multi30k en-de, with a
validation in the middle, in a process of its own for each way, by turns. Target tokens/s are the median over the
lines of the log; processor seconds, page faults and the peak of resident memory are those of the whole process. A
library that is not in one of the loader's folders is found through LD_LIBRARY_PATH; one that is missing is glibc.

Data: Multi30k en-de from ``$SEQLOOM_DATA`` (default ../shared/data).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from seqloom.training import allocator
from seqloom.training.process import KERNEL_CACHES

DATA = Path(os.environ.get("SEQLOOM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "multi30k"

UNBOUNDED = dict.fromkeys(KERNEL_CACHES, "1024")  # what torch does by itself
TRIM, PAD, MMAP_MAX, ARENAS = -1, -2, -4, -8
KEEP = {MMAP_MAX: 0, TRIM: 2**31 - 1, PAD: 64 << 20}
MADVISE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
JEMALLOC = "oversize_threshold:1,background_thread:true,metadata_thp:auto,dirty_decay_ms:-1,muzzy_decay_ms:-1"

WAYS: dict[str, tuple[dict[int, int] | None, dict[str, str]]] = {
    "nothing done": ({}, UNBOUNDED),
    "kept": (KEEP, UNBOUNDED),
    "kernels bounded": ({}, {}),
    "kernels bounded, kept": (KEEP, {}),
    "kernels bounded, kept, one arena": ({**KEEP, ARENAS: 1}, {}),
    "kernels bounded, kept, huge pages": (KEEP, MADVISE),
    "kernels bounded, tcmalloc": (None, {"LD_PRELOAD": "libtcmalloc_minimal.so.4"}),
    "kernels bounded, jemalloc": (None, {"LD_PRELOAD": "libjemalloc.so.2"}),
    "kernels bounded, jemalloc, kept": (None, {"LD_PRELOAD": "libjemalloc.so.2", "MALLOC_CONF": JEMALLOC}),
    "kernels bounded, mimalloc": (None, {"LD_PRELOAD": "libmimalloc.so.2.0"}),
}
"""mallopt's settings, if any, and the environment. `seqloom train` has "kernels bounded, kept", or tcmalloc."""

CHILD = """
import ctypes, json, sys
from seqloom.training import allocator
settings = json.loads(sys.argv.pop(1))
def keep():
    for name, value in (settings or {}).items():
        assert ctypes.CDLL(None).mallopt(int(name), value)
allocator.keep_freed_memory = keep
from seqloom.cli import main
main()
"""


def train(way: str, options: list[str], log: Path) -> dict[str, float]:
    """The figures of one training."""
    settings, environment = WAYS[way]
    environment = os.environ | environment | {allocator.RESTARTED: "1"}
    command = [sys.executable, "-c", CHILD, json.dumps(settings), *options]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(said)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    speeds = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
    return {
        "tokens/s": statistics.median(speeds[2:] or speeds),
        "processor s": used.ru_stime + used.ru_utime,
        "of the system": used.ru_stime,
        "faults": used.ru_minflt,
        "peak MB": used.ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--set", nargs="+", default=[])
    given = parser.parse_args()
    files = {"src": "train.en.gz", "tgt": "train.de.gz", "valid-src": "val.en.gz", "valid-tgt": "val.de.gz"}
    options = [f"--{name}={DATA / file}" for name, file in files.items()]
    settings = {
        "data.vocab_size": 8000, "data.batch_tokens": 4096, "training.workers": given.threads,
        "training.validation_pairs": 200, "training.validate_every": max(1, given.steps // 2),
        "training.checkpoint_every": max(1, given.steps // 2), "training.average": 1, "training.precision": "auto",
    }  # fmt: skip
    options += [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    options += [f"--set={setting}" for setting in given.set]
    options += ["--src-lang=en", "--tgt-lang=de", f"--steps={given.steps}", f"--threads={given.threads}"]
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in given.only}
    with tempfile.TemporaryDirectory() as temporary:
        prepared = Path(temporary) / "prepared"
        run = Path(temporary) / "run"
        train("kernels bounded", ["train", str(run), *options, "--steps=1"], run / "log.jsonl")
        shutil.move(run / "data", prepared)
        for turn in range(given.rounds):
            for name in given.only:
                shutil.rmtree(run)
                shutil.copytree(prepared, run / "data")
                figures[name].append(train(name, ["train", str(run), *options], run / "log.jsonl"))
                print(turn + 1, name, figures[name][-1], file=sys.stderr, flush=True)
    first: dict[str, Any] = dict.fromkeys(next(iter(figures.values()))[0], 0)
    print(f"{'':<38}" + "".join(f"{key:>15}" for key in first))
    for name, turns in figures.items():
        medians = [statistics.median(turn[key] for turn in turns) for key in first]
        print(f"{name:<38}" + "".join(f"{median:>15,.1f}" for median in medians))


if __name__ == "__main__":
    main()
