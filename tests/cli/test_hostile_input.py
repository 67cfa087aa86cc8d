"""What a user sees of files and lines that were made to do harm: one sentence, on one line, with the status 2."""

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from seqloom.cli import main
from seqloom.cli.input import MAX_LINE_BYTES


@pytest.fixture(autouse=True)
def _this_process_has_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.training.process.arrange", lambda threads: None)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Runs a command that is to fail by the user's mistake; returns what it says."""

    def run(*arguments: object, stdin: bytes = b"") -> str:
        monkeypatch.setattr("sys.argv", ["seqloom", *map(str, arguments)])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        sys.stdout.flush()
        errors = [line for line in capfdbinary.readouterr().err.decode().split("\n") if "error: " in line]
        assert ended.value.code == 2, errors
        assert len(errors) == 1
        assert len(errors[0]) < 1000
        assert errors[0].isprintable()
        return errors[0].removeprefix("seqloom: error: ")

    return run


def test_a_corpus_does_not_steer_the_terminal(said: Any, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("\x1b]0;mine now\x07\tb\tc\n")
    assert "3 tab-separated fields" in said("train", tmp_path / "run", "--data", path, "--steps", 1)
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"\\u001b[2J": "' + "x" * 100_000 + '"}\n')
    assert r"\x1b[2J" in said("train", tmp_path / "run", "--data", path, "--steps", 1)
    assert not (tmp_path / "run").exists()


def test_a_folder_does_not_steer_the_terminal(said: Any, toy_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(toy_run / "model", tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text())
    for key, value in {"task": "\x1b[2J", "files": {"\x1b[2J/..": "0"}, "format_version": "\x1b[2J"}.items():
        (folder / "config.json").write_text(json.dumps({**config, key: value}))
        said("translate", folder)
        said("info", folder) if key != "task" else None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 100_000, "is not TOML"),
        (b"a" + b".a" * 100_000 + b" = 1", "a key has more than 20 dots"),
        (b"[a" + b' . "a"' * 30_000 + b"]", "a key has more than 20 dots"),
        (b'a = ["\\"", {a' + b".a" * 50_000 + b' = 1}, ""]', "a key has more than 20 dots"),
        (b"\xff\xfe", "is not TOML"),
        (b"\0", "is not TOML"),
        (b"a = " + b"9" * 5_000, "is not TOML"),
        (b"[model]\nd_model = " + b"9" * 300, "model.d_model is 9999"),
        (b"[model]\nd_model = nan", "model.d_model is nan, expected"),
        (b"[model]\nd_model = [" + b"1," * 9_000 + b"]", "model.d_model is [1, 1,"),
        (b"[model]\n" + b'"\\u001b[2J" = 1', r"'\x1b[2J' is no key of [model]"),
        (b"x" * (1 << 20), "more than 262,144"),
    ],
)
def test_a_recipe_that_is_none(said: Any, toy_corpus: Path, tmp_path: Path, content: bytes, message: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_bytes(content)
    files = ["--src", toy_corpus / "train.xx", "--tgt", toy_corpus / "train.yy"]
    assert message in said("train", tmp_path / "run", *files, "--config", recipe, "--steps", 1)


def test_a_recipe_of_many_mistakes(
    toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[model]\n" + "".join(f"key{n} = {n}\n" for n in range(5_000)))
    monkeypatch.setattr("sys.argv", ["seqloom", "train", str(tmp_path / "run"), "--config", str(recipe)])
    with pytest.raises(SystemExit):
        main()
    lines = capfdbinary.readouterr().err.decode().splitlines()
    assert len(lines) == 21
    assert lines[-1] == "seqloom: error: and 4,980 more mistakes"


def test_a_line_without_end(said: Any, toy_run: Path) -> None:
    message = said("translate", toy_run, stdin=b"1 2\n" + b"1" * (MAX_LINE_BYTES + 1) + b"\n1\n")
    assert message.startswith("standard input:2: the line is longer than 1,048,576 bytes, expected a text; put each")


def test_the_longest_line_is_translated(
    toy_run: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("seqloom.cli.input.MAX_LINE_BYTES", 101)
    monkeypatch.setattr("sys.argv", ["seqloom", "translate", str(toy_run)])
    lines = b"1" * 101 + b"\r\n" + b"2" * 101 + b"\n" + b"3" * 101
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert capfdbinary.readouterr().out.count(b"\n") == 3
