"""A recurrent model through the life of any other: it learns, resumes to the bit, and is run, said and refused."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from seqloom.config import DecodingConfig, RecurrentConfig, load_config
from seqloom.data.batch import collate
from seqloom.errors import ConfigError, ModelFolderError, UserError
from seqloom.pipeline.engines import Running
from seqloom.pipeline.exporting import export, export_plain
from seqloom.pipeline.translator import load, open_translator
from seqloom.tasks.folder import read_model
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import TorchEngine, trained_model
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training.log import LineDisplay
from seqloom.training.loop import Meter, Trainer
from seqloom.training.session import train_session
from seqloom.training.timeline import Timeline

QUIET = LineDisplay(Console(quiet=True))


@pytest.fixture(scope="session")
def settings(toy_settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the toy corpus for a minute recurrent model."""
    others = {f"model.{key}" for key in RecurrentConfig.model_fields}
    kept = {key: value for key, value in toy_settings.items() if not key.startswith("model.") or key in others}
    return {**kept, "model.kind": "recurrent", "model.num_encoder_layers": 1}


@pytest.fixture(scope="session")
def recurrent_run(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt the toy language well enough to count in it."""
    folder = tmp_path_factory.mktemp("recurrent") / "run"
    longer = {"training.steps": 300, "training.validate_every": 100, "training.checkpoint_every": 300}
    train_session(folder, "translate", flags={**settings, **longer}, display=QUIET)
    return folder


def prepared(folder: Path, settings: dict[str, Any]) -> Translate:
    return Translate.prepare(load_config(TranslateConfig, flags=settings), folder / "data", lambda text: None)


def trainer(task: Translate, folder: Path) -> Trainer:
    timeline = Timeline.of_steps(24)
    return Trainer(task, task.config.training, folder, torch.device("cpu"), torch.float32, timeline, QUIET)


GOLDEN = {
    "luong": [5.7677, 5.7556, 5.6825, 5.5848, 5.3693, 5.0186, 4.8048, 4.4845, 4.3358, 4.0058, 3.9448, 3.9604],
    "bahdanau": [5.9715, 5.9029, 5.7009, 5.5929, 5.2500, 5.0003, 4.7155, 4.5741, 4.3721, 4.1176, 3.9472, 3.8683],
    "cho": [5.9247, 5.8727, 5.7532, 5.5614, 5.3302, 4.9287, 4.7593, 4.3913, 4.2395, 3.9309, 3.8851, 3.9042],
    "sutskever": [5.7400, 5.7323, 5.6802, 5.5931, 5.4750, 5.2439, 5.2298, 4.8664, 4.7991, 4.4634, 4.5234, 4.6139],
}
"""Loss of each of 12 steps in float32 from seed 1: a refactor must not move it."""


@pytest.mark.parametrize("decoder", GOLDEN)
def test_golden_loss_curve(settings: dict[str, Any], tmp_path: Path, decoder: str) -> None:
    task = prepared(tmp_path, {**settings, "model.dropout": 0.0, "model.decoder": decoder})
    trained, losses = trainer(task, tmp_path), []
    stream = iter(trained.batches)
    for _ in range(12):
        meter = Meter()
        trained._update(stream, meter)
        trained.progress.step += 1
        losses.append(meter.loss / meter.tokens)
    assert losses == pytest.approx(GOLDEN[decoder], rel=1e-3), ", ".join(f"{loss:.4f}" for loss in losses)


@pytest.mark.parametrize("decoder", GOLDEN)
def test_one_batch_is_learnt_by_heart(settings: dict[str, Any], tmp_path: Path, decoder: str) -> None:
    task = prepared(
        tmp_path, {**settings, "model.dropout": 0.0, "model.decoder": decoder, "training.label_smoothing": 0.0}
    )
    torch.manual_seed(1)
    model = task.build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batch = collate(task.prepared.train, torch.arange(11).numpy())
    for _ in range(150):
        optimizer.zero_grad()
        loss = task.loss(model, batch)
        (loss.sum / loss.count).backward()
        optimizer.step()
    assert float(loss.sum.detach()) / loss.count < 0.05


def test_a_broken_off_run_ends_with_the_weights_of_one_that_never_was(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything that is drawn: dropout, and whose token comes next."""
    drawn = {**settings, "model.dropout": 0.2, "model.scheduled_sampling": 0.5, "training.workers": 2}
    train_session(tmp_path / "whole", "translate", flags=drawn, display=QUIET)
    update = Trainer._update

    def failing(self: Trainer, *given: Any) -> None:
        if self.progress.step == 15:
            raise OSError("no power")
        update(self, *given)

    monkeypatch.setattr(Trainer, "_update", failing)
    with pytest.raises(OSError, match="no power"):
        train_session(tmp_path / "broken", "translate", flags=drawn, display=QUIET)
    monkeypatch.undo()
    train_session(tmp_path / "broken", "translate", flags=drawn, display=QUIET)
    whole, broken = (
        load_file(tmp_path / name / "checkpoints/step-24/model.safetensors") for name in ("whole", "broken")
    )
    assert whole.keys() == broken.keys()
    for name, weight in whole.items():
        assert torch.equal(weight, broken[name]), name


def test_it_learns_to_count_and_any_search_runs(recurrent_run: Path, toy_corpus: Path) -> None:
    translator = load(recurrent_run, engine="torch")
    sources, references = (
        (toy_corpus / f"valid.{side}").read_text(encoding="utf-8").splitlines() for side in ("xx", "yy")
    )
    found = [each.text for each in translator.translate(sources, beam=1, guard="off")]
    assert sum(text == reference for text, reference in zip(found, references, strict=True)) > len(sources) / 2
    for options in ({"beam": 3, "n_best": 3}, {"coverage_penalty": 0.2}, {"sample": True}, {"mbr": "chrf"}):
        assert len(translator.translate(sources[:3], **options)) == 3
    scores = translator.score(sources[:3], references[:3])
    assert all(len(each.log_probs) > 1 for each in scores)


def test_another_engine_does_not_know_it_and_torch_goes_on(recurrent_run: Path) -> None:
    said: list[str] = []
    translator = open_translator(recurrent_run, Running(say=said.append))
    assert said == ["CTranslate2 does not know model.kind = 'recurrent'; torch translates instead, more slowly."]
    assert isinstance(translator.engine, TorchEngine)
    with pytest.raises(ConfigError, match=r"ctranslate2 cannot be used: CTranslate2 does not know model\.kind"):
        open_translator(recurrent_run, Running(engine="ctranslate2"))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (export, "cannot be exported, CTranslate2 does not know model.kind = 'recurrent'"),
        (
            partial(export_plain, to="huggingface"),
            "for Hugging Face: Marian has no model.kind = 'recurrent'",
        ),
        (
            partial(export_plain, to="onnx"),
            "cannot be exported for ONNX, which is written for Transformers; ",
        ),
    ],
)
def test_no_other_format_has_it(recurrent_run: Path, tmp_path: Path, write: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        write(recurrent_run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("setting", [{"recompute": True}, {"shard": True}, {"compile": "on"}])
def test_what_works_layer_by_layer_is_refused(
    settings: dict[str, Any], tmp_path: Path, setting: dict[str, Any]
) -> None:
    (key,) = setting
    with pytest.raises(ConfigError, match=rf"training\.{key} works layer by layer, .* model\.kind = 'recurrent'"):
        prepared(tmp_path, {**settings, f"training.{key}": setting[key]})


def test_a_ranking_by_what_was_looked_at_needs_attention(settings: dict[str, Any], tmp_path: Path) -> None:
    task = prepared(tmp_path, {**settings, "model.decoder": "cho"})
    with pytest.raises(UserError, match="coverage_penalty needs a model that tells where it looks"):
        list(task.predict(task.build_model(), ["1 2"], decoding=DecodingConfig(coverage_penalty=0.1)))


def test_a_model_of_another_kind_does_not_fit(recurrent_run: Path, toy_run: Path) -> None:
    """Weights of the one in the other's folder are noticed, as any that are not its own."""
    setup = TranslatorSetup.from_folder(read_model(recurrent_run))
    with pytest.raises(ModelFolderError, match=r"does not fit config\.json: .* is unknown"):
        trained_model(read_model(toy_run), setup)
