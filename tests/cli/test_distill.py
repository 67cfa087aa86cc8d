"""seqloom distill: the student learns what the teacher says, and both are compared."""

import fcntl
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from seqloom.export.ctranslate2_model import export_model
from seqloom.pipeline import distillation, probe
from seqloom.pipeline.distillation import Distillation
from seqloom.pipeline.engines import Running, engine_and_type, read_translator
from seqloom.pipeline.translator import Translator, load, open_translator
from seqloom.tasks.folder import read_model
from seqloom.training.log import Silent
from seqloom.training.session import train_session
from tests.cli.test_cli import seqloom

__all__ = ["seqloom"]  # the fixture

SMALL = (
    "--set=model.preset=tiny", "--set=model.d_model=34", "--set=model.d_ff=67", "--set=model.num_heads=2",
    "--set=model.num_encoder_layers=1", "--set=model.num_decoder_layers=1", "--set=data.batch_tokens=331",
)  # fmt: skip


@pytest.fixture
def teacher(toy_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(toy_run, tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def int8_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    speed = {"float32": 1.0, "int8": 2.0}
    monkeypatch.setattr(
        probe, "_timed", lambda export, setup, shape: probe.Choice(export.variant, shape, speed[export.variant])
    )


@pytest.mark.usefixtures("int8_is_fast")
def test_a_student_is_trained_and_compared(seqloom: Any, teacher: Path, tmp_path: Path) -> None:
    export_model(read_translator(teacher), "int8", proofs={"yy": {"accepted": True}})
    by_default = load(teacher)
    assert engine_and_type(by_default.engine, by_default.setup.decoding) == ("ctranslate2", "int8")
    sampling = by_default.setup.decoding.model_copy(update={"sample": True})
    assert engine_and_type(by_default.engine, sampling) == ("torch", "float32")
    ran = seqloom("distill", teacher, "--into", tmp_path / "small", "--steps", "3", *SMALL, "--json")
    assert ran.status == 0
    assert "307 of 307 sentences translated" in ran.err
    report = json.loads(ran.out)
    assert report["sentences"] == 31
    first, second = report["systems"]
    assert (first["path"], first["layers"]) == (str(teacher), "2+1")
    assert (second["path"], second["layers"]) == (str(tmp_path / "small"), "1+1")
    beam = by_default.setup.decoding.beam
    for system in (first, second):  # alike, though the teacher is proven in int8
        assert (system["engine"], system["type"], system["beam"]) == ("ctranslate2", "float32", beam)
    assert first["parameters"] > second["parameters"] > 0
    assert first["bleu"] > 50 > second["bleu"]  # it has learnt for three steps
    assert min(first["tokens_per_second"], second["tokens_per_second"]) > 0
    (file,) = (teacher / "distilled").glob("*-beam4.jsonl")
    said = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    translator = open_translator(teacher, Running(compute_type="float32"))
    answers = translator.translate([each["src"] for each in said], beam=4)
    assert [each["tgt"] for each in said if "kept" not in each] == [a.text for a in answers if not a.flags]
    student = load(tmp_path / "small")
    assert student.setup.src_tokenizer.to_bytes() == translator.setup.src_tokenizer.to_bytes()
    again = seqloom("distill", teacher, "--into", tmp_path / "small", "--steps", "3", *SMALL)
    assert again.status == 0
    assert "sentences translated" not in again.err
    assert "finished" in again.err
    assert "BLEU" in again.out
    assert re.findall(r"ctranslate2 float32 +(\d+)", again.out) == [str(beam)] * 2


def test_vocabularies_of_their_own_are_not_tied_and_a_recipes_files_not_learnt_from(
    seqloom: Any, toy_settings: dict[str, Any], tmp_path: Path
) -> None:
    apart = {"data.joint_vocab": False, "model.tied_embeddings": "output", "training.steps": 2}
    train_session(tmp_path / "teacher", "translate", flags={**toy_settings, **apart}, display=Silent())
    files = {key: toy_settings[f"data.{key}"] for key in ("src", "tgt", "valid_src", "valid_tgt")}
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[data]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in files.items()))
    given = ("--into", tmp_path / "small", "--config", recipe, "--beam", "1", "--steps", "2", *SMALL)
    assert seqloom("distill", tmp_path / "teacher", *given).status == 0
    student = read_model(tmp_path / "small").config
    assert student["model"]["tied_embeddings"] == "output"
    assert (student["data"]["train_pairs"], student["data"]["valid_pairs"]) == (307, 31)
    ran = seqloom("distill", tmp_path / "teacher", *given, "--into", tmp_path / "x", "--set=model.tied_embeddings=all")
    assert (ran.status, "needs the same pieces on both sides" in ran.err) == (2, True)


def test_what_was_begun_is_gone_on_with(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "TOGETHER", 50)
    translator = load(teacher)
    whole = Distillation(teacher, translator, 2)
    assert [each.done for each in whole.run()][-2:] == [300, 307]
    expected = whole.path.read_text(encoding="utf-8")
    part = whole.path.with_name(f"{whole.path.name}.part")
    whole.path.unlink()
    half = expected.encode()
    part.write_bytes(half[: len(half) // 2] + "\u00fc".encode()[:1])  # in the middle of a line, and of a character
    asked: list[int] = []
    translate = Translator.translate

    def watched(self: Translator, texts: list[str], **options: Any) -> Any:
        asked.append(len(texts))
        return translate(self, texts, **options)

    monkeypatch.setattr(Translator, "translate", watched)
    list(whole.run())
    assert whole.path.read_text(encoding="utf-8") == expected
    assert not part.exists()
    assert 100 < sum(asked) < 200


def test_what_cannot_be_right_keeps_its_reference(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.pipeline.guard.faults_of", lambda source, *rest: ("loop",) if "7" in source else ())
    distilled = Distillation(teacher, load(teacher), 1)
    (progress,) = distilled.run()
    said = [json.loads(line) for line in distilled.path.read_text(encoding="utf-8").splitlines()]
    references = dict(distilled.texts(distilled.train))
    kept = [each for each in said if each.get("kept")]
    assert len(kept) == progress.kept > 0
    assert all("7" in each["src"] and each["tgt"] == references[each["src"]] for each in kept)
    assert not any("7" in each["src"] for each in said if "kept" not in each)


def test_mistakes_are_said(seqloom: Any, teacher: Path, tmp_path: Path) -> None:
    ran = seqloom("distill", teacher / "model", "--into", tmp_path / "small")
    assert (ran.status, "is no run folder" in ran.err) == (2, True)
    ran = seqloom("distill", teacher, "--into", tmp_path / "small", "--src", "x")
    assert (ran.status, "--src and --ref belong together" in ran.err) == (2, True)
    ran = seqloom("distill", teacher, "--into", tmp_path / "small", "--src", tmp_path / "x", "--ref", tmp_path / "y")
    assert (ran.status, "no such file" in ran.err) == (2, True)
    assert not (teacher / "distilled").exists()
    distilled = Distillation(teacher, load(teacher), 4)
    distilled.path.parent.mkdir()
    with distilled.path.with_name(f"{distilled.path.name}.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        ran = seqloom("distill", teacher, "--into", tmp_path / "small")
        assert (ran.status, "another process is distilling this teacher" in ran.err) == (2, True)
    shutil.rmtree(teacher / "data" / "train")
    ran = seqloom("distill", teacher, "--into", tmp_path / "small")
    assert (ran.status, "has no prepared training data" in ran.err) == (2, True)
