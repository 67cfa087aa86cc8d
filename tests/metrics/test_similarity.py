"""Every pair at once against sacreBLEU, pair by pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from seqloom.metrics.similarity import SIMILARITIES

TEXTS = st.lists(
    st.text("abcd ,.我你喜欢\u00a0\U00020000", max_size=12)
    | st.sampled_from(["aa aa aa aa aa", "The cat sat on the mat."]),
    min_size=1,
    max_size=5,
)


@given(texts=TEXTS)
def test_chrf_is_sacrebleus(texts):
    metric = CHRF()
    expected = [[metric.sentence_score(answer, [reference]).score for reference in texts] for answer in texts]
    assert np.allclose(SIMILARITIES["chrf"](texts, "en"), expected)


@given(texts=TEXTS, language=st.sampled_from([("en", "13a"), ("zh-CN", "zh"), ("ja", "char")]))
def test_bleu_is_sacrebleus(texts, language):
    name, tokenization = language
    metric = BLEU(tokenize=tokenization, effective_order=True)
    expected = [[metric.sentence_score(answer, [reference]).score for reference in texts] for answer in texts]
    assert np.allclose(SIMILARITIES["bleu"](texts, name), expected)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_text_is_most_like_itself(name):
    texts = ["Two dogs play in the snow.", "Two dogs run in the snow.", "A girl sings.", "Two dogs play in the snow."]
    found = SIMILARITIES[name](texts, "en")
    assert found.diagonal() == pytest.approx([100] * 4)
    assert found[0, 3] == pytest.approx(100)
    assert found[0, 1] > found[0, 2]
