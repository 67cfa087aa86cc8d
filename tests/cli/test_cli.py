"""The commands as a user types them: what they print, and how they end."""

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqloom.cli import main


class Result:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


class Standard:
    """Standard input or output with a ``buffer``, as the real ones have."""

    def __init__(self, content: bytes = b"") -> None:
        self.buffer = io.BytesIO(content)


@pytest.fixture
def seqloom(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    monkeypatch.setattr("seqloom.training.process.arrange", lambda threads: None)  # this process has other tests

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr("sys.argv", ["seqloom", *map(str, arguments)])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Result(int(ended.value.code or 0), out.decode(), err.decode())

    return run


def test_help_names_every_command(seqloom: Any) -> None:
    result = seqloom("--help")
    assert result.status == 0
    assert all(name in result.out for name in ("train", "translate", "evaluate", "info", "config"))


@pytest.mark.parametrize("command", ["train", "translate", "evaluate", "info", "config"])
def test_every_command_explains_itself(seqloom: Any, command: str) -> None:
    result = seqloom(command, "--help")
    assert result.status == 0
    assert "RUN" in result.out or "TASK" in result.out


def test_version(seqloom: Any) -> None:
    assert seqloom("--version").out.startswith("seqloom 0.")


def test_translate_gives_one_line_for_each(seqloom: Any, toy_run: Path) -> None:
    lines = b"1 2\n\n  \n1\xe2\x80\xa82\x0c3\r\n\xef\xbc\x91\nlast"
    result = seqloom("translate", toy_run, stdin=lines)
    assert result.status == 0, result.err
    out = result.out.split("\n")
    assert len(out) == 7
    assert out[6] == ""
    assert out[1] == out[2] == ""
    assert out[0]


def test_translate_formats(seqloom: Any, toy_run: Path) -> None:
    plain = seqloom("translate", toy_run, "--n-best", "3", stdin=b"1 2\n").out.rstrip("\n").split("\t")
    scored = seqloom("translate", toy_run, "--scores", stdin=b"1 2\n").out.rstrip("\n").split("\t")
    record = json.loads(seqloom("translate", toy_run, "--n-best", "3", "--format", "jsonl", stdin=b"1 2\n").out)
    assert len(plain) == 3
    assert plain[0] == scored[1] == record["text"]
    assert float(scored[0]) == pytest.approx(record["score"], abs=1e-4)
    assert [entry["text"] for entry in record["n_best"]] == plain


def test_translate_stops_at_bytes_that_are_no_text(seqloom: Any, toy_run: Path) -> None:
    result = seqloom("translate", toy_run, stdin=b"1 2\n3 \xff 4\n")
    assert result.status == 2
    assert "standard input:2: byte 0xff at offset 6 is not valid UTF-8" in result.err
    assert result.out.count("\n") == 1  # what came before is answered
    assert seqloom("translate", toy_run, "--errors", "replace", stdin=b"3 \xff 4\n").status == 0


def test_evaluate_prints_one_json_object(seqloom: Any, toy_run: Path, toy_corpus: Path, tmp_path: Path) -> None:
    files = ("--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy", "--bootstrap", "11")
    result = seqloom("evaluate", toy_run, *files, "--json", "--output", tmp_path / "out")
    found = json.loads(result.out)
    assert found["bleu"] > 50
    assert len((tmp_path / "out").read_text(encoding="utf-8").splitlines()) == found["sentences"] == 31
    table = seqloom("evaluate", toy_run, *files).out
    assert f"{found['bleu']:.2f}" in table
    assert found["signature"]["bleu"] in table


def test_info(seqloom: Any, toy_run: Path) -> None:
    found = json.loads(seqloom("info", toy_run, "--json").out)
    assert found["languages"] == ["xx", "yy"]
    assert found["run"]["precision"] == "float32"
    assert "valid_loss" in seqloom("info", toy_run / "model").out


def test_the_printed_recipe_can_be_used(seqloom: Any, toy_settings: dict[str, Any], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(seqloom("config", "translate").out, encoding="utf-8")
    settings = [f"--set={key}={json.dumps(value)}" for key, value in toy_settings.items()]
    result = seqloom("train", tmp_path / "run", "--config", recipe, *settings, "--steps", "2", "--json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["steps"] == 2
    assert "step 2/2" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "nowhere"], "seqloom: error: nowhere: no such folder; expected a run folder or a model folder"),
        (["trian", "x"], "No such command 'trian'"),
        (["train", "x", "--step", "3"], "No such option"),
        (["train", "x", "--set", "model.d_modle=3"], "'d_modle' is no key of [model]; did you mean 'd_model'?"),
        (["train", "x", "--set", "d_model=3"], "expected section.key=value"),
        (["train", "x", "--src-lang", "a", "--tgt-lang", "b"], "no training files were given"),
        (["train", "x", "--src", "a", "--tgt", "b"], "the languages are not given; expected for example --src-lang zh"),
        (["train", "x", "--task", "translat"], "did you mean 'translate'?"),
        (["train", "x", "--config", "no.toml"], "no.toml: cannot be read"),
        (["config", "fly"], "there is no task 'fly'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    seqloom: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = seqloom(*arguments)
    assert result.status == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []  # and nothing was made


def test_several_mistakes_are_reported_at_once(seqloom: Any) -> None:
    result = seqloom(
        "train", "x", "--set", "model.norm=per", "--set", "trainin.steps=3", "--set", "data.vocab_size=many"
    )
    assert result.status == 2
    assert result.err.count("seqloom: error:") == 3


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["seqloom", "info", "nowhere", "--debug"])
    with pytest.raises(Exception, match="nowhere"):
        main()


def test_a_reader_that_leaves_early_is_no_error(toy_run: Path) -> None:
    python, run = shlex.quote(sys.executable), shlex.quote(str(toy_run))
    command = f"{python} -c 'from seqloom.cli import main; main()' translate {run} | head -n 1"
    lines = "1 2\n" * 3000
    done = subprocess.run(["bash", "-c", command], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
