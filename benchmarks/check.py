"""Does `seqloom check` find what is wrong? Faults planted in real corpora, and what of them is found.

    python benchmarks/check.py [--sets zh_en,de_en] [--processes N] [--pairs N] [--json]

Of each set under SEQLOOM_DATA the training files are checked as they are, and then once more with each kind
of fault in them, alone and all together: a line deleted in the middle of the target, or two lines at
different places; 1 % of the pairs with their sides swapped; 1 % once more; 2 % of the lines of the test sets
in the training set; 0.5 % of the pairs with a side that was decoded wrongly, in one of several ways; 500 lines
one after another in another language (French in English, English in the other). What is planted where follows
from a fixed seed. Precision is the share of the pairs that are flagged by a kind that were planted, recall the share of
the planted pairs that are flagged by it.

With --pairs, a corpus of that many pairs is made of the first set, repeated with changed numbers and words,
and the time and the peak memory of checking it are told: of all processes together.
"""

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from seqloom.data.checks.diagnosis import Diagnosis
from seqloom.data.checks.doctor import check
from seqloom.data.checks.findings import Severity
from seqloom.data.checks.overlap import held_against
from seqloom.data.readers import Group, read_lines

SETS = {"zh_en": "zh", "de_en": "de"}
"""Each with its language beside English."""

SEED = 20261121

BLOCK = 500
NEAR = 20
"""A drift is found if it is told to within so many lines, with the right shift."""

Pair = tuple[str, str]


@dataclass
class Planted:
    """A corpus with faults: where each kind is, by number of the pair from 0."""

    pairs: list[Pair]
    rows: dict[str, set[int]] = field(default_factory=dict)
    deleted: list[int] = field(default_factory=list)
    """Target lines that are missing, in the order of the file; at most two."""


def read(path: Path) -> list[str]:
    return list(read_lines(path))


