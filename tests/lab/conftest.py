"""A data set for the experiments that learn from real ones."""

import gzip
from pathlib import Path

import pytest

from seqloom.lab.corpora import Corpus

TOY = Corpus("toy", ("xx", "yy"), "train", "valid", "valid")


@pytest.fixture(scope="session")
def toy_data(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets, of which the toy corpus is one."""
    folder = tmp_path_factory.mktemp("data")
    (folder / TOY.folder).mkdir()
    for part in ("train", "valid"):
        for path in TOY.sides(folder, part):
            path.write_bytes(gzip.compress((toy_corpus / path.stem).read_bytes()))
    return folder
