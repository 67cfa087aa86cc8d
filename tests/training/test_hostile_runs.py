"""Run folders, plans and recipes from somebody else: nothing is written elsewhere, nothing is built that cannot be."""

import json
import os
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from seqloom.config import ModelConfig
from seqloom.errors import ConfigError, ModelFolderError, RunError
from seqloom.machine import memory
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.kinds import build
from seqloom.tasks.folder import read_model, sha256
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import trained_model
from seqloom.training import checkpoint
from seqloom.training.log import LineDisplay, RunLog
from seqloom.training.run_folder import read_run, require_no_links
from seqloom.training.session import train_session

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need rights there")


def resume(run: Path, settings: dict[str, Any], **changes: Any) -> None:
    train_session(run, "translate", flags={**settings, **changes}, display=LineDisplay(Console(quiet=True)))


@pytest.fixture
def copied(toy_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_run, tmp_path / "run"))


@pytest.fixture
def toy_run_settings(toy_settings: dict[str, Any]) -> dict[str, Any]:
    return {**toy_settings, "training.steps": 303, "training.validate_every": 100}


@needs_links
@pytest.mark.parametrize("name", ["checkpoints", "data", "tensorboard", "log.jsonl", "run.json.new", "model/export"])
def test_a_link_out_of_a_run_is_refused(copied: Path, toy_run_settings: dict[str, Any], name: str) -> None:
    precious = copied.parent / "precious"
    precious.mkdir()
    (precious / "work").write_text("all of it")
    path = copied / name
    if path.is_dir():
        path.rename(precious / "theirs")
    elif path.exists():
        path.unlink()
    path.symlink_to(precious)
    with pytest.raises(
        RunError, match=rf"{name}: is a link that leads out of the run folder, where nothing is written"
    ):
        resume(copied, toy_run_settings)
    assert (precious / "work").read_text() == "all of it"
    assert {entry.name for entry in precious.iterdir()} <= {"work", "theirs"}


@needs_links
def test_a_run_may_itself_be_a_link(copied: Path) -> None:
    (copied.parent / "alias").symlink_to(copied)
    (copied / "latest").symlink_to("model")
    require_no_links(copied.parent / "alias")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "float8"}, "cannot be read"),
        ({"workers": 10**9 * 1.0}, "cannot be read"),
        ({"plan": {"settings": [], "reasons": []}}, "cannot be read"),
        ({"plan": {"made_up": 1}}, "cannot be read"),
        ({"config": []}, "cannot be read"),
        ({"config": {"data": 1}}, "cannot be read"),
        ({"length": {"steps": "all"}}, "cannot be read"),
        ({"length": 7}, "cannot be read"),
        ({"length": [1, 2, 3]}, "cannot be read"),
        ({"length": [0]}, "cannot be read"),
    ],
)
def test_a_run_json_that_cannot_be(copied: Path, changes: dict[str, Any], message: str) -> None:
    about = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps({**about, **changes}))
    with pytest.raises(RunError, match=rf"run\.json: {message}.*start a new one"):
        read_run(copied)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{", "\0", '{"plan": 1e999}', '{"plan": ' + "9" * 5000 + "}"])
def test_a_run_json_that_is_none(copied: Path, content: str) -> None:
    (copied / "run.json").write_text(content)
    with pytest.raises(RunError, match=r"run\.json: cannot be read") as error:
        read_run(copied)
    assert len(str(error.value)) < 1000
    assert str(error.value).isprintable()


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", '{"timeline": {"marks": []}, "settings": {}}', "\xff", "{}"])
def test_a_plan_that_is_none(tmp_path: Path, toy_settings: dict[str, Any], content: str) -> None:
    (tmp_path / "plan.json").write_bytes(content.encode("latin-1"))
    settings = {key: value for key, value in toy_settings.items() if key != "training.steps"}
    with pytest.raises(RunError, match=r"plan\.json: is not the plan of a run"):
        resume(tmp_path / "run", settings, **{"training.replay": str(tmp_path / "plan.json")})


