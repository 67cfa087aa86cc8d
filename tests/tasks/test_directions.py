import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from seqloom.data.languages import Direction, choose_direction
from seqloom.data.tokenizers import EOS
from seqloom.errors import ConfigError, ModelFolderError, UserError
from seqloom.export.store import find_export
from seqloom.metrics.translation import score_translations
from seqloom.pipeline import probe
from seqloom.pipeline.comparison import compare_systems
from seqloom.pipeline.engines import WithTorch, read_translator
from seqloom.pipeline.evaluation import evaluate
from seqloom.pipeline.exporting import export
from seqloom.pipeline.quantization import Proof
from seqloom.pipeline.translator import load
from seqloom.tasks import torch_engine
from seqloom.tasks.directions import score_by_direction
from seqloom.training.log import LineDisplay
from seqloom.training.session import train_session

ONE = [Direction("en", "de")]
BOTH = [Direction("en", "de"), Direction("de", "en")]
INTO_ONE = [Direction("de", "en"), Direction("fr", "en")]
NARROWER = [Direction("en", "zh"), Direction("en", "zh-TW"), Direction("zh-TW", "en"), Direction("zh", "en")]
MANY = [Direction("en", "de"), Direction("en", "zh-CN"), Direction("de", "en"), Direction("fr", "en")]


@pytest.mark.parametrize(
    ("known", "src", "tgt", "chosen"),
    [
        (ONE, "", "", "en-de"),
        (ONE, "en-US", "de", "en-de"),
        (BOTH, "", "en", "de-en"),
        (BOTH, "en", "", "en-de"),
        (INTO_ONE, "", "", "de-en"),
        (INTO_ONE, "fr", "", "fr-en"),
        (MANY, "", "zh", "en-zh-CN"),
        (MANY, "", "en", "de-en"),
        (MANY, "fr", "", "fr-en"),
        (NARROWER, "", "zh", "en-zh"),
        (NARROWER, "", "zh_tw", "en-zh-TW"),
        (NARROWER, "", "zh-HK", "en-zh"),
        (NARROWER, "zh", "en", "zh-en"),
        (NARROWER, "zh-TW", "", "zh-TW-en"),
        (NARROWER, "en-GB", "zh", "en-zh"),
    ],
)
def test_a_direction_is_chosen_by_its_languages(known, src, tgt, chosen):
    assert str(choose_direction(known, src, tgt)) == chosen


@pytest.mark.parametrize(
    ("known", "src", "tgt", "message"),
    [
        (ONE, "", "fr", "this model translates en-de and not ?-fr; ask for that, or load another model"),
        (ONE, "de", "en", "this model translates en-de and not de-en; ask for that, or load another model"),
        (
            BOTH,
            "",
            "fr",
            "the tag <2fr> is not in the vocabulary of this model, which translates en-de, de-en; ask for one of these",
        ),
        (BOTH, "", "", "this model translates en-de, de-en; say into which language, by tgt_lang or --tgt-lang"),
        (BOTH, "fr", "", "this model translates en-de, de-en and not fr-?; ask for that, or load another model"),
        (
            MANY,
            "en",
            "",
            "this model translates en-de, en-zh-CN, de-en, fr-en; say into which language, by tgt_lang or --tgt-lang",
        ),
        (NARROWER, "en", "", "this model translates en-zh, en-zh-TW, zh-TW-en, zh-en; say into which language"),
        (MANY, "fr", "de", "this model translates en-de, en-zh-CN, de-en, fr-en and not fr-de; ask for that, or load"),
    ],
)
def test_a_direction_that_is_not_known_or_not_clear(known, src, tgt, message):
    with pytest.raises(UserError) as error:
        choose_direction(known, src, tgt)
    assert str(error.value).startswith(message)


GERMAN, CHINESE = "Der Hund schläft heute im Garten.", "狗今天在花园里睡觉。"


def test_one_direction_is_scored_as_its_target_is():
    answers, references = [CHINESE, "狗在睡觉。"], [CHINESE] * 2
    values, signatures = score_by_direction(answers, references, [Direction("en", "zh")] * 2)
    expected = score_translations(answers, references, "zh", ("bleu", "chrf"))
    assert values == {name: score.value for name, score in expected.items()}
    assert signatures == {name: score.signature for name, score in expected.items()}
    assert "tok:zh" in signatures["bleu"]


