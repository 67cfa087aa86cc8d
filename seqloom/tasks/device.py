"""Where a model runs, by name."""

import torch

from seqloom.errors import ConfigError


def device_named(name: str) -> torch.device:
    """``cpu``, ``cuda``, ``cuda:1`` ... if the machine has it.

    Raises:
        ConfigError: if it has not, or there is no such thing.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"the device {name!r} is not known; expected cpu, cuda or mps")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"the device {name!r} is not there: torch {torch.__version__} sees {torch.cuda.device_count()} GPUs; "
            f"use cpu, or install torch's GPU build"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"the device {name!r} is not there: torch {torch.__version__} sees no Apple GPU; use cpu")
    return device
