import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seqloom.data import tokenizers
from seqloom.data.tokenizers import (
    BOS,
    EOS,
    NUM_SPECIAL,
    PAD,
    UNK,
    SentencePiece,
    load_tokenizer,
    normalize,
    pad,
    truncate,
)
from seqloom.errors import DataError, ModelFolderError

CORPUS = [
    text
    for i in range(211)
    for text in (f"We bought {i} books in the small town.", f"我们在小镇上买了{i}本书。", "</s> <pad> <unk> <s> <0x41>")
]


@pytest.fixture(scope="module")
def tokenizer() -> SentencePiece:
    return SentencePiece.train(CORPUS, 353)


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


UNUSUAL = [
    "",
    " \u3000 ",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪",
    "שלום \u200fעולם مرحبا",
    "\0 \x01\x1b[0m\x7f\u200b\ufeff\ufffd\uffff",
    "\u2581a\u2581\u2581b",
    "▅▅ ⁇ ▅",
    "</s> <pad><unk><s> <0x41><0xE4>",
    "e\u0301 한국어 \u1112\u1161\u11ab",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0010ffff \ue000",
    "a\tb\r\nc\x85d\u2028e\x0cf",
    "1234567890 ١٢٣ Ⅷ ½",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from([*UNUSUAL, *CORPUS[:3], "\u0301", " ", "0"])).map("".join)))
def test_any_text_comes_back(tokenizer, text):
    (ids,) = tokenizer.encode([text])
    assert tokenizer.decode([ids]) == [normalize(text)]
    assert all(NUM_SPECIAL <= i < tokenizer.vocab_size for i in ids)
    assert bool(ids) == bool(normalize(text))


@pytest.mark.parametrize("text", UNUSUAL)
def test_unusual_text_comes_back(tokenizer, text):
    (ids,) = tokenizer.encode([text])
    assert tokenizer.decode([ids]) == [normalize(text)]
    assert min(ids, default=NUM_SPECIAL) >= NUM_SPECIAL


def test_every_character_of_unicode_comes_back(tokenizer):
    characters = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]
    texts = ["".join(characters[start : start + 997]) for start in range(0, len(characters), 997)]
    ids = tokenizer.encode(texts)
    assert tokenizer.decode(ids) == [normalize(text) for text in texts]
    assert UNK not in set().union(*ids)


def test_composed_and_decomposed_text_have_the_same_ids(tokenizer):
    text = "Grüße, café, Việt Nam, 한국"
    composed, decomposed = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert composed != decomposed
    assert tokenizer.encode([composed]) == tokenizer.encode([decomposed])


def test_frequent_words_are_pieces_and_digits_stand_alone(tokenizer):
    (ids,) = tokenizer.encode(["We bought 42 books 我们在小镇上买了"])
    assert tokenizer.pieces(ids)[:5] == ["▁We", "▁bought", "▁", "4", "2"]
    assert "我们在小镇上买了" in "".join(tokenizer.pieces(ids)[-3:])
    pieces = tokenizer.pieces(range(NUM_SPECIAL + 256, tokenizer.vocab_size))
    assert [piece for piece in pieces if len(piece) > 1 and any(c.isdigit() for c in piece)] == []


def test_special_tokens_leave_no_trace_in_text(tokenizer):
    (ids,) = tokenizer.encode(["small town"])
    assert tokenizer.decode([[BOS, *ids, EOS, PAD, UNK, PAD], [], [EOS]]) == ["small town", "", ""]


def test_decoded_text_is_one_line_whatever_the_model_says(tokenizer):
    newline = tokenizer.pieces(range(tokenizer.vocab_size)).index("<0x0A>")
    broken = tokenizer.pieces(range(tokenizer.vocab_size)).index("<0xE4>")
    (a,) = tokenizer.encode(["a"])
    assert tokenizer.decode([[*a, newline, newline, *a, broken]]) == ["a a�"]


def test_training_is_deterministic_to_the_byte(tokenizer):
    assert SentencePiece.train(CORPUS, 353).to_bytes() == tokenizer.to_bytes()
    assert SentencePiece.train(iter(CORPUS), 353).to_bytes() == tokenizer.to_bytes()
    assert SentencePiece.train(CORPUS[::-1], 353).vocab_size == tokenizer.vocab_size


def test_the_model_does_not_depend_on_the_machine(tokenizer, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 61)
    assert SentencePiece.train(CORPUS, 353).to_bytes() == tokenizer.to_bytes()


def test_vocabulary_has_the_size_asked_for(tokenizer):
    assert tokenizer.vocab_size == 353


def test_smaller_corpus_has_a_smaller_vocabulary():
    tokenizer = SentencePiece.train(["one word"], 8009)
    assert NUM_SPECIAL + 256 < tokenizer.vocab_size < 300
    assert tokenizer.decode(tokenizer.encode(["words 不"])) == ["words 不"]


def test_more_characters_than_pieces():
    # 3,001 characters, the first ones often, in a vocabulary with room for 600 of them.
    common = "".join(chr(0x4E00 + i) for i in range(601))
    texts = [common[i : i + 7] for i in range(600)] * 5 + [chr(0x5100 + i) + "rare" for i in range(2400)]
    tokenizer = SentencePiece.train(texts, 1201)
    pieces = tokenizer.pieces(range(NUM_SPECIAL + 256, tokenizer.vocab_size))
    assert tokenizer.vocab_size <= 1201
    alone = [piece for piece in pieces if len(piece) == 1]
    assert 400 < len(alone) <= (1201 - 260) // 2 + 2
    assert len(pieces) - len(alone) > 400
    assert tokenizer.decode(tokenizer.encode(texts[-3:])) == texts[-3:]


