"""Where the exports of a model are kept: in its folder, or where that cannot be written to, in the user's cache.

A model folder holds ``ctranslate2-float32/`` and its like, each with the engine's own files and
``export.json``: which weights it was made from, checksums, and what was measured. One that does not
fit its model is as good as none, and is made again. Loads no torch.
"""

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqloom.data.languages import Direction
from seqloom.errors import ConfigError, ModelFolderError
from seqloom.files import NotRead, flush_to_disk, folder_beside, put_in_place, read_json, write_json
from seqloom.tasks.folder import WEIGHTS, ModelFolder, sha256

FORMAT_VERSION = 2
"""Since 2, what was measured is kept for each target language."""
ABOUT = "export.json"
SHORTLIST = "-shortlist"
VARIANTS = tuple(kind + end for end in ("", SHORTLIST) for kind in ("float32", "bfloat16", "int8"))
"""What a model can be exported as: the type that it calculates in, and whether outputs are from a shortlist."""


@dataclass(frozen=True)
class Export:
    """One that is there and whole."""

    path: Path
    variant: str
    places: int
    """Tokens that it can tell apart by their position."""
    proofs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What it costs beside float32 as far as that was measured, by the target language."""
    weights: str = ""
    """The checksum of what it was made from."""
    targets: frozenset[str] = frozenset()
    """The languages that the model translates into."""

    @property
    def compute_type(self) -> str:
        """What it calculates in."""
        return self.variant.removesuffix(SHORTLIST)

    @property
    def shortlist(self) -> bool:
        """Whether it chooses among likely pieces alone."""
        return self.variant.endswith(SHORTLIST)

    @property
    def proven(self) -> bool:
        """Whether it may be used without being asked for."""
        return self.variant == "float32" or bool(self.targets and not self.unproven)

    @property
    def unproven(self) -> list[str]:
        """Languages into which it was not measured, or costs too much; what it costs into others says nothing of it."""
        return sorted(each for each in self.targets if each not in self.proofs or not self.proofs[each]["accepted"])


def find_export(folder: ModelFolder, variant: str) -> tuple[Export | None, str]:
    """The export of a model in one of ``VARIANTS``, and if there is one that cannot be used, why."""
    problem = ""
    for path in _places(folder, variant):
        try:
            if (path / ABOUT).is_file():
                return _read(path, folder), ""
        except ModelFolderError as error:
            problem = str(error)
        except OSError as error:  # it may not be looked into
            problem = f"{path}: cannot be read ({error.strerror})"
    return None, problem


def make_export(
    folder: ModelFolder,
    variant: str,
    places: int,
    write: Callable[[Path], object],
    proofs: dict[str, dict[str, Any]] | None = None,
) -> Export:
    """Keeps what ``write`` writes into an empty folder; what was there before goes.

    Raises:
        ModelFolderError: if there is nowhere to keep it.
    """
    for path in _places(folder, variant):
        with ExitStack() as stack:
            try:
                new = stack.enter_context(folder_beside(path))
            except OSError as error:
                problem = error
                continue
            write(new)
            files = {file.name: sha256(file) for file in sorted(new.iterdir())}
            about = {
                "format_version": FORMAT_VERSION,
                "weights": folder.config["files"][WEIGHTS],
                "variant": variant,
                "places": places,
                "files": files,
                "proofs": proofs or {},
            }
            (new / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            flush_to_disk(new)
            put_in_place(new, path)
        return Export(path, variant, places, proofs or {}, about["weights"], _targets(folder))
    raise ModelFolderError(
        f"{folder.path}: an export can be kept neither there nor in the user's cache ({problem}); "
        f"make one of them writable"
    )


def keep_proof(export: Export, target: str, proof: dict[str, Any]) -> None:
    """Writes down what an export that is kept costs into a language, in the place of what was known of that.

    Raises:
        ModelFolderError: if that cannot be written.
    """
    file = export.path / ABOUT
    try:
        if export.path.is_symlink():
            raise NotRead("its folder is a link, and nothing is written where that leads to")
        write_json(file, {**read_json(file), "proofs": {**export.proofs, target: proof}})
    except OSError as error:
        raise ModelFolderError(
            f"{file}: cannot be written ({error.strerror}), so what was measured before still counts; delete "
            f"{export.path}, or make it writable and measure again"
        ) from None


def _read(path: Path, folder: ModelFolder) -> Export:
    try:
        about = read_json(path / ABOUT)
        if about["format_version"] != FORMAT_VERSION:
            raise ModelFolderError(f"{path}: was made by another version of this program")
        if about["weights"] != folder.config["files"][WEIGHTS]:
            raise ModelFolderError(f"{path}: was made from other weights than those of {folder.path}")
        if not {"model.bin", "config.json"} <= about["files"].keys():
            raise ModelFolderError(f"{path}: {ABOUT} names no model.bin or no config.json")
        for name, checksum in about["files"].items():
            if Path(name).name != name or sha256(path / name) != checksum:
                raise ModelFolderError(f"{path / name}: is damaged, its checksum is not the one in {ABOUT}")
        proofs, places = about["proofs"], about["places"]
        if f"ctranslate2-{about['variant']}" != path.name or type(places) is not int or places < 1:
            raise ModelFolderError(f"{path / ABOUT}: has another variant or no places")
        if any(type(proof["accepted"]) is not bool for proof in proofs.values()):
            raise ModelFolderError(f"{path / ABOUT}: has no proof of what it says is proven")
        return Export(path, str(about["variant"]), places, proofs, about["weights"], _targets(folder))
    except (OSError, ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFolderError(f"{path}: cannot be read ({error!r})") from None


def _targets(folder: ModelFolder) -> frozenset[str]:
    directions = [Direction.parse(text) for text in folder.config.get("directions", [])]
    return frozenset(direction.tgt for direction in directions) or frozenset(folder.config["languages"][1:])


def _places(folder: ModelFolder, variant: str) -> list[Path]:
    name = f"ctranslate2-{variant}"
    cache = user_cache(str(folder.config["files"][WEIGHTS]))
    return [folder.path / name, *([cache / name] if cache else [])]


def user_cache(weights: str) -> Path | None:
    """Where things about a model are kept, by its checksum, if not beside it; None for a user without a home."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return home / "seqloom" / weights[:16]
