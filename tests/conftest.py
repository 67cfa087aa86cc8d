"""What every test may use."""

import os
import signal
from pathlib import Path
from typing import Any

# Models here are minute: a second thread would only wait for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from rich.console import Console

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a suite in the background of a shell, and its children
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent

# No deadline: a busy machine is not a failure. In CI the examples are the same in every run.
settings.register_profile("seqloom", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("seqloom")


def pytest_collection_modifyitems(items):
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, which lies outside the project."""
    folder = Path(os.environ.get("SEQLOOM_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}: set SEQLOOM_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def toy_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.{xx,yy} (307 pairs) and valid.{xx,yy} (31): numbers spelt in a toy language."""
    folder = tmp_path_factory.mktemp("toy")
    ones = ["nul", "ein", "zwo", "dri", "vir", "funf", "sext", "sep", "okt", "nov"]
    pairs = [(" ".join(str(n)), " ".join(ones[int(d)] for d in str(n)) + ".") for n in range(1000, 1338)]
    pairs = [pairs[i * 7 % len(pairs)] for i in range(len(pairs))]
    for name, part in (("train", pairs[:307]), ("valid", pairs[307:])):
        for side, language in enumerate(("xx", "yy")):
            (folder / f"{name}.{language}").write_text("".join(p[side] + "\n" for p in part), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def toy_run(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt the toy language well enough to count in it."""
    from seqloom.pipeline.translator import load
    from seqloom.training.log import LineDisplay
    from seqloom.training.session import train_session

    folder = tmp_path_factory.mktemp("toy-run") / "run"
    settings = {**_toy_settings(toy_corpus), "training.steps": 300, "training.validate_every": 100}
    train_session(folder, "translate", flags=settings, display=LineDisplay(Console(quiet=True)))
    load(folder)  # exports it, which is done and said once
    return folder


@pytest.fixture(scope="session")
def toy_settings(toy_corpus: Path) -> dict[str, Any]:
    """Flags that train a minute model on the toy corpus in seconds."""
    return _toy_settings(toy_corpus)


def _toy_settings(toy_corpus: Path) -> dict[str, Any]:
    return {
        "data.src": [str(toy_corpus / "train.xx")],
        "data.tgt": [str(toy_corpus / "train.yy")],
        "data.valid_src": [str(toy_corpus / "valid.xx")],
        "data.valid_tgt": [str(toy_corpus / "valid.yy")],
        "data.src_lang": "xx",
        "data.tgt_lang": "yy",
        "data.vocab_size": 307,
        "data.batch_tokens": 331,
        "model.preset": "tiny",
        "model.d_model": 34,
        "model.d_ff": 67,
        "model.num_heads": 2,
        "model.num_encoder_layers": 2,
        "model.num_decoder_layers": 1,
        "training.steps": 24,
        "training.warmup": 5,
        "training.validate_every": 8,
        "training.checkpoint_every": 6,
        "training.learning_rate": 5e-3,
        "training.precision": "float32",
    }
