"""Classification as a task: learns, resumes, answers, and says what is wrong."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sentencepiece
import torch
from rich.console import Console

import seqloom
from seqloom.config import load_config
from seqloom.data.batching import sample_rows
from seqloom.data.tokenizers import PAD
from seqloom.errors import ConfigError, DataError, ModelFolderError, UserError
from seqloom.models.classifier import CLASSIFIERS
from seqloom.pipeline.predictor import Predictor, open_predictor
from seqloom.tasks.classify_text import ClassifyText, ClassifyTextConfig
from seqloom.tasks.folder import read_model, read_tensors, write_model
from seqloom.tasks.registry import TASKS
from seqloom.tasks.weights import loaded
from seqloom.training.log import LineDisplay
from seqloom.training.session import train_session

KINDS = list(CLASSIFIERS)
GOOD, BAD = "fine great lovely bright clever", "dull awful boring weak clumsy"


def labelled(start: int, count: int) -> str:
    """Films that are good if what is said after "not" is bad, and the other way round; the label first."""
    lines = []
    for n in range(start, start + count):
        good, negated = n % 2 == 0, n % 3 == 0
        word = (GOOD if good != negated else BAD).split()[n % 5]
        lines.append(f"{'pos' if good else 'neg'}\tfilm {n % 7} is {'not ' if negated else ''}{word} .\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, start, count in (("train", 0, 211), ("valid", 211, 41), ("test", 301, 37)):
        (folder / f"{name}.tsv").write_text(labelled(start, count), encoding="utf-8")
    return folder


def flags(films: Path, kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "data.data": [str(films / "train.tsv")],
        "data.valid_data": [str(films / "valid.tsv")],
        "data.batch_tokens": 151,
        "model.kind": kind,
        "model.d_model": 14,
        "model.num_heads": 2,
        "model.d_ff": 17,
        "model.filters": 11,
        "model.hidden_size": 13,
        "model.buckets": 331,
        "model.dropout": 0.1,
        "training.steps": 150,
        "training.warmup": 5,
        "training.learning_rate": 2e-2,
        "training.validate_every": 50,
        "training.checkpoint_every": 15,
        **changes,
    }


def train(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    return train_session(folder, "classify_text", flags=given, display=LineDisplay(Console(quiet=True)))


@pytest.fixture(scope="module")
def trained(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of each kind, made when it is first asked for."""
    runs: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in runs:
            runs[kind] = tmp_path_factory.mktemp("runs") / kind
            train(runs[kind], flags(films, kind))
        return runs[kind]

    return run


# --- learning ---


@pytest.mark.parametrize("validation_pairs", [7, None])
def test_a_validation_holds_each_answer_against_its_own_label(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validation_pairs: int | None
) -> None:
    """Whatever order the texts come in: a model that knows all labels but one has all but one right."""
    given = flags(films, "bag", **{"training.validation_pairs": validation_pairs, "data.batch_tokens": 17})
    task = ClassifyText.prepare(load_config(ClassifyTextConfig, flags=given), tmp_path, lambda said: None)
    corpus, model = task.prepared.valid, task.build_model()
    count = validation_pairs or 41
    rows = sample_rows(len(corpus), validation_pairs)
    labels = {tuple(corpus.src[row].tolist()): int(corpus.tgt[row][0]) for row in range(len(corpus))}
    mistaken = tuple(corpus.src[rows[0]].tolist())
    seen: list[tuple[int, ...]] = []

    def oracle(tokens: torch.Tensor, mask: torch.Tensor) -> Any:
        texts = [tuple(ids[real].tolist()) for ids, real in zip(tokens, mask, strict=True)]
        seen.extend(texts)
        said = torch.tensor([labels[text] if text != mistaken else 1 - labels[text] for text in texts])
        return SimpleNamespace(logits=3.0 * torch.nn.functional.one_hot(said, 2))

    monkeypatch.setattr(model, "forward", oracle)
    found = task.evaluate(model, "valid")
    assert len(seen) == len(set(seen)) == count
    assert found.scores["accuracy"] == pytest.approx(100 * (count - 1) / count)
    assert 100 * (count - 3) / count < found.scores["f1"] < 100
    right = math.log1p(math.exp(-3))
    assert found.scores["valid_loss"] == pytest.approx(((count - 1) * right + right + 3) / count, rel=1e-5)
    lines = (films / "valid.tsv").read_text(encoding="utf-8").replace(" .", ".").splitlines()
    named = {text: label for label, text in (line.split("\t") for line in lines)}
    assert [sample.reference for sample in found.samples] == [named[sample.source] for sample in found.samples]
    assert [sample.answer == sample.reference for sample in found.samples] == [False, *[True] * 4]
    assert model.training


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_learns_what_not_means(kind: str, films: Path, trained: Callable[[str], Path]) -> None:
    """A bag of words does by its pairs of words."""
    report = open_predictor(trained(kind)).test([films / "test.tsv"], bootstrap=0).as_dict()
    assert report["accuracy"] > 95
    assert report["texts"] == 37
    assert report["signature"]["f1"] == "f1|average:macro|classes:2|texts:37"


