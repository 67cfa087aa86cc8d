"""Is a drift found? Faults planted at random in real corpora, and none in the same ones as they are.

    python benchmarks/drift.py [--trials 2] [--only de_en/test] [--seed 1] [--speed 1000000] [--json]

Every kind of fault is planted ``--trials`` times in each pair of files, on a random side. Found means: as many
drifts as there are, each with the right shift, and its first and last line within 20 lines. Beside the share found
stands the greatest distance in lines of those found. "Near the end" has as many lines cut from the end of the other
side, so that the line counts tell nothing. On clean files, and on files of which one side is shuffled, any drift is a
false alarm. Parts of 50 to 800 lines of the test files tell what a small corpus allows.

``--speed`` adds seconds and the peak of memory of a corpus of so many pairs, made of the lines of zh_en in random
order, with three faults.

Data: zh_en, de_en and multi30k from ``$SEQLOOM_DATA`` (default ../shared/data). Lines 953 to 977 of zh_en's
valid.news are out of step by one as they come; that is expected to be found.
"""

import argparse
import gzip
import json
import os
import resource
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqloom.data.checks.drift import Drift, DriftFinder

DATA = Path(os.environ.get("SEQLOOM_DATA", Path(__file__).parents[2] / "shared" / "data"))

WITHIN = 20
"""Lines by which the place may be missed."""

NEW, HALF = -1, -2
SIZES = (50, 100, 200, 400, 800)

Expected = list[tuple[int, int, int | None]]
"""First line, shift and last line of each drift."""

AS_THEY_COME: dict[str, Expected] = {"zh_en/valid.news": [(953, 1, 977)]}

Random = np.random.Generator


class Fault(NamedTuple):
    """At a line, from 0, of one side: so many lines are gone, or are new, or one is split in two."""

    side: int
    line: int
    lost: int = 0
    new: int = 0
    split: bool = False


class Planted(NamedTuple):
    """Two sides with faults, and what is to be found in them."""

    src: list[str]
    tgt: list[str]
    drifts: Expected


# --- planting ---


def _one(random: Random, lines: int, **fault: Any) -> list[Fault]:
    return [Fault(int(random.integers(2)), int(random.integers(30, lines - 30)), **fault)]


def _at(line: int) -> Callable[[Random, int], list[Fault]]:
    return lambda random, lines: [Fault(int(random.integers(2)), line % lines, lost=1)]


def _several(random: Random, lines: int) -> list[Fault]:
    places = np.sort(random.choice(lines - 180, 3, replace=False)) + 30 + np.array([0, 60, 120])
    return [Fault(int(random.integers(2)), int(place), lost=1) for place in places]


