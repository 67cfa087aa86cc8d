"""What holds for every tokenizer, by the name that a recipe gives it."""

import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seqloom.data.tokenizers import (
    BOS,
    EOS,
    NUM_SPECIAL,
    PAD,
    TOKENIZERS,
    UNK,
    Tokenizer,
    initial_pieces,
    load_tokenizer,
    normalize,
    open_tokenizer,
    pad,
)
from seqloom.errors import ConfigError, DataError, ModelFolderError

CORPUS = [
    text
    for i in range(211)
    for text in (f"We bought {i} books in the small town.", f"我们在小镇上买了{i}本书。", "</s> <pad> <unk> <s> <0x41>")
]
TEXTS = ["We bought 42 books.", "我们在小镇上买了书。", "small town 小镇"]
LOSSLESS = {"bpe", "unigram", "characters"}
SAMPLED = {"bpe", "unigram"}


@pytest.fixture(scope="module", params=TOKENIZERS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(name: str) -> Tokenizer:
    return TOKENIZERS[name](CORPUS, 353, 0.9998)


any_text = st.one_of(
    st.text(), st.lists(st.sampled_from([*CORPUS[:3], *TEXTS, "\u0301", " ", "日", "<2xx>"])).map("".join)
)


@given(any_text)
@example("")
@example("龘 😀 books")
def test_what_each_token_stands_for(name, tokenizer, text):
    surfaces = tokenizer.surfaces(text)
    assert len(surfaces) == len(tokenizer.encode([text])[0])
    spelt = "".join(surfaces)
    assert spelt == normalize(text) if name in LOSSLESS else spelt == normalize(text).replace(" ", "")


@given(any_text)
@example("")
@example(" \u3000 ")
@example("\0 \x01\x7f\u200b\ufeff\ufffd\uffff \U0010ffff")
def test_any_text_has_tokens_and_they_have_a_text(name, tokenizer, text):
    (ids,) = tokenizer.encode([text])
    assert bool(ids) == bool(normalize(text))
    assert all(0 <= i < tokenizer.vocab_size for i in ids)
    assert not {PAD, BOS, EOS, *tokenizer.tags} & set(ids)
    (back,) = tokenizer.decode([ids])
    assert back == normalize(back)
    if name in LOSSLESS:
        assert UNK not in ids
        assert back == normalize(text)


def by_its_definition(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).replace("\u2581", " ").split())


@given(st.text(st.one_of(st.characters(), st.sampled_from(" \u3000\u2581\xa0\n"))))
def test_a_text_is_normalized_by_its_definition(text):
    assert normalize(text) == by_its_definition(text)


def test_so_is_every_character_in_every_place():
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        assert normalize(f"a{character}b") == by_its_definition(f"a{character}b")
        if not character.isprintable() or unicodedata.combining(character):
            for text in (character, f"{character}b", f"a{character}"):
                assert normalize(text) == by_its_definition(text)


def test_several_texts_are_cut_as_if_each_were_alone(tokenizer):
    ids = tokenizer.encode(["", *TEXTS])
    assert ids == [tokenizer.encode([text])[0] for text in ["", *TEXTS]]
    assert tokenizer.decode(ids) == [tokenizer.decode([sequence])[0] for sequence in ids]
    assert ids[0] == []
    assert tokenizer.encode([]) == tokenizer.decode([]) == []


def test_known_text_comes_back(tokenizer):
    texts = [CORPUS[0], CORPUS[1]]
    assert tokenizer.decode(tokenizer.encode(texts)) == texts


def test_special_tokens_are_the_first_four(tokenizer):
    assert tokenizer.pieces([PAD, UNK, BOS, EOS]) == ["<pad>", "<unk>", "<s>", "</s>"]
    assert NUM_SPECIAL < tokenizer.vocab_size <= 353
    assert tokenizer.tags == []


def test_special_tokens_leave_no_trace_but_the_unknown_is_shown(tokenizer):
    (ids,) = tokenizer.encode(["small town"])
    assert tokenizer.decode([[BOS, *ids, EOS, PAD, PAD], [], [EOS]]) == ["small town", "", ""]
    assert tokenizer.decode([[*ids, UNK]]) == ["small town ⁇"]


def test_every_piece_leads_to_its_token(tokenizer):
    assert [tokenizer.id_of(piece) for piece in tokenizer.pieces(range(tokenizer.vocab_size))] == list(
        range(tokenizer.vocab_size)
    )


