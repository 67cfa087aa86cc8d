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

    An error of theirs is raised behind what came before it.
    """
    waiting: queue.Queue[tuple[ItemT] | _End] = queue.Queue(maxsize=4 * MAX_AT_ONCE)

    def read() -> None:
        try:
            for item in items:
                waiting.put((item,))
            waiting.put(_End(None))
        except BaseException as error:  # noqa: BLE001 - raised again where the results are read
            waiting.put(_End(error))

    threading.Thread(target=read, daemon=True).start()
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
