"""Exports and what is kept beside them, damaged or made up: not used, said so, and made anew."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from seqloom.errors import ConfigError
from seqloom.export.ctranslate2_engine import Shape
from seqloom.export.store import find_export
from seqloom.pipeline.engines import Running
from seqloom.pipeline.probe import KEPT, Choice, _keep, _kept
from seqloom.pipeline.translator import load, open_translator
from seqloom.tasks.folder import read_model, sha256

NAME = "ctranslate2-float32"


@pytest.fixture
def model(toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(toy_run / "model", tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def problem(model: Path) -> str:
    export, said = find_export(read_model(model, weights=False), "float32")
    assert (export is None) == bool(said)
    return said


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
@pytest.mark.parametrize("name", ["model.bin", "config.json", "shared_vocabulary.json"])
def test_a_damaged_export_is_made_anew(model: Path, name: str, damage: str) -> None:
    """The library never sees it."""
    whole = (model / NAME / name).read_bytes()
    flipped = whole[:30] + bytes([whole[30] ^ 255]) + whole[31:]
    (model / NAME / name).write_bytes({"cut": whole[:-7], "flipped": flipped, "empty": b""}[damage])
    assert f"{name}: is damaged, its checksum is not the one in export.json" in problem(model)
    said: list[str] = []
    assert open_translator(model, Running(say=said.append)).translate(["1 2"])[0].text
    assert "it is made anew" in said[0]
    assert problem(model) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 1}, "was made by another version of this program"),
        ({"weights": "0" * 64}, "was made from other weights"),
        ({"variant": "int8"}, "has another variant or no places"),
        ({"places": -1}, "has another variant or no places"),
        ({"places": 1e300}, "has another variant or no places"),
        ({"proofs": {"yy": {"accepted": "yes"}}}, "has no proof of what it says is proven"),
        ({"proofs": "yes"}, "cannot be read"),
        ({"files": {}}, "names no model.bin or no config.json"),
        ({"files": {"model.bin": "0", "config.json": "0", "../../x": "0"}}, "is damaged"),
        ({"files": {"model.bin": "0", "config.json": "0", "a\0b": "0"}}, "is damaged"),
        ({"files": 7}, "cannot be read"),
    ],
)
def test_an_export_that_lies(model: Path, changes: dict[str, Any], message: str) -> None:
    edit(model / NAME / "export.json", **changes)
    assert message in problem(model)


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, "\0", '{"format_version": 1e999}', "9" * 5000])
def test_an_export_that_says_nothing(model: Path, content: str) -> None:
    (model / NAME / "export.json").write_text(content)
    assert "cannot be read" in problem(model)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_an_export_that_never_ends(model: Path) -> None:
    (model / NAME / "model.bin").unlink()
    (model / NAME / "model.bin").symlink_to("/dev/zero")
    assert "is a device, not a file" in problem(model)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_nothing_is_kept_behind_a_link(model: Path, tmp_path: Path) -> None:
    shutil.move(model / NAME, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / KEPT).unlink(missing_ok=True)
    (model / NAME).symlink_to(tmp_path / "elsewhere")
    assert not _keep(model / NAME / KEPT, "a machine", Choice("float32", Shape(), 1.0))
    assert not (tmp_path / "elsewhere" / KEPT).exists()


@pytest.mark.parametrize(
    "shape",
    [
        {"workers": 10**9, "threads": 1, "batch": 1},
        {"workers": 1, "threads": 10**6, "batch": 1},
        {"workers": 1, "threads": 1, "batch": 10**9},
        {"workers": -1, "threads": -1, "batch": 1},
        {"workers": "many", "threads": 1, "batch": 1},
        {"__class__": 1},
        [],
        None,
    ],
)
def test_a_choice_that_cannot_be(tmp_path: Path, shape: Any) -> None:
    about: dict[str, Any] = {"variant": "float32", "tokens_per_second": 7.0}
    (tmp_path / KEPT).write_text(json.dumps({"a machine": {**about, "shape": shape}}))
    assert _kept(tmp_path / KEPT, "a machine") is None
    (tmp_path / KEPT).write_text(
        json.dumps({"a machine": {**about, "shape": {"workers": 2, "threads": 3, "batch": 5}}})
    )
    assert _kept(tmp_path / KEPT, "a machine") == Choice("float32", Shape(2, 3, 5), 7.0)


def test_checksums_put_right_do_not_end_the_process(model: Path) -> None:
    """Whoever makes an export can make its checksums too; what the library says of it is a sentence."""
    path = model / NAME / "model.bin"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\xff" * 64, whole[:4] + b"\xff" * 8 + whole[12:]):
        path.write_bytes(content)
        about = json.loads((model / NAME / "export.json").read_text())
        edit(model / NAME / "export.json", files={**about["files"], "model.bin": sha256(path)})
        assert problem(model) == ""
        with pytest.raises(ConfigError, match="the engine ctranslate2 cannot be used: CTranslate2 cannot run") as error:
            load(model, engine="ctranslate2").translate(["1 2"])
        assert str(error.value).isprintable()
    assert load(model).translate(["1 2"])[0].text  # by torch