def test_a_log_of_any_size_is_gone_on_with(tmp_path: Path) -> None:
    with open(tmp_path / "log.jsonl", "wb") as file:
        file.write(
            b'{"step": 1}\n{"step": 2, "a": "'
            + b"x" * (1 << 20)
            + b'"}\n\xff\xfe\n[[[\n{"step": 4, "\xed\xa0\x80": 1}\n'
        )
        file.write(b'{"step": 1e999}\n{"step": 3}\n{"step": 9}\n' + b"[" * 60_000 + b"\n{")
    RunLog(tmp_path, 7).close()
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"step": 1}\n{"step": 3}\n'


def test_a_log_cut_off_before_the_end_of_its_last_line_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1}\n{"step": 2}')
    log = RunLog(tmp_path, 7)
    log.write({"step": 3})
    log.close()
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_a_log_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(RunError, match=r"log\.jsonl: cannot be gone on with \(is a folder, not a file\); move it away"):
        RunLog(tmp_path, 7)


def test_folders_with_other_names_are_no_checkpoints(copied: Path) -> None:
    folder = copied / "checkpoints"
    found = checkpoint.checkpoints(folder)
    for name in ("step-²", "step-", "7", "step-7x", "step--1", "step-" + "9" * 40):
        (folder / name).mkdir()
    assert checkpoint.checkpoints(folder) == found


@pytest.mark.parametrize(
    ("key", "value"),
    [("step", 10**18), ("step", "7"), ("seconds", -1), ("best", "x"), ("batches", {"epoch": -1}), ("tokens", None)],
)
def test_a_state_that_cannot_be(copied: Path, key: str, value: Any) -> None:
    path = checkpoint.checkpoints(copied / "checkpoints")[-1]
    state = json.loads((path / "state.json").read_text())
    assert checkpoint.read_state(path) == state
    (path / "state.json").write_text(json.dumps({**state, key: value}))
    with pytest.raises(RunError, match="the checkpoint is not whole"):
        checkpoint.read_state(path)


@pytest.mark.parametrize("what", ["random", "names", "shape", "header"])
def test_tensors_that_are_not_those_of_the_run(copied: Path, what: str) -> None:
    path = checkpoint.checkpoints(copied / "checkpoints")[-1]
    file = path / "optimizer.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("exp_avg"))
    if what == "random":
        tensors["random_state"] = torch.zeros(3)
    elif what == "names":
        tensors["nobody/exp_avg"] = torch.zeros(3)
    elif what == "shape":
        tensors[name] = torch.zeros(3)
    save_file(tensors, file)
    if what == "header":
        file.write_bytes(struct.pack("<Q", 1 << 50))
    read = read_model(copied)
    setup = TranslatorSetup.from_folder(read)
    model = build(setup.model, *setup.vocab_sizes)
    with pytest.raises((RunError, ModelFolderError), match=r"optimizer\.safetensors: (does not fit|cannot be read)"):
        checkpoint.load_checkpoint(path, model, [torch.optim.AdamW(model.parameters())])


@pytest.mark.parametrize("name", checkpoint.TENSORS)
def test_a_checkpoint_with_what_is_no_number(copied: Path, name: str) -> None:
    path = checkpoint.checkpoints(copied / "checkpoints")[-1]
    tensors = load_file(path / name)
    wrong = next(name for name, tensor in tensors.items() if tensor.ndim > 1)
    tensors[wrong][0, 1] = float("nan")
    save_file(tensors, path / name)
    read = read_model(copied)
    setup = TranslatorSetup.from_folder(read)
    model = trained_model(read, setup)
    with pytest.raises(RunError) as error:
        checkpoint.load_checkpoint(path, model, [torch.optim.AdamW(model.parameters())])
    assert str(error.value) == (
        f"{path / name}: {wrong} holds NaN or infinity, expected finite numbers; "
        f"take an older copy of the folder, or delete {path} to go back to the checkpoint before it"
    )


# --- sizes ---

