"""Devices by name, and what is said of those that are not there."""

import pytest
import torch

from seqloom.errors import ConfigError
from seqloom.tasks.device import device_named


def test_a_device_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name in ("cpu", "cuda", "cuda:1", "mps"):
        assert device_named(name) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "the device 'gpu' is not known; expected cpu, cuda or mps"),
        ("meta", "the device 'meta' is not known; expected cpu, cuda or mps"),
        (
            "cuda:2",
            f"the device 'cuda:2' is not there: torch {torch.__version__} sees 2 GPUs; "
            "use cpu, or install torch's GPU build",
        ),
        ("mps", f"the device 'mps' is not there: torch {torch.__version__} sees no Apple GPU; use cpu"),
    ],
)
def test_one_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError) as error:
        device_named(name)
    assert str(error.value) == message
