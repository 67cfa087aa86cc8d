"""Model folders: whole or not at all, and nothing in them trusted."""

import json
import math
import os
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from seqloom.errors import ModelFolderError
from seqloom.tasks.folder import (
    FORMAT_VERSION,
    PREVIOUS,
    find_model,
    read_config,
    read_model,
    read_tensors,
    write_model,
)

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
    with pytest.raises(ModelFolderError, match=r"src\.model: cannot be read.*copy the model folder again"):
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


def put(run: Path, number: int) -> None:
    """A better model for a run, as a training writes it."""
    content = {"src.model": f"pieces {number}".encode()}
    write_model(run / "model", {"task": "translate", "number": number}, content, WEIGHTS, run / PREVIOUS)


def damage(folder: Path, name: str) -> None:
    if name == "all":
        return shutil.rmtree(folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:-3])
    return None


@pytest.mark.parametrize("name", ["model.safetensors", "src.model", "config.json", "all"])
def test_the_model_before_a_damaged_one_is_used_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    run = tmp_path / "run"
    for number in (1, 2, 3):
        put(run, number)
    (run / "run.json").write_text("{}")
    assert sorted(path.name for path in run.iterdir()) == ["model", PREVIOUS, "run.json"]
    assert read_model(run).config["number"] == 3
    assert not caplog.messages
    damage(run / "model", name)
    assert read_model(run).config["number"] == 2
    assert read_model(run).files["src.model"] == b"pieces 2"
    (message,) = caplog.messages  # said once
    assert message.endswith(f"Until then the model before it is used, {run / PREVIOUS}.")
    assert read_config(run)["number"] == (2 if name in ("config.json", "all") else 3)
    with pytest.raises(ModelFolderError):  # whoever names it gets no other
        read_model(run / "model")

    put(run, 4)  # the damaged one is not kept in the place of a whole one
    assert read_model(run).config["number"] == 4
    assert read_model(run / PREVIOUS).config["number"] == 2
    damage(run / "model", "src.model")
    damage(run / PREVIOUS, "src.model")
    with pytest.raises(ModelFolderError, match=r"model/src\.model: is damaged.*makes it anew from its checkpoints"):
        read_model(run)


@pytest.mark.parametrize("version", [True, 0, -1, 1.0, None, "1", [1]])
def test_a_version_is_a_number(tmp_path: Path, version: Any) -> None:
    path = write(tmp_path / "m")
    edit(path, format_version=version)
    with pytest.raises(ModelFolderError, match="has no format_version"):
        read_model(path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", "", "a/b", "a\0b", "\x1b[31m/x"])
def test_names_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "m")
    edit(path, files={name: "0", "model.safetensors": "0"})
    with pytest.raises(ModelFolderError, match="expected a name without folders") as error:
        read_model(path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({f"{n}.model": "0" * 64 for n in range(101)}, "names 101 files, expected the few of a model"),
        ({"model.safetensors": None}, r"has no checksum of model\.safetensors"),
        ({"model.safetensors": "../../.ssh/" + "0" * 53}, r"has no checksum of model\.safetensors"),
        ({"model.safetensors": "/tmp/x"}, r"has no checksum of model\.safetensors"),
        ({"src.model": "0" * 64}, r"names no model\.safetensors"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "m")
    edit(path, files=files)
    with pytest.raises(ModelFolderError, match=message):
        read_model(path)


@pytest.mark.skipif(os.name == "nt", reason="there are no such links")
@pytest.mark.parametrize("name", ["model.safetensors", "src.model"])
@pytest.mark.parametrize("target", ["/dev/zero", "pipe", "."])
def test_what_never_ends_is_not_read(tmp_path: Path, name: str, target: str) -> None:
    path = write(tmp_path / "m")
    os.mkfifo(path / "pipe")
    (path / name).unlink()
    (path / name).symlink_to(target)
    with pytest.raises(ModelFolderError, match=rf"{name}: cannot be read \(is a (device|pipe|folder), not a file\)"):
        read_model(path)


@pytest.mark.parametrize("name", ["model.safetensors", "src.model"])
def test_a_file_larger_than_the_memory_is_not_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "m")
    os.truncate(path / name, 1 << 43)  # takes no room on the disk
    with pytest.raises(ModelFolderError, match=rf"{name}: cannot be read \(has 8,796,093,022,208 bytes, more than"):
        read_model(path)


@pytest.mark.parametrize(
    "header",
    [
        {name: {"dtype": "F32", "shape": [3], "data_offsets": [at, at + 12]} for name, at in (("a", 0), ("b", 4))},
        {"a": {"dtype": "F32", "shape": [10**15, 10**15], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 60]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}},
        {"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}},
        {"a": {"dtype": "X99", "shape": [4], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
        {"a": "\x1b[31m"},
        [],
    ],
)
def test_lies_in_the_header_of_the_weights(tmp_path: Path, header: Any) -> None:
    """Overlaps, shapes and places that are not there, unknown types, bytes that belong to nothing."""
    text = json.dumps(header).encode()
    for size in (len(text), len(text) + 1, 1 << 40, (1 << 64) - 1, 0):
        path = tmp_path / "model.safetensors"
        path.write_bytes(struct.pack("<Q", size) + text + bytes(16))
        with pytest.raises(ModelFolderError, match=r"model\.safetensors: cannot be read as safetensors") as error:
            read_tensors(path)
        assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (dtype, value)
        for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64)
        for value in (math.nan, math.inf, -math.inf)
    ]
    + [(torch.float64, -1e300)],
)
def test_weights_that_are_no_numbers(tmp_path: Path, dtype: torch.dtype, value: float) -> None:
    weight = torch.arange(-7, 7).to(dtype).reshape(2, 7)
    others = {"none": torch.zeros(0), "whole": torch.arange(3), "truth": torch.tensor([True])}
    path = tmp_path / "model.safetensors"
    save_file({"a": weight, **others}, path)
    assert torch.equal(read_tensors(path)["a"], weight)
    weight[1, 3] = value
    save_file({"a": weight, **others}, path)
    with pytest.raises(ModelFolderError) as error:
        read_tensors(path)
    assert str(error.value) == (
        f"{path}: a holds NaN or infinity, expected finite numbers; take an older copy of the folder"
    )


@pytest.mark.skipif(os.name == "nt", reason="there are no such links")
def test_what_a_link_leads_to_is_not_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "work").write_text("all of it")
    (tmp_path / "m").symlink_to(precious)
    write(tmp_path / "m")
    assert (precious / "work").read_text() == "all of it"
    assert not (tmp_path / "m").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "precious"]
