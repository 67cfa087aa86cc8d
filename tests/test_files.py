"""Small files: nothing in them trusted, nothing written through a link, nothing waited for."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seqloom.errors import listed, shown
from seqloom.files import (
    MAX_JSON_DEPTH,
    copy_files,
    folder_beside,
    lines_rewritten,
    links_out,
    new_folder,
    parse_json,
    put_in_place,
    read_bytes,
    read_json,
    require_regular,
    write_text,
)
from seqloom.tasks.folder import write_model
from seqloom.training.checkpoint import save_checkpoint

needs_links = pytest.mark.skipif(os.name == "nt", reason="links and pipes need rights there")


@pytest.mark.parametrize(
    "content", ["1" * 22, "-" + "9" * 5000, str(2**64 + 1), "1e999", "-1e999", "NaN", "[Infinity]", '{"a": -Infinity}']
)
def test_numbers_without_measure(content: str) -> None:
    with pytest.raises(ValueError, match=r"is no finite number|is too large a number"):
        parse_json(content)


def test_what_is_written_here_is_read() -> None:
    value = {"a": [1, -(2**64), 2**64, 0.1, 1e308, "ü", None, True, {"b": []}]}
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("content", [b'"\xed\xa0\x80"', b"\xff", '{"step": 1}'.encode("utf-16"), b"\xef\xbb\xbf1"])
def test_json_is_utf8(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"utf-8|BOM"):
        parse_json(content)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [MAX_JSON_DEPTH + 1, 900, 100_000])
def test_deep_nesting(opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    with pytest.raises(ValueError, match="it is nested too deeply"):
        parse_json(opening * (depth - 1) + "[]" + closing * (depth - 1))
    assert parse_json(opening * (MAX_JSON_DEPTH - 2) + "[]" + closing * (MAX_JSON_DEPTH - 2))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    for read in (read_bytes, read_json):
        with pytest.raises(OSError, match=r"^has 1,099,511,627,776 bytes, more than 101$"):
            read(path, 101)


@needs_links
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, what in {"pipe": "a pipe", "link": "a device", ".": "a folder"}.items():
        with pytest.raises(OSError, match=rf"^is {what}, not a file$"):
            read_bytes(tmp_path / name, 101)
    with pytest.raises(OSError, match="null"):
        require_regular(tmp_path / "a\0b")


@needs_links
def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("all my work")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.json", "a.json.new"):
        (folder / name).symlink_to(precious)
    write_text(folder / "a.json", "new")
    assert precious.read_text() == "all my work"
    assert (folder / "a.json").read_text() == "new"
    assert os.listdir(folder) == ["a.json"]
    (folder / "a.json.new").symlink_to(precious)
    with lines_rewritten(folder / "a.json", 7) as (lines, keep):
        keep(next(lines))
    assert precious.read_text() == "all my work"
    assert (folder / "a.json").read_text() == "new"


@needs_links
def test_links_that_lead_out_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    (folder / "within").symlink_to("model")
    (folder / "circle").symlink_to("circle")
    assert list(links_out(folder)) == []
    (folder / "model" / "out").symlink_to(tmp_path)
    (folder / "gone").symlink_to("../nowhere")
    assert sorted(links_out(folder)) == [folder / "gone", folder / "model" / "out"]
    (tmp_path / "alias").symlink_to(folder)  # the user's own way to it
    assert sorted(links_out(tmp_path / "alias")) == [tmp_path / "alias" / "gone", tmp_path / "alias" / "model" / "out"]


def test_long_lines_are_dropped_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n" + b"x" * 50 + b"\ntwo\n" + b"y" * 11 + b"\n" + b"1234567890\n" + b"end")
    with lines_rewritten(path, 11) as (lines, keep):
        found = list(lines)
        for line in found:
            keep(line)
    assert found == [b"one\n", b"two\n", b"1234567890\n", b"end"]
    assert path.read_bytes() == b"one\ntwo\n1234567890\nend"


def test_what_is_quoted_steers_no_terminal() -> None:
    assert shown("a\x1b[31m\n\u202e\0b") == r"a\x1b[31m\n\u202e\x00b"
    assert shown("é中 😀") == "é中 😀"
    assert shown("x" * 100, 7) == "x" * 7 + "..."
    assert shown("x" * 7, 7) == "x" * 7
    assert listed(["a", "b"]) == "a, b"
    assert listed(range(1012)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1,002 more"


def test_a_folder_that_another_process_made_meanwhile_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, path = tmp_path / "new", tmp_path / "model"
    new.mkdir()
    (new / "file").write_text("mine")
    rename = os.rename

    def slow(source: Path, target: Path) -> None:
        if source == new and not path.exists():
            path.mkdir()
            (path / "file").write_text("theirs")
        rename(source, target)

    monkeypatch.setattr(os, "rename", slow)
    put_in_place(new, path)
    assert (path / "file").read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_where_the_system_swaps_no_folders_they_come_to_the_same_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqloom.files._exchange", lambda a, b: False)
    path, previous = tmp_path / "model", tmp_path / "previous"
    for number in "123":
        new = tmp_path / "new"
        new.mkdir()
        (new / "file").write_text(number)
        put_in_place(new, path, previous)
    assert [(each / "file").read_text() for each in (path, previous)] == ["3", "2"]
    assert sorted(tmp_path.iterdir()) == [path, previous]


def _write_folder(path: Path) -> None:
    with new_folder(path) as new:
        (new / "a").write_text("a")
        (new / "deeper").mkdir()
        (new / "deeper" / "b").write_text("b")


WRITERS: dict[str, Callable[[Path], object]] = {
    "file.json": lambda path: write_text(path, "text"),
    "folder": _write_folder,
    "step-7": lambda path: save_checkpoint(path.parent, {"w": torch.ones(3)}, {}, {}, {"step": 7}),
    "model": lambda path: write_model(path, {"task": "translate"}, {"README.md": b"card"}, {"w": torch.ones(3)}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_stands_in_its_place_would_survive_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, flushed = tmp_path / name, set()

    def noted(descriptor: int) -> None:
        if not path.exists():
            flushed.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    WRITERS[name](path)
    files = [each for each in (path, *path.rglob("*")) if each.is_file()]
    assert files
    assert {each.stat().st_ino for each in files} <= flushed


@pytest.mark.skipif(os.name == "nt", reason="rights are others there")
def test_a_copy_has_the_rights_of_new_files(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    target.mkdir()
    for name in ("model.bin", "export.json"):
        (source / name).write_text(name)
        (source / name).chmod(0o400)
    source.chmod(0o500)
    copy_files(source, target, {"export.json"})
    source.chmod(0o700)
    assert [each.name for each in target.iterdir()] == ["model.bin"]
    assert target.stat().st_mode & 0o200
    assert (target / "model.bin").stat().st_mode & 0o200


HALF_WRITTEN = """
import os, pathlib, sys
from seqloom.files import folder_beside
with folder_beside(pathlib.Path(sys.argv[1])) as new:
    (new / "half").write_text("x")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_what_a_killed_process_left_is_removed_and_what_is_written_is_not(tmp_path: Path) -> None:
    path = tmp_path / "model"
    others = ["model.new-17", "model.new-notes", "my model.new-" + "0" * 16, "model.old-" + "0" * 16]
    for name in others:  # which are not ours, as far as their names say
        (tmp_path / name).mkdir()
    assert subprocess.run([sys.executable, "-c", HALF_WRITTEN, path], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.glob("model.new-" + "?" * 16)
    with folder_beside(path) as one:
        (one / "file").write_text("one")
        assert not left.exists()
        with folder_beside(path) as two:
            assert one != two
            assert (one / "file").read_text() == "one"
            put_in_place(two, path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["model", *others])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    seen: list[Path] = []

    def slow(path: Path, flags: int) -> int:
        if not seen:
            path.rmdir()  # as by another process that looks for what was left
        seen.append(path)
        return real(path, flags)

    monkeypatch.setattr(os, "open", slow)
    with folder_beside(tmp_path / "model") as new:
        assert new.is_dir()
        assert seen[0] != seen[1] == new


@pytest.mark.skipif(os.name == "nt", reason="rights are others there")
def test_a_folder_to_be_put_in_place_has_the_rights_of_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with folder_beside(tmp_path / "model") as new:
        assert new.stat().st_mode == (tmp_path / "plain").stat().st_mode
