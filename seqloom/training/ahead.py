"""Batches made ahead of time by a thread of their own."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seqloom.tasks.task import Batches

DEPTH = 4
"""Batches that wait at most."""


class Ahead:
    """The stream of ``batches``, its position that of the last one handed out and not of the last one made.

    Args:
        pinned: whether they are put where a GPU can copy them from while the processor goes on.
    """

    def __init__(self, batches: Batches, pinned: bool) -> None:
        self._batches, self._pinned = batches, pinned
        self._state = batches.state_dict()

    def __iter__(self) -> Iterator[Any]:
        stream = iter(self._batches)

        def make() -> tuple[Any, dict[str, int]]:
            batch = next(stream)
            return batch.pinned() if self._pinned else batch, self._batches.state_dict()

        with ThreadPoolExecutor(1, "batches") as maker:
            waiting = deque(maker.submit(make) for _ in range(DEPTH))
            while True:
                batch, self._state = waiting.popleft().result()
                waiting.append(maker.submit(make))
                yield batch

    def state_dict(self) -> dict[str, int]:
        """The position behind the last batch that was handed out."""
        return self._state

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on from ``state``; before the first batch is asked for."""
        self._batches.load_state_dict(state)
        self._state = state

    def share(self, part: int, of: int) -> None:
        """That of ``batches``."""
        self._batches.share(part, of)

    def plan(self, epoch: int) -> Any:
        """That of ``batches``."""
        return self._batches.plan(epoch)
