"""Real sentence pairs for experiments, and translators that the program trains on them as for any user."""

import os
import random
import shutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from seqloom.data.readers import read_lines
from seqloom.errors import UserError
from seqloom.files import write_text
from seqloom.training.log import Silent
from seqloom.training.session import train_session


class Corpus(NamedTuple):
    """One of the sets of docs/lab.md; names of files without languages, in its folder."""

    folder: str
    languages: tuple[str, str]
    train: str
    valid: str
    test: str

    def sides(self, data: Path, part: str) -> list[Path]:
        """The files of ``train``, ``valid`` or ``test``, source first."""
        return [data / self.folder / f"{getattr(self, part)}.{language}.gz" for language in self.languages]


MULTI30K = Corpus("multi30k", ("en", "de"), "train", "val", "test_2016_flickr")
DE_EN = Corpus("de_en", ("en", "de"), "train", "valid", "test.tatoeba")


def folder_of_data() -> Path:
    """Where data sets lie."""
    return Path(os.environ.get("SEQLOOM_DATA", "../shared/data"))


def require(experiment: str, *corpora: Corpus) -> Path:
    """The folder of the data sets, if all that an experiment needs are there.

    Raises:
        UserError: if one is not.
    """
    data = folder_of_data()
    for corpus in corpora:
        for part in ("train", "valid", "test"):
            for path in corpus.sides(data, part):
                if not path.is_file():
                    raise UserError(
                        f"{path}: is not there, and the experiment {experiment} learns from it; set SEQLOOM_DATA to the "
                        f"folder that holds {corpus.folder}"
                    )
    return data


def write_sample(corpus: Corpus, data: Path, pairs: int, seed: int, folder: Path) -> list[Path]:
    """The first ``pairs`` training pairs of a shuffled corpus, as two files; fewer pairs are a part of more.

    Raises:
        UserError: if the corpus has not so many.
    """
    sides = [list(read_lines(path)) for path in corpus.sides(data, "train")]
    order = list(range(len(sides[0])))
    random.Random(seed).shuffle(order)
    if len(order) < pairs:
        raise UserError(
            f"{corpus.sides(data, 'train')[0]}: has {len(order):,} lines, expected at least {pairs:,}; get the whole "
            f"set"
        )
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"train.{language}" for language in corpus.languages]
    for path, lines in zip(files, sides, strict=True):
        write_text(path, "".join(f"{lines[row]}\n" for row in islice(order, pairs)))
    return files


def train_translator(run: Path, corpus: Corpus, data: Path, train: list[Path], settings: Mapping[str, Any]) -> Path:
    """Trains as ``seqloom train`` does, and says nothing; returns the run folder, without its checkpoints.

    They are for continuing it, which no experiment does, and larger than all the rest.

    Args:
        run: a new folder.
        corpus: whose validation pairs choose the best model.
        data: the folder of the data sets.
        train: files of both sides.
        settings: by ``section.key``.
    """
    (src, tgt), (valid_src, valid_tgt) = train, corpus.sides(data, "valid")
    files = {
        "data.src": [str(src)],
        "data.tgt": [str(tgt)],
        "data.valid_src": [str(valid_src)],
        "data.valid_tgt": [str(valid_tgt)],
        "data.src_lang": corpus.languages[0],
        "data.tgt_lang": corpus.languages[1],
    }
    train_session(run, "translate", flags={**files, **settings}, display=Silent())
    shutil.rmtree(run / "checkpoints")
    return run
