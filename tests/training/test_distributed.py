"""Several processes train the model that one would, and none is left hanging."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seqloom.errors import ConfigError
from seqloom.training.distributed import ALONE
from seqloom.training.sharding import SUMS, require_support
from tests.training.test_run import run, wait_for

COMMAND = (
    "import sys, json; from seqloom.training.session import train_session; from pathlib import Path; import torch; \
torch.set_num_threads(1); train_session(Path(sys.argv[1]), 'translate', flags=json.loads(sys.argv[2]))"
)


@contextmanager
def all_started(count: int, folder: Path, settings: dict[str, Any]) -> "Iterator[list[subprocess.Popen[str]]]":
    """So many processes of one training, which are killed at the end of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with ExitStack() as ended:
        processes = []
        for rank in range(count):
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, str(folder), json.dumps(settings)],
                env={**os.environ, **{key: str(value) for key, value in shared.items()}, "RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(ended.enter_context(process))
            ended.callback(process.kill)
        yield processes


def run_all(count: int, folder: Path, settings: dict[str, Any]) -> list[str]:
    with all_started(count, folder, settings) as processes:
        said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, "\n".join(said)
    return said


def gradients(folder: Path) -> dict[str, torch.Tensor]:
    """Those of the first update, of which Adam keeps a share as its first moment. Weights tell less: Adam makes a step
    of any gradient, also of one that is nothing but rounding."""
    tensors = load_file(folder / "checkpoints" / "step-1" / "optimizer.safetensors")
    return {name: value.clone() for name, value in tensors.items() if name.endswith("/exp_avg")}


def losses(folder: Path) -> list[tuple[int, float]]:
    records = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return [(record["step"], record["loss"]) for record in records if "loss" in record]


def require_same_course(one: Path, other: Path) -> None:
    a, b = losses(one), losses(other)
    assert [step for step, _ in a] == [step for step, _ in b]
    assert [loss for _, loss in a] == pytest.approx([loss for _, loss in b], rel=1e-2)  # rounding grows on the way


@pytest.fixture
def settings(toy_settings: dict[str, Any]) -> dict[str, Any]:
    return {**toy_settings, "training.precision": "float32", "training.steps": 13}


MANY = [(2, 1), (2, 2), pytest.param(3, 1, marks=pytest.mark.slow), pytest.param(4, 1, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("count", "workers"), MANY)
def test_the_update_is_that_of_one_process(tmp_path: Path, settings: dict[str, Any], count: int, workers: int) -> None:
    # With dropout, on batches of which some have fewer rows than there are processes, and of different lengths.
    settings = {**settings, "training.steps": 1}
    run(tmp_path / "one", settings, training__workers=count * workers)
    said = run_all(count, tmp_path / "many", {**settings, "training.workers": workers})
    one, many = gradients(tmp_path / "one"), gradients(tmp_path / "many")
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-7)
    assert "Run folder" in said[0]
    assert not any(said[1:]), "one process tells, and no more"
    run(tmp_path / "one", settings, training__workers=count * workers, training__steps=13)
    run_all(count, tmp_path / "many", {**settings, "training.workers": workers, "training.steps": 13})
    require_same_course(tmp_path / "one", tmp_path / "many")


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {**settings, "model.dropout": 0.0}
    run(tmp_path / "one", settings, training__steps=7)
    run(tmp_path / "one", settings)
    folder = tmp_path / "run"
    run_all(2, folder, {**settings, "training.steps": 7})
    assert "finished (7 steps)" in run_all(2, folder, {**settings, "training.steps": 7})[0]
    run(folder, settings)
    require_same_course(tmp_path / "one", folder)


@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_dies_ends_the_others_and_the_run_resumes(
    tmp_path: Path, settings: dict[str, Any], victim: int
) -> None:
    settings = {**settings, "training.steps": 100_000, "training.checkpoint_every": 5}
    folder = tmp_path / "run"
    with all_started(2, folder, settings) as processes:
        wait_for(folder / "checkpoints" / "step-5", *processes)
        processes[victim].kill()
        said = [process.communicate(timeout=30)[1] for process in processes]
    assert processes[1 - victim].returncode == 1
    assert "Traceback" not in said[1 - victim]
    assert f"seqloom: process {1 - victim} ends: another does not answer (" in said[1 - victim]
    step = max(int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*[0-9]"))
    with all_started(2, folder, settings) as again:
        wait_for(folder / "checkpoints" / f"step-{step + 5}", *again)
        again[0].send_signal(signal.SIGINT)
        said = [process.communicate(timeout=60)[1] for process in again]
    assert "Resuming at step" in said[0]
    assert "Stopping after this step and saving" in said[0]


def test_an_error_is_said_once(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {**settings, "data.src": [str(tmp_path / "missing")]}
    with all_started(2, tmp_path / "run", settings) as processes:
        said = [process.communicate(timeout=60)[1] for process in processes]
    assert all(process.returncode for process in processes)
    assert "missing" in said[0]
    assert "missing" not in said[1]
    assert "Traceback" not in said[1]


def test_alone_nothing_is_added() -> None:
    assert ALONE.added([3, 0.5]) == [3, 0.5]
    weight = torch.nn.Parameter(torch.ones(2))
    ALONE.add_gradients([weight])
    assert weight.grad is None
    ALONE.tell({})


def test_a_budget_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {key: value for key, value in settings.items() if key != "training.steps"}
    with all_started(2, tmp_path / "run", {**settings, "training.budget": "1m"}) as processes:
        said = [process.communicate(timeout=60)[1] for process in processes]
    assert "a budget is that of one process, got several; give --steps" in said[0]
    assert all(process.returncode for process in processes)


SHARDED = {"training.shard": True, "training.recompute": True, "training.ema": 0.9, "training.workers": 1}


@pytest.mark.slow
def test_torchrun_starts_all_again_and_they_go_on(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {**settings, "training.steps": 300, "training.checkpoint_every": 5}
    folder, errors = tmp_path / "run", tmp_path / "errors"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    script = tmp_path / "script.py"
    note = "import os, sys; open(sys.argv[1] + '.pid-' + os.environ['RANK'], 'w').write(str(os.getpid()))"
    script.write_text(f"{note}\n{COMMAND}\n", encoding="utf-8")
    with open(errors, "w", encoding="utf-8") as said:
        command = [*torchrun, str(script), str(folder), json.dumps(settings)]
        with subprocess.Popen(command, stderr=said, text=True) as process:
            try:
                wait_for(folder / "checkpoints" / "step-10", process)
                os.kill(int((tmp_path / "run.pid-1").read_text(encoding="utf-8")), signal.SIGKILL)
                assert process.wait(timeout=300) == 0
            finally:
                process.terminate()  # it ends those that it has started
    assert "Resuming at step" in errors.read_text(encoding="utf-8")
    assert losses(folder)[-1][0] == 300


@pytest.mark.parametrize("missing", SUMS)
def test_a_pytorch_that_is_too_old_is_told_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    from torch.distributed.fsdp import FSDPModule

    require_support()
    monkeypatch.delattr(FSDPModule, missing)
    with pytest.raises(ConfigError) as error:
        require_support()
    assert str(error.value) == (f"training.shard needs a newer PyTorch than {torch.__version__}: pip install -U torch")


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_sharded_weights_learn_what_whole_ones_do(tmp_path: Path, settings: dict[str, Any], count: int) -> None:
    settings = {**settings, **SHARDED}
    run(
        tmp_path / "one",
        settings,
        training__workers=count,
        training__shard=False,
        training__recompute=False,
        training__steps=1,
    )
    run_all(count, tmp_path / "many", {**settings, "training.steps": 1})
    torch.testing.assert_close(gradients(tmp_path / "one"), gradients(tmp_path / "many"), rtol=1e-4, atol=1e-7)
    run(tmp_path / "one", settings, training__workers=count, training__shard=False, training__recompute=False)
    said = run_all(count, tmp_path / "many", settings)
    assert "Resuming at step 1 of 13" in said[0]
    require_same_course(tmp_path / "one", tmp_path / "many")
    one, many = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "many"))
    assert {name: weight.shape for name, weight in one.items()} == {name: weight.shape for name, weight in many.items()}


@pytest.mark.slow
def test_a_sharded_run_goes_on_with_another_number_of_processes(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {**settings, **SHARDED, "model.dropout": 0.0}
    run(tmp_path / "one", settings, training__steps=7)
    run(tmp_path / "one", settings)
    folder = tmp_path / "run"
    run_all(2, folder, {**settings, "training.steps": 7})
    run(folder, settings)
    require_same_course(tmp_path / "one", folder)
