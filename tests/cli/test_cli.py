"""The commands as a user types them: what they print, and how they end."""

import errno
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqloom.cli import main
from seqloom.pipeline.translator import load


class Result:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


class Standard:
    """Standard input or output with a ``buffer``, as the real ones have."""

    def __init__(self, content: bytes = b"") -> None:
        self.buffer = io.BytesIO(content)


COMMANDS = [
    "check",
    "train",
    "translate",
    "predict",
    "evaluate",
    "score",
    "compare",
    "distill",
    "export",
    "import",
    "info",
    "config",
]


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
    assert all(name in result.out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(seqloom: Any, command: str) -> None:
    result = seqloom(command, "--help")
    assert result.status == 0
    assert any(argument in result.out for argument in ("RUN", "TASK", "{A}", "FOLDER", "--src"))


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


def test_a_byte_order_mark_is_no_text(seqloom: Any, toy_run: Path) -> None:
    marked = seqloom("translate", toy_run, stdin=b"\xef\xbb\xbf1 2\n3\n")
    assert marked.out == seqloom("translate", toy_run, stdin=b"1 2\n3\n").out
    broken = seqloom("translate", toy_run, stdin=b"\xef\xbb\xbf1 \xff\n").err
    assert "standard input:1: byte 0xff at offset 5 is not valid UTF-8" in broken


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of its own")
def test_standard_input_that_is_closed(toy_run: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m seqloom translate {shlex.quote(str(toy_run))} <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "standard input is closed" in done.stderr


def test_a_place_for_translations_that_there_is_not(seqloom: Any, toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("1 2\n", encoding="utf-8")
    files = "--src", tmp_path / "text", "--ref", tmp_path / "text"
    result = seqloom("evaluate", toy_run, *files, "--output", tmp_path / "none" / "out")
    assert result.status == 2
    assert f"there is no folder {tmp_path / 'none'} to write to; make it first" in result.err
    result = seqloom("evaluate", toy_run, *files, "--output", tmp_path)
    assert result.status == 2
    assert "BLEU" in result.out  # what was calculated is not lost
    assert f"{tmp_path}: cannot be written (Is a directory); give another file" in result.err


def test_translate_formats(seqloom: Any, toy_run: Path) -> None:
    plain = seqloom("translate", toy_run, "--n-best", "3", stdin=b"1 2\n").out.rstrip("\n").split("\t")
    scored = seqloom("translate", toy_run, "--scores", stdin=b"1 2\n").out.rstrip("\n").split("\t")
    record = json.loads(seqloom("translate", toy_run, "--n-best", "3", "--format", "jsonl", stdin=b"1 2\n").out)
    assert len(plain) == 3
    assert plain[0] == scored[1] == record["text"]
    assert float(scored[0]) == pytest.approx(record["score"], abs=1e-4)
    assert [entry["text"] for entry in record["n_best"]] == plain


@pytest.mark.parametrize("option", [["--scores"], ["--format", "jsonl"]])
def test_who_reads_scores_gets_them_of_a_greedy_search_too(seqloom: Any, toy_run: Path, option: list[str]) -> None:
    out = seqloom("translate", toy_run, "--beam", "1", *option, stdin=b"1 2\n").out.rstrip("\n")
    score = json.loads(out)["score"] if "jsonl" in option else float(out.split("\t")[0])
    (expected,) = load(toy_run).translate(["1 2"], beam=1)
    assert expected.score < 0
    assert score == pytest.approx(expected.score, abs=1e-4)


def test_translate_in_every_way(seqloom: Any, toy_run: Path, tmp_path: Path) -> None:
    """Each option reaches the search: what it finds is what Python finds with the same settings."""
    (tmp_path / "starts").write_text("zwo \n\n", encoding="utf-8")
    translator = load(toy_run)
    texts = ["1 2 3 4", "1 1 7"]
    ways: list[tuple[list[str], dict[str, Any]]] = [
        (["--max-length", "3", "--guard", "off"], {"max_length": 3, "guard": "off"}),
        (["--min-length", "12", "--guard", "off"], {"min_length": 12, "guard": "off"}),
        (["--prefix", "zwo "], {"prefixes": "zwo "}),
        (["--prefixes", str(tmp_path / "starts")], {"prefixes": ["zwo ", ""]}),
        (["--diversity", "0.5", "--n-best", "3"], {"diversity": 0.5, "n_best": 3}),
        (["--mbr", "chrf", "--beam", "6"], {"mbr": "chrf", "beam": 6}),
        (["--set", "decoding.length_formula=gnmt"], {"length_formula": "gnmt"}),
        (["--set", "decoding.beam=2", "--beam", "3"], {"beam": 3}),
        (
            ["--sample", "--temperature=2", "--top-k=50", "--top-p=0.99", "--min-p=0.001", "--seed=3", "--n-best=5"],
            {"sample": True, "temperature": 2, "top_k": 50, "top_p": 0.99, "min_p": 0.001, "seed": 3, "n_best": 5},
        ),
    ]
    for options, settings in ways:
        result = seqloom("translate", toy_run, *options, stdin="".join(text + "\n" for text in texts).encode())
        assert result.status == 0, result.err
        expected = ["\t".join(text for text, _ in r.alternatives) for r in translator.translate(texts, **settings)]
        assert result.out.splitlines() == expected, options
    together = seqloom("translate", toy_run, "--ensemble", toy_run, "--ensemble", toy_run / "model", stdin=b"1 2 3 4\n")
    assert together.out.splitlines() == [translator.translate(texts[:1])[0].text]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prefix", "a", "--prefixes", "b"], "--prefix and --prefixes both say what a translation starts with"),
        (["--top-p", "0.5"], "[decoding] top_p (0.5) is a setting of sampling; set sample too"),
        (["--seed", "5"], "--seed is of sampling, and nothing is drawn at random; give --sample too, or leave it out"),
        (["--sample", "--diversity", "1"], "[decoding] sample and diversity exclude each other"),
        (["--set", "model.d_model=3"], "--set model.d_model: only settings of [decoding] can be changed here"),
        (["--set", "decoding.beem=3"], "'beem' is no key of [decoding]; did you mean 'beam'?"),
        (["--set", "beam=3"], "--set beam=3: expected section.key=value"),
        (["--mbr", "chr"], "'chr' is not one of 'chrf', 'bleu'"),
        (["--beam", "2", "--n-best", "3"], "3 translations of each text need a beam of 3 or more, got 2"),
        (["--prefixes", "STARTS"], "there are 1 prefixes and more lines; expected a prefix for each line"),
        (["--ensemble", "nowhere"], "nowhere: no such folder; expected a run folder or a model folder"),
    ],
)
def test_translate_refuses_what_makes_no_sense(
    seqloom: Any, toy_run: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    (tmp_path / "starts").write_text("zwo\n", encoding="utf-8")
    options = [str(tmp_path / "starts") if option == "STARTS" else option for option in options]
    result = seqloom("translate", toy_run, *options, stdin=b"1 2\n3 4\n")
    assert result.status == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_an_interrupt_while_waiting_for_a_line_is_quiet(toy_run: Path) -> None:
    command = [sys.executable, "-m", "seqloom", "translate", str(toy_run)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"1 2\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


def test_evaluate_takes_an_ensemble_and_any_setting(seqloom: Any, toy_run: Path, toy_corpus: Path) -> None:
    files = ("--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy", "--bootstrap", "0", "--json")
    plain, together, cut = (
        json.loads(seqloom("evaluate", toy_run, *files, *options).out)["bleu"]
        for options in ([], ["--ensemble", toy_run], ["--set", "decoding.max_length=3", "--guard", "off"])
    )
    assert together == plain
    assert cut < plain / 2


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


@pytest.fixture
def odd_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lines with a 9 every answer is faulty, of lines with an 8 only the first."""
    from seqloom.pipeline import guard

    seen = set()

    def faults(source: str, *rest: object) -> tuple[str, ...]:
        first = source not in seen
        seen.add(source)
        return ("numbers",) if "9" in source or ("8" in source and first) else ()

    monkeypatch.setattr(guard, "faults_of", faults)


def test_translate_says_what_the_guard_found(seqloom: Any, toy_run: Path, odd_faults: None) -> None:
    lines = b"1 2\n1 9\n1 8\n2 9\n"
    result = seqloom("translate", toy_run, stdin=lines)
    assert result.err == "1 of 4 lines mended by another search; 2 of 4 lines flagged: 2 numbers; see --format jsonl\n"
    assert result.out.count("\n") == 4
    result = seqloom("translate", toy_run, "--guard", "flag", stdin=b"1 9\n3 8\n1 2\n")
    assert result.err == "2 of 3 lines flagged: 2 numbers; see --format jsonl\n"
    assert seqloom("translate", toy_run, "--guard", "off", stdin=lines).err == ""
    assert seqloom("translate", toy_run, stdin=b"1 2\n").err == ""


def test_translate_puts_flags_into_its_json_lines(seqloom: Any, toy_run: Path, odd_faults: None) -> None:
    result = seqloom("translate", toy_run, "--format", "jsonl", stdin=b"1 2\n1 9\n1 8\n")
    assert result.err == ""
    found = [json.loads(line) for line in result.out.splitlines()]
    assert [each["flags"] for each in found] == [[], ["numbers"], []]
    assert [each["caught"] for each in found] == [[], ["numbers"], ["numbers"]]
    assert [each["retried"] for each in found] == [False, True, True]


def test_evaluate_tells_what_the_guard_found(seqloom: Any, toy_run: Path, toy_corpus: Path, odd_faults: None) -> None:
    files = ("--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy", "--bootstrap", "0", "--json")
    assert json.loads(seqloom("evaluate", toy_run, *files).out)["guard"]["caught"] > 0
    guard = json.loads(seqloom("evaluate", toy_run, *files, "--guard", "off").out)["guard"]
    assert guard == {"mode": "off", "caught": 0, "mended": 0, "faults": {}, "seconds": {"checking": 0, "retrying": 0}}


def test_score_gives_one_line_for_each_pair(seqloom: Any, toy_run: Path, toy_corpus: Path) -> None:
    files = ("--src", toy_corpus / "valid.xx", "--tgt", toy_corpus / "valid.yy")
    result = seqloom("score", toy_run, *files)
    rows = [[float(field) for field in line.split("\t")] for line in result.out.splitlines()]
    assert len(rows) == 31
    for log_prob, mean, perplexity, tokens in rows:
        assert mean == pytest.approx(log_prob / tokens, abs=1e-3)
        assert perplexity == pytest.approx(math.exp(-mean), rel=1e-3)
    total = json.loads(seqloom("score", toy_run, *files, "--json").out)
    assert total["log_prob"] == pytest.approx(sum(row[0] for row in rows), abs=1e-2)
    assert total["tokens"] == sum(row[3] for row in rows)
    said = f"31 pairs, {total['tokens']:,} tokens: perplexity {total['perplexity']:.4f}, mean log-probability"
    assert said in result.err
    assert "more tokens than any" not in result.err


def test_score_shows_tokens(seqloom: Any, toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "src").write_text("1 2\n\n" + "1 2 3 4 " * 9 + "\n", encoding="utf-8")
    (tmp_path / "tgt").write_text("ein=zwo.\n\nein\n", encoding="utf-8")
    files = ("--src", tmp_path / "src", "--tgt", tmp_path / "tgt", "--per-token")
    result = seqloom("score", toy_run, *files)
    first, empty, _ = result.out.splitlines()
    *numbers, each = first.split("\t")
    log_probs = [float(token.rpartition("=")[2]) for token in each.split(" ")]
    assert len(log_probs) == int(numbers[3])
    assert sum(log_probs) == pytest.approx(float(numbers[0]), abs=1e-3)
    assert each.split(" ")[-1].startswith("</s>=")
    assert empty == "0.0000\t0.0000\t1.0000\t0\t"
    assert "1 sources have more tokens than any in training" in result.err
    records = [json.loads(line) for line in seqloom("score", toy_run, *files, "--format", "jsonl").out.splitlines()]
    assert [token["log_prob"] for token in records[0]["per_token"]] == pytest.approx(log_probs, abs=1e-4)
    assert records[1] == {"log_prob": 0, "mean": 0, "perplexity": 1, "tokens": 0, "per_token": []}


def test_score_refuses_what_makes_no_sense(seqloom: Any, toy_run: Path, toy_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("ein\n")
    source = toy_corpus / "valid.xx"
    result = seqloom("score", toy_run, "--src", source, "--tgt", tmp_path / "short")
    assert result.status == 2
    assert "has 31 lines and" in result.err
    result = seqloom("score", toy_run, "--src", source, "--tgt", toy_corpus / "valid.yy", "--json", "--per-token")
    assert result.status == 2
    assert "--json prints one object about all pairs" in result.err
    (tmp_path / "long").write_text("7 " * 9000 + "\n")
    result = seqloom("score", toy_run, "--src", tmp_path / "long", "--tgt", tmp_path / "short")
    assert f"{tmp_path / 'long'}:1: " in result.err
    assert "but at most 8,190 can be scored at once" in result.err


def test_compare_prints_a_table_or_one_json_object(
    seqloom: Any, toy_run: Path, toy_corpus: Path, tmp_path: Path
) -> None:
    references = (toy_corpus / "valid.yy").read_text(encoding="utf-8").splitlines()
    worse = (text + " nul" * (number % 5) for number, text in enumerate(references))
    (tmp_path / "other").write_text("".join(f"{text}\n" for text in worse), encoding="utf-8")
    files = ("--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy", "--resamplings", "101")
    result = seqloom("compare", toy_run, tmp_path / "other", *files, "--top", "2", "--ter")
    assert result.status == 0, result.err
    assert all(name in result.out for name in ("BLEU", "chrF++", "TER", "Where A gains most", str(toy_run)))
    found = json.loads(seqloom("compare", toy_run, tmp_path / "other", *files, "--json", "--top", "2").out)
    assert list(found["metrics"]) == ["bleu", "chrf"]
    assert len(found["largest_wins"]) == 2
    assert f"{found['metrics']['bleu']['a']:.2f}" in result.out
    seeded = seqloom("compare", toy_run, tmp_path / "other", *files, "--json", "--top", "2", "--seed", "4").out
    assert json.loads(seeded)["metrics"]["bleu"]["b_interval"] != found["metrics"]["bleu"]["b_interval"]
    assert seqloom("compare", "nowhere", tmp_path / "other", *files).status == 2


def test_info(seqloom: Any, toy_run: Path) -> None:
    found = json.loads(seqloom("info", toy_run, "--json").out)
    assert found["languages"] == ["xx", "yy"]
    assert found["run"]["precision"] == "float32"
    assert "valid_loss" in seqloom("info", toy_run / "model").out


def test_info_of_a_config_that_is_nested_deeply(seqloom: Any, toy_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(toy_run / "model", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for _ in range(17):
        config["note"] = {"deep": config.get("note", "found")}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    result = seqloom("info", folder)
    assert result.status == 0, result.err
    assert "deep found" in result.out


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
        (["train", "x", "--src", "a", "--tgt", "b"], "a: no such file; check the spelling and the folder"),
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


def test_debug_shows_the_traceback_and_changes_nothing_else(seqloom: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, result = seqloom("info", "nowhere"), seqloom("info", "nowhere", "--debug")
    assert result.status == plain.status == 2
    assert result.err.startswith("Traceback")
    assert result.err.endswith(plain.err)

    def broken(path: Path) -> None:
        raise KeyError(path)

    monkeypatch.setattr("seqloom.tasks.folder.read_model", broken)
    result = seqloom("info", "nowhere", "--debug")
    assert result.status == 1
    assert result.err.startswith("Traceback")
    assert "seqloom: internal error: KeyError" in result.err


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_place_that_cannot_be_written_is_the_users_mistake(
    seqloom: Any, toy_run: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/some/pla\x1bce")

    monkeypatch.setattr("seqloom.pipeline.exporting.export", refuse)
    result = seqloom("export", toy_run)
    assert result.status == 2
    what = "written" if number == errno.ENOSPC else "read or written"
    assert rf"seqloom: error: /some/pla\x1bce: cannot be {what} ({os.strerror(number)}); give another" in result.err
    assert result.err.count("\n") == 1


def test_a_file_stands_where_a_folder_is_to_be(seqloom: Any, toy_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    for command in (["export", toy_run, file / "new"], ["lab", "scaling", "-o", file]):
        result = seqloom(*command)
        assert result.status == 2, command
        assert re.fullmatch(
            rf"seqloom: error: {re.escape(str(file))}.* cannot be read or written \(.*\n", result.err
        ), command


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_finds_no_room() -> None:
    command = f"{shlex.quote(sys.executable)} -m seqloom config translate > /dev/full"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("seqloom: error: the output: cannot be written (No space left on device); ")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_early_is_no_error(toy_run: Path) -> None:
    python, run = shlex.quote(sys.executable), shlex.quote(str(toy_run))
    command = f"set -o pipefail; {python} -c 'from seqloom.cli import main; main()' translate {run} | head -n 1"
    lines = "1 2\n" * 3000
    done = subprocess.run(["bash", "-c", command], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        "train {none} --src {none} --tgt {none} --src-lang xx --tgt-lang yy",
        "predict {none}",
        "export {none}",
        "evaluate {none} --data {none}",
        "translate {run} --engine torch",
        "score {run} --engine torch --src {src} --tgt {tgt}",
        "evaluate {run} --engine torch --src {src} --ref {tgt}",
    ],
)
def test_threads_are_those_that_are_asked_for(
    seqloom: Any, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Before anything is trained or translated: that there is nothing to train on is said afterwards."""
    asked: list[int | None] = []
    monkeypatch.setattr("seqloom.training.process.arrange", asked.append)
    src, tgt = tmp_path / "src", tmp_path / "tgt"
    src.write_text("1 2\n", encoding="utf-8")
    tgt.write_text("ein zwo.\n", encoding="utf-8")
    given = command.format(none=tmp_path / "none", run=toy_run, src=src, tgt=tgt)
    ran = seqloom(*given.split(), "--threads", "3", stdin=b"1 2\n")
    assert ran.status == (2 if "none" in command else 0)
    assert asked == [3]
