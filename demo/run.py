"""The demo: trains both directions on the corpus that ships with the project, scores, translates.

    python demo/run.py [FOLDER]

The two directions are trained side by side, each by the ordinary ``seqloom train`` on half of the
cores: two small models keep the cores busier than one after the other would. A demo that was
interrupted goes on where it was when it is started again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

HERE = Path(__file__).parent
DIRECTIONS = (("zh", "en"), ("en", "zh"))
SETS = {"combinations": "held-out combinations", "handwritten": "held-out hand-written"}
SEQLOOM = [sys.executable, "-c", "from seqloom.cli import main; main()"]


def compose(folder: Path) -> None:
    """Writes the corpus, unless it is there."""
    if not (folder / "examples.en").exists():
        subprocess.run([sys.executable, str(HERE / "compose.py"), str(folder)], check=True)


def start_training(folder: Path, src: str, tgt: str, threads: int) -> "subprocess.Popen[bytes]":
    """Starts ``seqloom train`` for one direction; what it says goes to a file beside the run."""
    corpus, run = folder / "corpus", folder / f"{src}-{tgt}"
    command = [*SEQLOOM, "train", str(run), "--config", str(HERE / "recipe.toml"), "--threads", str(threads)]
    for side, language in (("src", src), ("tgt", tgt)):
        command += [
            f"--{side}",
            str(corpus / f"train.{language}"),
            f"--valid-{side}",
            str(corpus / f"valid.{language}"),
        ]
        command += [f"--{side}-lang", language]
    with open(folder / f"{src}-{tgt}.log", "wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def last_step(run: Path) -> dict[str, Any]:
    """The newest training record of a run."""
    try:
        lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            record: dict[str, Any] = json.loads(line)
        except ValueError:
            continue  # being written
        if "loss" in record:
            return record
    return {}


def train(folder: Path, console: Console) -> None:
    """Trains both directions, showing how far each is."""
    threads = max(1, (os.cpu_count() or 1) // 2)
    running = {(src, tgt): start_training(folder, src, tgt, threads) for src, tgt in DIRECTIONS}
    try:
        watch(folder, running, console)
    finally:
        for process in running.values():
            process.terminate()  # nothing if it has ended


def watch(folder: Path, running: dict[tuple[str, str], "subprocess.Popen[bytes]"], console: Console) -> None:
    """Shows how far both trainings are until they end."""
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    tasks = {key: progress.add_task(f"{key[0]} -> {key[1]}", total=None, figures="preparing") for key in running}
    spoken = time.monotonic()
    with progress:
        while any(process.poll() is None for process in running.values()):
            time.sleep(0.5)
            speak = not console.is_terminal and time.monotonic() - spoken > 15
            for key, task in tasks.items():
                run = folder / f"{key[0]}-{key[1]}"
                if record := last_step(run):
                    total = record["total"]
                    figures = f"loss {record['loss']:.2f}  {record['tokens_per_second']:,.0f} tokens/s"
                    progress.update(task, total=total, completed=record["step"], figures=figures)
                    if speak:
                        console.print(f"  {key[0]} -> {key[1]}  step {record['step']:,}/{total:,}  {figures}")
            if speak:
                spoken = time.monotonic()
    for (src, tgt), process in running.items():
        if process.returncode:
            sys.stderr.write((folder / f"{src}-{tgt}.log").read_text(encoding="utf-8"))
            raise SystemExit(process.returncode)


def show(folder: Path, started: float, console: Console) -> None:
    """Scores both models on sentences that were in no training line, and lets them translate."""
    import torch

    import seqloom
    from seqloom.pipeline.evaluation import evaluate
    from seqloom.tasks.folder import WEIGHTS, find_model

    torch.set_num_threads(os.cpu_count() or 1)
    table = Table("direction", "test set", "sentences", "BLEU", "chrF++", "model", title="Scores on held-out sentences")
    examples = Table("source", "translation", "", title="Translated just now; none of these was in the training data")
    signatures = {}
    corpus = folder / "corpus"
    for src, tgt in DIRECTIONS:
        translator = seqloom.load(folder / f"{src}-{tgt}")
        size = (find_model(folder / f"{src}-{tgt}") / WEIGHTS).stat().st_size
        for name, title in SETS.items():
            report = evaluate(translator, corpus / f"test.{name}.{src}", corpus / f"test.{name}.{tgt}", bootstrap=0)
            bleu, chrf = report.scores["bleu"], report.scores["chrf"]
            signatures[f"BLEU into {tgt}"], signatures["chrF++"] = bleu.signature, chrf.signature
            count, megabytes = f"{len(report.translations)}", f"{size / 1e6:.1f} MB"
            table.add_row(f"{src} -> {tgt}", title, count, f"{bleu.value:.1f}", f"{chrf.value:.1f}", megabytes)
        sources = (corpus / f"examples.{src}").read_text(encoding="utf-8").splitlines()
        expected = (corpus / f"examples.{tgt}").read_text(encoding="utf-8").splitlines()
        for source, translation, wanted in zip(sources, translator.translate(sources), expected, strict=True):
            verdict = "" if translation.text == wanted else f"expected: {wanted}"
            examples.add_row(source, translation.text, verdict)
        examples.add_section()
    console.print(examples)
    console.print(table)
    for name, signature in signatures.items():
        console.print(f"  {name}: {signature}", highlight=False)
    console.print(f"  Time: {time.monotonic() - started:.0f} s on {os.cpu_count()} cores", highlight=False)


NEXT = """
Next, try it:
    echo '我喜欢喝茶。' | .venv/bin/seqloom translate {zh_en}
and with your own sentence pairs, line by line in two files:
    .venv/bin/seqloom train runs/mine --src train.zh --tgt train.en --src-lang zh --tgt-lang en
下一步，用您自己的双语句对（两个逐行对应的文件）训练，命令同上。
"""


def main() -> None:
    """Makes the corpus, trains, scores, translates, and says what to type next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "run", help="where corpus and runs go")
    folder = parser.parse_args().folder
    started = time.monotonic()
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 120)
    folder.mkdir(parents=True, exist_ok=True)
    compose(folder / "corpus")
    console.print("Training both directions, Chinese -> English and English -> Chinese, on the demo corpus:")
    try:
        train(folder, console)
    except KeyboardInterrupt:
        raise SystemExit("demo: interrupted; start it again to go on from the last checkpoint") from None
    show(folder, started, console)
    console.print(NEXT.format(zh_en=os.path.relpath(folder / "zh-en")), highlight=False)


if __name__ == "__main__":
    main()
