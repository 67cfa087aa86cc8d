"""The update itself: accumulation, averaging, the golden curve."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from seqloom.config import TrainingConfig, load_config
from seqloom.data.batch import PairBatch, collate
from seqloom.tasks.task import Evaluation, Loss
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training.checkpoint import average_weights, load_optimizers, optimizer_tensors, read_state
from seqloom.training.loop import Meter, Trainer
from seqloom.training.optimizers import OPTIMIZERS
from seqloom.training.timeline import Timeline


class Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


@pytest.fixture
def task(tmp_path: Path, toy_settings: dict[str, Any]) -> Translate:
    config = load_config(TranslateConfig, flags={**toy_settings, "model.dropout": 0.0})
    return Translate.prepare(config, tmp_path / "data", lambda text: None)


def trainer(task: Translate, folder: Path, **training: Any) -> Trainer:
    config = task.config.training.model_copy(update=training)
    return Trainer(task, config, folder, torch.device("cpu"), torch.float32, Timeline.of_steps(24), Silent())


def test_parts_of_a_batch_give_the_update_of_the_whole(task: Translate, tmp_path: Path) -> None:
    """A loss is a sum and a count: six uneven micro-batches are one batch."""
    whole = trainer(task, tmp_path, accumulate=1)
    parts = trainer(task, tmp_path, accumulate=6)
    whole.model.double()
    parts.model.double()
    cuts = [0, 1, 3, 10, 22, 23, 41]
    micro = [collate(task.prepared.train, torch.arange(a, b).numpy()) for a, b in itertools.pairwise(cuts)]
    whole._update(iter([collate(task.prepared.train, torch.arange(41).numpy())]), Meter())
    parts._update(iter(micro), Meter())
    for (name, a), (_, b) in zip(whole.model.named_parameters(), parts.model.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_are_clipped_to_the_norm(task: Translate, tmp_path: Path, fused: bool) -> None:
    """As the first moment of Adam has them after one step, whichever way they were divided."""
    trained = trainer(task, tmp_path, clip=0.01, betas=(0.75, 0.98))
    optimizer = torch.optim.AdamW(trained.model.parameters(), betas=(0.75, 0.98), fused=fused)
    trained.updates.optimizers = [optimizer]
    batch = collate(task.prepared.train, torch.arange(17).numpy())
    (learnt,) = trained.updates.learn(batch)
    trained.updates.apply(learnt.targets, 1e-3)
    norms = [optimizer.state[p]["exp_avg"].norm() for p in trained.model.parameters()]
    assert float(torch.stack(norms).norm()) == pytest.approx(0.25 * 0.01, rel=1e-5)


def test_the_model_overfits_one_batch(task: Translate) -> None:
    torch.manual_seed(0)
    model = task.build_model()
    (optimizer,) = OPTIMIZERS["adamw"](model, TrainingConfig(learning_rate=5e-3, weight_decay=0.0))
    batch = collate(task.prepared.train, torch.arange(13).numpy())
    loss = Loss(torch.tensor(0.0), 1)
    for _ in range(150):
        loss = task._loss(model, batch, 0.0)
        (loss.sum / loss.count).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.sum.detach()) / loss.count < 0.02
    sources = task.setup.src_tokenizer.decode([task.prepared.train.src[row].tolist() for row in range(13)])
    targets = task.setup.tgt_tokenizer.decode([task.prepared.train.tgt[row].tolist() for row in range(13)])
    assert [answer.texts[0] for answer in task.predict(model, sources)] == targets


def test_without_dropout_two_passes_agree_and_cost_what_one_does(task: Translate) -> None:
    model = task.build_model().double()
    batch = collate(task.prepared.train, torch.arange(13).numpy())
    gradients = []
    for consistency in (0.0, 3.0):
        loss = task._loss(model, batch, 0.1, consistency)
        model.zero_grad()
        loss.sum.backward()
        gradients.append([weight.grad for weight in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_the_mean_of_checkpoints(tmp_path: Path) -> None:
    paths = []
    for number, value in enumerate((1.0, 2.0, 6.0)):
        path = tmp_path / f"step-{number}"
        path.mkdir()
        save_file({"w": torch.full((3, 5), value)}, path / "model.safetensors")
        paths.append(path)
    assert torch.equal(average_weights(paths)["w"], torch.full((3, 5), 3.0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimizer_comes_back_as_it_was(task: Translate, tmp_path: Path, name: str) -> None:
    trained = trainer(task, tmp_path, optimizer=name)
    stream = iter(trained.batches)
    for _ in range(3):
        trained._update(stream, Meter())
        trained.progress.step += 1
    save_file(optimizer_tensors(trained.model, trained.updates.optimizers), tmp_path / "optimizer.safetensors")
    fresh = OPTIMIZERS[name](trained.model, trained.config)
    load_optimizers(trained.model, fresh, load_file(tmp_path / "optimizer.safetensors"))
    for old, new in zip(trained.updates.optimizers, fresh, strict=True):
        assert old.state
        for parameter, state in old.state.items():
            for key, value in state.items():
                assert torch.equal(new.state[parameter][key], value), key


GOLDEN = [
    6.1093,
    5.7940,
    5.4188,
    5.1337,
    4.8853,
    4.4750,
    4.3176,
    3.9608,
    3.8005,
    3.4602,
    3.4460,
    3.4441,
    3.4698,
    3.2978,
    3.0168,
    3.1689,
    2.8804,
    2.7177,
    2.6720,
    2.7204,
]
"""Loss of each of 20 steps in float32 from seed 1: a refactor must not move it."""


def test_golden_loss_curve(task: Translate, tmp_path: Path) -> None:
    trained = trainer(task, tmp_path)
    stream, losses = iter(trained.batches), []
    for _ in range(20):
        meter = Meter()
        trained._update(stream, meter)
        trained.progress.step += 1
        losses.append(meter.loss / meter.tokens)
    assert losses == pytest.approx(GOLDEN, rel=1e-3), " ".join(f"{loss:.4f}" for loss in losses)


def test_batches_carry_real_target_tokens(task: Translate) -> None:
    batch: PairBatch = next(iter(task.training_batches()))
    assert batch.num_targets == sum(int(task.prepared.train.tgt.lengths[row]) + 1 for row in batch.rows)


def test_of_models_as_good_the_one_with_the_lower_loss_is_kept(
    task: Translate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as BLEU is 0, a run would otherwise end with the first model that it tried."""
    found = [(0.02, 7.0), (0.0, 5.0), (0.01, 6.0), (1.51, 8.0), (1.53, 8.0), (0.0, 1.0), (1.49, 4.0)]
    trained = trainer(task, tmp_path)
    kept, worse = [], []
    for step, (bleu, loss) in enumerate(found, 1):
        evaluation = Evaluation({"bleu": bleu, "valid_loss": loss})
        monkeypatch.setattr(task, "evaluate", lambda *args, evaluation=evaluation: evaluation)
        trained.progress.step, trained.log = step, None
        trained._validate()
        kept.append(trained.progress.best_step)
        worse.append(trained.progress.worse_validations)
        if step in (2, 5):  # as it stands in a checkpoint
            trained._checkpoint()
            path = tmp_path / "checkpoints" / f"step-{step}"
            trained = trainer(task, tmp_path)
            trained.resume(path, read_state(path))
    assert kept == [1, 2, 2, 4, 4, 4, 7]
    assert worse == [0, 0, 1, 0, 1, 2, 0]


def test_without_a_matrix_inside_muon_is_adamw() -> None:
    config = TrainingConfig(optimizer="muon")
    model = nn.Sequential(nn.Embedding(7, 5), nn.LayerNorm(5))
    (optimizer,) = OPTIMIZERS["muon"](model, config)
    assert isinstance(optimizer, torch.optim.AdamW)
