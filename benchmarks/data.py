"""Do the data keep up? Time and memory of preparing and batching generated corpora, from small to large.

    python benchmarks/data.py [--pairs 100000,1000000,10000000] [--gz] [--folder DIR] [--steps 60] [--json]

A corpus of Chinese-like and English-like pairs is generated for each size: words by Zipf's law, lengths
by a log-normal one, one pair in twenty a repetition. Preparing holds out a share for validation, as it
does where a user gives no validation files, and learns 8,000 pieces. Beside it stands SentencePiece's own
rate: ``encode`` of lists of the same lines, with as many threads as there are cores, the best of three times.
Batching opens what was prepared and makes all batches of a pass and the first one of the next.
Preparing and batching each have a process of their own, whose peak of resident memory is given. A model of
the preset ``small`` learns from the smallest corpus for a few steps, to tell the share of its time that it
waits for data.

Room needed on the disk for each million pairs: 0.35 GB, given back at the end.
"""

import argparse
import gzip
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqloom.config import DataConfig
from seqloom.data.readers import read_lines
from seqloom.machine import cores

CORES = cores()
BLOCK = 100_000
ZIPF = 1.05
"""The frequency of the n-th word is to n to the power of minus this."""
REPEATED = 0.05
COMPARED = 200_000
"""Pairs from the beginning that SentencePiece alone encodes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default="100000,1000000,10000000", help="sizes of the corpora")
    parser.add_argument("--gz", action="store_true", help="compress the files")
    parser.add_argument("--folder", type=Path, help="where to put what is given back at the end")
    parser.add_argument("--steps", type=int, default=60, help="of training; 0 for none")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = sorted(map(int, options.pairs.split(",")))
    if options.part:
        result = PARTS[options.part](options.folder, sizes[0], options.gz)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        print(json.dumps({**result, "peak_gb": round(peak / 1e9, 3)}))
        return
    results: dict[str, Any] = {
        "about": f"{date.today()}, {platform.machine()}, {CORES} cores, {'gz' if options.gz else 'plain'} files"
    }
    results["corpora"] = []
    for number, size in enumerate(sizes):
        with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
            parts = {name: _in_own_process(name, Path(temporary), size, options.gz) for name in PARTS}
            results["corpora"].append({"pairs": size, **parts})
            if number == 0 and options.steps:
                results["training"] = _train(Path(temporary), options.gz, options.steps)
    print(json.dumps(results) if options.json else _table(results))


def _in_own_process(part: str, folder: Path, pairs: int, packed: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder), "--pairs", str(pairs)]
    ran = subprocess.run([*command, *["--gz"] * packed], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def files_of(folder: Path, packed: bool) -> tuple[Path, Path]:
    ending = ".gz" if packed else ""
    return folder / f"train.zh{ending}", folder / f"train.en{ending}"


def _config(folder: Path, packed: bool) -> DataConfig:
    src, tgt = map(str, files_of(folder, packed))
    return DataConfig(src=(src,), tgt=(tgt,), src_lang="zh", tgt_lang="en")


# --- what is generated ---


def generate(folder: Path, pairs: int, packed: bool) -> dict[str, Any]:
    """Writes the corpus of ``pairs``, whose first lines are those of any larger one."""
    random = np.random.Generator(np.random.PCG64(1))
    chinese = Words(random, 30_000, [chr(0x4E00 + i) for i in range(3_500)], most_parts=3)
    syllables = [a + b + c for a in "bcdfglmnprst" for b in "aeiou" for c in ("", "n", "r", "st")]
    english = Words(random, 50_000, syllables, most_parts=3)
    start = time.perf_counter()
    src, tgt = files_of(folder, packed)
    opened: Callable[..., Any] = gzip.open if packed else open
    with opened(src, "wt", encoding="utf-8", newline="") as zh, opened(tgt, "wt", encoding="utf-8", newline="") as en:
        for done in range(0, pairs, BLOCK):
            count = min(BLOCK, pairs - done)
            # The same numbers are drawn for any count, so that the corpora begin alike.
            longer = random.lognormal(2.6, 0.6, BLOCK)
            zh_lines = chinese.sentences(random, (0.9 * longer).astype(np.int64), "", "。")
            en_lines = english.sentences(random, (1.1 * longer).astype(np.int64), " ", ".")
            repeated = random.random(BLOCK) < REPEATED
            origin = np.where(repeated, random.integers(0, BLOCK // 10, BLOCK), np.arange(BLOCK))[:count].tolist()
            zh.write("".join(zh_lines[i] for i in origin))
            en.write("".join(en_lines[i] for i in origin))
    return {"seconds": time.perf_counter() - start, "bytes": src.stat().st_size + tgt.stat().st_size}


class Words:
    """A vocabulary of ``count`` words, each of up to ``most_parts`` of the ``parts``, by their frequency."""

    def __init__(self, random: np.random.Generator, count: int, parts: Sequence[str], most_parts: int) -> None:
        lengths = random.integers(1, most_parts + 1, count).tolist()
        chosen = iter((len(parts) * random.random(count * most_parts) ** 2).astype(np.int64).tolist())
        self._spelt = ["".join(parts[i] for i in islice(chosen, length)) for length in lengths]
        self._cumulated = np.cumsum(np.arange(1, count + 1) ** -ZIPF)

    def sentences(self, random: np.random.Generator, lengths: NDArray[np.int64], separator: str, end: str) -> list[str]:
        """Lines of so many words and one more each."""
        ends = np.cumsum(lengths + 1)
        drawn = np.searchsorted(self._cumulated, self._cumulated[-1] * random.random(int(ends[-1])))
        words = list(map(self._spelt.__getitem__, drawn.tolist()))
        begin = 0
        lines = []
        for stop in ends.tolist():
            lines.append(f"{separator.join(words[begin:stop])}{end}\n")
            begin = stop
        return lines


# --- what is measured ---


def prepare(folder: Path, pairs: int, packed: bool) -> dict[str, Any]:
    """Seconds of each phase of preparing."""
    from seqloom.data import prepare as module

    seconds: dict[str, float] = {}
    processor: dict[str, float] = {}
    phases = {"_contents": "fingerprint", "hold_out": "read and check", "_train_tokenizers": "learn pieces"}
    for name, phase in {**phases, "write_corpus": "tokenize and store"}.items():
        setattr(module, name, _timed(getattr(module, name), phase, seconds, processor))
    start = time.perf_counter()
    prepared = module.prepare_pairs(_config(folder, packed), folder / "data", lambda text: None)
    seconds["in all"] = time.perf_counter() - start
    return {
        "seconds": seconds,
        "processor_seconds": processor | {"in all": time.process_time()},
        "stored": len(prepared.train) + len(prepared.valid),
        "tokens": prepared.about["train_tokens"],
        "torch": "torch" in sys.modules,
    }


def _timed(
    function: Callable[..., Any], phase: str, seconds: dict[str, float], processor: dict[str, float]
) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any) -> Any:
        start, worked = time.perf_counter(), time.process_time()
        result = function(*args)
        seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start
        processor[phase] = processor.get(phase, 0.0) + time.process_time() - worked
        return result

    return timed


def sentencepiece_alone(folder: Path, pairs: int, packed: bool) -> dict[str, Any]:
    """Pairs a second that ``encode`` makes of lists of lines; the best of three."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "data" / "src.model"))
    sides = [list(islice(read_lines(path), COMPARED)) for path in files_of(folder, packed)]
    seconds, processor_seconds = [], []
    for _ in range(3):
        start, worked = time.perf_counter(), time.process_time()
        for lines in sides:
            processor.encode(lines, out_type=int, num_threads=CORES)
        seconds.append(time.perf_counter() - start)
        processor_seconds.append(time.process_time() - worked)
    pairs = len(sides[0])
    return {
        "pairs_per_second": pairs / min(seconds),
        "pairs_per_processor_second": pairs / min(processor_seconds),
    }


