import io
import subprocess
import sys
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.tokenizers import BOS, EOS, NUM_SPECIAL, PAD, UNK, SentencePiece, normalize, open_tokenizer, subwords
from seqloom.errors import ConfigError, DataError, ModelFolderError

CORPUS = [
    text
    for i in range(211)
    for text in (f"We bought {i} books in the small town.", f"我们在小镇上买了{i}本书。", "</s> <pad> <unk> <s> <0x41>")
]


@pytest.fixture(scope="module")
def tokenizer() -> SentencePiece:
    return SentencePiece.train(CORPUS, 353)


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


def test_a_large_corpus_is_sampled_evenly_from_both_sides(monkeypatch):
    monkeypatch.setattr(subwords, "MAX_TRAINING_CHARACTERS", 1009)
    texts = [side for i in range(1000) for side in (f"s{i:03d}", f"t{i:03d}")]
    kept = subwords._sample(iter(texts))
    assert 1009 // 3 - 4 < sum(map(len, kept)) <= 1009
    sides = Counter(text[0] for text in kept)
    assert abs(sides["s"] - sides["t"]) <= 1
    assert [sum(text[1] == str(d) for text in kept) for d in range(10)] == pytest.approx([len(kept) / 10] * 10, abs=2)
    monkeypatch.setattr(subwords, "MAX_TRAINING_CHARACTERS", 8000)
    assert subwords._sample(iter(texts)) == texts


def test_long_words_weigh_more_in_a_sample(monkeypatch):
    monkeypatch.setattr(subwords, "MAX_TRAINING_CHARACTERS", 10_007)
    short = ["我 爱 购物 " * 3 for _ in range(400)]
    assert len(subwords._sample(short)) == 400
    kept = subwords._sample(["我爱购物" * 5 for _ in range(400)])
    assert 10_007 // 3 - 200 < 200 * len(kept) <= 10_007


def test_what_is_not_sampled_is_not_normalized(monkeypatch):
    monkeypatch.setattr(subwords, "MAX_TRAINING_CHARACTERS", 1009)
    seen: list[str] = []

    def normalized(text: str) -> str:
        seen.append(text)
        return normalize(text)

    monkeypatch.setattr(subwords, "normalize", normalized)
    subwords._sample(f"text {i:05d}" for i in range(10_000))
    assert len(seen) < 1000


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


