"""How far a run is, from 0 to 1: by a number of steps, by the clock, or by the plan of an earlier run.

Schedules, checkpoints and the end of a run depend on this progress alone. With ``--steps`` it is
step / total. With ``--budget`` the total is an estimate that is put right as the run learns its
own speed; every correction is a :class:`Mark`. The marks written down, the same run can be made
again by steps.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple


class Mark(NamedTuple):
    """From ``step`` on, where ``progress`` was reached, the run is to end at step ``total``."""

    step: int
    progress: float
    total: int


class Timeline:
    """Progress as a function of the step: straight lines between the marks."""

    def __init__(self, marks: Iterable[Any], validations: Iterable[int] | None = None) -> None:
        self.marks = [Mark(int(step), float(progress), int(total)) for step, progress, total in marks]
        self.validations = None if validations is None else [int(step) for step in validations]
        """The steps after which the run was scored, where the clock decided about them."""

    @classmethod
    def of_steps(cls, total: int, first_total: int | None = None) -> "Timeline":
        """A run whose length is given; ``first_total`` is what was given at its start, if it is continued."""
        shorter = [] if first_total is None else [Mark(0, 0.0, first_total)]
        return cls([*shorter, Mark(0, 0.0, total)])

    @classmethod
    def by_clock(cls, total: int) -> "Timeline":
        """A run whose length is a first estimate."""
        return cls([Mark(0, 0.0, total)], validations=())

    @property
    def total(self) -> int:
        """The last step, as far as is known."""
        return self.marks[-1].total

    @property
    def first_total(self) -> int:
        """What was thought to be the last step at the start; it bounds the warm-up."""
        return self.marks[0].total

    def progress(self, step: int) -> float:
        """The share of the run that is behind after ``step`` steps."""
        mark = self._mark(step)
        if step >= mark.total:
            return 1.0
        return mark.progress + (1 - mark.progress) * (step - mark.step) / (mark.total - mark.step)

    def ends(self, step: int) -> bool:
        """Whether ``step`` is the last one."""
        return step >= self._mark(step).total

    def passes(self, step: int, progress: float) -> bool:
        """Whether ``step`` is the first one behind ``progress``."""
        return self.progress(step - 1) < progress <= self.progress(step)

    def part_ends(self, step: int, parts: int) -> bool:
        """Whether the run, cut into equal ``parts``, comes to the end of one at ``step``."""
        return int(self.progress(step) * parts) > int(self.progress(step - 1) * parts)

    def revise(self, step: int, total: int, progress: float | None = None) -> None:
        """From ``step`` on, heads for the end at ``total``; the progress goes on unless given."""
        mark = Mark(step, self.progress(step) if progress is None else progress, total)
        self.marks = [*(earlier for earlier in self.marks if earlier.step < step), mark]

    def _mark(self, step: int) -> Mark:
        return self.marks[max(0, bisect_right(self.marks, step, key=lambda mark: mark.step) - 1)]

    def as_dict(self) -> dict[str, Any]:
        """What the constructor takes, for JSON."""
        return {"marks": [list(mark) for mark in self.marks], "validations": self.validations}
