"""seqloom export: what is written can be used, and what it costs is measured."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqloom.export.ctranslate2_model import write_for_others
from seqloom.export.store import find_export
from seqloom.pipeline.engines import Running, read_translator
from seqloom.pipeline.translator import load, open_translator
from seqloom.tasks.setup import TranslatorSetup
from tests.cli.test_cli import seqloom

__all__ = ["seqloom"]  # the fixture


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(toy_run / "model", tmp_path / "model", ignore=shutil.ignore_patterns("ctranslate2-*"))
    return tmp_path / "model"


def test_the_script_of_an_exported_folder_translates(seqloom: Any, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = seqloom("export", run, out, "--to", "ctranslate2")
    assert ran.status == 0
    assert ran.out.startswith(f"{out}: float32, ")
    assert {path.name for path in out.iterdir()} == {
        "model.bin", "config.json", "shared_vocabulary.json", "src.model", "README.md"
    }  # fmt: skip
    script = re.search(r"```python\n(.*?)```", (out / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert script is not None
    ran = subprocess.run(
        [sys.executable, "-c", script[1]], input="1 2 3 4\n", cwd=out, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip() == load(run, engine="torch").translate(["1 2 3 4"])[0].text


def test_int8_is_measured_and_kept(seqloom: Any, run: Path, toy_corpus: Path) -> None:
    pairs = "--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy"
    ran = seqloom("export", run, "--quantize", "int8", *pairs, "--max-loss", "10", "--json")
    assert ran.status == 0
    report = json.loads(ran.out)
    proof = report["proof"]
    assert proof["accepted"]
    assert (proof["sentences"], proof["direction"]) == (31, "xx-yy")
    assert proof["int8"]["bytes"] < 0.7 * proof["float32"]["bytes"]
    assert proof["float32"]["bleu"] > 50
    assert 0 <= proof["changed"] <= 1
    assert "tok:13a" in proof["signatures"]["bleu"]
    export, problem = find_export(read_translator(run), "int8")
    assert problem == ""
    assert export is not None
    assert export.proofs == {"yy": proof}
    mistyped = seqloom(
        "export", run, "--quantize", "int8", "--src", toy_corpus / "typo", "--ref", toy_corpus / "valid.yy"
    )
    assert (mistyped.status, "no such file" in mistyped.err) == (2, True)
    assert find_export(read_translator(run), "int8")[0] == export  # what was proven stays
    table = seqloom("export", run, "--quantize", "int8", *pairs, "--max-loss", "10").out
    assert "sentences changed" in table


def test_a_type_that_costs_too_much_is_refused(
    seqloom: Any, run: Path, toy_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqloom.pipeline.quantization.Proof.accepted", property(lambda self: False))
    pairs = "--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy"
    ran = seqloom("export", run, "--quantize", "int8", *pairs)
    assert ran.status == 2
    assert re.search(r"int8 costs -?\d+\.\d{3} BLEU on valid.xx, more than 0\.5; it is not used\. ", ran.err)
    assert find_export(read_translator(run), "int8") == (None, "")


def test_what_was_accepted_is_refused_by_a_later_measurement(
    seqloom: Any, run: Path, toy_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = "export", run, "--quantize", "int8", "--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy"

    def kept() -> tuple[bool, dict[str, Any]]:
        export, problem = find_export(read_translator(run), "int8")
        assert problem == ""
        assert export is not None
        return export.proven, export.proofs["yy"]

    assert seqloom(*measure, "--max-loss", "10").status == 0
    before = (run / "ctranslate2-int8" / "export.json").read_bytes()
    ran = seqloom(*measure, "--max-loss", "30")  # which no set can prove
    assert (ran.status, "valid.xx proves nothing of int8" in ran.err) == (2, True)
    assert (run / "ctranslate2-int8" / "export.json").read_bytes() == before
    with monkeypatch.context() as patch:
        patch.setattr("seqloom.pipeline.quantization.Proof.accepted", property(lambda self: False))
        ran = seqloom(*measure, "--max-loss", "7")
        assert (ran.status, "more than 7; it is not used any more." in ran.err) == (2, True)
        proven, proof = kept()
        assert (proven, proof["accepted"], proof["most_bleu"]) == (False, False, 7)
        ran = seqloom(*measure, "--max-loss", "7")
        assert (ran.status, "more than 7; it is not used." in ran.err) == (2, True)
    assert load(run).engine.fast.export.variant == "float32"  # type: ignore[attr-defined]
    assert seqloom(*measure, "--max-loss", "10").status == 0
    assert kept()[0]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_refusal_that_cannot_be_written_down_is_said(
    seqloom: Any, run: Path, toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = "export", run, "--quantize", "int8", "--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy"
    assert seqloom(*measure, "--max-loss", "10").status == 0
    shutil.move(run / "ctranslate2-int8", tmp_path / "elsewhere")
    (run / "ctranslate2-int8").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr("seqloom.pipeline.quantization.Proof.accepted", property(lambda self: False))
    ran = seqloom(*measure)
    assert (ran.status, "export.json: cannot be written (its folder is a link" in ran.err) == (2, True)
    assert "so what was measured before still counts" in ran.err
    assert json.loads((tmp_path / "elsewhere" / "export.json").read_text())["proofs"]["yy"]["accepted"]


def test_mistakes_are_said(seqloom: Any, run: Path, toy_corpus: Path, tmp_path: Path) -> None:
    ran = seqloom("translate", run, "--shortlist")
    assert (ran.status, "has no shortlist that was measured" in ran.err) == (2, True)
    ran = seqloom("translate", run, "--shortlist", "--engine", "torch")
    assert (ran.status, "has no shortlist that was measured" in ran.err) == (2, True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    ran = seqloom("export", run, tmp_path / "full")
    assert (ran.status, "is there already" in ran.err) == (2, True)
    ran = seqloom("export", run, "--quantize", "int8")
    assert (ran.status, "--src and --ref belong together" in ran.err) == (2, True)
    for idle in (("--max-loss", "0.1"), ("--src-lang", "xx"), ("--tgt-lang", "yy")):
        ran = seqloom("export", run, *idle)
        assert (ran.status, f"{idle[0]} says how the cost of --quantize or --shortlist is measured" in ran.err) == (
            2,
            True,
        )
    ran = seqloom("export", tmp_path / "none")
    assert (ran.status, "no such folder" in ran.err) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["export", "translate", "import"])
def test_stopped_it_leaves_nothing(
    seqloom: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, number: int
) -> None:
    began = []

    def stopped(folder: Path) -> None:
        began.append(folder.name)
        signal.raise_signal(number)

    monkeypatch.setattr("seqloom.export.store.flush_to_disk", stopped)
    monkeypatch.setattr("seqloom.tasks.folder.flush_to_disk", stopped)
    folder = read_translator(run)
    imported = folder.weights, TranslatorSetup.from_folder(folder)
    monkeypatch.setattr("seqloom.export.huggingface_import.read_huggingface", lambda *about: imported)
    options = [tmp_path / "out", "--src-lang", "xx", "--tgt-lang", "yy"] if command == "import" else []
    before = {path.name for folder in (run, tmp_path) for path in folder.iterdir()}
    ran = seqloom(command, run, *options, stdin=b"1 2\n")
    assert ran.status == 130
    assert len(began) == 1
    assert {path.name for folder in (run, tmp_path) for path in folder.iterdir()} == before


def test_a_shortlist_is_learnt_measured_and_used(
    seqloom: Any, toy_run: Path, toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(toy_run, tmp_path / "run", ignore=shutil.ignore_patterns("ctranslate2-*"))
    monkeypatch.setattr("seqloom.export.shortlist.ALWAYS", 5)
    pairs = "--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy"
    ran = seqloom("export", tmp_path / "run", "--shortlist", *pairs, "--max-loss", "10", "--json")
    assert ran.status == 0
    report = json.loads(ran.out)
    assert report["variant"] == "float32-shortlist"
    assert report["proof"]["float32-shortlist"]["bleu"] > 50
    export, _ = find_export(read_translator(tmp_path / "run"), "float32-shortlist")
    assert export is not None
    lines = (export.path / "vmap.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("\t<pad> <unk> <s> </s>")
    by_source = dict(line.split("\t") for line in lines)
    assert by_source["7"].split()[0] in {"sep", "\u2581sep", "s"}  # seven is sep
    assert load(tmp_path / "run").engine.fast.export.variant == "float32"  # type: ignore[attr-defined]
    ran = seqloom("translate", tmp_path / "run", "--shortlist", stdin=b"1 2 3 4\n")
    assert (ran.status, len(ran.out.splitlines())) == (0, 1)
    opened = open_translator(tmp_path / "run", Running(shortlist=True))
    assert opened.engine.fast.export.variant == "float32-shortlist"  # type: ignore[attr-defined]
    by_torch = open_translator(tmp_path / "run", Running(engine="torch", shortlist=True))
    assert len(by_torch.engine.shortlist.always) <= 5 + 4  # type: ignore[attr-defined]
    assert [answer.text for answer in by_torch.translate(["1 2 3 4"])] == [ran.out.rstrip("\n")]
    folder = write_for_others(export, opened.setup, tmp_path / "out")
    script = (folder / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    assert "use_vmap=True" in script
    alone = subprocess.run(
        [sys.executable, "-c", script], input="1 2 3 4\n", cwd=folder, capture_output=True, text=True, check=True
    )
    assert alone.stdout == ran.out
    ran = seqloom("translate", tmp_path / "run", "--shortlist", "--ensemble", tmp_path / "run", stdin=b"1\n")
    assert (ran.status, "a shortlist is that of one model" in ran.err) == (2, True)
    ran = seqloom("export", tmp_path / "run" / "model", "--shortlist", *pairs)
    assert (ran.status, "which a shortlist is learnt from" in ran.err) == (2, True)
