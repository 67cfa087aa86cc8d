"""Model folders: written whole or not at all, read with nothing in them trusted.

config.json         format version, task, sizes, scores with signatures, checksums of the rest
model.safetensors   the weights
*.model             the tokenizer's own file
README.md           the model card

A run folder holds its best model in model/, and in previous-model/ the one that was the best before: that
one is read, and said so, where the first is damaged.
"""

import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from seqloom.errors import ConfigError, DataError, ModelFolderError, shown
from seqloom.files import flush_to_disk, folder_beside, put_in_place, read_bytes, read_json, require_regular
from seqloom.machine import memory

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
MAX_FILE_BYTES = 1 << 28
"""Of what is neither config.json nor weights: a vocabulary."""
MAX_FILES = 100
READ_ATTEMPTS = 20

WEIGHTS = "model.safetensors"

MODEL, PREVIOUS = "model", "previous-model"
"""The folders of a run folder with its best model, and with the one that was the best before."""

CHECKSUM = re.compile("[0-9a-f]{64}")

T = TypeVar("T")
LOG = logging.getLogger(__name__)


def sha256(path: Path) -> str:
    """The checksum of a file; OSError for what is none."""
    require_regular(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class ModelFolder:
    """What was read of a model folder, verified against its checksums."""

    path: Path
    config: dict[str, Any]
    files: dict[str, bytes]
    """The small files, by name."""
    weights: "dict[str, Tensor]"
    """Empty where only the rest was asked for."""


def find_model(path: Path) -> Path:
    """The model folder of a run folder, or the folder itself."""
    if not path.exists():
        raise ModelFolderError(f"{path}: no such folder; expected a run folder or a model folder")
    for folder in (path / MODEL, path):
        if (folder / "config.json").is_file():
            return folder
    if (path / "run.json").is_file():
        raise ModelFolderError(f"{path}: this run has no model yet; one is written at its first validation")
    raise ModelFolderError(
        f"{path}: holds no model, expected config.json and model.safetensors in it or in its folder model/"
    )


def read_model(path: Path, weights: bool = True) -> ModelFolder:
    """Reads a run folder's or a model folder's model.

    A folder that is exchanged for a better one while it is read is read again. Where the model of a
    run is damaged, the one before it is read, and a warning is logged.

    Args:
        path: the folder.
        weights: whether to read them as well; without, torch is not loaded.

    Raises:
        ModelFolderError: if something is missing, damaged or of another format version.
    """
    return of_the_newest(path, lambda folder: _read_once(folder, weights))


def read_config(path: Path) -> dict[str, Any]:
    """The config.json of the model that :func:`read_model` reads, its version and outline checked."""
    return of_the_newest(path, _read_config)


def of_the_newest(path: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` gives for the model folder of a run folder, or for a model folder itself.

    Where it refuses the model of a run, which is damaged, it is asked for the one before, and a warning is logged.
    """
    is_run = (path / "run.json").is_file()
    for _ in range(READ_ATTEMPTS):
        before = _identity(path / MODEL)
        try:
            return read(find_model(path))
        except ModelFolderError as error:
            problem = error
        if not is_run or (before is not None and before == _identity(path / MODEL)):
            break
        time.sleep(0.02)  # it was exchanged for a better one meanwhile, or is being
    if is_run and (path / PREVIOUS).is_dir() and not _is_whole(path / MODEL):
        try:
            found = read(path / PREVIOUS)
        except ModelFolderError:
            raise problem from None
        _warn_once(f"{problem}. Until then the model before it is used, {path / PREVIOUS}.")
        return found
    raise problem


@lru_cache(maxsize=100)
def _warn_once(text: str) -> None:
    LOG.warning(text)


def _identity(folder: Path) -> tuple[int, int] | None:
    """What differs for a folder that was exchanged for another one; None where there is none."""
    try:
        about = folder.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config = read_json(file)
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{file}: cannot be read as JSON ({error}); {_remedy(folder)}") from None
    version = config.get("format_version") if isinstance(config, dict) else None
    if type(version) is not int or version < 1:
        raise ModelFolderError(f"{file}: has no format_version, so it is not a model of this program")
    if version > FORMAT_VERSION:
        raise ModelFolderError(
            f"{file}: has format version {version}, this program reads up to {FORMAT_VERSION}; install a newer seqloom"
        )
    if not isinstance(config.get("task"), str) or not isinstance(config.get("files"), dict):
        raise ModelFolderError(f"{file}: names no task or no files; {_remedy(folder)}")
    if len(config["files"]) > MAX_FILES:
        raise ModelFolderError(f"{file}: names {len(config['files']):,} files, expected the few of a model")
    for name, checksum in config["files"].items():
        if Path(name).name != name or name in ("", "..") or "\0" in name:
            raise ModelFolderError(f"{file}: names the file '{shown(name)}', expected a name without folders")
        if not isinstance(checksum, str) or not CHECKSUM.fullmatch(checksum):  # which also names a folder of the cache
            raise ModelFolderError(f"{file}: has no checksum of {shown(name)}; {_remedy(folder)}")
    return config


def _remedy(folder: Path) -> str:
    """What to do about a damaged model folder."""
    if (folder.parent / "run.json").is_file():
        return "give the command again that trained it, which makes it anew from its checkpoints"
    return "copy the model folder again"


def _read_once(folder: Path, weights: bool) -> ModelFolder:
    config, files = _verified(folder, weights)
    return ModelFolder(folder, config, files, read_tensors(folder / WEIGHTS) if weights else {})


def _verified(folder: Path, weights: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The config.json and the small files of a folder, all of whose checksums fit."""
    config = _read_config(folder)
    files: dict[str, bytes] = {}
    if WEIGHTS not in config["files"]:
        raise ModelFolderError(f"{folder / 'config.json'}: names no {WEIGHTS}; {_remedy(folder)}")
    for name, checksum in config["files"].items():
        if name == WEIGHTS and not weights:
            continue
        path = folder / name
        try:
            if name == WEIGHTS:
                require_regular(path, memory())
                found = sha256(path)
            else:
                files[name] = read_bytes(path, MAX_FILE_BYTES)
                found = hashlib.sha256(files[name]).hexdigest()
        except OSError as error:
            raise ModelFolderError(f"{path}: cannot be read ({error.strerror}); {_remedy(folder)}") from None
        if found != checksum:
            raise ModelFolderError(f"{path}: is damaged, its checksum is not the one in config.json; {_remedy(folder)}")
    return config, files


@contextmanager
def whole(config: Path) -> Iterator[None]:
    """What is wrong with what is read of ``config``, the config.json of a folder, is a ModelFolderError."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise ModelFolderError(f"{config}: {shown(error, 200)}; the folder is damaged") from None
    except ValidationError as error:
        first = error.errors()[0]
        place, wrong = ".".join(map(str, first["loc"])), shown(first["msg"], 200)
        if first["type"] == "union_tag_invalid":
            place, wrong = "kind", f"{shown(first['ctx']['tag'])} is none of {first['ctx']['expected_tags']}"
        raise ModelFolderError(f"{config}: {place}: {wrong}; the folder is damaged") from None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelFolderError(
            f"{config}: {shown(repr(error), 200)} is missing or wrong; the folder is damaged"
        ) from None


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a file, which are numbers in it and take no memory of their own before they are changed.

    Raises:
        ModelFolderError: if it is damaged, or holds NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        require_regular(path, memory())
        tensors = load_file(path)
    except (OSError, ValueError, KeyError, SafetensorError) as error:  # a KeyError for types that torch does not have
        raise ModelFolderError(
            f"{path}: cannot be read as safetensors ({shown(error, 200)}); copy the folder again"
        ) from None
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise ModelFolderError(
                f"{path}: {shown(name, 200)} holds NaN or infinity, expected finite numbers; "
                f"take an older copy of the folder"
            )
    return tensors


def not_a_number(folder: Path) -> ModelFolderError:
    """What is wrong with a model whose weights are numbers, and what comes of them is none."""
    return ModelFolderError(
        f"{folder}: what the model calculates is not a number, so its weights are damaged or made up; "
        f"take an older copy of the folder"
    )


def _is_finite(tensor: "Tensor") -> bool:
    """Whether all of its numbers are, in the float32 that weights are used in."""
    import torch

    if not tensor.is_floating_point() or not tensor.numel():
        return True
    least, most = tensor.detach().to(torch.float32).aminmax()
    return math.isfinite(float(least)) and math.isfinite(float(most))


def write_model(
    path: Path,
    config: dict[str, Any],
    files: dict[str, bytes],
    weights: "dict[str, Tensor]",
    previous: Path | None = None,
) -> None:
    """Puts a whole model folder in the place of ``path``, in one exchange.

    Args:
        path: the folder.
        config: needs ``task``; version and checksums are added here.
        files: the small files, by name.
        weights: the tensors, by name.
        previous: where the model goes that stood at ``path``, if it is whole; otherwise that model is gone.
    """
    from safetensors.torch import save_file

    with folder_beside(path) as new:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, new / WEIGHTS)
        for name, content in files.items():
            (new / name).write_bytes(content)
        # The card is for people, who may add to it.
        checksums = {name: sha256(new / name) for name in sorted([WEIGHTS, *files]) if name != "README.md"}
        config = {"format_version": FORMAT_VERSION, **config, "files": checksums}
        (new / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        flush_to_disk(new)
        put_in_place(new, path, previous if previous is not None and _is_whole(path) else None)


def _is_whole(folder: Path) -> bool:
    try:
        _verified(folder, weights=True)
    except ModelFolderError:
        return False
    return True
