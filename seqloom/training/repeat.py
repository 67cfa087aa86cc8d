"""One run several times, with nothing different but its random numbers: how much of a result is luck?"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seqloom.errors import ConfigError, RunError
from seqloom.files import write_json
from seqloom.training.distributed import asked_for

SUMMARY = "repeat.json"


def train_repeatedly(
    train: Callable[[Path, int], dict[str, Any]], folder: Path, seeds: Sequence[int]
) -> dict[str, Any]:
    """Makes a run ``folder/seed-N`` for each seed, as far as there is none yet; returns a summary of all.

    Args:
        train: (run folder, seed) -> the summary of that run, which it makes, resumes or finds finished.
        folder: of the runs. The summary is written there too.
        seeds: one for each run.

    Raises:
        RunError: if the folder is a run, or holds something else.
        ConfigError: among several processes.
    """
    if asked_for():
        raise ConfigError("--repeat makes its runs one after another in one process; leave torchrun out")
    runs = {seed: folder / f"seed-{seed}" for seed in seeds}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in (SUMMARY, f"{SUMMARY}.new") and not path.name.startswith("seed-"):
            raise RunError(f"{folder}: holds {path.name}, expected a new folder or one that --repeat has made")
    summaries = [train(run, seed) for seed, run in runs.items()]
    scores = [each["scores"]["valid"] for each in summaries]
    summary = {
        "run": str(folder),
        "runs": summaries,
        "scores": {
            "valid": {name: _spread([each[name] for each in scores]) for name in scores[0]},
            "signatures": summaries[0]["scores"]["signatures"],
        },
    }
    write_json(folder / SUMMARY, summary)
    return summary


def _spread(values: list[float]) -> dict[str, Any]:
    """Mean and standard deviation (of a sample) of some results."""
    return {"mean": statistics.mean(values), "deviation": statistics.stdev(values), "values": values}
