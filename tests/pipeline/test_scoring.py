"""The probability of given translations: that of the search, in any company, of any text."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqloom.errors import UserError
from seqloom.pipeline import scoring
from seqloom.pipeline.scoring import Scored, Total, perplexity
from seqloom.pipeline.translator import Translator, load


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return load(toy_run)


@pytest.fixture(scope="module")
def sources(toy_corpus: Path) -> list[str]:
    return (toy_corpus / "valid.xx").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def references(toy_corpus: Path) -> list[str]:
    return (toy_corpus / "valid.yy").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("beam", [1, 5])
def test_a_found_translation_has_the_log_probability_that_the_search_gave_it(
    translator: Translator, sources: list[str], beam: int
) -> None:
    n_best = min(beam, 3)
    found = translator.translate(sources, beam=beam, n_best=n_best, length_penalty=0, guard="off")
    texts = [text for result in found for text, _ in result.alternatives]
    scored = translator.score([source for source in sources for _ in range(n_best)], texts)
    again = translator.setup.tgt_tokenizer.encode(texts)
    same = 0
    for each, ids, (_, log_prob) in zip(scored, again, (a for r in found for a in r.alternatives), strict=True):
        assert each.tokens == len(ids) + 1
        # A search may cut a text into other tokens than the tokenizer does: then it is less probable so.
        same += each.log_prob == pytest.approx(log_prob, abs=1e-4)
    assert same > 0.9 * len(texts)


def test_tokens_add_up(translator: Translator, sources: list[str], references: list[str]) -> None:
    for each in translator.score(sources[:5], references[:5]):
        assert len(each.pieces) == len(each.log_probs) == each.tokens
        assert each.pieces[-1] == "</s>"
        assert each.log_prob == pytest.approx(sum(each.log_probs))
        assert each.mean == pytest.approx(each.log_prob / each.tokens)
        assert each.perplexity == pytest.approx(math.exp(-each.mean))
        assert all(log_prob <= 0 for log_prob in each.log_probs)


def test_the_right_translation_is_the_more_probable(
    translator: Translator, sources: list[str], references: list[str]
) -> None:
    right = translator.score(sources, references)
    wrong = translator.score(sources, references[1:] + references[:1])
    assert sum(one.mean > other.mean for one, other in zip(right, wrong, strict=True)) > 0.9 * len(right)


def test_neighbours_order_and_batch_size_change_nothing(
    translator: Translator, sources: list[str], references: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = translator.score(sources, references)
    backwards = translator.score(sources[::-1], references[::-1], batch_tokens=17)[::-1]
    alone = [translator.score([source], [target])[0] for source, target in zip(sources, references, strict=True)]
    monkeypatch.setattr(scoring, "SORTED_TOGETHER", 7)
    in_parts = translator.score(sources, references)
    for each in (backwards, alone, in_parts):
        assert [one.pieces for one in each] == [other.pieces for other in together]
        assert [one.log_prob for one in each] == pytest.approx([other.log_prob for other in together], abs=1e-4)


def test_empty_texts(translator: Translator) -> None:
    both, no_source, no_target, blank = translator.score(["", "", "1 2", " \u3000"], ["", "ein", "", "\t"])
    assert both == blank == Scored([], [], 0)
    assert (both.log_prob, both.mean, both.perplexity, both.tokens) == (0, 0, 1, 0)
    assert no_source.tokens > 1
    assert (no_target.tokens, no_target.pieces) == (1, ["</s>"])
    assert no_target.log_prob < 0


def test_a_text_longer_than_any_in_training_is_scored_whole(translator: Translator) -> None:
    (each,) = translator.score(["1 2 3 4 " * 40], ["ein zwo dri vir " * 40])
    assert each.tokens > 160
    assert each.source_length > translator.setup.longest_source
    assert math.isfinite(each.log_prob)


def test_pairs_are_scored_as_they_come(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SORTED_TOGETHER", 3)
    read = []

    def pairs() -> Iterator[tuple[str, str]]:
        for number in range(1000):
            read.append(number)
            yield "1 2", "ein zwo."

    scores = translator.score_stream(pairs())
    next(scores)
    assert len(read) == 3  # of an endless file no more than a chunk is held


def test_a_text_that_is_far_too_long(translator: Translator) -> None:
    long = "7 " * 8192
    message = r"^source 2: \d+,\d+ tokens, but at most 8,190 can be scored at once; cut the text"
    with pytest.raises(UserError, match=message):
        translator.score(["1", long], ["ein", "ein"])
    pairs = iter([("1", "ein"), ("1", long)])
    with pytest.raises(UserError, match=r"^b\.en:2: \d+,\d+ tokens"):
        list(translator.score_stream(pairs, names=("a.zh:", "b.en:")))


def test_a_text_for_which_the_model_has_no_places(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(translator.engine), "longest", 9)
    assert len(translator.score(["1 2"], ["ein zwo."])) == 1
    with pytest.raises(UserError, match=r"^target 1: \d+ tokens, but at most 7 can be scored at once"):
        translator.score(["1 2"], ["ein zwo dri vir funf sext sep okt"])


def test_mistakes_are_said(translator: Translator) -> None:
    with pytest.raises(UserError, match=r"^score\(\) takes two lists of texts"):
        translator.score("1", ["ein"])
    with pytest.raises(UserError, match=r"^2 sources and 1 targets, expected one for each"):
        translator.score(["1", "2"], ["ein"])
    with pytest.raises(UserError, match=r"text 2 is not Unicode text"):
        translator.score(["1", "2"], ["ein", "\ud800"])


def test_the_perplexity_of_a_corpus_is_by_token() -> None:
    total = Total(longest_source=4)
    total.add(Scored(["a", "b", "c"], [-1.0, -2.0, -3.0], 5))
    total.add(Scored(["</s>"], [-10.0], 4))
    total.add(Scored([], [], 0))
    found = total.as_dict()
    assert (found["pairs"], found["tokens"], found["log_prob"], found["longer_than_trained"]) == (3, 4, -16, 1)
    assert found["perplexity"] == pytest.approx(math.exp(4))
    assert json.loads(json.dumps(found)) == found
    assert Total(4).as_dict()["perplexity"] == 1


def test_no_perplexity_is_infinite() -> None:
    assert math.isfinite(perplexity(-1e9))
    assert perplexity(-2.0) == pytest.approx(math.exp(2))
