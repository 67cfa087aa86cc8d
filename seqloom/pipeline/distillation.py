"""What a teacher makes of its own training sources: data for a smaller model (Kim and Rush 2016, section 3.2).

A student that learns the teacher's translations instead of the references learns an easier language:
one wording for a thing, and the most probable one.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from seqloom.data.corpus import Corpus
from seqloom.errors import RunError
from seqloom.files import parse_json, write_text
from seqloom.pipeline.translator import Translator
from seqloom.tasks.folder import WEIGHTS

TOGETHER = 1024


@dataclass
class Progress:
    """How far the teacher is."""

    done: int
    total: int
    kept: int
    """Sentences that keep their reference, because nothing the teacher said of them can be right."""


class Distillation:
    """The training pairs of a run, with the teacher's translations in the place of the references.

    Kept in ``RUN/distilled``, one JSON object a line, by the teacher's weights and beam; what was begun
    is gone on with.

    Args:
        run: the teacher's run folder.
        teacher: its translator, always in one type: what was begun in float32 is not gone on with in int8.
        beam: of the search.

    Raises:
        RunError: if the run's prepared data is not there.
    """

    def __init__(self, run: Path, teacher: Translator, beam: int) -> None:
        self.teacher, self.beam = teacher, beam
        sizes = teacher.setup.vocab_sizes
        try:
            self.train, self.valid = (Corpus(run / "data" / name, sizes) for name in ("train", "valid"))
        except (OSError, EOFError, ValueError, LookupError, TypeError):
            raise RunError(
                f"{run}: has no prepared training data that fits the model, expected data/train in the run folder of "
                f"the teacher; the command that trained it makes it again"
            ) from None
        key = str(teacher.config["files"][WEIGHTS])[:16]
        self.path = run / "distilled" / f"{key}-beam{beam}.jsonl"
        self.valid_path = run / "distilled" / "valid.jsonl"

    def texts(self, corpus: Corpus) -> list[tuple[str, str]]:
        """The pairs of a store, in their order."""
        setup, rows = self.teacher.setup, range(len(corpus))
        sources = setup.src_tokenizer.decode([corpus.src[row].tolist() for row in rows])
        references = setup.tgt_tokenizer.decode([corpus.tgt[row].tolist() for row in rows])
        return list(zip(sources, references, strict=True))

    def run(self) -> Iterator[Progress]:
        """Translates what is left, and tells after each part how far it is."""
        part = self.path.with_name(f"{self.path.name}.part")
        for path in (self.path.parent, self.path, part):
            if path.is_symlink():
                raise RunError(f"{path}: is a link, and nothing is written where it leads to; move it away")
        self.path.parent.mkdir(exist_ok=True)
        lines = [_line(source, reference) for source, reference in self.texts(self.valid)]
        write_text(self.valid_path, "".join(lines))
        if self.path.exists():
            return
        references: dict[str, str] = {}
        for source, reference in self.texts(self.train):
            references.setdefault(source, reference)
        with part.open("ab+") as file:
            _lock(file, part)
            whole = _whole_lines(file)
            try:
                kept_before = sum(parse_json(line).get("kept", False) is True for line in whole)
            except (ValueError, AttributeError) as error:
                raise RunError(f"{part}: was not written by this command ({error}); delete it to begin anew") from None
            progress = Progress(len(whole), len(references), kept_before)
            left = islice(references.items(), len(whole), None)
            while chunk := list(islice(left, TOGETHER)):
                found = self.teacher.translate([source for source, _ in chunk], beam=self.beam)
                for (source, reference), translation in zip(chunk, found, strict=True):
                    kept = bool(translation.flags)
                    line = _line(source, reference, kept=True) if kept else _line(source, translation.text)
                    file.write(line.encode())
                    progress.kept += kept
                file.flush()
                progress.done += len(chunk)
                yield progress
            os.fsync(file.fileno())
            os.replace(part, self.path)


def _line(src: str, tgt: str, **more: bool) -> str:
    return json.dumps({"src": src, "tgt": tgt, **more}, ensure_ascii=False) + "\n"


def _whole_lines(file: BinaryIO) -> list[bytes]:
    """What was written before; the beginning of a line is cut off."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"\n") + 1
    file.truncate(end)
    return content[:end].split(b"\n")[:-1]


def _lock(file: BinaryIO, path: Path) -> None:
    """RunError if another process is writing it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunError(f"{path}: another process is distilling this teacher; wait for it, or stop it") from None