def swapped(planted: Planted, rng: random.Random, folder: Path) -> None:
    rows = _free(planted, rng, len(planted.pairs) // 100)
    for row in rows:
        planted.pairs[row] = planted.pairs[row][::-1]
    planted.rows["swapped_sides"] = set(rows)


def duplicated(planted: Planted, rng: random.Random, folder: Path) -> None:
    """A pair is put in the place of another one, so that the count stays."""
    rows = sorted(_free(planted, rng, len(planted.pairs) // 50))
    half = len(rows) // 2
    for row, origin in zip(rows[half:], rows[:half], strict=False):
        planted.pairs[row] = planted.pairs[origin]
    planted.rows["duplicates"] = set(rows[half : 2 * half])


def leaked(planted: Planted, rng: random.Random, folder: Path) -> None:
    tests = [pair for src, tgt in test_files(folder) for pair in zip(read(src), read(tgt), strict=True)]
    chosen = rng.sample(tests, len(tests) // 50)
    rows = _free(planted, rng, len(chosen))
    for row, pair in zip(rows, chosen, strict=True):
        planted.pairs[row] = pair
    planted.rows["overlap"] = set(rows)


MISREAD = (("utf-8", "latin-1"), ("utf-8", "cp1252"), ("utf-8", "gb18030"), ("gb18030", "latin-1"))


def mojibake(planted: Planted, rng: random.Random, folder: Path) -> None:
    rows: set[int] = set()
    wanted = len(planted.pairs) // 200
    for row in _free(planted, rng, len(planted.pairs) // 2):
        if len(rows) == wanted:
            break
        src, tgt = planted.pairs[row]
        written, told = rng.choice(MISREAD if any("\u4e00" <= c <= "\u9fff" for c in src) else MISREAD[:2])
        broken = [text.encode(written, "replace").decode(told, "replace") for text in (src, tgt)]
        if broken[0] != src:
            planted.pairs[row] = broken[0], tgt
            rows.add(row)
        elif broken[1] != tgt:
            planted.pairs[row] = src, broken[1]
            rows.add(row)
    planted.rows["mojibake"] = rows


def foreign(planted: Planted, rng: random.Random, folder: Path) -> None:
    """French in the place of English on the target side."""
    french = read(folder.parent / "multi30k" / "train.fr.gz")[:BLOCK]
    start = rng.randrange(len(planted.pairs) // 2, len(planted.pairs) - 2 * BLOCK)
    for row, text in enumerate(french, start):
        planted.pairs[row] = planted.pairs[row][0], text
    planted.rows["wrong_language_block"] = set(range(start, start + len(french)))


def drifted(count: int) -> Callable[[Planted, random.Random, Path], None]:
    def plant(planted: Planted, rng: random.Random, folder: Path) -> None:
        size = len(planted.pairs)
        planted.deleted = [size * (n + 1) // (count + 1) + rng.randrange(-500, 500) for n in range(count)]

    return plant


FAULTS: dict[str, Sequence[Callable[[Planted, random.Random, Path], None]]] = {
    "none": (),
    "a line deleted": (drifted(1),),
    "two lines deleted": (drifted(2),),
    "1 % swapped": (swapped,),
    "1 % duplicates": (duplicated,),
    "2 % of the tests leaked": (leaked,),
    "0.5 % mojibake": (mojibake,),
    "500 lines in French": (foreign,),
    "all but the drifts": (foreign, swapped, duplicated, leaked, mojibake),
    "all": (foreign, swapped, duplicated, leaked, mojibake, drifted(2)),
}


def _free(planted: Planted, rng: random.Random, count: int) -> list[int]:
    """Pairs in which nothing is planted yet."""
    taken = set().union(*planted.rows.values())
    return rng.sample([row for row in range(len(planted.pairs)) if row not in taken], count)


def test_files(folder: Path) -> list[tuple[Path, Path]]:
    language = SETS[folder.name]
    return [
        (path, Path(str(path).replace(f".{language}.gz", ".en.gz"))) for path in folder.glob(f"test.*.{language}.gz")
    ]


def plant(pairs: Sequence[Pair], fault: str, folder: Path) -> Planted:
    planted = Planted(list(pairs))
    rng = random.Random(f"{SEED} {fault}")
    for each in FAULTS[fault]:
        each(planted, rng, folder)
    return planted


def write(planted: Planted, folder: Path) -> tuple[Path, Path]:
    src, tgt = folder / "train.src", folder / "train.tgt"
    deleted = set(planted.deleted)
    src.write_text("".join(pair[0] + "\n" for pair in planted.pairs), encoding="utf-8", newline="")
    lines = (pair[1] for row, pair in enumerate(planted.pairs) if row not in deleted)
    tgt.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")
    return src, tgt


def judge(planted: Planted, diagnosis: Diagnosis) -> dict[str, Any]:
    """Precision and recall of each kind that was planted; where the drifts were and where they were told."""
    kinds = {}
    place = [line - 1 for chunk in diagnosis.chunks for line, _ in chunk.lines]
    # A kind may be found several times, the most serious first.
    severities = {finding.kind: str(finding.severity) for finding in reversed(diagnosis.findings)}
    for kind, rows in planted.rows.items():
        found = {place[row] for row in diagnosis.rows[kind].tolist()} if kind in diagnosis.rows else set()
        kinds[kind] = {
            "severity": severities.get(kind, "not found"),
            "planted": len(rows),
            "found": len(found),
            "precision": round(len(found & rows) / len(found), 4) if found else None,
            "recall": round(len(found & rows) / len(rows), 4),
        }
    told = [(each.line, each.shift) for each in diagnosis.misalignments]
    truth = [(line + 1 - before, before + 1) for before, line in enumerate(planted.deleted)]
    right = len(told) == len(truth) and all(
        abs(here - there) <= NEAR and shift == true for (here, shift), (there, true) in zip(told, truth, strict=True)
    )
    serious = sorted({finding.kind for finding in diagnosis.findings if finding.severity is not Severity.NOTE})
    return {
        "verdict": str(diagnosis.worst),
        "serious": serious,
        "flagged": round(diagnosis.flagged / max(1, diagnosis.pairs), 5),
        "kinds": kinds,
        "drifts": {"planted": truth, "told": told, "right": right},
        "seconds": round(diagnosis.seconds, 1),
    }


def examine_set(folder: Path, fault: str, processes: int | None) -> dict[str, Any]:
    language = SETS[folder.name]
    pairs = list(zip(read(folder / f"train.{language}.gz"), read(folder / "train.en.gz"), strict=True))
    planted = plant(pairs, fault, folder)
    against = held_against([path for files in test_files(folder) for path in files])
    with tempfile.TemporaryDirectory() as place:
        files = write(planted, Path(place))
        return judge(planted, check([Group(files)], against, (language, "en"), processes=processes))


def enlarged(pairs: Sequence[Pair], count: int) -> Iterator[Pair]:
    """Pairs over and over, each time with another number at the end of both sides so that none repeats."""
    for number in range(count):
        src, tgt = pairs[number % len(pairs)]
        again = number // len(pairs)
        yield (f"{src} {again}", f"{tgt} {again}") if again else (src, tgt)


def time_it(folder: Path, count: int, processes: int | None) -> dict[str, Any]:
    """Seconds and peak memory of a process of its own that checks so many pairs, and of all its children."""
    language = SETS[folder.name]
    pairs = list(zip(read(folder / f"train.{language}.gz"), read(folder / "train.en.gz"), strict=True))
    with tempfile.TemporaryDirectory() as place:
        src, tgt = Path(place, "train.src"), Path(place, "train.tgt")
        with open(src, "w", encoding="utf-8") as sources, open(tgt, "w", encoding="utf-8") as targets:
            for one, other in enlarged(pairs, count):
                sources.write(one + "\n")
                targets.write(other + "\n")
        command = [sys.executable, "-m", "seqloom", "check", "--src", str(src), "--tgt", str(tgt), "--json"]
        command += ["--processes", str(processes)] if processes else []
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = _watch(process)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - start
    return {"pairs": count, "seconds": round(seconds, 1), "cpu_seconds": round(used, 1), "peak_mb": round(peak / 1e6)}


def _watch(process: "subprocess.Popen[bytes]") -> int:
    """The peak of the resident memory of a process and its children together, looked at ten times a second."""
    peak = 0
    done = threading.Event()
    while not done.wait(0.1):
        if process.poll() is not None:
            done.set()
        peak = max(peak, sum(map(_resident, _family(process.pid))))
    return peak


def _family(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task")
        children = [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(each for child in children for each in _family(child))]


def _resident(pid: int) -> int:
    """Its own part of what processes share is counted, as Linux tells it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS), help="which of the sets")
    parser.add_argument("--faults", default=",".join(FAULTS), help="which of the faults")
    parser.add_argument("--processes", type=int, help="all cores unless given")
    parser.add_argument("--pairs", type=int, help="time the check of so many pairs instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = Path(os.environ.get("SEQLOOM_DATA", "../shared/data"))
    folders = [root / name for name in options.sets.split(",")]
    machine = {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
    }
    if options.pairs:
        results: Any = time_it(folders[0], options.pairs, options.processes)
        print(json.dumps({**machine, **results}))
        return
    results = {}
    for folder in folders:
        for fault in options.faults.split(","):
            result = results[f"{folder.name}, {fault}"] = examine_set(folder, fault, options.processes)
            if options.json:
                continue
            drifts = f"  drifts {result['drifts']}" if result["drifts"]["planted"] or result["drifts"]["told"] else ""
            print(
                f"{folder.name} {fault}: {result['verdict']}, {result['flagged']:.2%} flagged by "
                f"{', '.join(result['serious']) or 'nothing'}, {result['seconds']} s{drifts}",
                flush=True,
            )
            for kind, scores in result["kinds"].items():
                print(f"    {kind}: {scores}", flush=True)
    if options.json:
        print(json.dumps({**machine, "results": results}))


if __name__ == "__main__":
    main()
