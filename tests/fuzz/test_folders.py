"""Model folders, exports, run folders and imports with anything in them: what they should be, or one sentence.

Checksums are put right after each change: it is not damage that is looked for here, but ill will.
"""

import hashlib
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from seqloom.config import ClassifierConfig, ModelConfig, load_config
from seqloom.data.corpus import Corpus
from seqloom.data.labels import Labels
from seqloom.data.prepare import _open, data_key
from seqloom.data.prepare_labelled import Reading
from seqloom.data.tokenizers import TOKENIZERS, Words
from seqloom.errors import ModelFolderError, RunError, UserError
from seqloom.export.huggingface import write_huggingface
from seqloom.export.huggingface_import import read_huggingface
from seqloom.export.store import find_export
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.pipeline.predictor import open_predictor
from seqloom.pipeline.probe import _kept
from seqloom.tasks.classifier_setup import LABELS, TOKENIZER, ClassifierSetup
from seqloom.tasks.folder import WEIGHTS, read_model, sha256, write_model
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import trained_model
from seqloom.tasks.translate import Translate, TranslateConfig
from seqloom.training import checkpoint
from seqloom.training.log import RunLog
from seqloom.training.run_folder import read_run
from tests.fuzz.fuzzing import CHANGES, EDITS, changed, edited, fuzz, require_sentence


def reseal(folder: Path) -> None:
    """Puts the checksums of config.json right, where they can be."""
    config = json.loads((folder / "config.json").read_bytes())
    for name in config.get("files", {}) if isinstance(config, dict) and isinstance(config.get("files"), dict) else ():
        if (folder / name).is_file():
            config["files"][name] = sha256(folder / name)
    (folder / "config.json").write_text(json.dumps(config))


def open_model(folder: Path) -> None:
    """Does with a model folder what ``seqloom translate`` does before it translates."""
    try:
        read = read_model(folder)
        setup = TranslatorSetup.from_folder(read)
        model = trained_model(read, setup)
    except ModelFolderError as error:
        require_sentence(error)
        return
    src = torch.tensor([setup.framed(setup.src_tokenizer.encode(["1 2 3"]))[0]])
    with torch.inference_mode():
        model.encode(src, src > 0)


def open_classifier(folder: Path) -> None:
    """Does with a model folder what ``seqloom predict`` does."""
    try:
        predictor = open_predictor(folder)
    except ModelFolderError as error:
        require_sentence(error)
        return
    answers = predictor.predict(["three films , 三部", "", "3"])
    assert [bool(answer.label) for answer in answers] == [True, False, True]
    assert all(answer.line(weights=True).replace("\t", "").isprintable() for answer in answers)


LABEL_NAMES = "dull", "fine"