def _cancelling(random: Random, lines: int) -> list[Fault]:
    length = int(random.integers(30, lines // 3))
    start, side = int(random.integers(30, lines - length - 30)), int(random.integers(2))
    return [Fault(side, start, lost=1), Fault(1 - side, start + length, lost=1)]


KINDS: dict[str, Callable[[Random, int], list[Fault]]] = {
    "a line lost": lambda random, lines: _one(random, lines, lost=1),
    "a line too many": lambda random, lines: _one(random, lines, new=1),
    "a line split": lambda random, lines: _one(random, lines, split=True),
    "2-20 lines lost": lambda random, lines: _one(random, lines, lost=int(random.integers(2, 21))),
    "30-200 lines lost": lambda random, lines: _one(random, lines, lost=int(random.integers(30, 201))),
    "three faults": _several,
    "two that cancel": _cancelling,
    "lost at line 1": _at(0),
    "lost at line 5": _at(4),
    "20 before the end": _at(-20),
    "10 before the end": _at(-10),
    "5 before the end": _at(-5),
}


def plant(src: list[str], tgt: list[str], faults: list[Fault], random: Random, even: bool) -> Planted:
    """The two sides of a clean corpus with faults.

    Args:
        src: its lines.
        tgt: likewise.
        faults: what is done to them.
        random: draws the lines that are new.
        even: whether the longer side is cut at the end.
    """
    numbers = [list(range(len(src))), list(range(len(tgt)))]
    for fault in sorted(faults, key=lambda fault: -fault.line):
        planted = [fault.line, HALF] if fault.split else [NEW] * fault.new
        numbers[fault.side][fault.line : fault.line + fault.lost + fault.split] = planted
    if even:
        numbers = [side[: min(map(len, numbers))] for side in numbers]
    lines: list[list[str]] = [[], []]
    for old, found, which in zip((src, tgt), lines, numbers, strict=True):
        for number in which:
            if number == HALF:
                whole = found.pop()
                found += [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
            else:
                found.append(old[number if number >= 0 else int(random.integers(len(old)))])
    return Planted(lines[0], lines[1], expected(numbers[0], numbers[1]))


def expected(src: list[int], tgt: list[int]) -> Expected:
    """The drifts between two sides, by the numbers that their lines had before; negative for what was planted."""
    place = {number: row for row, number in enumerate(src) if number >= 0}
    drifts: Expected = []
    shift, orphan = 0, None
    for row, number in enumerate(tgt):
        if number not in place:
            orphan = row if orphan is None else orphan
            continue
        if place[number] - row != shift:
            new = place[number] - row
            begin = row if orphan is None or not new else orphan
            if shift:
                drifts[-1] = (*drifts[-1][:2], begin)
            if new:
                drifts.append((begin + 1, new, None))
            shift = new
        orphan = None
    return drifts


def missed_by(found: list[Drift], wanted: Expected) -> float:
    """The greatest distance of a first or last line; infinite if it is not these drifts that were found."""
    if [drift.shift for drift in found] != [shift for _, shift, _ in wanted]:
        return np.inf
    distances = [0]
    for drift, (line, _, until) in zip(found, wanted, strict=True):
        if (drift.until is None) != (until is None):
            return np.inf
        distances += [abs(drift.line - line), abs((drift.until or 0) - (until or 0))]
    return max(distances)


# --- what is measured ---


def corpora() -> Iterator[tuple[str, Path, Path]]:
    """Names and files of all pairs of files, the small ones first."""
    found = []
    for folder, language in (("zh_en", "zh"), ("de_en", "de")):
        for path in sorted((DATA / folder).glob(f"*.{language}.gz")):
            name = path.name.removesuffix(f".{language}.gz")
            found.append((f"{folder}/{name}", path, path.with_name(f"{name}.en.gz")))
    for path in sorted((DATA / "multi30k").glob("*.en.gz")):
        name = path.name.removesuffix(".en.gz")
        files = {each: path.with_name(f"{name}.{each}.gz") for each in ("en", "de", "fr", "cs")}
        present = [language for language, file in files.items() if file.exists()]
        found += [(f"multi30k/{name}.{a}-{b}", files[a], files[b]) for a, b in combinations(present, 2)]
    return iter(sorted(found, key=lambda corpus: corpus[1].stat().st_size))


def read(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")[:-1]


def search(src: list[str], tgt: list[str]) -> DriftFinder:
    finder = DriftFinder()
    finder.add(src, tgt)
    return finder


def measure(name: str, src: list[str], tgt: list[str], trials: int, seed: int) -> dict[str, Any]:
    """For each kind of fault how often it was found, and by how many lines it was missed."""
    clean = search(src, tgt)
    as_it_comes = AS_THEY_COME.get(name, [])
    right = missed_by(clean.drifts(), as_it_comes) <= WITHIN and not clean.unrelated
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    shuffled = search(src, [tgt[row] for row in random.permutation(len(tgt))])
    kinds: dict[str, Any] = {}
    for kind, draw in KINDS.items():
        if as_it_comes:
            continue
        distances = []
        for _ in range(trials):
            planted = plant(src, tgt, draw(random, len(src)), random, even="end" in kind)
            distances.append(missed_by(search(planted.src, planted.tgt).drifts(), planted.drifts))
        found = [int(distance) for distance in distances if distance <= WITHIN]
        kinds[kind] = {"found": len(found), "of": trials, "farthest": max(found, default=0)}
    return {
        "lines": len(src),
        "false_alarm": not right,
        "shuffled_is_unrelated": shuffled.unrelated and not shuffled.drifts(),
        "kinds": kinds,
    }


def measure_small(name: str, src: list[str], tgt: list[str], trials: int, seed: int) -> dict[int, Any]:
    """Of parts of a corpus how often a line lost in the middle half is found, how surely, and false alarms."""
    results = {}
    for size in SIZES:
        random = np.random.default_rng([seed, size, zlib.crc32(name.encode())])
        found, wrong, alarms, confidence = 0, 0, 0, []
        for _ in range(trials):
            start = int(random.integers(0, max(1, len(src) - size)))
            part = src[start : start + size], tgt[start : start + size]
            fault = Fault(int(random.integers(2)), int(random.integers(size // 4, 3 * size // 4)), lost=1)
            clean = search(*part)
            alarms += bool(clean.drifts()) or clean.unrelated
            planted = plant(*part, [fault], random, even=True)
            drifts = search(planted.src, planted.tgt).drifts()
            right = missed_by(drifts, planted.drifts) <= WITHIN
            found, wrong = found + right, wrong + bool(drifts and not right)
            confidence += [drifts[0].confidence] if right else []
        results[size] = {"found": found, "wrong": wrong, "of": trials, "alarms": alarms, "confidence": confidence}
    return results


def measure_speed(pairs: int) -> dict[str, Any]:
    """Of a corpus given in chunks: seconds of the processor, and bytes beyond the corpus itself."""
    sides = [read(DATA / "zh_en" / f"train.{language}.gz") for language in ("zh", "en")]
    random = np.random.default_rng(1)
    order = np.concatenate([random.permutation(len(sides[0])) for _ in range(pairs // len(sides[0]) + 1)])[:pairs]
    src, tgt = ([side[row] for row in order.tolist()] for side in sides)
    del tgt[pairs // 3], src[2 * pairs // 3], tgt[-1000]
    finder, chunk = DriftFinder(), 50_000
    start = time.process_time()
    for row in range(0, pairs, chunk):
        finder.add(src[row : row + chunk], tgt[row : row + chunk])
    added = time.process_time()
    drifts = finder.drifts()
    searched = time.process_time()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    tracemalloc.start()
    again = DriftFinder()
    for row in range(0, pairs, chunk):
        again.add(src[row : row + chunk], tgt[row : row + chunk])
    kept = tracemalloc.get_traced_memory()[0]
    again.drifts()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "pairs": pairs,
        "seconds_add": added - start,
        "seconds_search": searched - added,
        "bytes_a_pair": kept / pairs,
        "peak_mb": peak / 1e6,
        "resident_with_corpus_mb": resident / 1e6,
        "drifts": [drift._asdict() for drift in drifts],
    }


# --- what is said ---


def table(results: dict[str, Any]) -> str:
    """A row for each kind of fault, a column for each group of corpora."""
    by_group: dict[str, list[dict[str, Any]]] = {}
    for name, result in results["corpora"].items():
        part = "train" if name.split("/")[1].startswith("train") else "valid, test"
        by_group.setdefault(f"{name.split('/')[0]} {part}", []).append(result)
    rows = [["", *by_group]]
    rows.append(["corpora", *(str(len(group)) for group in by_group.values())])
    rows.append(["false alarms, clean", *(str(sum(each["false_alarm"] for each in g)) for g in by_group.values())])
    told = [sum(each["shuffled_is_unrelated"] for each in group) for group in by_group.values()]
    rows.append(["shuffled: unrelated", *(f"{n}/{len(g)}" for n, g in zip(told, by_group.values(), strict=True))])
    for kind in KINDS:
        row = [kind]
        for group in by_group.values():
            cells = [each["kinds"][kind] for each in group if kind in each["kinds"]]
            found, of = (sum(cell[key] for cell in cells) for key in ("found", "of"))
            row.append(f"{found}/{of} ±{max((cell['farthest'] for cell in cells), default=0)}")
        rows.append(row)
    lines = ["".join(f"{cell:<22}" for cell in row).rstrip() for row in rows]
    lines += ["", "small corpora: a line lost in the middle half, line counts made equal"]
    for size in SIZES:
        cells = [small[size] for small in results["small"].values() if size in small]
        found, of, wrong, alarms = (sum(cell[key] for cell in cells) for key in ("found", "of", "wrong", "alarms"))
        confidence = sorted(c for cell in cells for c in cell["confidence"]) or [0.0]
        lines.append(
            f"{size:>5} lines: found {found}/{of}, wrong {wrong}, false alarms {alarms}/{of}, confidence "
            f"{confidence[0]:.2f} to {confidence[-1]:.2f}, median {confidence[len(confidence) // 2]:.2f}"
        )
    if "speed" in results:
        lines += ["", json.dumps(results["speed"])]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2, help="plantings of each kind in each pair of files")
    parser.add_argument("--only", default="", help="files whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=int, default=0, help="pairs of a large corpus")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = {"corpora": {}, "small": {}}
    for name, *paths in corpora():
        if options.only not in name:
            continue
        src, tgt = map(read, paths)
        results["corpora"][name] = measure(name, src, tgt, options.trials, options.seed)
        if len(src) < 10_000 and name not in AS_THEY_COME:
            results["small"][name] = measure_small(name, src, tgt, options.trials, options.seed)
        print(name, json.dumps(results["corpora"][name]), file=sys.stderr, flush=True)
    if options.speed:
        results["speed"] = measure_speed(options.speed)
    print(json.dumps(results) if options.json else table(results))


if __name__ == "__main__":
    main()
