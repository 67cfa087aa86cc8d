"""What every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