def test_a_bag_of_single_words_cannot(films: Path, tmp_path: Path) -> None:
    summary = train(tmp_path / "run", flags(films, "bag", **{"model.ngrams": 1}))
    assert summary["scores"]["valid"]["accuracy"] < 80


@pytest.mark.parametrize("kind", ["bag", "recurrent"])
def test_a_bag_may_start_at_naive_bayes(kind: str, films: Path, tmp_path: Path) -> None:
    """Alone or beside a network: one step that hardly changes a thing, and it knows."""
    changes = {"model.wide": "apart", "model.bag_start": "naive_bayes", "model.buckets": 100_003}
    given = flags(films, kind, **changes, **{"training.steps": 1, "training.learning_rate": 1e-9})
    assert train(tmp_path / "run", given)["scores"]["valid"]["accuracy"] > 95
    assert open_predictor(tmp_path / "run").test([films / "test.tsv"], bootstrap=0).as_dict()["accuracy"] > 95


@pytest.mark.parametrize("normalization", ["batch", "instance", "group", "layer", "rms"])
def test_each_normalisation_learns(normalization: str, films: Path, tmp_path: Path) -> None:
    given = flags(films, "convolutional", **{"model.normalization": normalization, "model.linear": "weight_norm"})
    assert train(tmp_path / "run", given)["scores"]["valid"]["accuracy"] > 90
    answers = open_predictor(tmp_path / "run").predict(["film 3 is not great .", "film 3 is great ."])
    assert [answer.label for answer in answers] == ["neg", "pos"]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_each_pooling_learns(pooling: str, films: Path, tmp_path: Path) -> None:
    given = flags(films, "recurrent", **{"model.pooling": pooling, "model.wide": "apart", "training.consistency": 1.0})
    assert train(tmp_path / "run", given)["scores"]["valid"]["accuracy"] > 90


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bag"])
def test_each_word_has_its_weight(kind: str, trained: Callable[[str], Path]) -> None:
    answers = open_predictor(trained(kind)).predict(["film 3 is not great .", "dull"])
    for answer, words in zip(answers, (["film", "3", "is", "not", "great", "."], ["dull"]), strict=True):
        assert [word for word, _ in answer.weights] == words
        assert sum(weight for _, weight in answer.weights) == pytest.approx(1, abs=1e-5)


