"""Training speed: Seqloom and its peers on the same model, batches and machine, and the bound of the machine.

    python -m venv PEERS && PEERS/bin/pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/train.py --peers PEERS/bin/python [--rounds 3] [--steps 12] [--threads 2]
                               [--model small|base|recurrent] [--contestants seqloom marian ...] [--precisions bfloat16]
                               [--json]

The contestants train in turns on the same batches of Multi30k en-de, at most 4,096 padded tokens each: each
in a process of its own with its own memory, one at work at a time, another one first in each round. All have
the same sizes, pre-norm where they offer it, embeddings and output tied, dropout 0.25 of embeddings,
attention weights, inside the feed-forward layers and of every sublayer, label smoothing 0.1, AdamW at a
constant 3e-4 and gradients clipped to 1. How one differs stands under the table. Seqloom's process is
arranged as by ``seqloom train``; the others have torch's threads and the usual allocator. The first update of a
turn does not count. All keep their weights in memory to the end: with ``base`` choose a few contestants.
``recurrent`` is one layer of LSTMs a side with Luong's attention and input feeding, which JoeyNMT alone has beside us.
``joeynmt-own-batches`` makes batches of the same sentence pairs as JoeyNMT does itself, without regard to length.

Figures are real target tokens a second, ends counted, the median over the rounds. A ratio is taken within
each round, then its median. The bound is what the matrix products of these updates alone would allow, measured
in the same rounds by ``contestants/products.py``; ``flops`` in ``contestants/stage.py`` counts them.

Data: ``$SEQLOOM_DATA`` (default ../shared/data). ``base`` has 32,000 rows in its table, though Multi30k
does not fill so many pieces.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from itertools import product
from typing import Any

from contest import (
    BATCH_TOKENS,
    MODELS,
    SCRIPTS,
    Contest,
    MissedError,
    Player,
    Turn,
    end_gently,
    machine,
    markdown,
    speed,
    spread,
)

OURS, BOUND = "seqloom", "products"
AT_HOME = {OURS: "ours.py", "plain": "plain.py", BOUND: "products.py"}
"""Scripts that run in the project's environment."""
PEERS = {"marian": "marian.py", "eole": "eole_trainer.py", "joeynmt": "joey.py", "joeynmt-own-batches": "joey.py"}
"""Scripts that run in the peers' environment."""
RECURRENT = (OURS, "joeynmt", "joeynmt-own-batches")
"""Those that have recurrent models."""
REFUSED = ("joeynmt-own-batches", "bfloat16")
"""On a processor its configuration does not allow this."""
PRECISIONS = ("bfloat16", "float32")
MOST_WAITING = 0.03
"""Share of the time that a contestant may wait for a processor before the figures say so."""

Figures = dict[str, Any]


def hold(
    contest: Contest, chosen: Iterable[tuple[str, str]], peers: str | None
) -> tuple[dict[str, Figures], dict[str, str]]:
    """The figures of each contestant, and why others were missed; ``chosen`` are kinds and precisions."""
    missed: dict[str, str] = {}
    turns: dict[str, list[Turn]] = {}
    players: dict[str, Player] = {}
    with ExitStack() as stack:
        for kind, precision in chosen:
            name, python = f"{kind}, {precision}", sys.executable if kind in AT_HOME else peers
            if python is None:
                missed[name] = "give --peers the Python of an environment made from benchmarks/requirements.txt"
                continue
            print(f"{name} gets ready", file=sys.stderr)
            terms = contest.terms(precision, own_batches=kind.endswith("own-batches"))
            try:
                players[name] = stack.enter_context(Player(SCRIPTS / (AT_HOME | PEERS)[kind], python, terms))
            except MissedError as error:
                missed[name] = str(error)
        for number, answers in enumerate(contest.turns(players, missed), start=1):
            print(f"round {number} of {contest.rounds}", file=sys.stderr)
            for name, turn in answers.items():
                turns.setdefault(name, []).append(turn)
    through = {name: turns[name] for name in players if name in turns and name not in missed}
    return {name: figures(name, through) | players[name].about for name in through}, missed


