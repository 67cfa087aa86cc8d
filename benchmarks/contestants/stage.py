"""A contestant's side of a contest: the terms that hold for all, the batches, and the turns.

The scripts beside this one are started by ``benchmarks/contest.py``, some with the Python of another
toolkit's environment, so nothing of Seqloom is imported here. Each reads its terms from the command line
and says in one line of JSON that it is ready. Then it reads a line for each turn, ``{"warm_up": [0],
"batches": [3, 4]}``, makes an update with each of these batches, and answers with a line: seconds, those of them
that it stood in line for a processor, real target tokens, mean loss, floating-point operations of the matrix
products, peak memory in bytes. The updates of the warm-up do not count.
"""

import ctypes
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Terms:
    """What is the same for all contestants."""

    batches: str
    """The file of batches, as written by ``numpy.savez``: ``src0``, ``targets0``, ``src1`` ..."""
    vocab_size: int
    pad: int
    unk: int
    bos: int
    eos: int
    d_model: int
    num_layers: int
    """Of the encoder, and of the decoder."""
    threads: int
    precision: str
    """``float32``, or ``bfloat16`` for the matrix products."""
    kind: str = "transformer"
    """Or ``recurrent``: LSTMs, in the encoder half of the units each way; Luong's attention with input feeding."""
    d_ff: int = 0
    num_heads: int = 0
    dropout: float = 0.25
    """Of embeddings, attention weights, inside the feed-forward layers and of what each sublayer adds."""
    label_smoothing: float = 0.1
    learning_rate: float = 3e-4
    """Constant: post-norm models stand it from the first update on."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    own_batches: bool = False
    """Whether the sentence pairs of a turn are put together anew, as the toolkit itself would."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")


class Batch(NamedTuple):
    """B sentence pairs, padded at the end to S and T tokens."""

    src: Tensor
    """[B, S] ids, each row ending in EOS."""
    tgt: Tensor
    """[B, T] what the decoder reads: BOS and the target."""
    targets: Tensor
    """[B, T] what it must say: the target and EOS."""
    num_sources: int
    """Tokens that are not padding."""
    num_targets: int


class Contestant(NamedTuple):
    """One toolkit, ready to train."""

    update: Callable[[Batch], float]
    """Makes one update; returns the mean loss of a real target token."""
    parameters: int = 0
    remark: str = ""
    """How it differs from the terms."""
    rebatch: Callable[[Sequence[Batch]], list[Batch]] = list
    """Puts the pairs of a turn together anew."""


def transformer_flops(terms: Terms, batch: Batch) -> int:
    """Floating-point operations of all matrix products of one update.

    With N and M real source and target tokens, L layers a side, width D, F inside of the
    feed-forward layers and V rows of the vocabulary, a forward pass multiplies and adds::

        encoder              N L (4 D^2 + 2 D F)
        decoder              M L (6 D^2 + 2 D F) + N L 2 D^2     (keys and values of the source)
        output               M D V
        attention weights    2 L D B (S^2 + T^2 + T S)           (rectangles, as padded)

    which is 2 operations each, and three times that with the gradients of inputs and of weights.
    """
    width, inner, layers = terms.d_model, terms.d_ff, terms.num_layers
    (rows, sources), targets = batch.src.shape, batch.tgt.size(1)
    products = batch.num_sources * layers * (6 * width**2 + 2 * width * inner)
    products += batch.num_targets * (layers * (6 * width**2 + 2 * width * inner) + width * terms.vocab_size)
    products += 2 * layers * width * rows * (sources**2 + targets**2 + targets * sources)
    return 6 * products


def recurrent_flops(terms: Terms, batch: Batch) -> int:
    """The same of a recurrent model::

    encoder              N L 6 D^2                           (two ways of half the width)
    decoder              M (L 8 D^2 + 6 D^2) + N D^2         (input feeding, attentional vector; keys)
    output               M D V
    attention            2 D B T S                           (rectangles, as padded)
    """
    width, layers = terms.d_model, terms.num_layers
    (rows, sources), targets = batch.src.shape, batch.tgt.size(1)
    products = batch.num_sources * (6 * layers + 1) * width**2
    products += batch.num_targets * ((8 * layers + 6) * width**2 + width * terms.vocab_size)
    products += 2 * width * rows * targets * sources
    return 6 * products


FLOPS = {"transformer": transformer_flops, "recurrent": recurrent_flops}


def flops(terms: Terms, batch: Batch) -> int:
    """Floating-point operations of all matrix products of one update."""
    return FLOPS[terms.kind](terms, batch)


def peak_memory(process: int | None = None) -> int:
    """Bytes of the largest resident size of this program so far, or of another; 0 where nobody tells the latter.

    Not the ``ru_maxrss`` of Linux, which a process inherits from the one that started it.
    """
    status = Path(f"/proc/{process or 'self'}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10
    if process:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def waited() -> float:
    """Seconds that this thread was ready to go on and the processor did something else; 0 where nobody counts them."""
    account = Path("/proc/self/schedstat")
    return int(account.read_text().split()[1]) / 1e9 if account.exists() else 0.0


def give_back() -> None:
    """Leaves the memory that is not in use to the others, as far as glibc has it; the next warm-up takes it again."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def read_batches(terms: Terms) -> list[Batch]:
    """All batches of the file."""
    with np.load(terms.batches, allow_pickle=False) as arrays:
        sides = [
            [torch.from_numpy(arrays[f"{side}{number}"]) for side in ("src", "targets")]
            for number in range(len(arrays.files) // 2)
        ]
    return [make_batch(src, targets, terms) for src, targets in sides]


def make_batch(src: Tensor, targets: Tensor, terms: Terms) -> Batch:
    """From the rows of both sides, [B, S] and [B, T], each ending in EOS and then PAD."""
    begin = torch.full_like(targets[:, :1], terms.bos)
    before = targets.masked_fill(targets == terms.eos, terms.pad)[:, :-1]
    real = [int((side != terms.pad).sum()) for side in (src, targets)]
    return Batch(src, torch.cat([begin, before], 1), targets, *real)


def perform(prepare: Callable[[Terms], Contestant]) -> None:
    """Takes turns until the input ends."""
    terms = Terms(**json.loads(sys.argv[1]))
    torch.manual_seed(1)
    contestant = prepare(terms)
    batches = read_batches(terms)
    _answer(parameters=contestant.parameters, remark=contestant.remark, torch=torch.__version__)
    for line in sys.stdin:
        asked = json.loads(line)
        for number in asked["warm_up"]:
            contestant.update(batches[number])
        given = [batches[number] for number in asked["batches"]]
        turn = contestant.rebatch(given)
        lost, begun = waited(), time.perf_counter()
        losses = [contestant.update(batch) * batch.num_targets for batch in turn]
        seconds = time.perf_counter() - begun
        tokens = sum(batch.num_targets for batch in turn)
        _answer(
            seconds=seconds,
            waited=waited() - lost,
            tokens=tokens,
            loss=math.fsum(losses) / tokens,
            flops=sum(flops(terms, batch) for batch in given),
            peak_memory=peak_memory(),
        )
        give_back()


def _answer(**values: object) -> None:
    print(json.dumps(values), flush=True)