def test_several_directions_are_scored_each_as_its_target_is_and_on_average():
    into_german, into_chinese = Direction("zh", "de"), Direction("de", "zh")
    answers = [GERMAN, "狗在花园里睡觉。", "Der Hund schläft im Garten."]
    references = [GERMAN, CHINESE, GERMAN]
    values, signatures = score_by_direction(answers, references, [into_german, into_chinese, into_german])
    german = score_translations(answers[::2], references[::2], "de", ("bleu", "chrf"))
    chinese = score_translations(answers[1:2], references[1:2], "zh", ("bleu", "chrf"))
    assert list(values) == ["bleu", "chrf", "bleu_zh-de", "chrf_zh-de", "bleu_de-zh", "chrf_de-zh"]
    assert values["bleu_zh-de"] == german["bleu"].value
    assert values["chrf_de-zh"] == chinese["chrf"].value
    assert values["bleu"] == pytest.approx((german["bleu"].value + chinese["bleu"].value) / 2)
    assert signatures["bleu"] == "mean of zh-de, de-zh"
    assert "tok:13a" in signatures["bleu_zh-de"]
    assert "tok:zh" in signatures["bleu_de-zh"]


# --- a model of both directions, from its files to its translations ---


@pytest.fixture(scope="module")
def two_way_run(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on files that name their languages, hardly trained: tags and files are looked at here."""
    folder = tmp_path_factory.mktemp("two-way")
    for name in ("train", "valid"):
        sides = ((toy_corpus / f"{name}.{side}").read_text(encoding="utf-8").splitlines() for side in ("xx", "yy"))
        pairs = [{"translation": {"sv": src, "de": tgt}} for src, tgt in zip(*sides, strict=True)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    train(folder)
    return folder / "run"


def train(folder: Path, **flags: Any) -> list[str]:
    """Trains or resumes the run, and returns what was said."""
    said: list[str] = []
    display = LineDisplay(Console(quiet=True))
    display.say = said.append  # type: ignore[method-assign, assignment]
    settings = {
        "data.data": [str(folder / "train.jsonl")],
        "data.valid_data": [str(folder / "valid.jsonl")],
        "data.both_directions": True,
        "data.domains": ["numbers"],
        "data.vocab_size": 307,
        "data.batch_tokens": 997,
        "model.d_model": 18,
        "model.d_ff": 19,
        "model.num_heads": 3,
        "model.num_layers": 1,
        "training.steps": 5,
        "training.warmup": 2,
        "training.precision": "float32",
        "decoding.max_length": 17,
    }
    train_session(folder / "run", "translate", flags=settings | flags, display=display)
    return said


def test_languages_directions_and_domains_are_stored(two_way_run):
    config = json.loads((two_way_run / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["languages"] == ["sv", "de"]
    assert config["directions"] == ["sv-de", "de-sv"]
    assert config["data"]["domains"] == {"numbers": 614}
    assert config["vocab_sizes"] == [309, 309]
    assert set(config["scores"]["valid"]) == {
        "valid_loss",
        *("bleu", "bleu_sv-de", "bleu_de-sv"),
        *("chrf", "chrf_sv-de", "chrf_de-sv"),
    }
    assert config["scores"]["signatures"]["bleu"] == "mean of sv-de, de-sv"
    card = (two_way_run / "model" / "README.md").read_text(encoding="utf-8")
    assert "# A translator for sv-de, de-sv" in card
    assert "--tgt-lang de" in card


def test_the_same_command_resumes_without_detecting_anew(two_way_run, monkeypatch):
    monkeypatch.setattr("seqloom.data.prepare.languages_of", None)
    assert "This run is finished (5 steps)" in train(two_way_run.parent)[-1]


def test_the_source_has_the_tag_of_the_language_that_is_wanted(two_way_run, monkeypatch):
    seen: list[list[int]] = []
    decode = torch_engine.decode

    def watched(model: Any, sources: Any, *rest: Any) -> Any:
        seen.extend(sources.ids.tolist())
        return decode(model, sources, *rest)

    monkeypatch.setattr(torch_engine, "decode", watched)
    translator = load(two_way_run, engine="torch")
    tokenizer = translator.setup.src_tokenizer
    (text,) = tokenizer.encode(["1 2 3"])
    for language in ("sv", "de"):
        seen.clear()
        (result,) = translator.translate(["1 2 3"], tgt_lang=language, guard="off")
        assert seen == [[tokenizer.id_of(f"<2{language}>"), *text, EOS]]
        assert translator.towards(tgt_lang=language).translate(["1 2 3"], guard="off") == [result]
        assert translator.towards(tgt_lang=language).languages == ({"sv": "de", "de": "sv"}[language], language)
    assert translator.translate(["", "1"], tgt_lang="de", guard="off")[0].text == ""


def test_the_wanted_language_changes_the_probability(two_way_run):
    translator = load(two_way_run)
    one, other = (translator.towards(tgt_lang=language).score(["1 2"], ["ein zwo"])[0] for language in ("sv", "de"))
    assert one.log_prob != other.log_prob


def test_a_model_of_several_languages_asks_for_one(two_way_run):
    translator = load(two_way_run)
    message = "this model translates sv-de, de-sv; say into which language"
    with pytest.raises(UserError, match=message):
        translator.translate(["1 2 3"])
    with pytest.raises(UserError, match=message):
        translator.score(["1"], ["ein"])
    with pytest.raises(UserError, match=r"^the tag <2fr> is not in the vocabulary of this model"):
        translator.translate(["1 2 3"], tgt_lang="fr")


def test_a_training_that_starts_from_it_needs_directions_too(two_way_run, tmp_path):
    for name in ("train.jsonl", "valid.jsonl"):
        shutil.copy(two_way_run.parent / name, tmp_path)
    origin = {"training.init_from": str(two_way_run)}
    with pytest.raises(ConfigError, match=r"model: translates sv-de, de-sv, told apart by tags, and this training"):
        train(tmp_path, **origin, **{"data.both_directions": False})
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    train(tmp_path, **origin)
    assert load(tmp_path / "run").towards(tgt_lang="sv").languages == ("de", "sv")


def test_test_sets_are_scored_in_their_direction(two_way_run, toy_corpus):
    src, ref = toy_corpus / "valid.yy", toy_corpus / "valid.xx"
    report = evaluate(load(two_way_run).towards("de", "sv"), src, ref, bootstrap=0)
    assert len(report.translations) == 31
    compared = compare_systems(two_way_run, two_way_run, ref, src, "sv", metrics=("bleu",), resamplings=7)
    assert compared.as_dict(0)["ties"] == 31
    with pytest.raises(UserError, match="say into which language"):
        compare_systems(two_way_run, two_way_run, ref, src)


def test_a_type_is_used_when_it_is_proven_into_each_language(two_way_run, toy_corpus, tmp_path, monkeypatch):
    model = Path(shutil.copytree(two_way_run / "model", tmp_path / "model"))
    speed = {"float32": 1.0, "int8": 2.0}
    monkeypatch.setattr(
        probe, "_timed", lambda export, setup, shape: probe.Choice(export.variant, shape, speed[export.variant])
    )
    refused: set[str] = set()
    monkeypatch.setattr(Proof, "accepted", property(lambda self: self.direction.tgt not in refused))
    monkeypatch.setattr(Proof, "judge", "chrF++")

    def in_use() -> str:
        engine = load(model).towards(tgt_lang="de").engine
        assert isinstance(engine, WithTorch)
        return engine.fast.export.variant

    def measure(src: str, tgt: str, out: Path | None = None) -> str:
        said: list[str] = []
        files = {"sv": toy_corpus / "valid.xx", "de": toy_corpus / "valid.yy"}
        export(model, out, "int8", (files[src], files[tgt]), (src, tgt), say=said.append)
        return said[-1]

    assert measure("sv", "de") == (
        "int8 is not used by default before it is accepted into sv as well; measure that with --tgt-lang."
    )
    assert in_use() == "float32"
    assert "in turns" in measure("de", "sv", tmp_path / "out")  # nothing is left to do
    assert in_use() == "int8"
    found, _ = find_export(read_translator(model), "int8")
    assert found is not None
    assert {target: proof["direction"] for target, proof in found.proofs.items()} == {"de": "sv-de", "sv": "de-sv"}
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "on 31 sentences, sv-de: BLEU" in card
    assert "on 31 sentences, de-sv: BLEU" in card
    refused.add("sv")
    with pytest.raises(UserError, match="it is not used any more"):
        measure("de", "sv")
    assert in_use() == "float32"
    with pytest.raises(UserError, match=r"it is not used\."):
        measure("de", "sv")
    assert "into sv as well" in measure("sv", "de")
    refused.clear()
    measure("de", "sv")
    assert in_use() == "int8"


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (
            ["sv-fr"],
            "'<2fr>' is not in the vocabulary; the tags in it are: <2de>, <2sv>; the folder is dam",
        ),
        (
            ["sv"],
            "'sv' is no direction, expected source-target such as en-de or en-zh-TW; the folder is dam",
        ),
    ],
)
def test_directions_that_are_not_those_of_the_vocabulary(two_way_run, tmp_path, directions, message):
    folder = tmp_path / "model"
    shutil.copytree(two_way_run / "model", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"directions": directions}), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=message):
        load(folder)