def batch(folder: Path, pairs: int, packed: bool) -> dict[str, Any]:
    """Seconds of opening what was prepared, of a first batch, of all others of a pass, and of a first one again."""
    from seqloom.data.batching import TrainingBatches
    from seqloom.data.prepare import prepare_pairs

    start = time.perf_counter()
    config = _config(folder, packed)
    train = prepare_pairs(config, folder / "data", lambda text: None).train
    opened = time.perf_counter()
    batches = TrainingBatches(train, config.batch_tokens, seed=1)
    stream = iter(batches)
    next(stream)
    first = time.perf_counter()
    count = len(batches.plan(0)) - 1
    for _ in islice(stream, count):
        pass
    rest = time.perf_counter()
    next(stream)
    return {
        "batches": count + 1,
        "processor_seconds": {"in all": time.process_time()},
        "seconds": {
            "open": opened - start,
            "first": first - opened,
            "rest": rest - first,
            "next": time.perf_counter() - rest,
        },
    }


PARTS: dict[str, Callable[[Path, int, bool], dict[str, Any]]] = {
    "generate": generate,
    "prepare": prepare,
    "sentencepiece": sentencepiece_alone,
    "batch": batch,
}
"""In their order."""


def _train(folder: Path, packed: bool, steps: int) -> dict[str, Any]:
    """The share of its time that a training waits for data."""
    src, tgt = map(str, files_of(folder, packed))
    run = folder / "run"
    flags = ["--src", src, "--tgt", tgt, "--src-lang", "zh", "--tgt-lang", "en", "--steps", str(steps)]
    settings = ["--set", "training.validation_pairs=1"]
    subprocess.run(
        [sys.executable, "-m", "seqloom", "train", str(run), *flags, *settings], check=True, stdout=sys.stderr
    )
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "data_wait" in line]
    seconds = np.diff([0, *(line["tokens"] for line in lines)]) / [line["tokens_per_second"] for line in lines]
    waits = [line["data_wait"] for line in lines]
    return {"steps": steps, "data_wait": float(np.average(waits, weights=seconds))}