def test_a_resumed_run_is_the_run_that_was_never_stopped(films: Path, tmp_path: Path) -> None:
    """With dropout, words left out and a mean of weights; batch normalisation has numbers without gradients."""
    changes = {"model.normalization": "batch", "model.word_dropout": 0.2, "training.ema": 0.9, "training.steps": 45}
    given = flags(films, "convolutional", **changes)
    train(tmp_path / "run", given)
    last = tmp_path / "run" / "checkpoints" / "step-45"
    expected = {name: weight.clone() for name, weight in read_tensors(last / "model.safetensors").items()}
    shutil.rmtree(last)  # as if it had been killed before
    train(tmp_path / "run", given)
    found = read_tensors(last / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_several_workers_leave_a_batch_whole_for_batch_normalisation(films: Path, tmp_path: Path) -> None:
    given = flags(films, "convolutional", **{"model.normalization": "batch", "training.steps": 4})
    for workers in (1, 2):
        train(tmp_path / str(workers), {**given, "training.workers": workers, "model.dropout": 0.0})
    one, two = (read_model(tmp_path / name).weights for name in "12")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_by_the_clock_goes_to_its_end(films: Path, tmp_path: Path) -> None:
    given = {key: value for key, value in flags(films, "bag").items() if key != "training.steps"}
    summary = train(tmp_path / "run", {**given, "training.budget": 2})
    assert summary["scores"]["valid"]["accuracy"] > 50


def test_words_are_taken_over_from_a_trained_model(films: Path, trained: Callable[[str], Path], tmp_path: Path) -> None:
    origin = trained("recurrent")
    given = {key: value for key, value in flags(films, "recurrent").items() if not key.startswith("model.")}
    train(tmp_path / "run", {**given, "training.init_from": str(origin), "training.steps": 2})
    about = json.loads((tmp_path / "run" / "model" / "config.json").read_text(encoding="utf-8"))
    assert about["model"]["hidden_size"] == 13
    assert about["scores"]["valid"]["accuracy"] > 90
    small = {**given, "data.lowercase": True, "training.steps": 2}
    train(tmp_path / "small", small)
    train(tmp_path / "tuned", {**given, "training.init_from": str(tmp_path / "small"), "training.steps": 2})
    about = json.loads((tmp_path / "tuned" / "model" / "config.json").read_text(encoding="utf-8"))
    assert about["reading"]["lowercase"]


def test_what_was_learnt_of_other_labels_is_left(
    films: Path, trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (films / "train.tsv").read_text(encoding="utf-8").replace("pos\t", "a\t").replace("neg\t", "z\t")
    (tmp_path / "other.tsv").write_text(text, encoding="utf-8")
    said: list[str] = []
    display = LineDisplay(Console(quiet=True))
    monkeypatch.setattr(display, "say", said.append)
    given = {
        "data.data": str(tmp_path / "other.tsv"),
        "training.steps": 2,
        "training.init_from": str(trained("recurrent")),
    }
    train_session(tmp_path / "run", "classify_text", flags=given, display=display)
    assert any("new and random: output.weight, output.bias" in line for line in said)


def test_a_translator_is_no_start_for_a_classifier(films: Path, toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a model for the task translate, expected one for classify_text"):
        train(tmp_path / "run", flags(films, "bag", **{"training.init_from": str(toy_run)}))


# --- answering ---

TEXTS = ["film 3 is great .", "", "film 4 is not lovely , it is dull .", "   ", "weak", "an unheard-of thing"]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_their_company(kind: str, trained: Callable[[str], Path]) -> None:
    predictor = open_predictor(trained(kind))
    together = predictor.predict(TEXTS)
    apart = [predictor.predict([text])[0] for text in TEXTS]
    small = predictor.predict(TEXTS, batch_tokens=7)
    for one, other, third in zip(together, apart, small, strict=True):
        assert one.label == other.label == third.label
        assert one.probability == pytest.approx(other.probability, abs=1e-5)
        assert one.probability == pytest.approx(third.probability, abs=1e-5)


def test_probabilities_are_of_all_labels_the_best_first(trained: Callable[[str], Path]) -> None:
    (answer,) = open_predictor(trained("bag")).predict(["film 3 is great ."])
    assert set(answer.probabilities) == {"neg", "pos"}
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert next(iter(answer.probabilities)) == answer.label == "pos"
    assert answer.weights is None


def test_an_empty_text_has_no_label(trained: Callable[[str], Path]) -> None:
    answers = open_predictor(trained("convolutional")).predict(TEXTS)
    assert [bool(answer.label) for answer in answers] == [True, False, True, False, True, True]
    assert answers[1].line(weights=True) == ""
    assert answers[1].as_dict(weights=True) == {"label": "", "probability": 0.0, "probabilities": {}, "weights": []}


def test_a_test_text_of_which_nothing_is_read_is_told(films: Path, tmp_path: Path) -> None:
    """A space of no width is a character, but nothing to a vocabulary whose own rules leave it out."""
    vocabulary, second = tmp_path / "own", tmp_path / "second.tsv"
    sentencepiece.SentencePieceTrainer.train(
        input=str(films / "train.tsv"),
        model_prefix=str(vocabulary),
        vocab_size=53,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    own = {"data.tokenizer_file": f"{vocabulary}.model", "training.steps": 2}
    train(tmp_path / "run", flags(films, "bag", **own))
    second.write_text("pos\tfilm 1 is great .\nneg\t\u200b\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        open_predictor(tmp_path / "run").test([films / "test.tsv", second])
    assert str(error.value) == (
        f"{second}:2: nothing of the text becomes a token, expected a text with words; delete the line, or complete it"
    )


def test_an_answer_as_a_line_and_as_json(trained: Callable[[str], Path]) -> None:
    (answer,) = open_predictor(trained("recurrent")).predict(["film 3 is great ."])
    label, probability, words = answer.line(weights=True).split("\t")
    assert (label, probability) == ("pos", f"{answer.probability:.4f}")
    assert [word.partition("=")[0] for word in words.split()] == ["film", "3", "is", "great", "."]
    about = answer.as_dict(weights=True)
    assert list(about) == ["label", "probability", "probabilities", "weights"]
    assert [word for word, _ in about["weights"]] == ["film", "3", "is", "great", "."]
    assert answer.line(weights=False).split("\t") == [label, probability]


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        ("words", ["电影", "龘", "不", "好看", "！", "Really", "3", "times"]),
        ("characters", [*"电影龘不好看！Really3times"]),
    ],
)
def test_chinese_words_are_shown_as_they_stand(tokenizer: str, words: list[str], tmp_path: Path) -> None:
    """Known or not, spelt in bytes or not; the spaces count for what follows."""
    lines = [f"{'好' if n % 2 else '差'}\t电影 {n} {'很好看' if n % 2 else '不好看'}！" for n in range(24)]
    (tmp_path / "train.tsv").write_text("\n".join(lines), encoding="utf-8")
    sizes = {"model.hidden_size": 5, "model.d_model": 6, "training.steps": 2, "data.tokenizer": tokenizer}
    train(tmp_path / "run", {"data.data": str(tmp_path / "train.tsv"), **sizes})
    (answer,) = open_predictor(tmp_path / "run").predict(["电影 龘 不好看！ Really 3 times"])
    assert [word for word, _ in answer.weights] == words
    assert sum(weight for _, weight in answer.weights) == pytest.approx(1, abs=1e-5)
    _, _, shown = answer.line(weights=True).split("\t")
    assert [each.partition("=")[0] for each in shown.split(" ")] == words


def test_load_gives_a_predictor(trained: Callable[[str], Path]) -> None:
    predictor = seqloom.load(trained("bag"))
    assert isinstance(predictor, Predictor)
    assert [answer.label for answer in predictor.stream(iter(["film 1 is dull .", "film 2 is great ."]))] == [
        "neg",
        "pos",
    ]


def test_a_model_folder_is_all_that_is_needed(trained: Callable[[str], Path]) -> None:
    folder = trained("bag") / "model"
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "labels.json",
        "model.safetensors",
        "text.model",
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "neg, pos" in card
    assert "| accuracy | 100.00 |" in card
    assert 'echo "..." | seqloom predict THIS_FOLDER' in card


# --- what is wrong ---


def test_the_words_of_a_bag_are_not_weighed(trained: Callable[[str], Path]) -> None:
    run = trained("bag")
    with pytest.raises(UserError, match="this model does not weigh words; train one with another"):
        open_predictor(run).require_weights()


def test_a_translator_is_no_predictor(toy_run: Path) -> None:
    with pytest.raises(ModelFolderError, match="is a model for the task 'translate'; use it with seqloom translate"):
        open_predictor(toy_run)


def test_a_classifier_is_no_translator(trained: Callable[[str], Path]) -> None:
    with pytest.raises(ModelFolderError, match="is a model for the task 'classify_text', expected 'translate'"):
        seqloom.translate(trained("bag"), ["a"])


def test_ctranslate2_does_not_run_classifiers(trained: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="the engine ctranslate2 runs translators alone; for classify_text use auto"):
        seqloom.load(trained("bag"), engine="ctranslate2")


@pytest.mark.parametrize(
    ("texts", "message"),
    [("one text", "put the text into a list"), (["a", "\ud800"], "text 2 is not Unicode text")],
)
def test_what_is_no_list_of_texts(texts: Any, message: str, trained: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=message):
        open_predictor(trained("bag")).predict(texts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.kind": "transformer", "model.d_model": 15}, "d_model (15) must be even and a multiple of num_heads"),
        ({"model.widths": [3, 0]}, "widths (3, 0) must be numbers of words, from 1 to 1,000"),
        ({"model.widths": [1001]}, "widths (1001,) must be numbers of words, from 1 to 1,000"),
        ({"data.src": ["a.txt"]}, "'src' is no key of [data]"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(ClassifyText.Config, flags=settings)
    assert message in str(error.value)


def damage(folder: Path, **changes: Any) -> None:
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name, change in changes.items():
        about[name] = {**about[name], **change} if isinstance(change, dict) else change
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"d_model": 15}}, "embedding.weight has shape [25, 14], expected [25, 15]"),
        ({"model": {"kind": "rnn"}}, "config.json: kind: Input should be"),
        ({"model": {"hidden_size": 65_536, "num_layers": 1000}}, "does not fit config.json"),
        ({"reading": {"lowercase": 1}}, "is missing or wrong; the folder is damaged"),
        ({"reading": None}, "is missing or wrong; the folder is damaged"),
    ],
)
def test_a_damaged_folder_is_told(
    changes: dict[str, Any], message: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained("recurrent") / "model", folder)
    damage(folder, **changes)
    with pytest.raises(ModelFolderError) as error:
        open_predictor(folder)
    assert message in str(error.value)