HUGE = {"d_model": 65_536, "d_ff": 262_144, "num_heads": 1, "num_encoder_layers": 1000, "num_decoder_layers": 1000}


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_kv_heads": 1, "tied_embeddings": "all"},
        {"positions": "learned", "max_positions": 31},
        {"linear": "weight_norm", "activation": "swiglu", "tied_embeddings": "none"},
        {"positions": "t5", "normalization": "rms", "num_encoder_layers": 3},
    ],
)
def test_no_model_has_fewer_weights_than_the_least(sizes: dict[str, Any]) -> None:
    small = {"d_model": 14, "d_ff": 11, "num_heads": 7, "num_encoder_layers": 1, "num_decoder_layers": 2}
    config = ModelConfig.model_validate({**small, "num_heads": 7, "num_kv_heads": 1, **sizes} | {"d_model": 28})
    with torch.device("meta"):
        model = EncoderDecoder(config, 5, 5)
    weights = sum(weight.numel() for weight in model.parameters())
    assert weights / 3 < config.least_weights <= weights


def test_a_recipe_for_a_model_that_no_machine_holds(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigError, match=r"1000 \+ 1000 layers, d_model 65,536.* GiB to train, and this machine"):
        resume(tmp_path / "run", toy_settings, **{f"model.{key}": value for key, value in HUGE.items()})
    assert time.monotonic() - begun < 20
    assert memory() > 1 << 28
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "sizes", [{"d_model": 10**9}, {"num_encoder_layers": 10**6}, {"max_positions": 10**12}, {"d_model": 2**70}]
)
def test_sizes_that_no_recipe_may_ask_for(tmp_path: Path, toy_settings: dict[str, Any], sizes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"expected at most"):
        resume(tmp_path / "run", toy_settings, **{f"model.{key}": value for key, value in sizes.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": HUGE}, "does not fit config.json: it has .* numbers, and a model of these sizes at least"),
        ({"model": {"max_positions": 10**6, "positions": "learned"}}, "does not fit config.json"),
        ({"model": {"d_model": 10**9}}, "d_model: Input should be less than or equal to 65536"),
        ({"longest_source": 10**9}, "longest_source"),
        ({"longest_source": -1}, "longest_source"),
        ({"languages": ["zh", "\x1b[31m"]}, "languages"),
        ({"languages": ["zh"]}, "is missing or wrong"),
        ({"directions": ["a" + "_A" * 1000]}, "is no direction"),
        ({"decoding": {"beam": 10**6}}, "beam: Input should be less than or equal to 1000"),
    ],
)
def test_a_model_folder_that_asks_for_too_much(copied: Path, changes: dict[str, Any], message: str) -> None:
    file = copied / "model" / "config.json"
    config = json.loads(file.read_text())
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    file.write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match=message) as error:
        TranslatorSetup.from_folder(read_model(copied / "model"))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


def test_rows_that_are_not_those_of_the_vocabulary(toy_run: Path, tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    folder = Path(shutil.copytree(toy_run / "model", tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    name = "src_embedding.table.weight"
    save_file({**weights, name: weights[name][:-7].clone()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["files"]["model.safetensors"] = sha256(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    settings = {key: value for key, value in toy_settings.items() if not key.startswith("model.")}
    with pytest.raises(ModelFolderError, match=rf"{name} has 300 rows, and its vocabulary 307 pieces; copy"):
        resume(tmp_path / "run", settings, **{"training.init_from": str(folder)})


def test_a_checksum_does_not_make_a_tokenizer(copied: Path) -> None:
    """What is cut off is told from what is whole by its checksum, and by its form where somebody has made one."""
    folder = copied / "model"
    whole = (folder / "src.model").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-1] + b"\xff", b"", whole.replace(b"<0x0A>", b"<0x\n\x1b>")):
        (folder / "src.model").write_bytes(content)
        with pytest.raises(
            ModelFolderError, match=r"src\.model: is damaged, its checksum is not the one in config\.json"
        ):
            read_model(folder)
        config = json.loads((folder / "config.json").read_text())
        config["files"]["src.model"] = sha256(folder / "src.model")
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelFolderError, match=r"src\.model: ") as error:
            TranslatorSetup.from_folder(read_model(folder))
        assert str(error.value).isprintable()
        config["files"]["src.model"] = "0" * 64
        (folder / "config.json").write_text(json.dumps(config))
