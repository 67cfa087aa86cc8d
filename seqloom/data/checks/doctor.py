"""The corpus doctor: reads a corpus once, looks at it on all cores, and says what is wrong with it."""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice

from seqloom.data.checks.chunks import CHUNK, Chunk, Chunks, Shift
from seqloom.data.checks.diagnosis import Diagnosis, Misalignment, by_severity
from seqloom.data.checks.lines import Examined, examine
from seqloom.data.checks.overlap import HeldAgainst
from seqloom.data.checks.record import HEAD, Record
from seqloom.data.checks.sides import Sides
from seqloom.data.readers import Group
from seqloom.machine import cores

MARGIN = 20
"""Lines on either side of a place where the sides drift apart, which is known no better than that."""

Progress = Callable[[int], None]


def check(
    groups: Sequence[Group],
    against: Sequence[HeldAgainst] = (),
    declared: tuple[str, str] = ("", ""),
    *,
    processes: int | None = None,
    progress: Progress = lambda pairs: None,
) -> Diagnosis:
    """Looks at all pairs of ``groups``.

    Args:
        groups: the files.
        against: lines that should not be among them.
        declared: the languages that the user says they are in, if any.
        processes: at work side by side; one for each core unless given.
        progress: is told now and then how many pairs are done.

    Raises:
        DataError: if a file cannot be read at all.
    """
    start = time.perf_counter()
    diagnosis = _examine_all(Chunks(groups), against, declared, processes, progress)
    shifts = _shifts(groups, diagnosis.misalignments)
    if shifts:  # lines out of step would say nothing of each other
        again = _examine_all(Chunks(groups, shifts, MARGIN), against, declared, processes, progress)
        again.misalignments = diagnosis.misalignments
        of_sides = [finding for finding in diagnosis.findings if finding.kind in ("misalignment", "unrelated")]
        again.findings = by_severity([*again.findings, *of_sides])
        diagnosis = again
    diagnosis.seconds = time.perf_counter() - start
    return diagnosis


def _shifts(groups: Sequence[Group], misalignments: Sequence[Misalignment]) -> dict[int, list[Shift]]:
    """How the lines of the groups of two files that are out of step belong together."""
    found: dict[int, list[Shift]] = {}
    for each in misalignments:
        if len(groups[each.group].paths) != 2:
            continue
        shifts = found.setdefault(each.group, [])
        if shifts and shifts[-1].line == each.line:  # where the one before ends
            shifts.pop()
        shifts.append(Shift(each.line, each.shift))
        if each.until is not None:
            shifts.append(Shift(each.until + 1, 0))
    return found


def _examine_all(
    chunks: Chunks,
    against: Sequence[HeldAgainst],
    declared: tuple[str, str],
    processes: int | None,
    progress: Progress,
) -> Diagnosis:
    record = Record(chunks, against, declared)
    try:
        for chunk, sides, examined in _examined(record.watched(), processes or cores()):
            record.add(chunk, sides, examined)
            progress(chunk.start + len(chunk.src))
        return record.diagnosis()
    finally:
        record.repeats.close()


def _examined(chunks: Iterator[tuple[Chunk, Sides]], processes: int) -> Iterator[tuple[Chunk, Sides, Examined]]:
    """What is found in each chunk, in their order."""
    first = list(islice(chunks, HEAD // CHUNK + 1))
    if processes == 1 or len(first) <= HEAD // CHUNK:  # processes take longer to start than so few pairs to look at
        for chunk, sides in chain(first, chunks):
            yield chunk, sides, examine(chunk, sides)
        return
    # Not forked: the libraries of a training have threads.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_leave_interrupts)
    at_work: deque[tuple[Chunk, Sides, Future[Examined]]] = deque()
    try:
        for chunk, sides in chain(first, chunks):
            with _uninterrupted():  # this may start a process, which takes that over from us
                at_work.append((chunk, sides, pool.submit(examine, chunk, sides)))
            if len(at_work) > 2 * processes:
                done, of, future = at_work.popleft()
                yield done, of, future.result()
        for done, of, future in at_work:
            yield done, of, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the end of it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_interrupts() -> None:
    """Ctrl-C is the parent's affair, which ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
