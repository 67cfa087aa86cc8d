"""Do memory, open files and speed stay as they are, for hours?

    python benchmarks/soak.py train [--hours 2] [--rows 8] [--set KEY=VALUE]
    python benchmarks/soak.py translate RUN FILE [--lines 1000000] [--rows 8] [OPTION ...]

A real `seqloom train` of Multi30k en-de, or a real `seqloom translate`, looked at from outside: resident memory and
open files every few seconds, and what was done since. FILE is given again and again, each time with a number before
its lines, so that none is there twice; OPTIONs are those of `seqloom translate`. Linux only.

Data: Multi30k en-de from ``$SEQLOOM_DATA`` (default ../shared/data).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from seqloom.data.readers import read_lines

DATA = Path(os.environ.get("SEQLOOM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "multi30k"


class Seen(NamedTuple):
    """What a process was like at a moment."""

    seconds: float
    megabytes: float
    files: int
    done: int


def watch(process: "subprocess.Popen[str]", done: Callable[[], int], every: float) -> list[Seen]:
    """Looks at ``process`` until it ends."""
    seen, begun = [], time.monotonic()
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            files = len(os.listdir(f"/proc/{process.pid}/fd"))
        except OSError:  # it has just ended
            break
        resident = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
        if resident:
            seen.append(Seen(time.monotonic() - begun, resident / 1024, files, done()))
        time.sleep(every)
    if process.wait():
        sys.exit(f"it ended with status {process.returncode}")
    return seen


def table(seen: list[Seen], rows: int, unit: str) -> str:
    """The time in ``rows`` parts of equal length."""
    lines = [f"| until | resident, median | highest | open files | {unit} |", "|---|---|---|---|---|"]
    length = seen[-1].seconds / rows
    for row in range(rows):
        part = [each for each in seen if row * length <= each.seconds <= (row + 1) * length]
        passed = part[-1].seconds - part[0].seconds
        resident = [each.megabytes for each in part]
        low, high = min(each.files for each in part), max(each.files for each in part)
        lines.append(
            f"| {part[-1].seconds / 60:.0f} min | {statistics.median(resident):,.0f} MB | {max(resident):,.0f} MB "
            f"| {low if low == high else f'{low} to {high}'} "
            f"| {(part[-1].done - part[0].done) / max(passed, 1e-9):,.0f} |"
        )
    return "\n".join(lines)


def tokens_in(log: Path) -> int:
    """Target tokens that a training has learnt from so far, by its log."""
    try:
        lines = log.read_bytes()[-4096:].splitlines()
    except FileNotFoundError:
        return 0
    for line in reversed(lines[1:]):
        try:
            return int(json.loads(line)["tokens"])
        except (ValueError, KeyError):  # the line of a validation, or one that is being written
            continue
    return 0


def soak_training(hours: float, rows: int, settings: list[str]) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary, "run")
        data = {"--src": "train.en.gz", "--tgt": "train.de.gz", "--valid-src": "val.en.gz", "--valid-tgt": "val.de.gz"}
        options = [text for option, name in data.items() for text in (option, str(DATA / name))]
        options += ["--src-lang", "en", "--tgt-lang", "de", "--budget", f"{round(hours * 3600)}s"]
        options += [text for setting in settings for text in ("--set", setting)]
        command = [sys.executable, "-m", "seqloom", "train", str(run), *options]
        process = subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL)
        return table(watch(process, lambda: tokens_in(run / "log.jsonl"), 5.0), rows, "target tokens/s")


def soak_translation(run: Path, file: Path, lines: int, rows: int, options: list[str]) -> str:
    texts = list(read_lines(file))
    command = [sys.executable, "-m", "seqloom", "translate", str(run), *options]
    count = 0

    def feed(into: IO[str]) -> None:
        with into:
            for number in range(lines):
                into.write(f"{number // len(texts)} {texts[number % len(texts)]}\n")

    def read(out: IO[str]) -> None:
        nonlocal count
        for _ in out:
            count += 1

    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        threads = [
            threading.Thread(target=feed, args=(process.stdin,)),
            threading.Thread(target=read, args=(process.stdout,)),
        ]
        for thread in threads:
            thread.start()
        found = watch(process, lambda: count, 1.0)
        for thread in threads:
            thread.join()
    if count != lines:
        sys.exit(f"{count:,} lines came out of {lines:,}")
    return table(found, rows, "lines/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    train.add_argument("--hours", type=float, default=2)
    train.add_argument("--set", action="append", default=[], dest="settings")
    translate = commands.add_parser("translate")
    translate.add_argument("run", type=Path)
    translate.add_argument("file", type=Path)
    translate.add_argument("--lines", type=int, default=1_000_000)
    for each in (train, translate):
        each.add_argument("--rows", type=int, default=8)
    given, options = parser.parse_known_args()
    if given.command == "train":
        train.parse_args(options)
        print(soak_training(given.hours, given.rows, given.settings))
    else:
        print(soak_translation(given.run, given.file, given.lines, given.rows, options))


if __name__ == "__main__":
    main()
