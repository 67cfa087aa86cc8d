"""The ONNX graphs by onnxruntime: the logits are the model's, at every step and in any company."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from seqloom.data.languages import Direction
from seqloom.data.tokenizers import PAD
from seqloom.export.onnx import write_onnx
from seqloom.layers.attention import FEWEST_KEYS
from seqloom.layers.positions import POSITIONS
from seqloom.pipeline.translator import load
from tests.export.test_ctranslate2 import made, sentences


@pytest.mark.parametrize(
    "settings",
    [
        {"positions": "sinusoidal"},
        *(
            pytest.param({"positions": name}, marks=[] if name == "rotary" else [pytest.mark.slow])
            for name in POSITIONS
            if name != "sinusoidal"
        ),
        {
            "norm": "post",
            "normalization": "rms",
            "activation": "swiglu",
            "linear": "weight_norm",
            "num_heads": 4,
            "num_kv_heads": 2,
        },
    ],
    ids=str,
)
def test_every_step_has_the_models_logits(settings: dict[str, Any], tmp_path: Path) -> None:
    model, setup = made(settings)
    setup = replace(setup, directions=(Direction("xx", "yy"), Direction("yy", "xx")))
    write_onnx(model, setup, tmp_path / "out")
    assert "cut into these first" in (tmp_path / "out" / "README.md").read_text()  # of words, not SentencePiece's
    encoder, decoder = (
        onnxruntime.InferenceSession(tmp_path / "out" / f"{name}.onnx") for name in ("encoder", "decoder_step")
    )
    src = np.full((3, 24), PAD)  # longer than the graphs' examples, and than FEWEST_KEYS
    for row, ids in enumerate(sentences((23, 1, 3))):
        src[row, : len(ids)] = ids
    said = torch.randint(4, 41, (3, FEWEST_KEYS + 3), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(torch.from_numpy(src), said, torch.from_numpy(src != PAD))
    memory = encoder.run(None, {"src": src, "src_mask": src != PAD})
    about = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert (3, about["heads"], 24, about["head_dim"]) == memory[0].shape
    assert 2 * about["layers"] == len(memory)
    assert about["tags"] == ["<2yy>", "<2xx>"]
    names = [each.name.removeprefix("memory_") for each in encoder.get_outputs()]
    inputs = {f"memory_{name}": value for name, value in zip(names, memory, strict=True)}
    past = {f"past_{name}": value[:, :, :0] for name, value in zip(names, memory, strict=True)}
    for step in range(said.size(1)):
        logits, *present = decoder.run(
            None, {"tokens": said[:, step].numpy(), "src_mask": src != PAD, **inputs, **past}
        )
        # Such weights magnify rounding: torch's own float32 is up to 1e-3 away from its float64.
        np.testing.assert_allclose(logits, expected[:, step].numpy(), atol=4e-3, rtol=0)
        past = dict(zip(past, present, strict=True))
        assert present[0].shape[2] == step + 1


def test_an_export_says_where_it_is_and_nothing_else(toy_run: Path, tmp_path: Path) -> None:
    """Neither a warning nor one of torch's reports of a graph that it could not trace at first."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "seqloom", "export", str(toy_run), str(out), "--to", "onnx"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(out))}: float32, .*\n", ran.stdout)


def test_the_script_of_the_folder_translates(toy_run: Path, tmp_path: Path) -> None:
    translator = load(toy_run, engine="torch")
    write_onnx(translator.engine.model, translator.setup, tmp_path / "out")  # type: ignore[attr-defined]
    script = re.search(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    assert script is not None
    ran = subprocess.run(
        [sys.executable, "-c", script[1]],
        input="1 2 3 4\n",
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip() == translator.translate(["1 2 3 4"], beam=1, guard="off")[0].text
