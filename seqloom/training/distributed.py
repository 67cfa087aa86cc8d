"""Several processes that train one model, each with the same weights and a part of each batch.

Started by ``torchrun``, on one machine or several, with the run folder where all of them see it. Process 0 reads the
data, decides, validates and writes; the others are told. Gradients and losses are sums over tokens, so those of all
processes are added and not averaged, and the update is that of one process with the whole batch.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from seqloom.errors import ConfigError
from seqloom.machine import cores

PATIENCE = timedelta(hours=2)
"""How long the others wait for process 0 while it prepares data or validates. One that has died is noticed at once."""

BUCKET = 1 << 24
"""Bytes of gradients that are added up together."""


@dataclass(frozen=True)
class Processes:
    """Who takes part, and which one this is."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one decides and writes."""
        return self.rank == 0

    def tell(self, news: Mapping[str, Any]) -> None:
        """From process 0 to all others, which have to call :meth:`told`."""
        if self.count > 1:
            content = torch.frombuffer(bytearray(json.dumps(news).encode()), dtype=torch.uint8)
            dist.broadcast(torch.tensor([len(content)]), 0)
            dist.broadcast(content, 0)

    def told(self) -> dict[str, Any]:
        """What process 0 tells."""
        size = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(size, 0)
        content = torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(content, 0)
        news: dict[str, Any] = json.loads(bytes(content.tolist()))
        return news

    def added(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all processes."""
        if self.count == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(each) for each in total.tolist()]

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Makes each gradient the sum over all processes; one that had no part of the batch adds nothing."""
        if self.count == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
        for bucket in _buckets(gradients):
            together = torch.cat([each.flatten() for each in bucket])
            dist.all_reduce(together)
            for each, total in zip(bucket, together.split([each.numel() for each in bucket]), strict=True):
                each.copy_(total.view_as(each))


ALONE = Processes()


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type, of some ``BUCKET`` bytes together."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and (bucket[0].dtype != gradient.dtype or sum(each.nbytes for each in bucket) >= BUCKET):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def asked_for() -> bool:
    """Whether torchrun, or what sets the same variables, has started more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the one that writes and tells, before it has joined the others."""
    return int(os.environ.get("RANK", "0")) == 0


def processes_here() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if asked_for() else 1


def threads_each() -> int | None:
    """This process's share of the cores; None where it has the machine to itself."""
    return max(1, cores() // processes_here()) if processes_here() > 1 else None


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Joins the other processes, if there are any; with the device of this one.

    Raises:
        ConfigError: if there are fewer GPUs than processes.
    """
    if not asked_for():
        yield ALONE, device
        return
    if device.type == "cuda":
        place = int(os.environ.get("LOCAL_RANK", "0"))
        if place >= torch.cuda.device_count():
            raise ConfigError(
                f"{processes_here()} processes for {torch.cuda.device_count()} GPUs on this machine, expected one each"
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
    if count == processes_here():
        # When torchrun starts all again, its store still holds where those were that are gone.
        store = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size()), device
    except RuntimeError as error:
        if not _lost_another(error):
            raise
        cause = str(error).strip().splitlines()[-1]  # a failure of its own may be taken for it
        raise SystemExit(f"seqloom: process {dist.get_rank()} ends: another does not answer ({cause})") from None
    finally:
        dist.destroy_process_group()


def _lost_another(error: RuntimeError) -> bool:
    """Whether an error is that another process does not answer any more."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error)