def test_a_piece_that_is_not_there(tokenizer):
    with pytest.raises(DataError, match=r"^'<2xx>' is not in the vocabulary; the tags in it are: none$"):
        tokenizer.id_of("<2xx>")
    tagged = tokenizer.appended(["<2zh>", "<2en>"], control=True)
    with pytest.raises(DataError, match=r"^'<2xx>' is not in the vocabulary; the tags in it are: <2zh>, <2en>$"):
        tagged.id_of("<2xx>")


def test_the_same_text_gives_the_same_file(name, tokenizer):
    assert TOKENIZERS[name](iter(CORPUS), 353, 0.9998).to_bytes() == tokenizer.to_bytes()


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    tokenizer = tokenizer.appended(["<2zh>"], control=True).appended(["book shop", "书店"], control=False)
    path = tmp_path / "src.model"
    path.write_bytes(tokenizer.to_bytes())
    texts = [*CORPUS[:3], "a book shop 书店"]
    for loaded in (load_tokenizer(path), load_tokenizer(tokenizer.to_bytes()), open_tokenizer(path)):
        assert type(loaded) is type(tokenizer)
        assert loaded.to_bytes() == tokenizer.to_bytes()
        assert loaded.encode(texts) == tokenizer.encode(texts)
        assert loaded.vocab_size == tokenizer.vocab_size
        assert loaded.tags == tokenizer.tags


@pytest.mark.parametrize("texts", [[], ["", "  ", "\u3000\u2581"]])
def test_no_text_is_an_error(name, texts):
    with pytest.raises(DataError, match=r"^there is no text to learn a vocabulary from$"):
        TOKENIZERS[name](texts, 307, 0.9998)


def test_a_tag_is_no_text(name, tokenizer):
    tagged = tokenizer.appended(["<2zh>", "<2en>"], control=True)
    assert tagged.tags == [tokenizer.vocab_size, tokenizer.vocab_size + 1]
    assert [tagged.id_of("<2zh>"), tagged.id_of("<2en>")] == tagged.tags
    assert tagged.pieces(tagged.tags) == ["<2zh>", "<2en>"]
    assert tagged.vocab_size == tokenizer.vocab_size + 2
    texts = [*TEXTS, "<2zh> <2en>", "<2zh>"]
    assert tagged.encode(texts) == tokenizer.encode(texts)
    ids = tokenizer.encode(TEXTS)
    assert tagged.decode([[tagged.tags[0], *ids[0]], ids[1], [*ids[2], tagged.tags[1]]]) == tokenizer.decode(ids)
    assert tagged.decode([tagged.tags]) == [""]


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("Kubernetes", "We bought Kubernetes."),
        ("deep learning", "In the deep learning town"),
        ("购物车", "我们在购物车上买了书。"),
        ("Straße", "Strasse or Stra\u00dfe"),
    ],
)
def test_a_term_is_one_token_wherever_it_stands(name, tokenizer, term, text):
    with_term = tokenizer.appended(["<2zh>"], control=True).appended([term], control=False)
    number = tokenizer.vocab_size + 1
    assert with_term.tags == [number - 1]
    ids = with_term.encode([text, term, *TEXTS])
    assert [sequence.count(number) for sequence in ids] == [1, 1, 0, 0, 0]
    assert ids[2:] == tokenizer.encode(TEXTS)
    assert with_term.decode(ids[1:2]) == [term]
    if name in LOSSLESS:
        assert with_term.decode(ids[:1]) == [text]
    if name in SAMPLED:
        assert all(sequence.count(number) == 1 for sequence in with_term.sampled([text] * 31, 0.5, seed=1))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), st.text())
def test_text_with_any_term_comes_back(name, tokenizer, term, text):
    if name in LOSSLESS and normalize(term) and normalize(term) not in tokenizer.pieces(range(tokenizer.vocab_size)):
        with_term = tokenizer.appended([term], control=False)
        texts = [term, term + text, f"{text} {term} {text}"]
        assert with_term.decode(with_term.encode(texts)) == [normalize(text) for text in texts]


def test_a_piece_that_is_there_already_is_not_added(tokenizer):
    known = tokenizer.pieces(range(tokenizer.vocab_size))[-1]
    tagged = tokenizer.appended(["<2zh>"], control=True)
    message = "^{} cannot be added to the vocabulary: it is in it already; leave it out$"
    for old, pieces, repeated in (
        (tokenizer, ["new", known], known),
        (tagged, ["<2zh>"], "<2zh>"),
        (tokenizer, ["new", "new "], "new"),
    ):
        with pytest.raises(DataError, match=message.format(repr(repeated.strip()))):
            old.appended(pieces, control=True)