def test_character_coverage_spells_rare_characters_in_bytes():
    texts = ["aaaa bbbb cccc dddd"] * 499 + ["x"]
    spelt = {
        coverage: len(SentencePiece.train(texts, 307, coverage).encode(["x"])[0]) for coverage in (1.0, 0.999, 0.6)
    }
    assert spelt == {1.0: 1, 0.999: 2, 0.6: 2}  # "▁x", then "▁" and a byte
    few = SentencePiece.train(["aaa", "b", "cc"] * 101, 307, 0.6)
    assert [len(ids) for ids in few.encode(["aa", "bb"])] == [1, 3]


def test_nothing_is_learnt_across_a_rare_character():
    tokenizer = SentencePiece.train(["ab\U0001f600cd"] * 3 + ["efgh"] * 9001, 331, 0.9995)
    pieces = tokenizer.pieces(range(NUM_SPECIAL + 256, tokenizer.vocab_size))
    assert "▁efgh" in pieces
    assert all("\U0001f600" not in piece and "bc" not in piece for piece in pieces)


def test_a_sentence_with_the_reserved_character_is_learnt_from():
    tokenizer = SentencePiece.train([f"▅ wonderful {i}" for i in range(97)], 307)
    assert "▁wonderful" in tokenizer.pieces(range(tokenizer.vocab_size))


@pytest.mark.parametrize("texts", [[], ["", "  ", "\u3000\u2581"]])
def test_no_text_is_an_error(texts):
    with pytest.raises(DataError, match=r"^there is no text to learn a vocabulary from$"):
        SentencePiece.train(texts, 307)


def test_a_large_corpus_is_sampled_evenly_from_both_sides(monkeypatch):
    monkeypatch.setattr(tokenizers, "MAX_TRAINING_CHARACTERS", 1009)
    texts = [side for i in range(1000) for side in (f"s{i:03d}", f"t{i:03d}")]
    kept = tokenizers._sample(iter(texts))
    assert 1009 // 3 - 4 < sum(map(len, kept)) <= 1009
    sides = Counter(text[0] for text in kept)
    assert abs(sides["s"] - sides["t"]) <= 1
    assert [sum(text[1] == str(d) for text in kept) for d in range(10)] == pytest.approx([len(kept) / 10] * 10, abs=2)
    monkeypatch.setattr(tokenizers, "MAX_TRAINING_CHARACTERS", 8000)
    assert tokenizers._sample(iter(texts)) == texts


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    path = tmp_path / "src.model"
    path.write_bytes(tokenizer.to_bytes())
    loaded = load_tokenizer(path)
    assert loaded.to_bytes() == tokenizer.to_bytes()
    assert loaded.encode(CORPUS) == tokenizer.encode(CORPUS)
    assert loaded.vocab_size == tokenizer.vocab_size


def test_missing_model_file(tmp_path):
    with pytest.raises(ModelFolderError, match=r"src\.model: cannot be read \(.+\); the model folder is not whole$"):
        load_tokenizer(tmp_path / "src.model")


@pytest.mark.parametrize("model", [b"", b"\0", b"this is a text\n", b"\xff" * 1009], ids=["empty", "nul", "text", "ff"])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(ModelFolderError, match=r"^x/src\.model: (is not a SentencePiece model|the special tokens are)"):
        SentencePiece(model, "x/src.model")


def test_cut_off_model_is_refused(tokenizer):
    model = tokenizer.to_bytes()
    for length in range(0, len(model), 97):
        with pytest.raises(ModelFolderError, match=r"^cut: "):
            SentencePiece(model[:length], "cut")


def test_special_tokens_elsewhere_are_refused(tokenizer):
    model = tokenizer.to_bytes().replace(b"<pad>", b"<qad>", 1)
    with pytest.raises(ModelFolderError, match=r"^other: the special tokens are \[.*\], expected \[0, 1, 2, 3\]"):
        SentencePiece(model, "other")


DAMAGE = """
import random, sys
from seqloom.data.tokenizers import SentencePiece
from seqloom.errors import ModelFolderError
model, random, refused = sys.stdin.buffer.read(), random.Random(1), 0
for _ in range(997):
    damaged = bytearray(model)
    damaged[random.randrange(len(model))] ^= 1 << random.randrange(8)
    try:
        SentencePiece(bytes(damaged))
    except ModelFolderError:
        refused += 1
print(refused)
"""


def test_damage_never_ends_the_process(tokenizer):
    done = subprocess.run([sys.executable, "-c", DAMAGE], input=tokenizer.to_bytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert 100 < int(done.stdout) < 997


def test_truncate_cuts_and_counts():
    assert truncate([[4, 5, 6], [7], [], [8, 9]], 2) == ([[4, 5], [7], [], [8, 9]], 1)
    assert truncate([], 2) == ([], 0)


def test_padding_stands_at_the_end():
    assert pad([[5, 7, 9], [], [6]]).tolist() == [[5, 7, 9], [PAD] * 3, [6, PAD, PAD]]
    assert pad([]).shape == (0, 0)
