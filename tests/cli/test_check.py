"""seqloom check, as a user types it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import seqloom
from tests.data.checks.corpora import sentences, write

__all__ = ["seqloom"]  # the fixture


@pytest.fixture
def clean(tmp_path: Path) -> tuple[str, ...]:
    src, tgt = write(tmp_path, sentences(300))
    return "--src", str(src), "--tgt", str(tgt)


@pytest.fixture
def damaged(tmp_path: Path) -> tuple[str, ...]:
    pairs = [pair[::-1] if row % 25 == 0 else pair for row, pair in enumerate(sentences(300))]
    src, tgt = write(tmp_path, pairs, "damaged")
    return "--src", str(src), "--tgt", str(tgt)


def test_a_clean_corpus_ends_with_0(seqloom: Any, clean: tuple[str, ...]) -> None:
    result = seqloom("check", *clean, "--src-lang", "de", "--tgt-lang", "en")
    assert result.status == 0, result.err
    assert result.out.startswith("No problem was found.\n")
    assert "300 pairs" in result.out


def test_a_problem_ends_with_3(seqloom: Any, damaged: tuple[str, ...]) -> None:
    result = seqloom("check", *damaged)
    assert result.status == 3, result.err
    assert result.out.startswith("This corpus has problems. 12 of 300 pairs (4.00%) are in question.\n")
    assert result.out.count("damaged.de:") == 3  # the worst lines, with their texts
    assert sum(tgt[:60] in result.out for _, tgt in sentences(300)) == 3


def test_json_is_one_object(seqloom: Any, damaged: tuple[str, ...]) -> None:
    result = seqloom("check", *damaged, "--json")
    assert result.status == 3
    report = json.loads(result.out)
    assert report["misalignment"] is None
    assert [(each["kind"], each["count"]) for each in report["findings"] if each["severity"] != "note"] == [
        ("swapped_sides", 12)
    ]


def test_reports_and_a_cleaned_corpus_are_written(seqloom: Any, damaged: tuple[str, ...], tmp_path: Path) -> None:
    result = seqloom(
        "check", *damaged, "--report", tmp_path / "r.html", "--report", tmp_path / "r.json", "--fix", tmp_path / "clean"
    )
    assert result.status == 3  # of the corpus that was given
    assert "288 pairs written to" in result.err
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["pairs"] == 300
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    again = seqloom("check", "--src", tmp_path / "clean" / "damaged.de", "--tgt", tmp_path / "clean" / "damaged.en")
    assert again.status == 0


def test_a_leaked_test_set_ends_with_3(seqloom: Any, clean: tuple[str, ...], tmp_path: Path) -> None:
    held = tmp_path / "test.tsv"
    held.write_text("".join("\t".join(pair) + "\n" for pair in sentences(300)[:50]), encoding="utf-8")
    result = seqloom("check", *clean, "--against", held)
    assert result.status == 3
    assert f"50 of 50 lines of {held} (source) are in the corpus" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Usage:"),
        (("--json",), "no files to check were given; expected --src FILE --tgt FILE, or --data FILE"),
        (("--src", "a"), "1 source and 0 target files for checking, expected as many of one as of the other"),
        (("--src", "none.de", "--tgt", "none.en"), "none.de: no such file; check the spelling and the folder"),
        (("CLEAN", "--src-lang", "train.en"), "--src-lang train.en: is no code of a language, expected one such as en"),
        (("CLEAN", "--tgt-lang", "german"), "--tgt-lang german: is no code of a language, expected one such as en"),
        (("CLEAN", "--report", "r.pdf"), "r.pdf: a report is written as .json or .html; give a name that ends so"),
        (
            ("CLEAN", "--fix", "FULL"),
            "is there already, and nothing is overwritten; give a new folder, or an empty one",
        ),
        (("CLEAN", "--against", "none.tsv"), "none.tsv: no such file; check the spelling and the folder"),
    ],
)
def test_mistakes_end_with_2(
    seqloom: Any, clean: tuple[str, ...], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    given = [each for word in arguments for each in (clean if word == "CLEAN" else (word,))]
    result = seqloom("check", *(str(tmp_path) if word == "FULL" else word for word in given))
    assert result.status == 2 or not arguments
    assert message in result.out + result.err


def test_an_interrupt_ends_with_130_and_leaves_no_process(tmp_path: Path) -> None:
    src, tgt = write(tmp_path, sentences(4_000) * 15)
    command = [sys.executable, "-m", "seqloom", "check", "--src", str(src), "--tgt", str(tgt), "--processes", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(children(process.pid)) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    started = children(process.pid)
    deadline = time.monotonic() + 60
    assert started
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    assert b"Traceback" not in err
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