def _table(results: dict[str, Any]) -> str:
    """A column for each size."""
    corpora = results["corpora"]

    def row(name: str, form: str, value: Callable[[dict[str, Any]], float]) -> str:
        return f"{name:<36}" + "".join(f"{value(each):>14{form}}" for each in corpora)

    def seconds(part: str, phase: str) -> str:
        return row(f"  {phase}", ".2f", lambda each: each[part]["seconds"].get(phase, 0) / each["pairs"] * 1e6)

    def processor(part: str) -> str:
        used = "processor_seconds"
        return row("  processor time in all", ".2f", lambda each: each[part][used]["in all"] / each["pairs"] * 1e6)

    lines = [
        results["about"],
        row("pairs", ",d", lambda each: each["pairs"]),
        "preparing, seconds for a million pairs",
        *(seconds("prepare", phase) for phase in corpora[-1]["prepare"]["seconds"]),
        processor("prepare"),
        "tokenizing and storing, pairs/s",
        row("  ours", ",.0f", _stored_per_second),
        row("  SentencePiece alone", ",.0f", lambda each: each["sentencepiece"]["pairs_per_second"]),
        row("  ratio", ".2f", lambda each: _stored_per_second(each) / each["sentencepiece"]["pairs_per_second"]),
        row("  ratio by processor time", ".2f", _ratio_by_processor_time),
        "batching, seconds for a million pairs",
        *(seconds("batch", phase) for phase in corpora[-1]["batch"]["seconds"]),
        processor("batch"),
        row("  batches/s", ",.0f", lambda each: each["batch"]["batches"] / sum(each["batch"]["seconds"].values())),
        "peak of resident memory, GB",
        row("  preparing", ".2f", lambda each: each["prepare"]["peak_gb"]),
        row("  batching, with PyTorch", ".2f", lambda each: each["batch"]["peak_gb"]),
    ]
    if "training" in results:
        lines.append(
            f"training waits for data: {results['training']['data_wait']:.2%} of {results['training']['steps']} steps"
        )
    return "\n".join(lines)


def _stored_per_second(corpus: dict[str, Any]) -> float:
    return float(corpus["pairs"] / corpus["prepare"]["seconds"]["tokenize and store"])


def _ratio_by_processor_time(corpus: dict[str, Any]) -> float:
    """Like the ratio of rates, on a machine that had other things to do."""
    ours = corpus["pairs"] / corpus["prepare"]["processor_seconds"]["tokenize and store"]
    return float(ours / corpus["sentencepiece"]["pairs_per_processor_second"])


if __name__ == "__main__":
    main()
