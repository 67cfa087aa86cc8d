"""Training that starts from a trained model: what is taken, what is new, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seqloom.errors import ConfigError, ModelFolderError
from seqloom.pipeline.translator import load
from seqloom.tasks.folder import read_model
from tests.training.test_run import Quiet, last_weights, run


def tuned(folder: Path, toy_run: Path, toy_settings: dict[str, Any], **changes: Any) -> Quiet:
    """A run on the toy files that is told nothing else but where to start from."""
    files = {key: value for key, value in toy_settings.items() if key in ("data.src", "data.tgt")}
    short = {"training.steps": 3, "training.init_from": str(toy_run), "training.precision": "float32"}
    return run(folder, {**files, **short, **{key.replace("__", "."): value for key, value in changes.items()}})


def test_vocabulary_sizes_languages_and_weights_are_those_of_the_origin(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]
) -> None:
    said = tuned(tmp_path / "run", toy_run, toy_settings, training__learning_rate=1e-9).said
    origin, new = load(toy_run), load(tmp_path / "run")
    weights = read_model(toy_run).weights
    parameters = sum(weight.numel() for weight in weights.values())
    assert f"Taken from {toy_run / 'model'}: {parameters:,} weights." in said
    assert new.languages == origin.languages == ("xx", "yy")
    assert new.setup.src_tokenizer.to_bytes() == origin.setup.src_tokenizer.to_bytes()
    for name, weight in last_weights(tmp_path / "run").items():
        torch.testing.assert_close(weight, weights[name], atol=1e-6, rtol=0, msg=name)


def test_it_goes_on_where_the_origin_stood(tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]) -> None:
    first = tuned(tmp_path / "run", toy_run, toy_settings).records[0]["loss"]
    assert first < 0.7 * run(tmp_path / "new", toy_settings, training__steps=3).records[0]["loss"]


def test_what_is_deeper_starts_at_random_and_is_named(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]
) -> None:
    said = tuned(tmp_path / "run", toy_run, toy_settings, model__num_decoder_layers=2).said
    (taken,) = [line for line in said if line.startswith("Taken from")]
    assert "new and random: decoder.blocks.1.attention.query.weight, " in taken
    assert "not used" not in taken


def test_what_is_shallower_leaves_weights_and_names_them(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]
) -> None:
    said = tuned(tmp_path / "run", toy_run, toy_settings, model__num_encoder_layers=1).said
    (taken,) = [line for line in said if line.startswith("Taken from")]
    assert "; not used: encoder.blocks.1." in taken


def test_a_new_term_starts_as_the_mean_of_its_pieces(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]
) -> None:
    term = "ababab" * 2
    said = tuned(tmp_path / "run", toy_run, toy_settings, data__terms=[term], training__learning_rate=1e-9).said
    assert any("; 1 new tokens start as the mean of their pieces." in line for line in said)
    old, new = load(toy_run).setup.src_tokenizer, load(tmp_path / "run").setup.src_tokenizer
    assert new.vocab_size == old.vocab_size + 1
    assert new.pieces([new.vocab_size - 1]) == [term]
    pieces = [token for token in old.encode([term])[0] if old.pieces([token]) != ["\u2581"]]
    table = load_file(toy_run / "model" / "model.safetensors")["src_embedding.table.weight"]
    tuned_table = last_weights(tmp_path / "run")["src_embedding.table.weight"]
    torch.testing.assert_close(tuned_table[-1], table[pieces].mean(0), atol=1e-6, rtol=0)
    again = tuned(tmp_path / "again", tmp_path / "run", toy_settings, data__terms=[term]).said  # known by now
    assert not any("new tokens" in line for line in again)


def test_what_cannot_be_started_from(tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]) -> None:
    with pytest.raises(ModelFolderError, match="no such folder; expected a run folder or a model folder"):
        tuned(tmp_path / "run", tmp_path / "nowhere", toy_settings)
    with pytest.raises(ConfigError, match=r"no weight is named 'encodr\.\*'"):
        tuned(tmp_path / "run", toy_run, toy_settings, training__freeze=["encodr.*"])


def test_the_origin_is_left_as_it_was(tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]) -> None:
    before = {path: path.read_bytes() for path in (toy_run / "model").rglob("*") if path.is_file()}
    tuned(tmp_path / "run", toy_run, toy_settings)
    assert before == {path: path.read_bytes() for path in (toy_run / "model").rglob("*") if path.is_file()}


def test_it_goes_on_wherever_the_origin_and_the_run_are_by_then(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]
) -> None:
    origin = Path(shutil.copytree(toy_run / "model", tmp_path / "origin"))
    vocabulary = (origin / "src.model").read_bytes()
    tuned(tmp_path / "run", origin, toy_settings)
    shutil.rmtree(origin)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    shutil.rmtree(moved / "data")  # which is made again
    assert "Resuming at step 3 of 5." in tuned(moved, origin, toy_settings, training__steps=5).said
    assert (moved / "checkpoints" / "step-5").is_dir()
    assert (moved / "model" / "src.model").read_bytes() == vocabulary


def test_a_fine_tuning_is_replayed_with_the_settings_it_had(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]
) -> None:
    own = {"training__learning_rate": 1e-4, "training__budget": "3s", "training__steps": None, "model__dropout": 0.3}
    tuned(tmp_path / "run", toy_run, toy_settings, **own)
    replay = {"training__replay": str(tmp_path / "run"), "training__steps": None, "training__init_from": None}
    tuned(tmp_path / "again", toy_run, toy_settings, **replay)
    first, again = last_weights(tmp_path / "run"), last_weights(tmp_path / "again")
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())


def test_a_model_of_one_direction_may_learn_others(tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]) -> None:
    tuned(tmp_path / "run", toy_run, toy_settings, data__directions=["de-sv"])
    assert [str(each) for each in load(tmp_path / "run").setup.directions] == ["de-sv"]


@pytest.mark.parametrize("content", ["{}", '{"longest_source": 7, "length_ratio": [3, 2, 1]}', "[]", "nothing"])
def test_what_was_kept_of_the_origin_is_damaged(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any], content: str
) -> None:
    tuned(tmp_path / "run", toy_run, toy_settings)
    (tmp_path / "run" / "origin" / "config.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"origin.config\.json"):
        tuned(tmp_path / "run", toy_run, toy_settings, training__steps=5)


def test_what_the_origin_knew_of_long_sentences_stays_known(
    tmp_path: Path, toy_run: Path, toy_settings: dict[str, Any]
) -> None:
    origin = Path(shutil.copytree(toy_run / "model", tmp_path / "origin"))
    about = json.loads((origin / "config.json").read_text(encoding="utf-8"))
    about |= {"longest_source": 97, "length_ratio": [0.01, 1.3, 7.0]}
    about["decoding"]["beam"] = 3
    (origin / "config.json").write_text(json.dumps(about), encoding="utf-8")
    pairs = {"data.src": ["1 2", "3 4"] * 30, "data.tgt": ["2 1", "4 3"] * 30}
    files = {key: tmp_path / key for key in pairs}
    for key, lines in pairs.items():
        files[key].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    given = {key: [str(path)] for key, path in files.items()}
    tuned(tmp_path / "run", origin, given)
    shutil.rmtree(origin)
    for steps in (3, 5):
        tuned(tmp_path / "run", origin, given, training__steps=steps)
        setup = load(tmp_path / "run").setup
        assert (setup.longest_source, setup.decoding.beam) == (97, 3)
        assert setup.length_ratio == (0.01, 1.3, 7.0)
