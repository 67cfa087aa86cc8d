import io
import random
from itertools import pairwise

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.tokenizers import NUM_SPECIAL, SentencePiece, model_proto
from seqloom.data.tokenizers.tokenizer import SPECIAL_PIECES

CORPUS = [f"a small model of {i} words" for i in range(101)]


@pytest.fixture(scope="module")
def model() -> bytes:
    return SentencePiece.train(CORPUS, 283).to_bytes()


@pytest.mark.parametrize(("kind", "expected"), [("unigram", 1), ("bpe", 2), ("char", 4)])
def test_the_type_of_a_model(kind, expected):
    assert model_proto.model_type(SentencePiece.train(CORPUS, 283, kind=kind).to_bytes()) == expected


def test_a_model_that_does_not_say_is_a_unigram_model():
    assert model_proto.model_type(model_proto.piece("a", model_proto.USER_DEFINED)) == model_proto.UNIGRAM


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300))
def test_a_piece_is_read_as_it_was_written(model, text):
    longer = model + model_proto.piece(f"<2{text}>", model_proto.CONTROL)
    processor = sentencepiece.SentencePieceProcessor(model_proto=longer)
    last = processor.get_piece_size() - 1
    assert processor.id_to_piece(last) == f"<2{text}>"
    assert processor.is_control(last)


@pytest.mark.parametrize("damaged", [b"\x0a", b"\x0a\x05ab", b"\x80", b"\x0b", b"\xff" * 11, b"\x0d\0\0"])
def test_damage_is_an_error(damaged):
    with pytest.raises(ValueError, match=r"at byte \d+"):
        model_proto.model_type(damaged)


def trained(letters, kind, byte_fallback=False):
    """A model of made-up words."""
    draw = random.Random(3)
    words = ["".join(draw.choices(letters, k=draw.randint(1, 7))) for _ in range(61)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(" ".join(draw.choices(words, k=9)) for _ in range(307)),
        model_writer=model,
        model_type=kind,
        vocab_size=353 if byte_fallback else 97,
        byte_fallback=byte_fallback,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


def both(kind, byte_fallback=False):
    """A model of the letters a to h, and the same with the vocabulary of e to m beside its own."""
    model = trained("abcdefgh", kind, byte_fallback)
    processors = [
        sentencepiece.SentencePieceProcessor(model_proto=each) for each in (model, trained("efghijklm", "bpe"))
    ]
    pieces = sorted({each.id_to_piece(i) for each in processors for i in range(3, each.get_piece_size())})
    changed = model_proto.with_vocabulary(model, pieces, SPECIAL_PIECES)
    return pieces, processors[0], sentencepiece.SentencePieceProcessor(model_proto=changed)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_pieces_of_another_model_change_no_cut(kind):
    _, before, after = both(kind)
    draw = random.Random(5)
    texts = ["".join(draw.choices("abcdefgh ", k=17)) for _ in range(1009)]
    assert after.encode(texts, out_type=str) == before.encode(texts, out_type=str)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_letter_that_a_model_does_not_know_is_the_one_of_the_vocabulary(kind):
    """As Marian's tokenizer has it: SentencePiece's pieces as text, looked up."""
    pieces, before, after = both(kind)
    draw = random.Random(7)
    texts = ["".join(draw.choices("abcdefghijkmz ", k=17)) for _ in range(1009)]
    alone = [text for text in texts if not any(set(pair) <= set("ijkmz") for pair in pairwise(text))]
    expected = [
        [piece if piece in pieces else "<unk>" for piece in each] for each in before.encode(alone, out_type=str)
    ]
    found = [after.id_to_piece(ids) for ids in after.encode(alone)]
    assert found == expected
    assert {"i", "j", "k", "m", "<unk>"} <= {piece for each in found for piece in each}
    runs = [piece for piece in pieces if len(piece) > 1 and set(piece) <= set("ijklm")]
    assert runs
    if kind == "unigram":  # where BPE has to have all the parts as well
        assert [after.id_to_piece(ids)[1:] for ids in after.encode(runs)] == [[run] for run in runs]


def test_to_a_model_that_spells_in_bytes_nothing_is_unknown():
    _, before, after = both("bpe", byte_fallback=True)
    assert after.encode("ai", out_type=str) == before.encode("ai", out_type=str) == ["\u2581a", "<0x69>"]


def test_a_piece_without_text_is_an_error(model):
    for damaged in (b"\x0a\x00", b"\x0a\x07\x0a\x01a\x12\x02ab"):
        with pytest.raises(ValueError, match="a piece without its text"):
            model_proto.with_vocabulary(model + damaged, ["a"] * NUM_SPECIAL, SPECIAL_PIECES)
