import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.tokenizers import SentencePiece, model_proto

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
