"""Parts of a batch side by side, each on one thread of the processor.

PyTorch spreads every operation over all threads. The operations of a small model are too short for
that: two threads need twice the processor time of one and are hardly sooner done. Here a batch is
parted by rows instead, and each worker takes its part through the whole model alone, with
gradients of its own. The weights are shared, so this costs no memory but that of the gradients, and
the update is that of the whole batch.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import nn

from seqloom.training.distributed import ALONE, Processes

ResultT = TypeVar("ResultT")


class Workers:
    """``count`` threads with a view each of one model.

    Random numbers come from a generator for each worker, seeded at every call from torch's own, so
    they depend neither on timing nor on anything but the state that a checkpoint holds. Among several
    processes each has workers of its own, and the numbers are those that one process with all of them draws.
    """

    def __init__(self, model: nn.Module, count: int, processes: Processes = ALONE) -> None:
        self.count = count
        self._processes = processes
        threads = torch.get_num_threads()
        self._views = [model, *(_view(model) for _ in range(count - 1))]
        self._generators = [torch.Generator() for _ in range(count)]
        self._pool = ThreadPoolExecutor(count, "worker", _arrange)
        torch.set_num_threads(threads)  # of this thread, for whatever else it does

    def run(self, work: Callable[[nn.Module, Any, torch.Generator], ResultT], parts: Sequence[Any]) -> list[ResultT]:
        """``work(model, part, generator)`` for each of at most ``count`` parts; then all gradients are on the model."""
        seeds = torch.randint(2**62, (self.count * self._processes.count,)).tolist()
        for generator, seed in zip(self._generators, seeds[self._processes.rank :: self._processes.count], strict=True):
            generator.manual_seed(seed)
        jobs = [
            self._pool.submit(work, *job)
            for job in zip(self._views[: len(parts)], parts, self._generators, strict=False)
        ]
        results = [job.result() for job in jobs]
        self._gather()
        return results

    def _gather(self) -> None:
        """Adds the gradients of the views to those of the model."""
        for view in self._views[1:]:
            sums, parts = [], []
            for weight, seen in zip(self._views[0].parameters(), view.parameters(), strict=True):
                if seen.grad is not None and weight.grad is not None:
                    sums.append(weight.grad)
                    parts.append(seen.grad)
                elif seen.grad is not None:
                    weight.grad = seen.grad
                seen.grad = None
            if sums:
                torch._foreach_add_(sums, parts)

    def close(self) -> None:
        self._pool.shutdown()


def _arrange() -> None:
    """One thread for the operations of this worker; the number is each thread's own."""
    torch.get_num_threads()  # sets itself up at the first use, which would undo the next line
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _view(model: nn.Module) -> nn.Module:
    """A model with the same weights in memory and gradients of its own."""
    view = copy.deepcopy(model)
    for seen, weight in zip(view.parameters(), model.parameters(), strict=True):
        seen.data = weight.data
    return view
