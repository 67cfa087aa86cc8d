from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.pipeline.segment import join, segment, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("我爱购物。你呢？我也是！", ["我爱购物。", "你呢？", "我也是！"]),
        ("他说：“你好。”她笑了。", ["他说：“你好。”", "她笑了。"]),
        ("One. Two! Three? Four", ["One. ", "Two! ", "Three? ", "Four"]),
        (
            "Mr. Smith met Dr. Wang at 3.14 p.m. today. Then J. Doe came.",
            ["Mr. Smith met Dr. Wang at 3.14 p.m. today. ", "Then J. Doe came."],
        ),
        ('He said "Stop." Then he left.', ['He said "Stop." ', "Then he left."]),
        ("Wait… what?! Yes.", ["Wait… ", "what?! ", "Yes."]),
        ("真的吗？！是的。", ["真的吗？！", "是的。"]),
        ("यह एक घर है। वह बड़ा है।", ["यह एक घर है। ", "वह बड़ा है।"]),
        ("یہ گھر ہے۔ کیا وہ بڑا ہے؟ ہاں۔", ["یہ گھر ہے۔ ", "کیا وہ بڑا ہے؟ ", "ہاں۔"]),
        ("no end at all", ["no end at all"]),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def count(texts: Sequence[str]) -> list[int]:
    return [len(text.encode()) + 1 for text in texts]


@given(st.text(alphabet=st.sampled_from("ab .,。，！? \u3000é🙂"), max_size=400), st.integers(11, 60))
def test_nothing_is_lost_and_everything_fits(text: str, limit: int) -> None:
    parts = segment(text, limit, count)
    assert "".join(parts) == text
    assert all(size <= limit for size in count(parts))


def test_a_text_that_fits_is_left_whole() -> None:
    assert segment("One. Two. Three.", 17, count) == ["One. Two. Three."]
    assert segment("One. Two. Three.", 16, count) == ["One. ", "Two. ", "Three."]


def test_a_sentence_without_any_mark_is_cut_between_words() -> None:
    parts = segment("word " * 100, 26, count)
    assert set(parts) == {"word " * 4}


def test_joining_knows_who_writes_spaces() -> None:
    assert join(["你好。", "", "再见。"], "zh-CN") == "你好。再见。"
    assert join(["Hello.", "", "Bye."], "en") == "Hello. Bye."


def test_a_megabyte_of_abbreviations_takes_no_hour():
    assert split_sentences("Mr. " * (1 << 18)) == ["Mr. " * (1 << 18)]
    assert split_sentences("Ask Prof. No. 7. Go.") == ["Ask Prof. No. 7. ", "Go."]
