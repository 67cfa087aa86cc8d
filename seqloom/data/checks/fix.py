"""A cleaned copy of a corpus, and a file that names every line left out and why. Nothing is changed in place."""

import json
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TextIO

from seqloom.data.checks.chunks import Chunks
from seqloom.data.checks.diagnosis import Diagnosis
from seqloom.data.checks.findings import KINDS
from seqloom.data.readers import Group, origin
from seqloom.data.readers.compression import without_compression
from seqloom.errors import DataError, UserError
from seqloom.files import new_folder

LOG = "dropped.tsv"


@dataclass
class Fixed:
    """What became of a corpus."""

    folder: Path
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Pairs or single lines, by reason."""

    def __str__(self) -> str:
        lost = "; ".join(f"{count:,} {reason}" for reason, count in self.dropped.most_common())
        named = f" Left out: {lost}; each is named in {self.folder / LOG}." if lost else ""
        return f"{self.kept:,} pairs written to {self.folder}.{named}"


def write_fixed(diagnosis: Diagnosis, folder: Path) -> Fixed:
    """Writes what is left of a corpus when all that :data:`KINDS` says to drop is dropped.

    Two files stay two files with their names, unpacked; a file that holds both sides becomes JSONL.
    Where two files are out of step their lines are paired anew.

    Raises:
        UserError: if the folder is there and not empty, or the sides of a file that holds both are out of step.
        DataError: if it cannot be written.
    """
    chunks = diagnosis.chunks
    for each in diagnosis.misalignments:
        if len(chunks.groups[each.group].paths) == 1:
            raise UserError(
                f"{each.where}: from here on the two sides of the file are out of step, and which belong together is "
                f"for you to say; put that right there first. Nothing was written"
            )
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    for kind, rows in diagnosis.rows.items():
        if KINDS[kind].dropped:
            for row in rows.tolist():
                reasons[row].append(kind)
    fixed = Fixed(folder)
    try:
        with new_folder(folder) as new, ExitStack() as files:
            log = files.enter_context(open(new / LOG, "w", encoding="utf-8", newline=""))
            _write(chunks, reasons, new, log, fixed, files)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); give another folder for --fix") from None
    return fixed


class _Writer:
    """The files that a group becomes."""

    def __init__(self, group: Group, folder: Path, taken: list[str], files: ExitStack) -> None:
        self.both = len(group.paths) == 1
        self._files: list[TextIO] = []
        for path in group.paths:
            plain = path.name[: len(without_compression(path.name))]
            name = f"{Path(plain).stem}.jsonl" if self.both else plain
            names = chain([name], (f"{number}-{name}" for number in count(2)))
            taken.append(next(name for name in names if name not in taken))
            self._files.append(files.enter_context((folder / taken[-1]).open("w", encoding="utf-8", newline="")))

    def write(self, src: str, tgt: str) -> None:
        if self.both:
            self._files[0].write(json.dumps({"src": src, "tgt": tgt}, ensure_ascii=False) + "\n")
        else:
            for file, text in zip(self._files, (src, tgt), strict=True):
                file.write(text + "\n")


def _write(
    chunks: Chunks, reasons: dict[int, list[str]], folder: Path, log: TextIO, fixed: Fixed, files: ExitStack
) -> None:
    taken = [LOG]
    writers = [_Writer(group, folder, taken, files) for group in chunks.groups]
    seen = {number: (0, 0) for number, group in enumerate(chunks.groups) if len(group.paths) == 2}

    def drop(where: str, *reasons: str) -> None:
        log.write(f"{where}\t{'; '.join(reasons)}\n")
        fixed.dropped.update(reasons)

    def drop_unpaired(number: int, until: tuple[int, int]) -> None:
        """Lines of two files that no pair was made of."""
        for name, before, line in zip(chunks.groups[number].names(), seen[number], until, strict=True):
            for lost in range(before + 1, line):
                drop(origin([name], lost), "lines without a sure partner on the other side")
        seen[number] = until

    for chunk in chunks:
        for row in range(len(chunk.src)):
            if chunk.group in seen:
                drop_unpaired(chunk.group, chunk.lines[row])
            wrong = reasons.get(chunk.start + row)
            if wrong:
                drop(chunks.where(chunk, row), *(KINDS[kind].title for kind in wrong))
            else:
                writers[chunk.group].write(chunk.src[row], chunk.tgt[row])
                fixed.kept += 1
    for number, (src, tgt) in chunks.facts.items():
        drop_unpaired(number, (src.lines + 1, tgt.lines + 1))
