"""A translator's side of a contest: the terms that hold for all, the texts, and the turns.

What ``stage.py`` is for training: the scripts that import this are started by ``benchmarks/translate.py``, some with
the Python of another toolkit's environment, so nothing of Seqloom is imported here, nor torch, which not all need.
Each reads its terms from the command line and says in one line of JSON that it is ready. Then it reads a line for
each turn, ``{"texts": ["One.", "Two."], "beam": 4, "batch": 16}``, and answers with a line: the translations, the
seconds that they took together, and if ``batch`` is 1, those of each. The first texts are translated once before,
which does not count.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sentencepiece import SentencePieceProcessor

PAD, UNK, BOS, EOS = range(4)
"""The special tokens of the model."""

WARM_UP = 4
"""Texts that are translated before a turn, or a whole batch of them."""

Item, Answer = TypeVar("Item"), TypeVar("Answer")


@dataclass(frozen=True)
class Terms:
    """What a translator is given."""

    folder: str
    """Holds ``model``, Seqloom's model folder with its exports for CTranslate2 inside, and ``huggingface``."""
    length_penalty: float
    max_length: int
    """Tokens of the longest output, its end counted."""
    threads: int
    """Of each worker."""
    workers: int = 1
    """Batches at the same time, for toolkits that can."""
    precision: str = "float32"
    engine: str = "ctranslate2"
    """Seqloom's, for Seqloom."""
    guard: str = "off"
    """What Seqloom does about answers that cannot be right."""

    @property
    def model(self) -> Path:
        return Path(self.folder) / "model"


class Contestant(NamedTuple):
    """One toolkit, ready to translate."""

    translate: Callable[[list[str], int, int], list[str]]
    """(texts, beam, batch) -> a translation of each; at most ``batch`` of them are in one batch."""
    remark: str = ""
    """How it differs from the terms, or what is not to be seen from them."""


class Pieces:
    """The SentencePiece models of both sides."""

    def __init__(self, terms: Terms) -> None:
        tgt = terms.model / "tgt.model"
        self.src = SentencePieceProcessor(str(terms.model / "src.model"))
        self.tgt = SentencePieceProcessor(str(tgt)) if tgt.exists() else self.src

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each, the end token last."""
        found: list[list[int]] = self.src.encode(list(texts), add_eos=True)
        return found

    def decode(self, rows: Sequence[list[int]]) -> list[str]:
        """Texts of outputs, each read up to its end token."""
        found: list[str] = self.tgt.decode([row[: row.index(EOS)] if EOS in row else row for row in rows])
        return found


def in_batches(
    translate: Callable[[list[Item]], list[Answer]],
    items: Sequence[Item],
    batch: int,
    length: Callable[[Item], int],
) -> list[Answer]:
    """Answers in the order of the items, which are translated in batches of like length, the longest first."""
    order = sorted(range(len(items)), key=lambda row: -length(items[row]))
    found: dict[int, Answer] = {}
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        found |= zip(rows, translate([items[row] for row in rows]), strict=True)
    return [found[row] for row in range(len(items))]


def padded(rows: Sequence[Sequence[int]], pad: int) -> list[list[int]]:
    """[B, T]: rows filled up to the longest one."""
    longest = max(map(len, rows))
    return [[*row, *[pad] * (longest - len(row))] for row in rows]


def perform(prepare: Callable[[Terms], Contestant]) -> None:
    """Takes turns until the input ends."""
    contestant = prepare(Terms(**json.loads(sys.argv[1])))
    _answer(remark=contestant.remark)
    for line in sys.stdin:
        asked = json.loads(line)
        texts, batch = asked["texts"], asked["batch"]
        translate = partial(contestant.translate, beam=asked["beam"], batch=batch)
        translate(texts[: max(batch, WARM_UP)])
        seconds: list[float] = []
        translations: list[str] = []
        for part in [[text] for text in texts] if batch == 1 else [texts]:
            begun = time.perf_counter()
            translations += translate(part)
            seconds.append(time.perf_counter() - begun)
        _answer(seconds=sum(seconds), latencies=seconds if batch == 1 else [], translations=translations)


def _answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)