@pytest.mark.parametrize(
    ("piece", "why"),
    [
        (" \u3000", "'' cannot be added to the vocabulary: it is empty"),
        ("a\0b", r"'a\\x00b' cannot be added to the vocabulary: it holds a null character"),
        ("a" * 1001, f"'{'a' * 50}' cannot be added to the vocabulary: it has more than 1,000 characters"),
    ],
)
def test_what_cannot_be_a_piece_is_not_added(tokenizer, piece, why):
    with pytest.raises(DataError, match=f"^{why}$"):
        tokenizer.appended(["new", piece], control=False)


def test_a_new_piece_starts_from_those_it_was_cut_into(name, tokenizer):
    terms = ["bookstore", "小镇书", "town"]
    for term, ids in zip(terms, initial_pieces(tokenizer, terms), strict=True):
        assert ids
        assert all(0 < i < tokenizer.vocab_size for i in ids)
        assert "▁" not in tokenizer.pieces(ids)
        if name in LOSSLESS:
            assert tokenizer.decode([ids]) == [term]
    assert initial_pieces(tokenizer, []) == []


def test_nothing_left_out_is_the_usual_cut(tokenizer):
    assert tokenizer.sampled(CORPUS[:7], 0.0, seed=3) == tokenizer.encode(CORPUS[:7])


def test_a_random_cut_is_a_function_of_its_arguments(name, tokenizer):
    texts = ["", *CORPUS[:59]]
    if name not in SAMPLED:
        with pytest.raises(ConfigError, match=r"data\.subword_dropout cuts words anew in each pass.*; set it to 0$"):
            tokenizer.sampled(texts, 0.1, seed=1)
        return
    usual = tokenizer.encode(texts)
    drawn = tokenizer.sampled(texts, 0.5, seed=1)
    assert tokenizer.decode(drawn) == [normalize(text) for text in texts]
    assert drawn[0] == []
    assert sum(a != b for a, b in zip(drawn, usual, strict=True)) > 5
    assert sum(map(len, drawn)) > sum(map(len, usual))
    tokenizer.sampled(texts, 0.5, seed=2)  # leaves nothing behind
    assert tokenizer.sampled(texts, 0.5, seed=1) == drawn
    assert load_tokenizer(tokenizer.to_bytes()).sampled(texts, 0.5, seed=1) == drawn
    assert tokenizer.sampled(texts, 0.5, seed=2) != drawn
    assert tokenizer.sampled(texts[1:2], 0.9, seed=1) == tokenizer.sampled(texts[1:2], 0.9, seed=1)
    more = tokenizer.sampled(texts, 0.9, seed=1)
    assert sum(map(len, more)) > sum(map(len, drawn))


@given(any_text, st.floats(0, 0.99), st.integers(0, 2**32))
def test_a_random_cut_spells_the_text(name, tokenizer, text, dropout, seed):
    if name in SAMPLED:
        (ids,) = tokenizer.sampled([text], dropout, seed)
        assert tokenizer.decode([ids]) == [normalize(text)]
        assert min(ids, default=NUM_SPECIAL) >= NUM_SPECIAL


def test_missing_file(tmp_path):
    with pytest.raises(ModelFolderError, match=r"src\.model: cannot be read \(.+\); the model folder is not whole$"):
        load_tokenizer(tmp_path / "src.model")
    with pytest.raises(DataError, match=r"my\.model: cannot be read \(.+\); data\.tokenizer_file names it$"):
        open_tokenizer(tmp_path / "my.model")


def test_a_file_that_is_much_too_large_is_not_read(tmp_path):
    path = Path(tmp_path / "src.model")
    with open(path, "wb") as file:
        file.truncate((1 << 28) + 1)
    with pytest.raises(ModelFolderError, match=r"src\.model: cannot be read \(has 268,435,457 bytes, more than"):
        load_tokenizer(path)


@given(st.text())
@example("a \u0301b\u3000\u2028c")
@example("\x1f\x85\u2581\u2581")
def test_normalize_keeps_all_but_white_space_and_composition(text):
    kept = normalize(text)
    assert normalize(kept) == kept
    assert unicodedata.is_normalized("NFC", kept)
    assert kept.split(" ") == [part for part in kept.split() if part] or kept == ""
    assert kept.replace(" ", "") == "".join(unicodedata.normalize("NFC", text).replace("\u2581", " ").split())


def test_normalize_leaves_the_writers_forms():
    assert normalize("Ｆｕｌｌ－ｗｉｄｔｈ，“quotes”　and ﬁ ") == "Ｆｕｌｌ－ｗｉｄｔｈ，“quotes” and ﬁ"


def test_padding_stands_at_the_end():
    assert pad([[5, 7, 9], [], [6]]).tolist() == [[5, 7, 9], [PAD] * 3, [6, PAD, PAD]]
    assert pad([]).shape == (0, 0)
