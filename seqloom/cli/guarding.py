"""What ``--guard`` may be, and what is said of what the guard found."""

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqloom.pipeline.translator import Translation


class Guard(StrEnum):
    OFF = "off"
    FLAG = "flag"
    RETRY = "retry"


HELP = "What to do about a translation that cannot be right: nothing, flag it, or search for a better one first."


class Found:
    """What the guard did, over all lines so far."""

    def __init__(self) -> None:
        self.lines = self.flagged = self.mended = 0
        self.flags: Counter[str] = Counter()

    def add(self, translation: "Translation") -> None:
        self.lines += 1
        self.flagged += bool(translation.flags)
        self.mended += bool(translation.caught) and not translation.flags
        self.flags.update(translation.flags)

    def sentence(self) -> str:
        """One line for the screen; empty if there is nothing to say."""
        mended = f"{self.mended:,} of {self.lines:,} lines mended by another search" if self.mended else ""
        if not self.flagged:
            return mended
        faults = ", ".join(f"{count:,} {name}" for name, count in self.flags.most_common())
        flagged = f"{self.flagged:,} of {self.lines:,} lines flagged: {faults}; see --format jsonl"
        return f"{mended}; {flagged}" if mended else flagged
