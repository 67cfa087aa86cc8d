import json
import math

import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from seqloom.metrics.translation import bleu_tokenization, score_translations

ENGLISH = (
    ["The cat sat on the mat.", "I love shopping!", "It's 3.5 o'clock - isn't it?", "", "Two dogs run (fast)."],
    ["A cat sat on the mat.", "I love shopping.", "It is 3.5 o'clock, isn't it?", "Hello there.", "Two dogs run fast."],
)
CHINESE = (
    ["我爱购物。", "今天天气好。", "他有3只猫,在家", "你好吗?"],
    ["我很爱购物。", "今天的天气很好。", "他家里有3只猫。", "你好吗？"],
)


@pytest.mark.parametrize(
    ("language", "texts", "bleu", "ter"),
    [
        ("en", ENGLISH, BLEU(tokenize="13a"), TER()),
        ("de-AT", ENGLISH, BLEU(tokenize="13a"), TER()),
        ("", ENGLISH, BLEU(tokenize="13a"), TER()),
        ("zh", CHINESE, BLEU(tokenize="zh"), TER(normalized=True, asian_support=True)),
        ("zh_CN", CHINESE, BLEU(tokenize="zh"), TER(normalized=True, asian_support=True)),
        ("ja", CHINESE, BLEU(tokenize="char"), TER(normalized=True, asian_support=True)),
    ],
)
def test_scores_are_those_of_sacrebleu(language, texts, bleu, ter):
    hypotheses, references = texts
    scores = score_translations(hypotheses, references, language)
    assert list(scores) == ["bleu", "chrf", "ter"]
    for score, metric in zip(scores.values(), (bleu, CHRF(word_order=2), ter), strict=True):
        assert score.value == metric.corpus_score(hypotheses, [references]).score
        assert 0 < score.value < 100
        assert score.signature == metric.get_signature().format(short=True)
        assert (score.low, score.high) == (None, None)


def test_signatures_name_the_options():
    chinese = score_translations(*CHINESE, "zh-Hant")
    assert "|tok:zh|" in chinese["bleu"].signature
    assert "|nw:2|" in chinese["chrf"].signature
    assert "|as:yes|" in chinese["ter"].signature
    english = score_translations(*ENGLISH, "en")
    assert "|tok:13a|" in english["bleu"].signature
    assert "|as:no|" in english["ter"].signature


@pytest.mark.parametrize(
    ("language", "tokenization"),
    [
        ("zh", "zh"),
        ("ZH-tw", "zh"),
        ("ja_JP", "char"),
        ("th", "char"),
        ("en", "13a"),
        ("", "13a"),
        ("zha", "13a"),
        ("zho_Hans", "zh"),
        ("cmn", "zh"),
        ("jpn", "char"),
        ("zh-Latn", "13a"),
    ],
)
def test_tokenization_by_language(language, tokenization):
    assert bleu_tokenization(language) == tokenization


def many(texts: tuple[list[str], list[str]], count: int) -> tuple[list[str], list[str]]:
    return texts[0] * count, texts[1] * count


def test_bootstrap_interval_holds_the_value_and_is_the_same_again():
    texts = many(ENGLISH, 23)
    scores = score_translations(*texts, "en", bootstrap=211)
    for name, score in scores.items():
        assert score.low is not None
        assert score.high is not None
        assert 0 <= score.low < score.value < score.high <= 100, name
        assert "|bs:211|" in score.signature
        assert "|rs:12345|" in score.signature
    assert score_translations(*texts, "en", bootstrap=211) == scores
    wider = score_translations(*ENGLISH, "en", ["chrf"], bootstrap=211)["chrf"]
    narrow = scores["chrf"]
    assert wider.high is not None
    assert wider.low is not None
    assert narrow.high is not None
    assert narrow.low is not None
    # 23 times as many sentences: an interval of about 1 / sqrt(23) the width.
    assert (narrow.high - narrow.low) / (wider.high - wider.low) == pytest.approx(1 / math.sqrt(23), rel=0.4)


def test_scores_can_be_written_as_json():
    scores = score_translations(*ENGLISH, "en", bootstrap=5)
    json.dumps([[score.value, score.low, score.high] for score in scores.values()])


def test_interval_is_that_of_the_resamplings_that_sacrebleu_makes():
    texts = many(ENGLISH, 7)
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF(word_order=2))):
        theirs = metric.corpus_score(texts[0], [texts[1]], n_bootstrap=211)
        score = score_translations(*texts, "en", [name], bootstrap=211)[name]
        assert score.low is not None
        assert score.high is not None
        # They tell mean and half of the width, we the ends.
        assert (score.high - score.low) / 2 == pytest.approx(theirs._ci, rel=1e-4)
        assert score.signature == metric.get_signature().format(short=True)


def test_interval_stays_on_the_scale_and_whole_numbers_are_no_trouble():
    # Of two sentences, some resamplings are perfect and some have nothing right.
    scores = score_translations(["a b c d e", "x"], ["a b c d e", "y"], "en", bootstrap=97)
    assert [(score.low, score.high) for score in scores.values()] == [
        (0, pytest.approx(100)),
        (0, pytest.approx(100)),
        (0, 100),
    ]


def test_one_resampling_is_an_interval_of_no_width():
    score = score_translations(*ENGLISH, "en", ["chrf"], bootstrap=1)["chrf"]
    assert score.low == score.high
    assert score.low is not None
    assert 0 < score.low < 100


@pytest.mark.parametrize(("hypotheses", "references"), [(["a"], ["a", "b"]), (["a", "b"], ["a"]), ([], [])])
def test_counts_must_agree(hypotheses, references):
    with pytest.raises(ValueError, match=f"^{len(hypotheses)} hypotheses and {len(references)} references"):
        score_translations(hypotheses, references, "en")
