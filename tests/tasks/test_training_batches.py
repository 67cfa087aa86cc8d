"""What the settings of the data make of a pass over it."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqloom.config import load_config
from seqloom.errors import ConfigError
from seqloom.tasks.translate import Translate, TranslateConfig


def prepare(settings: dict[str, Any], folder: Path, **data: Any) -> Translate:
    flags = settings | {f"data.{key}": value for key, value in data.items()}
    return Translate.prepare(load_config(TranslateConfig, flags=flags), folder, lambda said: None)


def test_subword_dropout_cuts_each_pass_anew(toy_settings: dict[str, Any], tmp_path: Path) -> None:
    task = prepare(toy_settings, tmp_path, subword_dropout=0.3)
    batches = task.training_batches()
    size = len(batches.plan(0))
    ids: dict[int, list[list[int]]] = {}
    for batch in islice(batches, size + len(batches.plan(1))):
        assert max(batch.src.numel(), batch.tgt.numel()) <= 331
        for row, target in zip(batch.rows.tolist(), batch.targets.tolist(), strict=True):
            ids.setdefault(row, []).append(target)
    texts = {row: task.setup.tgt_tokenizer.decode(cuts) for row, cuts in ids.items()}
    assert len(texts) == len(task.prepared.train)
    assert all(len(cuts) == 2 and cuts[0] == cuts[1] for cuts in texts.values())
    differing = sum([i for i in a if i] != [i for i in b if i] for a, b in ids.values())
    assert differing > len(ids) / 2


def test_weights_say_how_often_a_file_is_seen(toy_settings: dict[str, Any], tmp_path: Path) -> None:
    src, tgt = toy_settings["data.src"], toy_settings["data.tgt"]
    task = prepare(toy_settings, tmp_path, src=src * 2, tgt=tgt * 2, weights=[2.0, 0.1])
    batches = task.training_batches()
    group = task.prepared.train.group
    seen = np.concatenate([np.concatenate(batches.plan(epoch)) for epoch in range(10)])
    counts = np.bincount(seen, minlength=len(group))
    assert set(counts[group == 0].tolist()) == {20}
    assert set(counts[group == 1].tolist()) == {1}


def test_an_own_model_of_characters_cannot_be_cut_anew(toy_settings: dict[str, Any], tmp_path: Path) -> None:
    characters = prepare(toy_settings, tmp_path / "a", tokenizer="characters")
    (tmp_path / "my.model").write_bytes(characters.setup.src_tokenizer.to_bytes())
    task = prepare(toy_settings, tmp_path / "b", tokenizer_file=str(tmp_path / "my.model"), subword_dropout=0.1)
    with pytest.raises(ConfigError, match=r"data\.subword_dropout cuts words anew in each pass.*; set it to 0$"):
        task.training_batches().plan(0)
