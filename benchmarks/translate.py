"""Translating speed: Seqloom's engines and its peers with the same weights, sentences and machine.

    python -m venv PEERS && PEERS/bin/pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/translate.py RUN --peers PEERS/bin/python [--src FILE --ref FILE] [--sentences 1000]
                                   [--beams 1 4] [--batches 1 16 64] [--rounds 3] [--threads 2]
                                   [--contestants seqloom-float32 huggingface ...] [--json]

RUN is a run or model folder of a model that Marian can be (``model.norm=post``, sinusoidal positions); of another
one Hugging Face is missed. It is converted once, into a temporary folder, for all. The contestants translate in
turns, text in, text out, each in a process of its own, one at work at a time, another one first in each round:

seqloom-float32, -int8    Seqloom by CTranslate2, with the workers and threads of its own probe, and no guard
seqloom-guarded           the same in float32 with the guard that ``seqloom translate`` has by default
seqloom-torch             Seqloom by torch, float32
ctranslate2-...-threads   CTranslate2 by itself, the same library, in float32 or int8: one worker with all threads
ctranslate2-...-workers   the same, as many workers with one thread each
huggingface               ``generate`` of MarianMTModel, float32
joeynmt                   its own model and search, float32; how its beam search differs stands in its script

With a batch of 1 sentences are given one by one, the first 200 at most; otherwise all at once, with that many in a
batch where the toolkit makes batches, and cut by length into batches of that many where it does not. Sentences
that Seqloom would translate in parts are left out. An output is of ``decoding.max_length`` tokens of the model at
most, whoever makes it; Seqloom's own bound by the length of the source, which the others have not, is off.

Tokens are those of the translations in the pieces of the model, ends counted. Figures are medians over the rounds
(least to most); a ratio is taken within each round, to Hugging Face, and to the faster one of the two that are
CTranslate2 by itself in the same type. ``differ`` counts translations that are not those of seqloom-torch with the
same beam. Start-up is from the start of the process until it could translate.

Data: unless given, Multi30k's test_2016_flickr in the languages of the model, in ``$SEQLOOM_DATA`` (default
../shared/data).
"""

import argparse
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import product, repeat
from pathlib import Path
from typing import Any, NamedTuple

from contest import DATA, SCRIPTS, MissedError, Player, end_gently, machine, markdown, spread, take_turns
from contestants.booth import Terms

from seqloom.data.readers import read_lines
from seqloom.data.tokenizers import SentencePiece, normalize
from seqloom.errors import SeqloomError
from seqloom.export.ctranslate2_engine import missing_parts, supported_types
from seqloom.export.ctranslate2_model import export_model
from seqloom.export.huggingface import not_exportable, write_huggingface
from seqloom.metrics.translation import score_translations
from seqloom.pipeline.engines import read_translator
from seqloom.pipeline.probe import choose
from seqloom.pipeline.translator import SHORTEST_LIMIT
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import trained_model

MOST_ONE_BY_ONE = 200
"""Sentences of a turn with a batch of 1."""


class Entry(NamedTuple):
    """Who takes part."""

    script: str
    precision: str = "float32"
    engine: str = "ctranslate2"
    guard: str = "off"
    workers: bool = False
    """Whether threads are workers of one thread each."""
    peer: bool = False
    """Whether it runs in the peers' environment."""


CONTESTANTS = {
    "seqloom-float32": Entry("seqloom_translator.py"),
    "seqloom-guarded": Entry("seqloom_translator.py", guard="retry"),
    "seqloom-int8": Entry("seqloom_translator.py", "int8"),
    "seqloom-torch": Entry("seqloom_translator.py", engine="torch"),
    "ctranslate2-float32-threads": Entry("ctranslate2_translator.py"),
    "ctranslate2-float32-workers": Entry("ctranslate2_translator.py", workers=True),
    "ctranslate2-int8-threads": Entry("ctranslate2_translator.py", "int8"),
    "ctranslate2-int8-workers": Entry("ctranslate2_translator.py", "int8", workers=True),
    "huggingface": Entry("huggingface_translator.py", peer=True),
    "joeynmt": Entry("joey_translator.py", peer=True),
}
TRUTH, PEER, BARE = "seqloom-torch", "huggingface", "ctranslate2_translator.py"
"""Whose translations the others' are compared with, and to what their speed is."""

COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "tokens_per_second": ("tokens/s", spread),
    "sentences_per_second": ("sentences/s", partial(spread, shown=",.1f")),
    "median_ms": ("median latency, ms", partial(spread, shown=",.1f")),
    "p95_ms": ("p95 latency, ms", partial(spread, shown=",.1f")),
    "of_huggingface": ("to Hugging Face", partial(spread, shown=".2f")),
    "of_ctranslate2": ("to CTranslate2", partial(spread, shown=".2f")),
    "bleu": ("BLEU", "{:.2f}".format),
    "differ": ("differ", str),
}
"""Figures with what stands above them."""

Cell = tuple[int, int]
"""Beam and batch."""

Turn = dict[str, Any]
"""What a contestant answers; see :mod:`contestants.booth`."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Texts:
    """What is translated."""

    sources: list[str]
    references: list[str]
    """As many, or none."""
    left_out: int
    """Sentences that were passed over."""


@dataclass(frozen=True)
class Held:
    """A contest that is over."""

    turns: dict[Cell, dict[str, list[Turn]]]
    """Of those who came through, a turn for each round."""
    about: dict[str, Figures]
    """Of each: start-up, peak memory, remark."""
    missed: dict[str, str]


def convert(run: Path, folder: Path, threads: int) -> tuple[TranslatorSetup, dict[str, str]]:
    """Writes a model for all contestants into ``folder``, and chooses how CTranslate2 runs; returns who cannot come.

    Raises:
        SystemExit: if only torch can run it, or its pieces are not SentencePiece's.
    """
    original = read_translator(run)
    setup = TranslatorSetup.from_folder(original)
    if missing := missing_parts(setup.model):
        raise SystemExit(f"{run}: CTranslate2 does not know {missing}")
    tokenizers = setup.src_tokenizer, setup.tgt_tokenizer
    if setup.directions or not all(isinstance(tokenizer, SentencePiece) for tokenizer in tokenizers):
        raise SystemExit(f"{run}: expected a model of one direction whose pieces are SentencePiece's")
    shutil.copytree(original.path, folder / "model", ignore=shutil.ignore_patterns("ctranslate2-*"))
    own = read_translator(folder / "model")
    missed: dict[str, str] = {}
    for precision in sorted({entry.precision for entry in CONTESTANTS.values()}):
        if precision in supported_types():
            choose([export_model(own, precision)], setup, threads)
        else:
            unable = [name for name, entry in CONTESTANTS.items() if entry.precision == precision]
            missed |= dict.fromkeys(unable, f"this processor does not calculate in {precision}")
    if reason := not_exportable(setup):
        missed[PEER] = reason
    else:
        write_huggingface(trained_model(own, setup), setup, folder / "huggingface")
    return setup, missed


def test_set(setup: TranslatorSetup) -> tuple[Path, Path]:
    """Sources and references that every machine with the data sets has.

    Raises:
        SystemExit: if there are none in these languages.
    """
    src, ref = (DATA / f"multi30k/test_2016_flickr.{language}.gz" for language in setup.languages)
    for file in (src, ref):
        if not file.exists():
            raise SystemExit(f"{file}: no such file; give --src, and --ref for BLEU")
    return src, ref


def read_texts(setup: TranslatorSetup, src: Path, ref: Path | None, count: int) -> Texts:
    """The first sentences that are not empty and that a model is given whole.

    Raises:
        SystemExit: if there are none, or not as many references as sentences.
    """
    sources = [normalize(line) for line in read_lines(src)]
    references = list(read_lines(ref)) if ref else []
    if ref and len(references) != len(sources):
        raise SystemExit(f"{ref}: {len(references):,} references for the {len(sources):,} sentences of {src}")
    limit = max(SHORTEST_LIMIT, setup.longest_source)
    lengths = map(len, setup.src_tokenizer.encode(sources))
    fit = [row for row, length in enumerate(lengths) if 0 < length <= limit][:count]
    if not fit:
        raise SystemExit(f"{src}: no sentence of 1 to {limit:,} tokens")
    chosen = [sources[row] for row in fit], [references[row] for row in fit] if ref else []
    return Texts(*chosen, fit[-1] + 1 - len(fit))


def terms_of(entry: Entry, folder: Path, setup: TranslatorSetup, threads: int) -> Terms:
    """What a contestant is given."""
    return Terms(
        str(folder),
        setup.decoding.length_penalty,
        setup.decoding.max_length,
        threads=1 if entry.workers else threads,
        workers=threads if entry.workers else 1,
        precision=entry.precision,
        engine=entry.engine,
        guard=entry.guard,
    )


def hold(
    chosen: Mapping[str, Terms],
    questions: Mapping[Cell, Mapping[str, Any]],
    rounds: int,
    peers: str | None,
    missed: dict[str, str],
) -> Held:
    """Has the contestants answer the questions in turns; ``missed`` are those who cannot come, and grows."""
    players: dict[str, Player] = {}
    turns: dict[Cell, dict[str, list[Turn]]] = {cell: {} for cell in questions}
    with ExitStack() as stack:
        for name, terms in chosen.items():
            python = peers if CONTESTANTS[name].peer else sys.executable
            if python is None:
                missed.setdefault(
                    name, "give --peers the Python of an environment made from benchmarks/requirements.txt"
                )
            if python is None or name in missed:
                continue
            print(f"{name} gets ready", file=sys.stderr)
            try:
                players[name] = stack.enter_context(Player(SCRIPTS / CONTESTANTS[name].script, python, terms))
            except MissedError as error:
                missed[name] = str(error)
        asked = repeat(list(questions.values()), rounds)
        for number, answers in enumerate(take_turns(players, missed, asked), start=1):
            print(f"round {number} of {rounds}", file=sys.stderr)
            for cell, answered in zip(questions, answers, strict=True):
                for name, turn in answered.items():
                    turns[cell].setdefault(name, []).append(turn)
        through = {name: player for name, player in players.items() if name not in missed}
        about = {
            name: {"start_up": player.start_up, "peak_memory": player.peak_memory, **player.about}
            for name, player in through.items()
        }
    return Held({cell: {name: found[name] for name in through} for cell, found in turns.items()}, about, missed)


def figures(
    turns: Mapping[Cell, Mapping[str, Sequence[Turn]]], setup: TranslatorSetup, references: Sequence[str]
) -> dict[Cell, dict[str, Figures]]:
    """What is told of each in each cell."""
    truth: dict[int, list[str]] = {}
    for (beam, _), found in turns.items():
        for turn in found.get(TRUTH, []):
            truth[beam] = max(truth.get(beam, []), turn["translations"], key=len)
    told: dict[Cell, dict[str, Figures]] = {}
    for cell, found in turns.items():
        beam, batch = cell
        speeds = {name: [tokens(turn, setup) / turn["seconds"] for turn in mine] for name, mine in found.items()}
        told[cell] = {}
        for name, mine in found.items():
            translations = mine[-1]["translations"]
            each: Figures = {
                "tokens_per_second": speeds[name],
                "sentences_per_second": [len(turn["translations"]) / turn["seconds"] for turn in mine],
            }
            if batch == 1:
                each["median_ms"] = [1000 * statistics.median(turn["latencies"]) for turn in mine]
                each["p95_ms"] = [1000 * p95(turn["latencies"]) for turn in mine]
            each |= ratios(name, speeds)
            if references:
                bleu = score_translations(translations, references[: len(translations)], setup.languages[1], ("bleu",))
                each |= {"bleu": bleu["bleu"].value, "signature": bleu["bleu"].signature}
            if beam in truth and name != TRUTH:
                each["differ"] = max(
                    sum(a != b for a, b in zip(turn["translations"], truth[beam], strict=False)) for turn in mine
                )
            told[cell][name] = each
    return told


def tokens(turn: Turn, setup: TranslatorSetup) -> int:
    """Of the translations, ends counted."""
    return sum(map(len, setup.targets(turn["translations"])))


def p95(values: Sequence[float]) -> float:
    """The least value that 95 % of them do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def ratios(name: str, speeds: Mapping[str, Sequence[float]]) -> Figures:
    """Of one's speeds to others', within each round."""
    bare = [
        other
        for other in speeds
        if CONTESTANTS[other].script == BARE and CONTESTANTS[other].precision == CONTESTANTS[name].precision
    ]
    best = max(bare, key=lambda other: statistics.median(speeds[other]), default=None)
    others = {"of_huggingface": PEER if PEER in speeds else None, "of_ctranslate2": best}
    return {
        key: [own / theirs for own, theirs in zip(speeds[name], speeds[other], strict=True)]
        for key, other in others.items()
        if other not in (None, name)
    }


