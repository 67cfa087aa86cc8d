"""What an earlier version has written is read for good: ``tests/golden/v1`` is of format version 1 and stays so."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from seqloom.errors import ModelFolderError, RunError
from seqloom.pipeline.translator import load
from tests.conftest import ROOT
from tests.training.test_run import run

GOLDEN = ROOT / "tests" / "golden" / "v1"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy of the run that was made then: 900 steps on the toy corpus."""
    return shutil.copytree(GOLDEN / "run", tmp_path / "run")


@pytest.fixture
def settings(toy_settings: dict[str, Any]) -> dict[str, Any]:
    """Those that the run was made with."""
    return toy_settings | {
        "data.vocab_size": 300,
        "model.d_model": 14,
        "model.d_ff": 26,
        "model.num_encoder_layers": 1,
        "training.steps": 900,
        "training.validate_every": 200,
        "training.checkpoint_every": 300,
        "training.average": 1,
        "training.learning_rate": 1e-2,
    }


@pytest.mark.parametrize("engine", ["torch", "ctranslate2"])
def test_it_translates_as_it_did(golden: Path, engine: Any) -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
    found = load(golden, engine=engine).translate([each["src"] for each in expected], beam=4, guard="off")
    assert [each.text for each in found] == [each["tgt"] for each in expected]
    assert [each.score for each in found] == pytest.approx([each["score"] for each in expected], abs=1e-4)


def test_the_run_goes_on(golden: Path, settings: dict[str, Any]) -> None:
    assert "This run is finished (900 steps)" in run(golden, settings).said[-1]
    said = run(golden, settings, training__steps=920).said
    assert any("Resuming at step 900 of 920" in line for line in said)
    assert json.loads((golden / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])["bleu"] > 90


def test_a_setting_that_is_newer_than_the_run_had_its_default(golden: Path, settings: dict[str, Any]) -> None:
    about = json.loads((golden / "run.json").read_text(encoding="utf-8"))
    for section, key in (("training", "ema"), ("model", "linear"), ("data", "domains")):
        del about["config"][section][key]
    (golden / "run.json").write_text(json.dumps(about), encoding="utf-8")
    assert "This run is finished (900 steps)" in run(golden, settings).said[-1]
    with pytest.raises(RunError, match=r"training.ema was 0.0 and is 0.5"):
        run(golden, settings, training__ema=0.5)


def test_a_default_that_has_changed_since_is_no_other_setting(golden: Path, settings: dict[str, Any]) -> None:
    assert json.loads((golden / "run.json").read_text(encoding="utf-8"))["config"]["decoding"]["max_length_ratio"] == 0
    assert "This run is finished (900 steps)" in run(golden, settings).said[-1]
    with pytest.raises(RunError, match=r"decoding.max_length_ratio was 0.0 and is 1.5"):
        run(golden, settings, decoding__max_length_ratio=1.5)


def test_a_newer_folder_is_refused_with_what_to_do(golden: Path) -> None:
    path = golden / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "format_version": 2}), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"has format version 2, this program reads up to 1; install a newer"):
        load(golden)