@pytest.mark.parametrize("kind", ["bag", "recurrent"])
def test_weights_that_no_number_comes_of(
    kind: str, trained: Callable[[str], Path], films: Path, tmp_path: Path
) -> None:
    whole = read_model(trained(kind))
    weights = {name: torch.full_like(weight, 3e38) for name, weight in whole.weights.items()}
    about = {key: value for key, value in whole.config.items() if key not in ("files", "format_version")}
    write_model(tmp_path / "huge", about, whole.files, weights)
    predictor = open_predictor(tmp_path / "huge")
    for calculate in (lambda: predictor.predict(["a film"]), lambda: predictor.test([films / "valid.tsv"])):
        with pytest.raises(ModelFolderError, match="huge: what the model calculates is not a number"):
            calculate()


def test_the_task_is_known_by_its_name() -> None:
    assert TASKS["classify_text"] is ClassifyText


def test_padding_is_the_token_of_a_store() -> None:
    """The mask of a batch is told by it."""
    assert PAD == 0


def test_no_room_is_made_for_weights_that_are_not_there(trained: Callable[[str], Path]) -> None:
    folder = read_model(trained("bag"))
    made: list[str] = []

    def build() -> torch.nn.Module:
        layer = torch.nn.Linear(3, 5)
        made.append(layer.weight.device.type)
        return layer

    with pytest.raises(ModelFolderError, match=r"bias has shape \[2\], expected \[5\]"):
        loaded(build, folder)
    assert made == ["meta"]
