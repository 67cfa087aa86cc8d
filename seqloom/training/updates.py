"""One update of the weights: gradients of a batch, and the step that they make."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqloom.config import TrainingConfig
from seqloom.tasks.task import Task
from seqloom.training.optimizers import OPTIMIZERS, Optimizers
from seqloom.training.sharding import local, norm_of
from seqloom.training.workers import Workers


class Learnt(NamedTuple):
    """What a part of a batch gave, beside gradients."""

    part: Any
    loss: Tensor
    """The sum, on the device; to read it is to wait for the device."""
    targets: int
    """Real tokens that the sum is over."""


@dataclass
class Updates:
    """Makes updates of ``model``, whose step leaves nothing for a device to wait for.

    Args:
        dtype: type of the matrix products.
        optimizers: share the weights out among them.
        workers: threads that take a part of each batch; None leaves it whole, and the threads to torch.
    """

    task: Task
    config: TrainingConfig
    model: nn.Module
    device: torch.device
    dtype: torch.dtype
    workers: Workers | None

    def __post_init__(self) -> None:
        self.optimizers: Optimizers = OPTIMIZERS[self.config.optimizer](self.model, self.config)
        if self._compiles():
            for stack in self.task.stacks(self.model):
                stack.compile(dynamic=True)  # one program for all lengths, not one for each

    def learn(self, batch: Any, progress: float = 0.0) -> list[Learnt]:
        """Adds the gradients of the summed loss of ``batch`` to those that are there.

        ``progress`` is the share of the run that is behind.
        """
        learn_part = partial(self.learn_part, progress=progress)
        if self.workers is None:
            return [learn_part(self.model, batch)]
        return self.workers.run(learn_part, batch.parts(self.workers.count))

    def learn_part(
        self, model: nn.Module, part: Any, random: torch.Generator | None = None, progress: float = 0.0
    ) -> Learnt:
        """``learn`` for a part of a batch on one thread, with dropout from ``random``."""
        with self._autocast():
            loss = self.task.loss(model, part.to(self.device), random, progress)
        loss.sum.backward()
        return Learnt(part, loss.sum.detach(), loss.count)

    def apply(self, count: int, rate: float) -> None:
        """One step down the mean of the gradients over ``count`` tokens, its norm clipped."""
        divisor = torch.full((), float(count), device=self.device)
        if self.config.clip:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            divisor = torch.maximum(divisor, (norm_of(gradients) / self.config.clip).float())
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            _step(optimizer, divisor)
            optimizer.zero_grad(set_to_none=True)

    def _compiles(self) -> bool:
        if self.config.compile == "auto":
            wholes = not self.config.shard and not self.config.recompute  # neither of which the compiler follows
            return self.device.type == "cuda" and find_spec("triton") is not None and wholes
        return self.config.compile == "on"

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def _step(optimizer: torch.optim.Optimizer, divisor: Tensor) -> None:
    """Steps down gradients / ``divisor``."""
    if optimizer.defaults.get("fused"):
        optimizer.grad_scale = divisor  # type: ignore[attr-defined]  # divided on the way, as for a GradScaler
    else:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        torch._foreach_div_([local(each) for each in gradients], divisor)
    optimizer.step()
