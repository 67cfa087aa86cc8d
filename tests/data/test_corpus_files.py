import json
from pathlib import Path
from typing import Any

import pytest

from seqloom.config import DataConfig
from seqloom.data.corpus_files import CorpusFiles, has_tags, languages_of, open_files
from seqloom.data.readers import Options
from seqloom.errors import ConfigError, DataError
from tests.data.test_languages import BY_SCRIPT, ENGLISH, GERMAN

CHINESE = BY_SCRIPT["zh"] * 3


class Folder:
    """Files by name, and what is said of their languages."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.said: list[str] = []

    def __call__(self, name: str, lines: list[str]) -> str:
        (self.place / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return str(self.place / name)

    def languages(self, **settings: Any) -> tuple[str, str]:
        self.said.clear()
        return languages_of(DataConfig(**settings), self.said.append)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def three(folder) -> dict[str, Any]:
    """Two training files: a pair and one with both sides, and one to validate with."""
    return {
        "src": folder("a.de", GERMAN),
        "tgt": folder("a.en", ENGLISH),
        "data": folder("b.tsv", ["Guten Tag.\tGood day."]),
        "valid_data": folder("v.tsv", ["Gute Nacht.\tGood night."]),
    }


def opened(three: dict[str, Any], **settings: Any) -> CorpusFiles:
    return open_files(DataConfig(**three, **settings), ("de", "en"))


# --- weights, domains, directions ---


@pytest.mark.parametrize("key", ["src_lang", "tgt_lang"])
def test_a_language_that_no_direction_has_is_refused(folder, key):
    with pytest.raises(
        ConfigError, match=rf"data.{key} is fr, which is not in data.directions \(en-de, en-zh\); leave"
    ):
        folder.languages(directions=["en-de", "en-zh"], **{key: "fr"})
    assert folder.languages(directions=["en-de", "en-zh"], src_lang="en-US", tgt_lang="zh") == ("en", "de")


def test_without_any_setting_all_files_count_alike(three):
    files = opened(three)
    assert files.weights == (1, 1)
    assert files.domains == (f"{three['src']} and {three['tgt']}", three["data"])
    assert files.directions == files.valid_directions == ()
    assert [group.options for group in files.train.groups] == [Options("de", "en")] * 2


def test_weights_and_domains_are_in_the_order_of_the_files(three):
    files = opened(three, weights=[0, 2.5], domains=["news", "chat"], inline_tags="keep")
    assert files.weights == (0, 2.5)
    assert files.domains == ("news", "chat")
    assert {group.options for group in files.train.groups + files.valid.groups} == {Options("de", "en", "keep")}


def test_both_directions_double_all(three):
    files = opened(three, both_directions=True, weights=[1, 2], domains=["news", "chat"])
    assert files.weights == (1, 2, 1, 2)
    assert files.domains == ("news", "chat", "news", "chat")
    assert list(map(str, files.directions)) == ["de-en", "de-en", "en-de", "en-de"]
    assert list(map(str, files.valid_directions)) == ["de-en", "en-de"]
    assert [(group, example.src) for group, example in files.valid] == [(0, "Gute Nacht."), (1, "Good night.")]
    assert [group.turned for group in files.train.groups] == [False, False, True, True]


def test_held_out_pairs_have_the_directions_of_the_training_files(three):
    del three["valid_data"]
    for settings in ({"both_directions": True}, {"directions": ["de-en", "en-de"]}):
        files = opened(three, **settings)
        assert files.valid_directions == files.directions


def test_each_file_may_have_its_direction(three):
    files = opened(three, directions=["de-en", "en-fr"], valid_directions="de-fr")
    assert list(map(str, files.directions)) == ["de-en", "en-fr"]
    assert list(map(str, files.valid_directions)) == ["de-fr"]
    assert [group.options for group in files.train.groups] == [Options("de", "en"), Options("en", "fr")]


@pytest.mark.parametrize(
    ("settings", "tags"), [({}, False), ({"both_directions": True}, True), ({"directions": ["de-en"]}, True)]
)
def test_tags_are_needed_for_several_directions(settings, tags):
    assert has_tags(DataConfig(**settings)) is tags


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": [1]}, "data.weights: 1 for 2 training files ({a} and {b}, {c}), expected one for each"),
        ({"weights": [1, 2, 3]}, "data.weights: 3 for 2 training files ({a} and {b}, {c}), expected one for each"),
        ({"domains": "news"}, "data.domains: 1 for 2 training files ({a} and {b}, {c}), expected one for each"),
        ({"weights": [1, -0.5]}, "data.weights: the weight of {c} is -0.5, expected 0 or more"),
        (
            {"weights": [0, 0]},
            "data.weights: all are 0, so nothing is left to train on; give {a} and {b} or another one more",
        ),
        ({"directions": "de-en"}, "data.directions: 1 for 2 training files ({a} and {b}, {c}), expected one for each"),
        (
            {"directions": ["de-en", "de-en"], "valid_directions": "de"},
            "'de' is no direction, expected source-target such as en-de or en-zh-TW",
        ),
        (
            {"directions": ["de-en", "de-en"]},
            "data.valid_directions: expected one for each validation file ({v})",
        ),
        (
            {"directions": ["de-en", "de-en"], "valid_directions": ["de-en", "de-en"]},
            "data.valid_directions: 2 for 1 validation file ({v}), expected one for each",
        ),
        (
            {"directions": ["de-en", "de-cs"], "valid_directions": "en-de"},
            "data.valid_directions: en-de translates into a language that no training file does; "
            "expected one of cs, en",
        ),
        (
            {"valid_directions": "de-en"},
            "data.valid_directions: says which way validation files are translated, but data.directions does not say "
            "that of the training files; give both, or neither",
        ),
        (
            {"directions": ["de-en", "en-de"], "both_directions": True},
            "data.both_directions and data.directions: both were given, expected one of them",
        ),
        (
            {"both_directions": True, "joint_vocab": False},
            "data.joint_vocab is false, but several directions share one vocabulary for all languages; set it to true",
        ),
    ],
)
def test_what_does_not_go_with_the_files(three, settings, message):
    with pytest.raises(ConfigError) as error:
        opened(three, **settings)
    a, b, c, v = (three[key] for key in ("src", "tgt", "data", "valid_data"))
    assert str(error.value) == message.format(a=a, b=b, c=c, v=v)


# --- languages ---


def test_what_is_given_is_not_looked_for(folder):
    assert folder.languages(data="no such file", src_lang="xx", tgt_lang="yy") == ("xx", "yy")
    assert folder.languages(data="no such file", directions=["en-de", "de-en"]) == ("en", "de")
    assert folder.said == []


def test_a_language_is_given_by_its_code(folder):
    with pytest.raises(ConfigError, match=r"^--tgt-lang german: is no code of a language, expected one such as en"):
        folder.languages(data="no such file", src_lang="en", tgt_lang="german")


def test_languages_are_told_by_the_text_and_said(folder):
    src, tgt = folder("a", CHINESE), folder("b", GERMAN + ENGLISH[:2])
    assert folder.languages(src=src, tgt=tgt) == ("zh", "de")
    assert folder.said == [
        "Source language: zh (99 % sure); give --src-lang to set it.",
        f"Target language: de ({folder.said[1][21:23]} % sure); give --tgt-lang to set it.",
    ]
    assert folder.languages(src=src, tgt=tgt, src_lang="zh-CN") == ("zh-CN", "de")
    assert len(folder.said) == 1
    assert folder.languages(src=src, tgt=tgt, both_directions=True) == ("zh", "de")


def test_languages_that_a_file_names_are_taken(folder):
    path = folder("a.jsonl", [json.dumps({"translation": {"xx": "a", "de": "b", "en": "c"}})] * 3)
    assert folder.languages(data=path) == ("de", "en")  # xx is no language
    assert folder.said == [
        f"Source language: de (named by {path}); give --src-lang to set it.",
        f"Target language: en (named by {path}); give --tgt-lang to set it.",
    ]
    assert folder.languages(data=path, src_lang="en") == ("en", "de")


def test_half_of_what_a_file_names_is_taken_too(folder):
    entries = [f'msgid "{en}"\nmsgstr "{de}"\n' for en, de in zip(ENGLISH, GERMAN, strict=True)]
    path = folder("a.po", ['msgid ""\nmsgstr "Language: de_AT\\n"\n'.replace("msgstr ", 'msgstr ""\n'), *entries])
    assert folder.languages(data=path) == ("en", "de_AT")
    assert folder.said[0].startswith("Source language: en (9")
    assert folder.said[1] == f"Target language: de_AT (named by {path}); give --tgt-lang to set it."
    assert folder.languages(data=path, src_lang="de") == ("de", "en")  # the messages are the target then


def test_beside_a_file_without_names_its_text_says_which_side_is_which(folder):
    named = folder("a.jsonl", [json.dumps({"translation": {"zh": "茶", "en": "tea"}})])
    plain = {"src": folder("b.en", ENGLISH), "tgt": folder("b.zh", CHINESE[:10])}
    assert folder.languages(**plain, data=named) == ("en", "zh")
    assert "sure" in folder.said[0]


def test_languages_that_cannot_be_told_are_asked_for(folder):
    src = folder("a", ["1 2 3"] * 50)
    with pytest.raises(
        DataError, match=rf"^{src}: the source language cannot be told from the text \(\w+, \d+ % sure\); "
    ):
        folder.languages(src=src, tgt=folder("b", ["tea"] * 50))
    with pytest.raises(DataError, match=r"a\.tsv: the target language cannot be .*give it with --tgt-lang$"):
        folder.languages(data=folder("a.tsv", [f"{line}\t123" for line in ENGLISH]))
    assert folder.languages(src=src, tgt=folder("b", ENGLISH * 5), src_lang="qaa") == ("qaa", "en")


def test_one_language_on_both_sides_is_refused_unless_it_is_given(folder):
    src, tgt = folder("a", ENGLISH), folder("b", ENGLISH[::-1])
    for given in ({}, {"src_lang": "en"}, {"tgt_lang": "en-GB"}):
        with pytest.raises(DataError) as error:
            folder.languages(src=src, tgt=tgt, **given)
        assert str(error.value) == (
            f"{src}, {tgt}: source and target are both in en, expected two languages; "
            f"give --src-lang and --tgt-lang if that is meant"
        ).replace("in en", f"in {given.get('src_lang', 'en')}")
    assert folder.languages(src=src, tgt=tgt, src_lang="en", tgt_lang="en") == ("en", "en")


def test_without_any_text_nothing_is_said(folder):
    assert folder.languages(data=folder("a.tsv", [])) == ("", "")
    assert folder.said == []


def test_the_text_is_sampled_from_all_files(folder, monkeypatch):
    monkeypatch.setattr("seqloom.data.corpus_files.LOOKED_AT", 100)
    monkeypatch.setattr("seqloom.data.corpus_files.SAMPLED", 20)
    one = {"src": [folder("a", GERMAN * 20)], "tgt": [folder("b", ENGLISH * 20)]}
    assert folder.languages(**one) == ("de", "en")
    swapped = {"src": [*one["src"], *one["tgt"]], "tgt": [*one["tgt"], *one["src"]]}
    with pytest.raises(DataError, match=r"a, .*b: the source language cannot be told from the text"):
        folder.languages(**swapped)


def test_units_that_are_left_out_tell_no_language(folder):
    good = [f'msgid "{de}"\nmsgstr "{en}"\n' for de, en in zip(GERMAN, ENGLISH, strict=True)]
    fuzzy = [f'#, fuzzy\nmsgid "{line}"\nmsgstr "{line}"\n' for line in CHINESE * 5]
    assert folder.languages(data=folder("a.po", fuzzy + good)) == ("de", "en")