def figures(name: str, turns: Mapping[str, Sequence[Turn]]) -> Figures:
    """What is told of one contestant, from the turns of all."""
    speeds = list(map(speed, turns[name]))
    found: Figures = {
        "tokens_per_second": speeds,
        "flops_per_second": [turn["flops"] / turn["seconds"] for turn in turns[name]],
        "loss": [turn["loss"] for turn in turns[name]],
        "peak_memory": turns[name][-1]["peak_memory"],
        "waited": sum(turn["waited"] for turn in turns[name]) / sum(turn["seconds"] for turn in turns[name]),
    }
    ours = next((turns[other] for other in turns if other.startswith(OURS)), None)
    if ours and ours is not turns[name] and not name.startswith(BOUND):
        found["behind_ours"] = [speed(turn) / own for turn, own in zip(ours, speeds, strict=True)]
    bound = turns.get(f"{BOUND}, {name.partition(', ')[2]}")
    if bound and bound is not turns[name]:
        found["of_the_bound"] = [own / speed(turn) for turn, own in zip(bound, speeds, strict=True)]
    return found


def table(contestants: Mapping[str, Figures]) -> Iterator[str]:
    """Rows of Markdown, fit for docs/benchmarks.md."""
    first = next((name for name in contestants if name.startswith(OURS)), OURS)
    rows = [["", "tokens/s", f"{first}: times as fast", "of the bound", "peak memory", "parameters", "loss"]]
    for name, found in contestants.items():
        row = [name, spread(found["tokens_per_second"])]
        row.append(spread(found["behind_ours"], ".2f") if "behind_ours" in found else "")
        row.append(f"{statistics.median(found['of_the_bound']):.0%}" if "of_the_bound" in found else "")
        if not name.startswith(BOUND):
            row += [f"{found['peak_memory'] / 2**20:,.0f} MiB", f"{found['parameters'] / 1e6:.2f} M"]
            row.append(f"{found['loss'][0]:.2f} to {found['loss'][-1]:.2f}")
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    yield from markdown(rows)


def remarks(contestants: Mapping[str, Figures], missed: Mapping[str, str]) -> Iterator[str]:
    """What stands under the table."""
    for name, found in contestants.items():
        said = [found["remark"]] if found["remark"] else []
        if name.startswith(BOUND):
            said.append(f"{statistics.median(found['flops_per_second']) / 1e9:,.0f} GFLOP/s")
        if found["waited"] > MOST_WAITING:
            said.append(f"stood in line for a processor {found['waited']:.0%} of the time")
        yield f"{name}: {'; '.join([*said, 'PyTorch ' + found['torch']])}"
    for name, reason in missed.items():
        yield f"{name}: missed: {reason}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", metavar="PYTHON", help="of the peers' environment; without it they are missed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="updates in a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--model", choices=MODELS, default="small")
    parser.add_argument("--contestants", nargs="+", choices=[*AT_HOME, *PEERS])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--json", action="store_true", help="one JSON object, with every round")
    options = parser.parse_args()
    end_gently()
    model = MODELS[options.model]
    able = RECURRENT if model.get("kind") == "recurrent" else (*AT_HOME, *PEERS)
    wanted = options.contestants or able
    if unable := [name for name in wanted if name not in able]:
        parser.error(f"{', '.join(unable)}: has no model {options.model}; those that have are {', '.join(able)}")
    with Contest(model, options.threads, options.rounds, options.steps) as contest:
        chosen = [entry for entry in product(wanted, options.precisions) if entry != REFUSED]
        contestants, missed = hold(contest, chosen, options.peers)
        pieces = contest.pieces
    about = {"date": str(date.today()), "machine": machine(), "pieces": pieces, "batch_tokens": BATCH_TOKENS}
    about |= {key: getattr(options, key) for key in ("threads", "rounds", "steps", "model")} | model
    if options.json:
        print(json.dumps({"about": about, "contestants": contestants, "missed": missed}))
        return
    sizes = "{num_layers} + {num_layers} layers, d_model {d_model}, {vocab_size:,} rows"
    if "d_ff" in model:
        sizes += ", d_ff {d_ff}, {num_heads} heads"
    print(f"{about['date']}, {about['machine']}, threads: {options.threads}, Multi30k en-de")
    print(f"{options.model}: {sizes.format(**model)} ({pieces:,} pieces), batches of at most {BATCH_TOKENS:,} tokens")
    print(f"{options.rounds} rounds of {options.steps} updates: median (least to most), loss of the first and the last")
    print("", *table(contestants), "", sep="\n")
    for remark in remarks(contestants, missed):
        print(f"- {remark}")


if __name__ == "__main__":
    main()