def own_model(path: Path, **options: Any) -> sentencepiece.SentencePieceProcessor:
    """A model of the user's, written to ``path`` with SentencePiece's own defaults and ``options``."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        **{"vocab_size": 97, "hard_vocab_limit": False, "minloglevel": 2} | options,
    )
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


OWN = {
    "sentencepiece's defaults": {},
    "bpe": {"model_type": "bpe"},
    "words": {"model_type": "word"},
    "characters": {"model_type": "char"},
    "as in T5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "other names": {"pad_id": 3, "pad_piece": "[PAD]", "unk_piece": "[UNK]", "bos_piece": "[B]", "eos_piece": "[E]"},
    "with tags": {"control_symbols": ["<2zh>", "<pad>"], "user_defined_symbols": ["town"]},
    "in bytes": {"byte_fallback": True, "vocab_size": 353, "normalization_rule_name": "nfkc_cf"},
}


@pytest.mark.parametrize("options", OWN.values(), ids=OWN)
def test_an_own_model_cuts_as_it_did(tmp_path, options):
    theirs = own_model(tmp_path / "my.model", **options)
    ours = open_tokenizer(tmp_path / "my.model")
    texts = [*CORPUS[:6], "Ｆｕｌｌ ﬁ", "town 日本", ""]
    ids = ours.encode(texts)
    unknown = {theirs.unk_id(): UNK}
    assert [[theirs.piece_to_id(piece) for piece in ours.pieces(sequence)] for sequence in ids] == theirs.encode(texts)
    assert [[i == UNK for i in sequence] for sequence in ids] == [
        [i in unknown for i in sequence] for sequence in theirs.encode(texts)
    ]
    assert ours.decode(ids) == [normalize(text) for text in theirs.decode(theirs.encode(texts))]
    assert not {PAD, BOS, EOS} & {i for sequence in ids for i in sequence}
    assert sorted(ours.pieces(range(NUM_SPECIAL, ours.vocab_size))) == sorted(
        piece
        for piece in map(theirs.id_to_piece, range(theirs.get_piece_size()))
        if piece not in ours.pieces(range(NUM_SPECIAL))
    )
    assert ours.pieces(ours.tags) == (["<2zh>"] if "control_symbols" in options else [])


def test_an_own_model_that_is_like_ours_stays_as_it_is(tmp_path, tokenizer):
    (tmp_path / "my.model").write_bytes(tokenizer.to_bytes())
    assert open_tokenizer(tmp_path / "my.model").to_bytes() == tokenizer.to_bytes()


def test_other_programs_find_the_special_tokens_of_an_own_model(tmp_path):
    own_model(tmp_path / "my.model", pad_id=-1)
    ours = sentencepiece.SentencePieceProcessor(model_proto=open_tokenizer(tmp_path / "my.model").to_bytes())
    assert [ours.pad_id(), ours.unk_id(), ours.bos_id(), ours.eos_id()] == [PAD, UNK, BOS, EOS]


@pytest.mark.parametrize("content", [b"", b"\0", b"this is a text\n", b"\xff" * 1009, b"<unk>\t0\n<s>\t0\n"])
def test_an_own_file_that_is_no_model(tmp_path, content):
    path = tmp_path / "my.vocab"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        open_tokenizer(path)
    what = "is not a SentencePiece model; data.tokenizer_file takes" if content else "is empty, expected"
    assert str(error.value) == f"{path}: {what} the .model file of SentencePiece"


def test_an_own_model_whose_padding_is_text(tmp_path):
    own_model(tmp_path / "my.model", user_defined_symbols=["<pad>"])
    with pytest.raises(
        DataError, match=r"my\.model: its piece '<pad>' is ordinary text, expected a control piece or none"
    ):
        open_tokenizer(tmp_path / "my.model")


def test_an_own_model_with_one_way_to_cut(tmp_path):
    own_model(tmp_path / "my.model", model_type="char")
    with pytest.raises(
        ConfigError, match=r"my\.model: data\.subword_dropout .* a bpe or unigram model can and this one"
    ):
        open_tokenizer(tmp_path / "my.model").sampled(["a"], 0.1, seed=1)


def test_more_merges_left_out_cut_finer(tokenizer):
    text = ["We bought books in the small town. 我们在小镇上买了书。"] * 101
    tokens = [sum(map(len, tokenizer.sampled(text, dropout, seed=5))) for dropout in (0.0, 0.05, 0.2, 0.999999)]
    characters = len(text[0].replace(" ", "▁")) + 1
    assert tokens == sorted(tokens)
    assert tokens[-1] == 101 * characters


def test_a_share_of_the_texts_is_drawn_from_the_unigram_lattice():
    tokenizer = SentencePiece.train(CORPUS, 353, kind="unigram")
    texts = CORPUS[:1] * 2003
    (usual,) = tokenizer.encode(CORPUS[:1])
    # Drawing may give the usual cut again, in the same share of all draws.
    all_drawn = sum(ids != usual for ids in tokenizer.sampled(texts, 0.999999, seed=2)) / 2003
    for dropout in (0.1, 0.5):
        share = sum(ids != usual for ids in tokenizer.sampled(texts, dropout, seed=3)) / 2003
        assert share == pytest.approx(dropout * all_drawn, abs=0.04)


def test_sampling_threads_do_not_disturb_each_other(tokenizer):
    alone = [tokenizer.sampled(CORPUS[:97], 0.3, seed) for seed in range(7)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda seed: tokenizer.sampled(CORPUS[:97], 0.3, seed), range(7))) == alone
