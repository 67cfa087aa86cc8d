"""A trained model on real text: the same answer in any company, whatever the line."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

import seqloom
from seqloom.data.tokenizers import SentencePiece
from seqloom.errors import ConfigError, ModelFolderError, UserError
from seqloom.pipeline.engines import Running
from seqloom.pipeline.streaming import as_they_come
from seqloom.pipeline.translator import Translator, load, open_translator
from seqloom.tasks.folder import read_config, sha256, write_model
from seqloom.training.log import LineDisplay
from seqloom.training.session import train_session


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return load(toy_run)


@pytest.fixture(scope="module")
def sources(toy_corpus: Path) -> list[str]:
    return (toy_corpus / "valid.xx").read_text(encoding="utf-8").splitlines()


def test_it_has_learnt_the_toy_language(translator: Translator, sources: list[str], toy_corpus: Path) -> None:
    references = (toy_corpus / "valid.yy").read_text(encoding="utf-8").splitlines()
    found = [result.text for result in translator.translate(sources)]
    right = sum(a == b for a, b in zip(found, references, strict=True))
    assert right > 0.9 * len(references)


@pytest.mark.parametrize("beam", [1, 4])
def test_neighbours_order_and_batch_size_change_nothing(translator: Translator, sources: list[str], beam: int) -> None:
    texts = [*sources, "1 1", "7 7 7 7 7 7", "9"]
    together = translator.translate(texts, beam=beam)
    alone = [translator.translate([text], beam=beam)[0] for text in texts]
    backwards = translator.translate(texts[::-1], beam=beam, batch_tokens=37)[::-1]
    assert [r.text for r in together] == [r.text for r in alone] == [r.text for r in backwards]
    assert [r.score for r in together] == pytest.approx([r.score for r in alone], abs=1e-4)


WAYS = [
    {"length_formula": "gnmt", "length_penalty": 0.2, "coverage_penalty": 0.2},
    {"repetition_penalty": 1.5, "no_repeat_ngram": 2},
    {"max_length_ratio": 1.2, "min_length_ratio": 1.0},
    {"diversity": 0.5, "n_best": 4},
    {"sample": True, "beam": 5, "n_best": 5},
    {"sample": True, "beam": 5, "n_best": 5, "temperature": 1.5, "top_k": 40, "top_p": 0.95, "min_p": 0.01},
    {"mbr": "chrf"},
    {"sample": True, "mbr": "bleu", "beam": 7},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_neighbours_order_and_batch_size_change_nothing_in_any_way(
    translator: Translator, sources: list[str], way: dict[str, Any]
) -> None:
    texts = [*sources[:13], "1 1", "7 7 7 7 7 7", "9"]
    together = translator.translate(texts, **way)
    backwards = translator.translate(texts[::-1], batch_tokens=97, **way)[::-1]
    for one, other in zip(together, backwards, strict=True):
        assert [text for text, _ in one.alternatives] == [text for text, _ in other.alternatives]
        assert one.score == pytest.approx(other.score, abs=1e-4)
    for text, result in zip(texts[::3], together[::3], strict=True):
        assert translator.translate([text], **way)[0].text == result.text


def test_draws_differ_between_sentences_and_seeds(translator: Translator) -> None:
    texts = ["1 2 3", "1 2 4", "1 2 3"]
    way: dict[str, Any] = {"sample": True, "beam": 9, "n_best": 9, "temperature": 3.0}
    drawn = [[text for text, _ in r.alternatives] for r in translator.translate(texts, **way)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert drawn[0] != [text for text, _ in translator.translate(texts, seed=2, **way)[0].alternatives]


def test_each_translation_starts_with_its_prefix(translator: Translator, sources: list[str]) -> None:
    starts = ["zwo ", "nul v", "", "nov. nov. n", "ein ein ein"]
    results = translator.translate(sources[:5], prefixes=starts, n_best=2)
    for result, start in zip(results, starts, strict=True):
        assert all(text.startswith(start.rstrip()) for text, _ in result.alternatives)
    (free,) = translator.translate(sources[2:3], n_best=2)
    assert [text for text, _ in results[2].alternatives] == [text for text, _ in free.alternatives]
    alone = [translator.translate([s], prefixes=[p])[0] for s, p in zip(sources, starts, strict=False)]
    assert [r.text for r in alone] == [r.text for r in results]
    assert translator.translate(sources[:3], prefixes="zwo ")[0].text == results[0].text
    streamed = translator.stream(iter(sources[:5]), prefixes=iter(starts), n_best=2)
    assert [r.text for r in streamed] == [r.text for r in results]


def test_of_a_long_text_the_first_part_starts_with_the_prefix(translator: Translator, sources: list[str]) -> None:
    (long,) = translator.translate([" ".join(text + "." for text in sources)], prefixes=["okt okt okt okt okt okt "])
    assert long.segments > 1
    assert long.text.startswith("okt okt okt okt okt okt ")
    assert long.text.count("okt okt okt okt okt okt ") == 1


def test_mbr_chooses_what_agrees_most(translator: Translator, sources: list[str]) -> None:
    way: dict[str, Any] = {"sample": True, "beam": 15, "temperature": 1.5, "guard": "off"}
    drawn = translator.translate(sources, n_best=15, **way)
    chosen = translator.translate(sources, mbr="chrf", n_best=15, **way)
    best = translator.translate(sources, mbr="chrf", **way)
    assert [r.text for r in best] == [r.text for r in chosen]
    assert [sorted(r.alternatives) for r in chosen] == [sorted(r.alternatives) for r in drawn]
    assert [r.alternatives for r in chosen] != [r.alternatives for r in drawn]


# --- ensembles ---


@pytest.mark.parametrize("way", [{}, {"beam": 1}, {"coverage_penalty": 0.2}, {"sample": True}], ids=str)
def test_an_ensemble_of_one_model_twice_is_the_model(
    translator: Translator, toy_run: Path, sources: list[str], way: dict[str, Any]
) -> None:
    found = load([toy_run, toy_run / "model"]).translate(sources, **way)
    expected = translator.translate(sources, **way)
    assert [r.text for r in found] == [r.text for r in expected]
    assert [r.score for r in found] == pytest.approx([r.score for r in expected], abs=1e-4)


def test_an_ensemble_needs_one_vocabulary(toy_run: Path, toy_corpus: Path, tmp_path: Path) -> None:
    config, weights = read_config(toy_run), load_file(toy_run / "model" / "model.safetensors")
    own = (toy_run / "model" / "src.model").read_bytes()
    other = SentencePiece.train(["nul ein zwo dri vir"] * 9, 300).to_bytes()
    write_model(tmp_path / "src", config, {"src.model": other, "tgt.model": own}, weights)
    write_model(tmp_path / "tgt", config, {"src.model": own, "tgt.model": other}, weights)
    write_model(tmp_path / "way", {**config, "languages": ["yy", "xx"]}, {"src.model": own}, weights)
    for name, message in (
        (
            "src",
            r"src: cannot be in one ensemble, its source vocabulary is not that of \S*model; train the members with",
        ),
        ("tgt", r"tgt: cannot be in one ensemble, its target vocabulary is not that of \S*model"),
        ("way", r"way: cannot be in one ensemble, it translates yy-xx and \S*model xx-yy"),
    ):
        with pytest.raises(ModelFolderError, match=message):
            load([toy_run, toy_run, tmp_path / name])
    with pytest.raises(UserError, match="empty list, expected at least one run or model folder"):
        load([])


def test_n_best_is_sorted_and_starts_with_the_answer(translator: Translator, sources: list[str]) -> None:
    for result in translator.translate(sources[:7], n_best=3):
        scores = [score for _, score in result.alternatives]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        assert result.alternatives[0] == (result.text, result.score)
    assert len(translator.translate(sources[:1], n_best=6)[0].alternatives) == 6  # the beam grows with it


def test_one_answer_for_each_text_and_empty_stays_empty(translator: Translator) -> None:
    texts = ["", " ", "\u3000\t", "1 2", "1 2", "\x00", "🙂‍👩", "</s><pad>", "é", "e\u0301", "a\nb", "x" * 3000]
    results = translator.translate(texts)
    assert len(results) == len(texts)
    assert [r.text for r in results[:3]] == ["", "", ""]
    assert results[3] == results[4]
    assert results[8].text == results[9].text
    assert not any("\n" in r.text for r in results)
    assert translator.translate([]) == []


def test_a_long_text_is_cut_into_sentences_and_put_together(translator: Translator, sources: list[str]) -> None:
    parts = [text + "." for text in sources[:20]] * 20  # 400 sentences, some 4,000 characters
    (long,) = translator.translate([" ".join(parts)])
    pieces = translator.translate(parts)
    assert long.segments >= 20
    assert long.text.count("ein") >= 0.8 * sum(piece.text.count("ein") for piece in pieces)


def test_streaming_answers_before_the_input_ends(translator: Translator, sources: list[str]) -> None:
    answered = threading.Event()

    def lines() -> Iterator[str]:
        yield sources[0]
        assert answered.wait(60), "the first line was not answered while the second was not there"
        yield sources[1]

    stream = translator.stream(lines())
    first = next(stream)
    answered.set()
    rest = list(stream)
    assert [first.text, *(r.text for r in rest)] == [r.text for r in translator.translate(sources[:2])]


def test_an_error_of_the_input_reaches_the_reader(translator: Translator) -> None:
    def lines() -> Iterator[str]:
        yield "1 2"
        raise UserError("line 2 is broken")

    stream = translator.stream(lines())
    with pytest.raises(UserError, match="line 2 is broken"):
        list(stream)


def test_mistakes_are_said(translator: Translator) -> None:
    with pytest.raises(UserError, match="takes a list of texts"):
        translator.translate("1 2")
    with pytest.raises(UserError, match=r"text 2 is not Unicode text"):
        translator.translate(["1", "\ud800"])
    with pytest.raises(ConfigError, match=r"'bean' is no key .* did you mean 'beam'"):
        translator.translate(["1"], bean=2)
    with pytest.raises(ConfigError, match="beam"):
        translator.translate(["1"], beam=0)
    with pytest.raises(UserError, match=r"prefix 2 is not Unicode text"):
        translator.translate(["1", "2"], prefixes=["ein", "\ud800"])
    with pytest.raises(UserError, match="3 prefixes for 2 texts, expected one for each"):
        translator.translate(["1", "2"], prefixes=["a", "b", "c"])
    with pytest.raises(UserError, match="there are 1 prefixes and more lines; expected a prefix for each line"):
        list(translator.stream(["1", "2"], prefixes=["a"]))
    with pytest.raises(UserError, match="there are 1 lines and more prefixes; expected a prefix for each line"):
        list(translator.stream(["1"], prefixes=["a", "b"]))
    with pytest.raises(ConfigError, match=r"^\[decoding\] top_p \(0.5\) is a setting of sampling"):
        translator.translate(["1"], top_p=0.5)
    with pytest.raises(UserError, match="5 translations of each text need a beam of 5 or more, got 3"):
        translator.translate(["1"], beam=3, n_best=5)


def test_the_public_face(toy_run: Path, sources: list[str]) -> None:
    assert seqloom.translate(toy_run, sources[:2], beam=2) == seqloom.load(toy_run).translate(sources[:2], beam=2)
    assert seqloom.load(toy_run).languages == ("xx", "yy")


def test_weights_that_do_not_fit_are_refused(toy_run: Path, tmp_path: Path) -> None:
    weights = load_file(toy_run / "model" / "model.safetensors")
    name = next(iter(sorted(weights)))
    weights[name] = torch.zeros(2, 3)
    config = read_config(toy_run)
    files = {"src.model": (toy_run / "model" / "src.model").read_bytes()}
    write_model(tmp_path / "bad", config, files, weights)
    with pytest.raises(ModelFolderError, match=rf"does not fit config\.json: {name} has shape \[2, 3\], expected"):
        load(tmp_path / "bad")


@pytest.mark.parametrize("engine", ["torch", "ctranslate2"])
def test_weights_that_no_number_comes_of(toy_run: Path, tmp_path: Path, engine: Any) -> None:
    weights = {name: weight * 1e30 for name, weight in load_file(toy_run / "model" / "model.safetensors").items()}
    files = {"src.model": (toy_run / "model" / "src.model").read_bytes()}
    write_model(tmp_path / "huge", read_config(toy_run), files, weights)
    translator = load(tmp_path / "huge", engine=engine)
    for calculate in (lambda: translator.translate(["1 2 3"]), lambda: translator.score(["1 2 3"], ["3 2"])):
        with pytest.raises(ModelFolderError) as error:
            calculate()
        assert str(error.value) == (
            f"{tmp_path / 'huge'}: what the model calculates is not a number, so its weights are damaged or made up; "
            f"take an older copy of the folder"
        )


@pytest.mark.parametrize("beam", [1, 3])
def test_weights_that_no_number_comes_of_where_nobody_asks_for_scores(toy_run: Path, tmp_path: Path, beam: int) -> None:
    weights = {name: weight * 1e30 for name, weight in load_file(toy_run / "model" / "model.safetensors").items()}
    files = {"src.model": (toy_run / "model" / "src.model").read_bytes()}
    write_model(tmp_path / "huge", read_config(toy_run), files, weights)
    with pytest.raises(ModelFolderError, match=r"huge: what the model calculates is not a number"):
        open_translator(tmp_path / "huge", Running(scores=False)).translate(["1 2 3"], beam=beam)


def test_a_stream_that_nobody_reads_to_its_end_ends_its_reader() -> None:
    others = set(threading.enumerate())
    chunks = as_they_come(itertools.count())
    assert next(chunks)[0] == 0
    (reader,) = set(threading.enumerate()) - others
    cast(Any, chunks).close()
    reader.join(timeout=30)
    assert not reader.is_alive()


def test_a_kind_of_model_that_there_is_not(toy_run: Path, tmp_path: Path) -> None:
    config = read_config(toy_run)
    files = {"src.model": (toy_run / "model" / "src.model").read_bytes()}
    for kind, named in (("mixer", "mixer"), ("a" * 10_000, "a" * 60 + "...")):
        write_model(tmp_path / "other", {**config, "model": config["model"] | {"kind": kind}}, files, {})
        with pytest.raises(ModelFolderError) as error:
            load(tmp_path / "other")
        assert str(error.value) == (
            f"{tmp_path / 'other' / 'config.json'}: kind: {named} is none of 'transformer', 'recurrent'; "
            f"the folder is damaged"
        )


def test_a_safetensors_file_that_is_none(toy_run: Path, tmp_path: Path) -> None:
    config = read_config(toy_run)
    write_model(tmp_path / "bad", config, {"src.model": b"no tokenizer"}, {"w": torch.zeros(1)})
    with pytest.raises(ModelFolderError, match=r"src\.model: is not a SentencePiece model"):
        load(tmp_path / "bad")
    save_file({"w": torch.zeros(1)}, tmp_path / "bad" / "src.model")
    assert sha256(tmp_path / "bad" / "src.model")
    with pytest.raises(ModelFolderError, match=r"src\.model: is damaged"):
        load(tmp_path / "bad")


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("model", "d_model", "wide", "d_model"),
        ("model", "num_heads", 3, "multiple of num_heads"),
        ("decoding", "beam", -1, "beam"),
        (None, "languages", [], "languages|IndexError"),
        (None, "task", "juggling", "is a model for the task 'juggling', expected 'translate'"),
    ],
)
def test_a_config_of_wrong_values(
    toy_run: Path, tmp_path: Path, section: str | None, key: str, value: object, message: str
) -> None:
    config = read_config(toy_run)
    (config[section] if section else config)[key] = value
    files = {"src.model": (toy_run / "model" / "src.model").read_bytes()}
    write_model(tmp_path / "bad", config, files, load_file(toy_run / "model" / "model.safetensors"))
    with pytest.raises(ModelFolderError, match=message):
        load(tmp_path / "bad")


def test_a_model_with_so_many_places_says_and_reads_no_more(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    """Learned positions end somewhere; an untrained model does not."""
    places = {"model.positions": "learned", "model.max_positions": 24, "data.max_length": 24, "training.steps": 2}
    train_session(
        tmp_path / "run", "translate", flags={**toy_settings, **places}, display=LineDisplay(Console(quiet=True))
    )
    translator = load(tmp_path / "run")
    assert translator.limit == 23
    (translation,) = translator.translate(["ab " * 50])
    assert translation.segments > 1
    with pytest.raises(UserError, match=r"cannot start with 'ab ab .* an output has at most 24 with its end"):
        translator.translate(["ab"], prefixes="ab " * 24)
    with pytest.raises(UserError, match=r"min_length is 24, and an output of this model has at most 24 tokens"):
        translator.translate(["ab"], min_length=24)


def test_more_tokens_than_places_are_refused_before_training(tmp_path: Path, toy_settings: dict[str, Any]) -> None:
    places = {"model.positions": "random", "model.max_positions": 24, "data.max_length": 25}
    with pytest.raises(ConfigError, match=r"data\.max_length \(25\) is more than the places that the model can tell"):
        train_session(tmp_path / "run", "translate", flags={**toy_settings, **places})
