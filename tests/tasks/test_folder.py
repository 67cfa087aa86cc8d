"""Model folders: whole or not at all, and nothing in them trusted."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom.errors import ModelFolderError
from seqloom.tasks.folder import FORMAT_VERSION, find_model, read_model, write_model

WEIGHTS = {"a.weight": torch.arange(15.0).reshape(3, 5), "a.bias": torch.ones(3)}


def write(path: Path, **changes: Any) -> Path:
    write_model(path, {"task": "translate", **changes}, {"src.model": b"pieces", "README.md": b"# card"}, WEIGHTS)
    return path


def edit(path: Path, **changes: Any) -> None:
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    (path / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = read_model(write(tmp_path / "m"))
    assert folder.config["format_version"] == FORMAT_VERSION
    assert folder.files["src.model"] == b"pieces"
    assert folder.weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(folder.weights[name], WEIGHTS[name]) for name in WEIGHTS)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_run_folder_leads_to_its_model(tmp_path: Path) -> None:
    write(tmp_path / "run" / "model")
    assert find_model(tmp_path / "run") == find_model(tmp_path / "run" / "model") == tmp_path / "run" / "model"


def test_the_card_may_be_edited(tmp_path: Path) -> None:
    path = write(tmp_path / "m")
    (path / "README.md").write_text("my own words")
    read_model(path)


@pytest.mark.parametrize("name", ["model.safetensors", "src.model"])
def test_a_flipped_bit_is_noticed(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "m")
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(ModelFolderError, match=rf"{name}: is damaged.*copy the model folder again"):
        read_model(path)


def test_each_thing_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="nowhere: no such folder; expected a run folder or a model folder"):
        read_model(tmp_path / "nowhere")
    with pytest.raises(ModelFolderError, match=r"holds no model, expected config\.json"):
        read_model(tmp_path)
    path = write(tmp_path / "m")
    (path / "src.model").unlink()
    with pytest.raises(ModelFolderError, match=r"src\.model: cannot be read.*not whole"):
        read_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format_version": FORMAT_VERSION + 1},
            "format version 2, this program reads up to 1; install a newer seqloom",
        ),
        ({"format_version": "1"}, "has no format_version"),
        ({"task": 3}, "names no task"),
        ({"files": []}, "names no task or no files"),
        ({"files": {"../../etc/passwd": "0"}}, "expected a name without folders"),
        ({"files": {}}, r"names no model\.safetensors"),
    ],
)
def test_a_config_that_is_not_ours(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "m")
    edit(path, **changes)
    with pytest.raises(ModelFolderError, match=message):
        read_model(path)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"format_version": 1', "\x00"])
def test_a_config_that_is_not_json(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "m")
    (path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        read_model(path)


def test_a_reader_never_fails_while_the_model_is_replaced(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run / "model", number=0)
    (run / "run.json").write_text("{}")
    stop = threading.Event()

    def replace() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write(run / "model", number=number)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = [read_model(run).config["number"] for _ in range(200)]
    finally:
        stop.set()
        writer.join()
    assert seen == sorted(seen)
    assert seen[-1] > 0
