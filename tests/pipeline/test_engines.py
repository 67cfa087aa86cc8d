"""Which engine runs a model, and what is said and done when one cannot."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqloom.errors import ConfigError, ModelFolderError, UserError
from seqloom.export import ctranslate2_engine, store
from seqloom.export.ctranslate2_engine import CTranslate2Engine, Shape
from seqloom.export.ctranslate2_model import export_model
from seqloom.export.store import Export
from seqloom.pipeline import engines, probe
from seqloom.pipeline.engines import Running, WithTorch, open_each, read_translator
from seqloom.pipeline.translator import Translator, load, open_translator
from seqloom.tasks.folder import PREVIOUS, write_model
from seqloom.tasks.torch_engine import TorchEngine
from tests.cli.test_cli import seqloom

__all__ = ["seqloom"]  # the fixture


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Path:
    """A copy of the toy model, without exports."""
    shutil.copytree(toy_run / "model", tmp_path / "model", ignore=shutil.ignore_patterns("ctranslate2-*"))
    return tmp_path / "model"


@pytest.fixture(scope="module")
def sources(toy_corpus: Path) -> list[str]:
    return (toy_corpus / "valid.xx").read_text(encoding="utf-8").splitlines()


def opened(run: Path, **settings: object) -> tuple[Translator, list[str]]:
    said: list[str] = []
    return open_translator(run, Running(say=said.append, **settings)), said  # type: ignore[arg-type]


def test_both_give_the_same(run: Path, sources: list[str]) -> None:
    ours, theirs = load(run, engine="torch"), load(run, engine="ctranslate2")
    assert isinstance(ours.engine, TorchEngine)
    assert isinstance(theirs.engine, WithTorch)
    for one, other in zip(ours.translate(sources, n_best=3), theirs.translate(sources, n_best=3), strict=True):
        assert [text for text, _ in one.alternatives] == [text for text, _ in other.alternatives]
        assert [score for _, score in one.alternatives] == pytest.approx([s for _, s in other.alternatives], abs=1e-4)
    assert theirs.engine._open_torch.cache_info().currsize == 0
    texts = [each.text for each in ours.translate(sources[:5])]
    for a, b in zip(ours.score(sources[:5], texts), theirs.score(sources[:5], texts), strict=True):
        assert a.log_probs == pytest.approx(b.log_probs, abs=1e-4)


def test_it_is_exported_and_tried_out_once(run: Path) -> None:
    _, first = opened(run)
    assert first[0] == f"Exporting {run} for CTranslate2, once."
    assert first[1].startswith("Trying out how this machine translates fastest")
    _, second = opened(run)
    assert second == []
    assert [path.name for path in run.iterdir() if path.is_dir()] == ["ctranslate2-float32"]


@pytest.mark.parametrize("scores", [True, False])
def test_each_engine_gives_scores_where_they_are_asked_for(run: Path, scores: bool) -> None:
    fast = {name: engine for name, _, engine in open_each(run, Running(scores=scores)) if "torch" not in name}
    (engine,) = fast.values()
    assert isinstance(engine, CTranslate2Engine)
    assert engine.scores is scores


def test_the_engine_torch_exports_nothing(run: Path) -> None:
    _, said = opened(run, engine="torch")
    assert said == []
    assert not [path for path in run.iterdir() if path.is_dir()]


def test_what_ctranslate2_does_not_do_torch_does_and_says_so_once(run: Path, sources: list[str]) -> None:
    translator, said = opened(run)
    said.clear()
    drawn = translator.translate(sources, sample=True, beam=2, seed=3)
    again = translator.translate(sources, sample=True, beam=2, seed=3)
    assert said == ["CTranslate2 does not do this just as it is defined: sampling. Torch does it, more slowly."]
    assert drawn == again == load(run, engine="torch").translate(sources, sample=True, beam=2, seed=3)


def test_an_export_of_other_weights_is_made_anew(run: Path, toy_run: Path, sources: list[str]) -> None:
    opened(run)
    folder = read_translator(run)
    changed = {name: weight * 1.001 for name, weight in folder.weights.items()}
    kept = {key: value for key, value in folder.config.items() if key not in ("files", "format_version")}
    shutil.move(run / "ctranslate2-float32", run.parent / "old")
    write_model(run, kept, folder.files, changed)
    shutil.move(run.parent / "old", run / "ctranslate2-float32")
    translator, said = opened(run)
    assert said[0] == (
        f"{run / 'ctranslate2-float32'}: was made from other weights than those of {run}; it is made anew."
    )
    assert translator.translate(sources) == load(run, engine="ctranslate2").translate(sources)
    _, said = opened(run)
    assert said == []


@pytest.mark.parametrize("engine", ["auto", "ctranslate2", "torch"])
@pytest.mark.parametrize("name", ["model.safetensors", "src.model", "config.json"])
def test_a_run_whose_model_is_damaged_translates_with_the_one_before(
    tmp_path: Path, toy_run: Path, sources: list[str], caplog: pytest.LogCaptureFixture, name: str, engine: str
) -> None:
    for place in ("model", PREVIOUS):
        shutil.copytree(toy_run / "model", tmp_path / place, ignore=shutil.ignore_patterns("ctranslate2-*"))
    shutil.copy(toy_run / "run.json", tmp_path)
    expected = load(tmp_path / PREVIOUS, engine="torch").translate(sources)
    file = tmp_path / "model" / name
    file.write_bytes(file.read_bytes()[:-7])
    translator, _ = opened(tmp_path, engine=engine)
    assert translator.path == tmp_path / PREVIOUS
    assert [each.text for each in translator.translate(sources)] == [each.text for each in expected]
    (message,) = caplog.messages
    assert message.startswith(f"{file}: ")
    assert message.endswith(
        f"; give the command again that trained it, which makes it anew from its checkpoints. "
        f"Until then the model before it is used, {tmp_path / PREVIOUS}."
    )


def test_a_folder_that_cannot_be_written_to_has_its_export_in_the_cache(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (run / "ctranslate2-float32").write_text("a file where the folder would be")
    blocked = store._places

    def places(folder: object, variant: str) -> list[Path]:
        here, there = blocked(folder, variant)  # type: ignore[arg-type]
        return [run / "config.json" / here.name, there]  # a folder cannot be made in a file

    monkeypatch.setattr(store, "_places", places)
    translator, _ = opened(run)
    (export,) = (tmp_path / "cache" / "seqloom").glob("*/ctranslate2-float32")
    assert (export / "model.bin").is_file()
    assert translator.translate(["1 2"])[0].text


def test_where_it_is_not_installed_torch_translates(
    run: Path, sources: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    translator, said = opened(run)
    assert said == ["CTranslate2 is not installed (pip install ctranslate2); torch translates instead, more slowly."]
    assert isinstance(translator.engine, TorchEngine)
    with pytest.raises(ConfigError, match="the engine ctranslate2 cannot be used: CTranslate2 is not installed"):
        opened(run, engine="ctranslate2")


def test_python_logs_what_the_command_line_says(
    run: Path, seqloom: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = load(run)
    assert caplog.messages[0] == f"Exporting {run} for CTranslate2, once."
    caplog.clear()
    translator.translate(["1 2"], sample=True)
    said = "CTranslate2 does not do this just as it is defined: sampling. Torch does it, more slowly."
    assert caplog.record_tuples == [("seqloom.pipeline.engines", logging.WARNING, said)]
    caplog.clear()
    ran = seqloom("translate", run, "--sample", stdin=b"1 2\n")
    assert (ran.err.count(said), caplog.messages) == (1, [])
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    load(run)
    instead = "CTranslate2 is not installed (pip install ctranslate2); torch translates instead, more slowly."
    assert caplog.messages == [instead]
    caplog.clear()
    ran = seqloom("translate", run, stdin=b"1 2\n")
    assert (ran.err.count(instead), caplog.messages) == (1, [])


def test_a_model_with_parts_that_it_lacks_is_torchs(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ctranslate2_engine.KNOWN, "positions", {"rotary"})
    translator, said = opened(run)
    assert said == ["CTranslate2 does not know model.positions = 'sinusoidal'; torch translates instead, more slowly."]
    assert isinstance(translator.engine, TorchEngine)


def test_an_engine_that_is_not_known(run: Path) -> None:
    with pytest.raises(UserError, match="engine='cuda' is not known, expected auto, torch or ctranslate2"):
        load(run, engine="cuda")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="runs one model; an ensemble needs auto or torch"):
        open_translator([run, run], Running(engine="ctranslate2"))


def test_only_a_proven_type_is_used_unasked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(run)
    speed = {"float32": 1.0, "int8": 2.0}

    def timed(export: Export, setup: object, shape: Shape) -> probe.Choice:
        return probe.Choice(export.variant, shape, speed[export.variant])

    monkeypatch.setattr(probe, "_timed", timed)

    def in_use(**settings: str) -> str:
        translator, _ = opened(run, **settings)
        assert isinstance(translator.engine, WithTorch)
        fast = translator.engine.fast
        assert isinstance(fast, CTranslate2Engine)
        return fast.export.variant

    assert in_use() == "float32"
    export_model(read_translator(run), "int8")
    assert in_use() == "float32"
    export_model(read_translator(run), "int8", proofs={"yy": {"accepted": False}})
    assert in_use() == "float32"
    export_model(read_translator(run), "int8", proofs={"xx": {"accepted": True}})  # another language than its own
    assert in_use() == "float32"
    export_model(read_translator(run), "int8", proofs={"yy": {"accepted": True}})
    assert in_use() == "int8"
    assert in_use(compute_type="float32") == "float32"
    monkeypatch.setattr(ctranslate2_engine, "supported_types", lambda: {"float32"})
    _, said = opened(run)
    assert said[0] == f"This processor does not calculate in int8, which was proven for {run}."
    assert in_use() == "float32"


def test_a_type_that_an_earlier_version_has_measured(run: Path) -> None:
    opened(run)
    export_model(read_translator(run), "int8", proofs={"yy": {"accepted": True}})
    path = run / "ctranslate2-int8"
    about = json.loads((path / "export.json").read_text())
    (path / "export.json").write_text(json.dumps(about | {"format_version": 1}))
    translator, said = opened(run)
    assert said == [
        f"{path}: was made by another version of this program; it is not used before seqloom export measures it anew."
    ]
    assert translator.engine.fast.export.variant == "float32"  # type: ignore[attr-defined]


def test_all_ways_to_use_the_threads_are_tried() -> None:
    assert list(probe.shapes(1)) == [(1, 1)]
    assert list(probe.shapes(2)) == [(2, 1), (1, 2)]
    assert list(probe.shapes(6)) == [(6, 1), (3, 2), (2, 3), (1, 6)]


def test_a_choice_is_kept_for_a_machine_and_its_threads(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(run)
    kept = json.loads((run / "ctranslate2-float32" / "machines.json").read_text())
    (about,) = kept.values()
    assert about["tokens_per_second"] > 0
    assert set(about["shape"]) == {"workers", "threads", "batch"}
    tried: list[Shape] = []

    def timed(export: Export, setup: object, shape: Shape) -> probe.Choice:
        tried.append(shape)
        return probe.Choice("float32", shape, len(tried))

    monkeypatch.setattr(probe, "_timed", timed)
    opened(run, threads=3)
    assert tried == [Shape(3, 1, 32), Shape(1, 3, 32), Shape(1, 3, 16), Shape(1, 3, 64)]
    opened(run, threads=3)
    assert len(tried) == 4


def test_a_translation_loads_no_torch(run: Path) -> None:
    load(run)
    code = (
        "import sys, seqloom; print(seqloom.load(sys.argv[1]).translate(['1 2 3 4'])[0].text); "
        "assert 'torch' not in sys.modules and 'sacrebleu' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip()


def test_a_model_of_another_task_is_refused(run: Path) -> None:
    folder = read_translator(run)
    kept = {key: value for key, value in folder.config.items() if key not in ("files", "format_version")}
    write_model(run, kept | {"task": "knitting"}, folder.files, folder.weights)
    with pytest.raises(ModelFolderError, match="is a model for the task 'knitting', expected 'translate'"):
        load(run)


def replaced(run: Path) -> None:
    """Another model in the place of ``run``, as a training puts it there."""
    folder = read_translator(run)
    kept = {key: value for key, value in folder.config.items() if key not in ("files", "format_version")}
    write_model(run, kept, folder.files, {name: weight * 1.01 for name, weight in folder.weights.items()})


def test_torch_does_not_answer_for_another_model_than_the_one_that_was_loaded(run: Path) -> None:
    translator, _ = opened(run)
    replaced(run)
    with pytest.raises(ModelFolderError, match="was replaced by another model since it was loaded; load it again"):
        translator.translate(["1 2"], sample=True)


def test_a_model_that_is_replaced_while_it_is_exported_is_opened_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = engines._fast
    tried: list[object] = []

    def once_replaced(*about: object) -> object:
        if not tried:
            tried.append(about)
            replaced(run)
            raise RuntimeError("Unable to open file 'model.bin'")
        return fast(*about)  # type: ignore[arg-type]

    monkeypatch.setattr(engines, "_fast", once_replaced)
    translator, _ = opened(run)
    assert isinstance(translator.engine, WithTorch)
    assert translator.config == read_translator(run).config


def test_where_an_export_cannot_be_run_torch_translates(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*about: object) -> object:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(engines, "_fast", fails)
    translator, said = opened(run)
    assert said == [f"CTranslate2 cannot run {run} (no such kernel); torch translates instead, more slowly."]
    assert isinstance(translator.engine, TorchEngine)
    with pytest.raises(ConfigError, match="no such kernel"):
        opened(run, engine="ctranslate2")


@pytest.mark.parametrize("engine", ["auto", "torch", "ctranslate2"])
def test_what_no_engine_can_run_is_told_of_the_folder(run: Path, engine: str) -> None:
    folder = read_translator(run)
    kept = {key: value for key, value in folder.config.items() if key not in ("files", "format_version")}
    name, weight = next(iter(folder.weights.items()))
    write_model(run, kept, folder.files, {**folder.weights, name: weight * float("nan")})
    with pytest.raises(ModelFolderError, match=rf"^{run}/model\.safetensors: {name} holds NaN or infinity"):
        opened(run, engine=engine)


@pytest.mark.parametrize("content", ["[]", "{", '{"KEY": {"variant": "float32", "shape": {"workers": 0}}}'])
def test_a_choice_that_makes_no_sense_is_made_anew(run: Path, content: str) -> None:
    opened(run)
    file = run / "ctranslate2-float32" / "machines.json"
    good = json.loads(file.read_text())
    (key,) = good
    file.write_text(content.replace("KEY", key))
    _, said = opened(run)
    assert len(said) == 1
    assert json.loads(file.read_text())[key]["shape"]["workers"] > 0


def test_a_user_without_a_home(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    translator, _ = opened(run)
    assert isinstance(translator.engine, WithTorch)


def test_damaged_weights_are_told_of_once(toy_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(toy_run / "model", tmp_path / "model", ignore=shutil.ignore_patterns("ctranslate2-*"))
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-3])
    said: list[str] = []
    with pytest.raises(ModelFolderError, match=r"model.safetensors: is damaged, its checksum is not the one in"):
        open_translator(folder, Running(say=said.append))
    assert said == [f"Exporting {folder} for CTranslate2, once."]
