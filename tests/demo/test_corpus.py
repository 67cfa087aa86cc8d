# SPDX-License-Identifier: Apache-2.0
"""The demo corpus is large, clean, free of leaks and the same on every machine."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo"
TOPICS = {
    "greetings", "shopping", "food", "travel", "time", "numbers", "weather", "family", "work",
    "health", "questions", "negation", "comparison",
}  # fmt: skip
# Words whose first sound is not what their first letter says.
AN_BEFORE_CONSONANT_LETTER = {"hour", "honest"}
A_BEFORE_VOWEL_LETTER = {"one", "once", "university", "useful", "European", "used", "uniform"}


def load_composer() -> ModuleType:
    """Import demo/compose.py, which is in no package, by its path."""
    spec = importlib.util.spec_from_file_location("demo_compose", DEMO / "compose.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_compose"] = module
    spec.loader.exec_module(module)
    return module


composer: Any = load_composer()


@pytest.fixture(scope="module")
def corpus() -> Any:
    """The whole corpus, composed once."""
    return composer.compose()


@pytest.fixture(scope="module")
def pairs(corpus: Any) -> list[Any]:
    """All pairs of all splits."""
    return [pair for split in corpus.splits().values() for pair in split]


def test_counts(corpus: Any, pairs: list[Any]) -> None:
    assert len({(pair.zh, pair.en) for pair in pairs}) >= 24_000
    assert sum(pair.topic == "handwritten" for pair in pairs) >= 450
    assert len(corpus.valid) == 400
    assert len(corpus.combinations) == 500
    assert len(corpus.handwritten) >= 100
    assert 10 <= len(corpus.examples) <= 12


def test_each_sentence_has_one_translation(pairs: list[Any]) -> None:
    assert len({pair.zh for pair in pairs}) == len(pairs)
    assert len({pair.en for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("name", ["valid", "test.combinations", "test.handwritten", "examples"])
def test_no_split_leaks_into_training(corpus: Any, name: str) -> None:
    held_out = corpus.splits()[name]
    assert not {pair.zh for pair in held_out} & {pair.zh for pair in corpus.train}
    assert not {pair.en for pair in held_out} & {pair.en for pair in corpus.train}


def test_every_held_out_word_is_trained(corpus: Any) -> None:
    words = {word for pair in corpus.train for word in pair.words}
    characters = set("".join(pair.zh for pair in corpus.train))
    english = {token for pair in corpus.train for token in tokens(pair.en)}
    for pair in corpus.valid + corpus.combinations:
        assert set(pair.words) <= words
    for pair in corpus.valid + corpus.combinations + corpus.examples:
        assert set(pair.zh) <= characters
        assert set(tokens(pair.en)) <= english


def tokens(sentence: str) -> list[str]:
    """The words and numbers of an English sentence, in small letters."""
    return re.findall(r"[a-z0-9']+", sentence.lower())


def test_every_topic_contributes(corpus: Any) -> None:
    topics = [pair.topic for pair in corpus.train]
    for topic in TOPICS:
        assert topics.count(topic) >= 500, topic
        assert any(pair.topic == topic for pair in corpus.combinations), topic


def test_the_first_example_is_new_to_the_model(corpus: Any) -> None:
    first = corpus.examples[0]
    assert (first.zh, first.en) == ("我爱购物。", "I love shopping.")
    assert "我爱购物。" not in {pair.zh for pair in corpus.train}
    assert sum(pair.zh.startswith("我爱") for pair in corpus.train) >= 20
    assert sum("shopping" in pair.en for pair in corpus.train) >= 50


def test_chinese_conventions(pairs: list[Any]) -> None:
    for pair in pairs:
        assert re.fullmatch(r"[\u4e00-\u9fff0-9，。？！]+", pair.zh), pair
        assert pair.zh[-1] in "。？！", pair


def test_english_conventions(pairs: list[Any]) -> None:
    for pair in pairs:
        assert re.fullmatch(r"[A-Za-z0-9 ,.?!'-]+", pair.en), pair
        assert re.match(r"[A-Z0-9]", pair.en), pair
        assert pair.en[-1] in ".?!", pair
        assert not re.search(r"  | [,.?!]|^ | $|\bi\b", pair.en), pair


def test_a_question_is_a_question_in_both_languages(pairs: list[Any]) -> None:
    for pair in pairs:
        assert (pair.zh[-1] == "？") == (pair.en[-1] == "?"), pair


def test_articles_agree(pairs: list[Any]) -> None:
    for pair in pairs:
        for article, word in re.findall(r"(?<!['\w])([Aa]n?) ([A-Za-z]+)", pair.en):
            vowel = word[0].lower() in "aeiou" and word not in A_BEFORE_VOWEL_LETTER
            vowel = vowel or word in AN_BEFORE_CONSONANT_LETTER
            assert (article.lower() == "an") == vowel, pair


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in ``folder``."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_bytes_under_any_hash_seed(corpus: Any, tmp_path: Path) -> None:
    composer.write(corpus, tmp_path / "here")
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, str(DEMO / "compose.py"), str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        )
        assert b"train: " in done.stdout
    here = files_of(tmp_path / "here")
    assert files_of(tmp_path / "0") == files_of(tmp_path / "1") == here
    assert set(here) == {f"{name}.{side}" for name in corpus.splits() for side in ("zh", "en")}
    for name in corpus.splits():
        assert here[f"{name}.zh"].count(b"\n") == here[f"{name}.en"].count(b"\n")
        assert b"\r" not in here[f"{name}.zh"] + here[f"{name}.en"]


def test_writes_over_its_own_files_only(corpus: Any, tmp_path: Path) -> None:
    composer.write(corpus, tmp_path)
    composer.write(corpus, tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(composer.CorpusError, match=r"notes\.txt"):
        composer.write(corpus, tmp_path)


WORDS = "list food: zh | en | be\n米饭 | rice | is\n面条 | noodles | are\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (WORDS + "鱼 | fish\n", 4),
        (WORDS + "鱼 | rice | is\n", 4),
        (WORDS + "米饭 | rice | is\n", 4),
        (WORDS + "list food: zh | en\n", 4),
        ("list food: zh | plural\n", 1),
        ("list food: zh\n", 1),
        (WORDS + "list all = food + drink\n", 4),
        ("米饭 | rice\n", 1),
        (WORDS + "cap many\n", 4),
        (WORDS + "{food}好吃。 = {food} {food.be} tasty.\n", 4),
        (WORDS + "cap 9\n{drink}好喝。 = {drink} is tasty.\n", 5),
        (WORDS + "cap 9\n{food}好吃。 = {food.plural} are tasty.\n", 5),
        (WORDS + "cap 9\n{food}好吃。 = {food is tasty.\n", 5),
        (WORDS + "cap 9\n{food}好吃。 = It is tasty.\n", 5),
        (WORDS + "cap 9\n好吃。 = It is tasty.\n", 5),
        (WORDS + "cap 9\n{food}好吃。 = {food.who.form} is tasty.\n", 5),
        (WORDS + "cap 9\n{FOOD}好吃。 = {FOOD} is tasty.\n", 5),
    ],
)
def test_a_broken_grammar_names_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "lunch.txt").write_text("# Lunch.\n" + text, encoding="utf-8")
    with pytest.raises(composer.CorpusError, match=rf"^lunch\.txt:{line + 1}: "):
        composer.read_grammar(tmp_path)


def test_two_translations_name_both_lines(tmp_path: Path) -> None:
    text = WORDS + "cap 9\n{food}好吃。 = {food} is tasty.\n{food}好吃。 = {food} is good.\n"
    (tmp_path / "lunch.txt").write_text(text, encoding="utf-8")
    with pytest.raises(composer.CorpusError, match=r"lunch\.txt:5 and lunch\.txt:6"):
        composer.compose_pairs(composer.read_grammar(tmp_path))


def test_a_leak_names_both_lines() -> None:
    train = composer.Pair("你好！", "Hello!", "a.txt:1", "a")
    for other in (
        composer.Pair("你好！", "Hi!", "b.txt:2", "b"),
        composer.Pair("嗨！", "Hello!", "b.txt:2", "b"),
    ):
        with pytest.raises(composer.CorpusError, match=r"a\.txt:1 and b\.txt:2"):
            composer.check_distinct([train], [other])


def test_an_untrained_word_is_refused() -> None:
    train = composer.Pair("茶。", "Tea.", "a.txt:1", "a", (("茶", "tea"),))
    other = composer.Pair("水。", "Water.", "a.txt:2", "a", (("水", "water"),))
    with pytest.raises(composer.CorpusError, match=r"a\.txt:2.*水"):
        composer.check_words_trained([train], [train, other])


def test_a_broken_pair_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "handwritten.tsv"
    path.write_text("# short\n你好！\tHello!\n再见！ Goodbye!\n", encoding="utf-8")
    with pytest.raises(composer.CorpusError, match=r"^handwritten\.tsv:3: "):
        composer.read_pairs(path)


def test_command_line_reports_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert composer.main([str(tmp_path)]) == 1
    assert "notes.txt" in capsys.readouterr().err