def tables(told: Mapping[Cell, Mapping[str, Figures]], about: Mapping[str, Figures]) -> Iterator[str]:
    """Rows of Markdown, fit for docs/benchmarks.md: one table for each cell, and one of the programs."""
    for (beam, batch), found in told.items():
        columns = {key: column for key, column in COLUMNS.items() if any(key in each for each in found.values())}
        rows = [[f"beam {beam}, batch {batch}", *(head for head, _ in columns.values())]]
        for name, each in found.items():
            rows.append([name, *(shown(each[key]) if key in each else "" for key, (_, shown) in columns.items())])
        yield from markdown(rows)
        yield ""
    rows = [["", "start-up, s", "peak memory"]]
    for name, each in about.items():
        memory = f"{each['peak_memory'] / 2**20:,.0f} MiB" if each["peak_memory"] else ""
        rows.append([name, f"{each['start_up']:.2f}", memory])
    yield from markdown(rows)


def remarks(held: Held, told: Mapping[Cell, Mapping[str, Figures]]) -> Iterator[str]:
    """What stands under the tables."""
    signatures = {each["signature"] for found in told.values() for each in found.values() if "signature" in each}
    yield from (f"BLEU: {signature}" for signature in sorted(signatures))
    yield from (f"{name}: {about['remark']}" for name, about in held.about.items() if about["remark"])
    yield from (f"{name}: missed: {reason}" for name, reason in held.missed.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--peers", metavar="PYTHON", help="of the peers' environment; without it they are missed")
    parser.add_argument("--src", type=Path, help="sentences, one a line")
    parser.add_argument("--ref", type=Path, help="their references, for BLEU")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--json", action="store_true", help="one JSON object, with every round")
    options = parser.parse_args()
    end_gently()
    if options.ref and not options.src:
        parser.error("--ref needs --src")
    try:
        with tempfile.TemporaryDirectory(prefix="translate-") as temporary:
            folder = Path(temporary)
            setup, missed = convert(options.run, folder, options.threads)
            src, ref = (options.src, options.ref) if options.src else test_set(setup)
            texts = read_texts(setup, src, ref, options.sentences)
            chosen = {name: terms_of(CONTESTANTS[name], folder, setup, options.threads) for name in options.contestants}
            missed = {name: reason for name, reason in missed.items() if name in chosen}
            questions = {
                (beam, batch): {
                    "texts": texts.sources[:MOST_ONE_BY_ONE] if batch == 1 else texts.sources,
                    "beam": beam,
                    "batch": batch,
                }
                for beam, batch in product(options.beams, options.batches)
            }
            held = hold(chosen, questions, options.rounds, options.peers, missed)
    except SeqloomError as error:
        raise SystemExit(str(error)) from None
    told = figures(held.turns, setup, texts.references)
    about: dict[str, Any] = {"date": str(date.today()), "machine": machine(), "sentences": len(texts.sources)}
    about |= {"run": str(options.run), "src": str(src), "ref": str(ref) if ref else None}
    about |= {"left_out": texts.left_out, "threads": options.threads, "rounds": options.rounds}
    if options.json:
        found = [{"beam": beam, "batch": batch, "contestants": found} for (beam, batch), found in told.items()]
        print(json.dumps({"about": about, "cells": found, "programs": held.about, "missed": held.missed}))
        return
    print(f"{about['date']}, {about['machine']}, threads: {options.threads}, {options.run}")
    print(f"sentences of {src}: {len(texts.sources):,}, left out: {texts.left_out:,}")
    print(f"rounds: {options.rounds}, median (least to most); one by one the first {MOST_ONE_BY_ONE} sentences")
    print("", *tables(told, held.about), "", sep="\n")
    for remark in remarks(held, told):
        print(f"- {remark}")


if __name__ == "__main__":
    main()
