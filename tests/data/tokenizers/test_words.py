import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.tokenizers import UNK, Words, load_tokenizer, normalize
from seqloom.data.tokenizers.words import cut, join
from seqloom.errors import DataError, ModelFolderError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't buy 1,000.5 well-known books, at 10:30!", "Don't|buy|1,000.5|well-known|books|,|at|10:30|!"),
        ("我们在小镇上买了书。", "我们|在|小镇|上|买|了|书|。"),
        ("用Python写3个程序", "用|Python|写|3|个|程序"),
        ("naïve cafe\u0301 Grüße", "naïve|café|Grüße"),
        ("हिन्दी में", "हिन्दी|में"),
        ("ひらがなカタカナ中国", "ひらがな|カタカナ|中国"),
        ("a_b -- c’est “so”...", "a|_|b|-|-|c’est|“|so|”|.|.|."),
        ("한국어를 말해요", "한국어를|말해요"),
        ("", ""),
    ],
)
def test_text_is_cut_into_words(text, words):
    assert "|".join(cut(normalize(text))) == words


@given(st.text())
def test_words_put_together_are_the_text_without_spaces(text):
    words = list(cut(normalize(text)))
    assert "".join(words) == normalize(text).replace(" ", "")
    assert join(words).replace(" ", "") == "".join(words)


@pytest.mark.parametrize(
    "text",
    [
        'She said, "It is late (very late)," and left.',
        "“Quoted” and ‘quoted’; $5, 10% and 3 — no: 1,000!",
        "我们在小镇上买了3本书，用Python写程序。",
        '"Yes", "no" and "well".',
        "and/or [a] {b} @home #tag",
        "한국어를 말해요.",
    ],
)
def test_spaces_stand_where_they_are_usual(text):
    assert join(list(cut(text))) == text


def test_frequent_words_come_first_and_rare_ones_are_unknown():
    tokenizer = Words.train(["b a a c", "a b b a", "once c"], 7)
    assert tokenizer.pieces(range(tokenizer.vocab_size)) == ["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c"]
    assert tokenizer.encode(["a once c d"]) == [[4, UNK, 6, UNK]]
    assert tokenizer.decode([[4, UNK, 6]]) == ["a ⁇ c"]
    assert Words.train(["b a a c", "a b b a"], 6).pieces([4, 5]) == ["a", "b"]


def test_words_seen_once_are_known_where_there_are_no_others():
    assert Words.train(["one word"], 307).encode(["word one"]) == [[5, 4]]


def test_a_term_is_not_found_inside_of_a_word():
    tokenizer = Words.train(["an air raid main 人工"], 307).appended(["ai", "air raid", "智"], control=False)
    ids = tokenizer.encode(["main ai air raid air 人工智"])
    assert tokenizer.pieces(ids[0]) == ["main", "ai", "air raid", "air", "人工", "智"]


GOOD = {"format": "seqloom words", "version": 1, "words": ["a", "b"], "added": [["<2en>", True], ["c d", False]]}


def test_a_file_is_read(tmp_path):
    tokenizer = load_tokenizer(json.dumps(GOOD).encode())
    assert tokenizer.pieces(range(4, 8)) == ["a", "b", "<2en>", "c d"]
    assert tokenizer.tags == [6]
    assert tokenizer.encode(["b c d"]) == [[5, 7]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "other"}, "the format is 'other', version 1"),
        ({"version": 2}, "the format is 'seqloom words', version 2"),
        ({"words": ["a", "a"]}, "a word stands in it twice"),
        ({"words": ["a", "<2en>"]}, "a word stands in it twice"),
        ({"words": ["<pad>"]}, "a word stands in it twice"),
        ({"words": [""]}, "'' is no word"),
        ({"words": [7]}, "'7' is no word"),
        ({"words": [["a"]]}, r"\"\['a'\]\" is no word"),
        ({"words": ["a" * 1001]}, "'a{20}' is no word"),
        ({"words": ["a\n"]}, r"'a\\n' is not as it would be written"),
        ({"words": ["\ud800"]}, "can't encode"),
        ({"words": 7}, "not iterable"),
        ({"added": [["c"]]}, "not enough values"),
        ({"added": None}, "not iterable"),
    ],
)
def test_nothing_in_a_file_is_trusted(changes, reason):
    content = json.dumps(GOOD | changes).encode()
    with pytest.raises(
        ModelFolderError, match=rf"^m/src\.model: is not a vocabulary of words, or damaged \(.*{reason}.*\); copy the"
    ):
        load_tokenizer(content, "m/src.model")


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"a":' * 9999, b'{"format": "\xff"}', b"{1}"])
def test_what_is_no_json_is_refused(content):
    with pytest.raises(ModelFolderError, match=r"^src\.model: is not a vocabulary of words, or damaged \("):
        load_tokenizer(content, "src.model")


def test_too_many_words_are_refused(monkeypatch):
    monkeypatch.setattr("seqloom.data.tokenizers.words.MAX_WORDS", 3)
    with pytest.raises(ModelFolderError, match=r"more than 3 words"):
        load_tokenizer(json.dumps(GOOD).encode(), "src.model")


def test_an_endless_word_is_not_learnt():
    assert Words.train(["a" * 1001 + " b"] * 2, 307).pieces([4]) == ["b"]
    with pytest.raises(DataError, match="no text to learn"):
        Words.train(["a" * 1001], 307)
