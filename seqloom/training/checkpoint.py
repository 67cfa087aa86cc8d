"""Checkpoints: everything that a run needs to go on as if it had never stopped.

``checkpoints/step-N/`` holds ``model.safetensors``, ``optimizer.safetensors`` and ``state.json``
(step, position in the data, scores so far, checksums of the other two). A checkpoint is written
beside its place and renamed when whole; nothing in it is a pickle.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from seqloom.errors import ModelFolderError, RunError, shown
from seqloom.files import flush_to_disk, folder_beside, put_in_place, read_json
from seqloom.tasks.folder import read_tensors, sha256
from seqloom.training.sharding import part_like

RANDOM_STATE = "random_state"
MEAN = "mean:"
"""Before the names of a running mean of the weights, among the tensors of the optimizers."""

TENSORS = ("model.safetensors", "optimizer.safetensors")

NUMBERS = ("step", "tokens", "seconds", "best_step", "worse_validations", "before_decay", "validated")
"""What a state counts."""
LATER_NUMBERS = ("step_seconds",)
"""The same, where an earlier program wrote none."""


def own_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights by name, each shared one once, under its first name."""
    return dict(model.named_parameters())


def load_weights(model: nn.Module, weights: dict[str, Tensor], where: Path) -> None:
    """Copies weights saved from :func:`own_weights` into a model of the same sizes."""
    own = own_weights(model)
    for name in sorted(own.keys() ^ weights.keys()):
        state = "missing" if name in own else "unknown"
        raise RunError(f"{where}: the weight {name} is {state}; these weights are of another model")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != weights[name].shape:
                raise RunError(
                    f"{where}: {name} has shape {list(weights[name].shape)}, expected {list(parameter.shape)}"
                )
            parameter.copy_(part_like(weights[name], parameter))


def optimizer_tensors(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The state of the optimizers as tensors named ``parameter/key``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizers(model: nn.Module, optimizers: Sequence[Optimizer], tensors: dict[str, Tensor]) -> None:
    """Restores what :func:`optimizer_tensors` gave."""
    parameters = dict(model.named_parameters())
    owners = {id(p): optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for name, value in tensors.items():
        parameter = parameters[name.rpartition("/")[0]]
        if value.ndim and value.shape != parameter.shape:
            raise ValueError(f"{name} has shape {list(value.shape)}, expected {list(parameter.shape)}")
        # A copy: in the file's memory a tensor may be aligned otherwise, and vectorised code rounds
        # otherwise at its edges.
        state = owners[id(parameter)].state[parameter]
        value = value.to(parameter.device, copy=True)
        state[name.rpartition("/")[2]] = part_like(value, parameter) if value.ndim else value


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step}"


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def save_checkpoint(
    folder: Path,
    weights: Mapping[str, Tensor],
    optimizers: Mapping[str, Tensor],
    mean: Mapping[str, Tensor],
    state: dict[str, Any],
) -> Path:
    """Writes ``folder/step-N`` with N from ``state["step"]``.

    Args:
        folder: of the checkpoints.
        weights: see :func:`own_weights`.
        optimizers: see :func:`optimizer_tensors`.
        mean: a running mean of the weights, if there is one.
        state: all that is no tensor.
    """
    path = path_of(folder, state["step"])
    tensors = {name: value.detach().cpu().contiguous() for name, value in optimizers.items()}
    tensors |= {MEAN + name: weight.detach().cpu() for name, weight in mean.items()}
    with folder_beside(path) as new:
        save_file({name: weight.detach().cpu() for name, weight in weights.items()}, new / TENSORS[0])
        save_file({**tensors, RANDOM_STATE: torch.get_rng_state()}, new / TENSORS[1])
        state = {**state, "files": {name: sha256(new / name) for name in TENSORS}}
        (new / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
        flush_to_disk(new)
        put_in_place(new, path)  # there may be the same step already, after an interrupt
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if re.fullmatch(r"step-[0-9]{1,18}", path.name)]
    return sorted(found, key=step_of)


def read_state(path: Path) -> dict[str, Any]:
    """The state of a checkpoint whose files are whole.

    Raises:
        RunError: if they are not.
    """
    try:
        state: dict[str, Any] = read_json(path / "state.json")
        for name in TENSORS:
            if sha256(path / name) != state["files"][name]:
                raise RunError(f"{path / name}: is damaged, its checksum is not the one in state.json")
        wrong = [name for name in NUMBERS if not 0 <= state[name] < float("inf")]
        wrong += [name for name in LATER_NUMBERS if not 0 <= state.get(name, 0) < float("inf")]
        wrong += [name for name, value in state["batches"].items() if type(value) is not int or value < 0]
        best = {"best": state["best"], "best_loss": state.get("best_loss")}  # an earlier program wrote no loss
        wrong += [name for name, value in best.items() if value is not None and not isinstance(value, int | float)]
        if wrong or state["step"] != step_of(path):
            raise ValueError(f"{', '.join(wrong) or 'step'} in state.json cannot be")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: the checkpoint is not whole ({shown(error, 200)})") from None
    return state


def latest_whole(folder: Path, say: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, saying which damaged ones were passed over."""
    for path in reversed(checkpoints(folder)):
        try:
            return path, read_state(path)
        except RunError as error:
            say(f"{error}; going back to the checkpoint before it.")
    return None


def load_checkpoint(path: Path, model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Restores weights, optimizer and torch's random numbers; returns the running mean, if one was saved."""
    try:
        weights, tensors = (read_tensors(path / name) for name in TENSORS)
    except ModelFolderError as error:
        raise RunError(f"{error}, or delete {path} to go back to the checkpoint before it") from None
    load_weights(model, weights, path / TENSORS[0])
    own = own_weights(model)
    try:
        torch.set_rng_state(tensors.pop(RANDOM_STATE))
        mean = {name.removeprefix(MEAN): tensors.pop(name) for name in list(tensors) if name.startswith(MEAN)}
        for name, weight in mean.items():
            if weight.shape != own[name].shape:
                raise ValueError(f"{MEAN}{name} has shape {list(weight.shape)}")
        load_optimizers(model, optimizers, tensors)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise RunError(
            f"{path / TENSORS[1]}: does not fit the model of this run ({shown(repr(error), 200)}); delete {path} to go "
            f"back to the checkpoint before it"
        ) from None
    return mean


def average_weights(paths: list[Path]) -> dict[str, Tensor]:
    """The mean of the weights of several checkpoints (Vaswani et al. 2017, section 6.1)."""
    total: dict[str, Tensor] = {}
    for weights in _each(paths):
        for name, weight in weights.items():
            total[name] = total[name] + weight.double() if name in total else weight.double()
    return {name: (weight / len(paths)).float() for name, weight in total.items()}


def _each(paths: list[Path]) -> Iterator[dict[str, Tensor]]:
    for path in paths:
        yield read_tensors(path / TENSORS[0])


def remove_all_but(folder: Path, kept: set[Path]) -> None:
    """Removes the other checkpoints and what a kill left half-written; what somebody else put there stays."""
    for path in folder.iterdir():
        if path not in kept and re.fullmatch(r"step-[0-9]{1,18}(\.(new|old)-[0-9a-f]+)?", path.name):
            shutil.rmtree(path, ignore_errors=True)
