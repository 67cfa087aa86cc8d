"""Lines as they come: many at once when they are waiting, one when it is alone."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

ItemT = TypeVar("ItemT")

MAX_AT_ONCE = 1024


class _End(NamedTuple):
    error: BaseException | None


def as_they_come(items: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    """Yields all that is there by now of ``items``, which are read ahead, and waits only where nothing is.

    An error of theirs is raised behind what came before it. Where nobody asks for more, the reading ends.
    """
    waiting: queue.Queue[tuple[ItemT] | _End] = queue.Queue(maxsize=4 * MAX_AT_ONCE)
    abandoned = threading.Event()

    def read() -> None:
        end = _End(None)
        try:
            for item in items:
                _put(waiting, (item,), abandoned)
                if abandoned.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where the results are read
            end = _End(error)
        _put(waiting, end, abandoned)

    threading.Thread(target=read, daemon=True).start()
    try:
        yield from _chunks(waiting)
    finally:
        abandoned.set()


def _put(waiting: "queue.Queue[ItemT]", item: ItemT, abandoned: threading.Event) -> None:
    """Waits for room, as long as somebody may make some."""
    while not abandoned.is_set():
        try:
            waiting.put(item, timeout=0.5)
            return
        except queue.Full:
            pass


def _chunks(waiting: "queue.Queue[tuple[ItemT] | _End]") -> Iterator[list[ItemT]]:
    while True:
        chunk: list[ItemT] = []
        came = waiting.get()
        while not isinstance(came, _End):
            chunk.append(came[0])
            if len(chunk) == MAX_AT_ONCE or waiting.empty():
                break
            came = waiting.get()
        if chunk:
            yield chunk
        if isinstance(came, _End):
            if came.error is not None:
                raise came.error
            return