@pytest.fixture(params=[("words", {"kind": "recurrent", "wide": "apart"}), ("characters", {"kind": "convolutional"})])
def classifier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A minute classifier with each kind of tokenizer."""
    tokenizer, parts = request.param
    sizes = {"d_model": 6, "hidden_size": 5, "filters": 3, "widths": [1, 2], "buckets": 7}
    setup = ClassifierSetup(
        ClassifierConfig.model_validate({**sizes, **parts}),
        TOKENIZERS[tokenizer](["three films , 三部", "films"], 400, 1.0),
        Labels(LABEL_NAMES),
        Reading(lowercase=True),
    )
    about, files = setup.describe()
    write_model(tmp_path / "model", {"task": "classify_text", **about}, files, dict(setup.build().named_parameters()))
    open_classifier(tmp_path / "model")
    return tmp_path / "model"


def test_configs_of_classifiers(classifier: Path) -> None:
    whole = json.loads((classifier / "config.json").read_bytes())

    @fuzz(CHANGES)
    def check(changes: list) -> None:
        (classifier / "config.json").write_text(json.dumps(changed(whole, changes)))
        open_classifier(classifier)

    check()


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER, LABELS])
def test_files_of_classifiers_that_fit_their_checksums(classifier: Path, name: str) -> None:
    whole = (classifier / name).read_bytes()

    @fuzz(EDITS)
    def check(edits: list) -> None:
        (classifier / name).write_bytes(edited(whole, edits))
        reseal(classifier)
        open_classifier(classifier)

    check()


def test_labels_of_classifiers(classifier: Path) -> None:
    @fuzz(CHANGES)
    def check(changes: list) -> None:
        (classifier / LABELS).write_text(json.dumps(changed(list(LABEL_NAMES), changes)))
        reseal(classifier)
        open_classifier(classifier)

    check()


@pytest.fixture(scope="module", params=["src.model", "words"])
def model(request: pytest.FixtureRequest, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with each kind of tokenizer."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    read = read_model(toy_run)
    setup = TranslatorSetup.from_folder(read)
    weights, files = read.weights, dict(read.files)
    if request.param == "words":
        words = Words([f"w{n}" for n in range(40)], [("<2de>", True)])
        small = ModelConfig.model_validate({**setup.model.model_dump(), "d_model": 6, "d_ff": 5, "num_heads": 2})
        torch.manual_seed(1)
        weights = dict(EncoderDecoder(small, words.vocab_size, words.vocab_size).named_parameters())
        files = {"src.model": words.to_bytes()}
        write_model(folder, {**read.config, "model": small.model_dump(mode="json")}, files, weights)
    else:
        write_model(folder, read.config, files, weights)
    return folder


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "copy"))


def test_config(copied: Path) -> None:
    whole = json.loads((copied / "config.json").read_bytes())

    @fuzz(CHANGES)
    def check(changes: list) -> None:
        (copied / "config.json").write_text(json.dumps(changed(whole, changes)))
        open_model(copied)

    check()


@pytest.mark.parametrize("name", [WEIGHTS, "src.model"])
def test_files_that_fit_their_checksums(copied: Path, name: str) -> None:
    whole = (copied / name).read_bytes()

    @fuzz(EDITS)
    def check(edits: list) -> None:
        (copied / name).write_bytes(edited(whole, edits))
        reseal(copied)
        open_model(copied)

    check()


def test_headers_of_weights(copied: Path) -> None:
    """Lies about names, types, shapes and places."""
    whole = (copied / WEIGHTS).read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]

    @fuzz(CHANGES, st.sampled_from([0, 0, 0, 1, -1, 8, 1 << 20, 1 << 40]))
    def check(changes: list, lie: int) -> None:
        text = json.dumps(changed(header, changes)).encode()
        length = (len(text) + lie) % (1 << 64)
        (copied / WEIGHTS).write_bytes(struct.pack("<Q", length) + text + body)
        reseal(copied)
        open_model(copied)

    check()


def test_exports(toy_run: Path, tmp_path: Path) -> None:
    folder = read_model(shutil.copytree(toy_run / "model", tmp_path / "model"), weights=False)
    path = folder.path / "ctranslate2-float32"
    about = json.loads((path / "export.json").read_bytes())
    shape = {"workers": 1, "threads": 2, "batch": 32}
    choices = {"machine": {"variant": "float32", "shape": shape, "tokens_per_second": 7.5}}

    @fuzz(CHANGES)
    def check(changes: list) -> None:
        (path / "export.json").write_text(json.dumps(changed(about, changes)))
        export, problem = find_export(folder, "float32")
        assert (export is None) == bool(problem) or not (path / "export.json").is_file()
        if export is not None:
            assert isinstance(export.proven, bool)
        (path / "machines.json").write_text(json.dumps(changed(choices, changes)))
        found = _kept(path / "machines.json", "machine")
        assert found is None or 0 < found.shape.workers * found.shape.threads <= 4096

    check()


@fuzz(CHANGES, EDITS)
def check_run(run: Path, whole: dict[str, Any], changes: list, edits: list) -> None:
    for content in (json.dumps(changed(whole, changes)).encode(), edited(json.dumps(whole).encode(), edits)):
        (run / "run.json").write_bytes(content)
        try:
            read_run(run)
        except RunError as error:
            require_sentence(error)


def test_run(toy_run: Path, tmp_path: Path) -> None:
    check_run(tmp_path, json.loads((toy_run / "run.json").read_bytes()))


def test_checkpoints(toy_run: Path, tmp_path: Path) -> None:
    newest = checkpoint.checkpoints(toy_run / "checkpoints")[-1]
    path = Path(shutil.copytree(newest, tmp_path / newest.name))
    state = json.loads((path / "state.json").read_bytes())
    tensors = {name: (path / name).read_bytes() for name in checkpoint.TENSORS}
    task_folder = read_model(toy_run)
    setup = TranslatorSetup.from_folder(task_folder)

    @fuzz(CHANGES, st.sampled_from(checkpoint.TENSORS), EDITS)
    def check(changes: list, name: str, edits: list) -> None:
        (path / "state.json").write_text(json.dumps(changed(state, changes)))
        (path / name).write_bytes(edited(tensors[name], edits))
        try:
            checkpoint.read_state(path)
        except RunError as error:
            require_sentence(error)
        model = trained_model(task_folder, setup)
        optimizer = torch.optim.AdamW(model.parameters())
        random = torch.get_rng_state()
        try:
            checkpoint.load_checkpoint(path, model, [optimizer])
        except UserError as error:
            require_sentence(error)
        finally:
            torch.set_rng_state(random)
            (path / name).write_bytes(tensors[name])

    check()


@fuzz(EDITS)
def check_log(run: Path, edits: list) -> None:
    lines = b"".join(b'{"step": %d, "loss": 2.5}\n' % step for step in range(20))
    (run / "log.jsonl").write_bytes(edited(lines, edits))
    RunLog(run, 7).close()
    kept = (run / "log.jsonl").read_bytes().split(b"\n")  # and at no carriage return, which is a blank in JSON
    assert not kept.pop()
    assert all(json.loads(line)["step"] <= 7 for line in kept)


def test_log(tmp_path: Path) -> None:
    check_log(tmp_path)


def test_corpus(toy_run: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(toy_run / "data" / "valid", tmp_path / "store"))
    whole = {path.name: path.read_bytes() for path in store.iterdir()}

    @fuzz(st.sampled_from(sorted(whole)), EDITS)
    def check(name: str, edits: list) -> None:
        (store / name).write_bytes(edited(whole[name], edits))
        try:
            corpus = Corpus(store, (307, 307))
            assert all(side.tokens.max(initial=0) < 307 for side in (corpus.src, corpus.tgt))
            rows = np.arange(len(corpus))
            assert corpus.src.padded(rows, 0).shape[0] == corpus.tgt.padded(rows, 0).shape[0] == len(corpus)
        except (OSError, EOFError, ValueError, LookupError, TypeError):
            pass  # it is made again
        finally:
            (store / name).write_bytes(whole[name])

    check()


def test_prepared(toy_run: Path, toy_settings: dict[str, Any], tmp_path: Path) -> None:
    run = Path(shutil.copytree(toy_run / "data", tmp_path / "data"))
    config = load_config(TranslateConfig, flags={**toy_settings, "training.steps": 300})
    whole = json.loads((run / "prepared.json").read_bytes())
    key = data_key(config.data)
    assert _open(config.data, run, key) is not None

    @fuzz(CHANGES)
    def check(changes: list) -> None:
        (run / "prepared.json").write_text(json.dumps(changed(whole, changes)))
        if _open(config.data, run, key) is not None:  # and is not made again
            task = Translate.prepare(config, run, lambda text: None)
            assert json.dumps(task.describe()[0])

    check()


def test_huggingface(toy_run: Path, tmp_path: Path) -> None:
    read = read_model(toy_run)
    setup = TranslatorSetup.from_folder(read)
    theirs = tmp_path / "theirs"
    post = ModelConfig.model_validate({**setup.model.model_dump(), "norm": "post", "output_bias": True})
    setup = TranslatorSetup(post, setup.src_tokenizer, setup.src_tokenizer, ("xx", "yy"), 20, setup.decoding)
    write_huggingface(EncoderDecoder(post, *setup.vocab_sizes), setup, theirs)
    whole = {path.name: path.read_bytes() for path in theirs.iterdir()}

    @fuzz(st.sampled_from(sorted(whole)), CHANGES, EDITS, st.booleans())
    def check(name: str, changes: list, edits: list, structured: bool) -> None:
        content = edited(whole[name], edits)
        if structured and name.endswith(".json"):
            content = json.dumps(changed(json.loads(whole[name]), changes)).encode()
        (theirs / name).write_bytes(content)
        try:
            read_huggingface(theirs, ("xx", "yy"))
        except ModelFolderError as error:
            require_sentence(error)
        finally:
            (theirs / name).write_bytes(whole[name])

    check()


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    """What ``reseal`` stands on."""
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
