from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from seqloom.data import subword_regularization
from seqloom.data.batching import TrainingBatches
from seqloom.data.corpus import Corpus, Dropped, write_corpus
from seqloom.data.readers import Example
from seqloom.data.subword_regularization import SubwordRegularization
from seqloom.data.tokenizers import TOKENIZERS, UNK, Tokenizer

PAIRS = [(f"wir kaufen {i} kleine Bücher", f"we buy {i} small books{' today' * (i % 7)}") for i in range(211)]
ROWS = np.arange(211)


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def tokenizer(request) -> Tokenizer:
    tokenizer = TOKENIZERS[request.param]((text for pair in PAIRS for text in pair), 331, 1.0)
    return tokenizer.appended(["<2de>", "<2en>"], control=True)


class Tagged:
    """The tokenizer, with a tag put before every third sentence, as a store holds it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocab_size = tokenizer.vocab_size

    def encode(self, texts):
        ids = self.tokenizer.encode(texts)
        return [[self.tokenizer.tags[0], *sentence] if i % 3 == 0 else sentence for i, sentence in enumerate(ids)]


def store(folder: Path, tokenizer: Tokenizer) -> Corpus:
    examples = [(0, Example(*pair, i + 1)) for i, pair in enumerate(PAIRS)]
    return write_corpus(folder / "store", examples, [["a"]], Tagged(tokenizer), tokenizer, 100, Dropped())


def rows_of(side) -> list[list[int]]:
    return [side[i].tolist() for i in range(len(side.lengths))]


def test_each_epoch_cuts_the_same_text_anew(tmp_path, tokenizer):
    corpus = store(tmp_path, tokenizer)
    resample = SubwordRegularization(corpus, tokenizer, tokenizer, 0.5, 100)
    epochs = [resample(ROWS, 3, epoch) for epoch in (0, 1, 0)]
    for name, texts in (("src", [pair[0] for pair in PAIRS]), ("tgt", [pair[1] for pair in PAIRS])):
        stored = rows_of(getattr(corpus, name))
        first, second, again = (rows_of(getattr(pairs, name)) for pairs in epochs)
        assert first == again
        assert first != second
        assert stored not in (first, second)
        assert tokenizer.decode(first) == tokenizer.decode(second) == texts
        assert getattr(epochs[0], name).lengths.tolist() == [len(sentence) for sentence in first]
    other_seed = resample(ROWS, 4, 0)
    assert rows_of(other_seed.src) != rows_of(epochs[0].src)


def test_sides_and_chunks_are_drawn_apart(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr(subword_regularization, "CHUNK", 7)
    examples = [(0, Example("we buy small books", "we buy small books", i + 1)) for i in range(14)]
    corpus = write_corpus(tmp_path / "store", examples, [["a"]], tokenizer, tokenizer, 100, Dropped())
    drawn = SubwordRegularization(corpus, tokenizer, tokenizer, 0.9, 100)(np.arange(14), 1, 0)
    src, tgt = rows_of(drawn.src), rows_of(drawn.tgt)
    assert src != tgt
    assert src[:7] != src[7:]


def test_tags_stay_in_front(tmp_path, tokenizer):
    corpus = store(tmp_path, tokenizer)
    drawn = SubwordRegularization(corpus, tokenizer, tokenizer, 0.5, 100)(ROWS, 3, 0)
    tag = tokenizer.tags[0]
    assert [sentence[0] == tag for sentence in rows_of(drawn.src)] == [i % 3 == 0 for i in range(211)]
    assert sum(sentence.count(tag) for sentence in rows_of(drawn.src)) == 71


def test_a_sentence_that_would_become_too_long_stays_as_it_is(tmp_path, tokenizer):
    corpus = store(tmp_path, tokenizer)
    free = SubwordRegularization(corpus, tokenizer, tokenizer, 0.2, 100)(ROWS, 3, 0)
    longest = int(free.src.lengths.max())
    assert corpus.src.lengths.max() < longest
    bound = SubwordRegularization(corpus, tokenizer, tokenizer, 0.2, longest)(ROWS, 3, 0)
    kept = 0
    for stored, one, other in zip(rows_of(corpus.src), rows_of(free.src), rows_of(bound.src), strict=True):
        assert other == (one if len(one) < longest else stored)
        kept += len(one) >= longest
    assert 0 < kept < 211


def test_a_sentence_with_an_unknown_word_stays_as_it_is(tmp_path, tokenizer):
    class Unknowing(Tagged):
        def encode(self, texts):
            return [[*sentence, UNK] for sentence in self.tokenizer.encode(texts)]

    examples = [(0, Example(*pair, i + 1)) for i, pair in enumerate(PAIRS)]
    corpus = write_corpus(tmp_path / "store", examples, [["a"]], Unknowing(tokenizer), tokenizer, 100, Dropped())
    drawn = SubwordRegularization(corpus, tokenizer, tokenizer, 0.5, 100)(ROWS, 3, 0)
    assert rows_of(drawn.src) == rows_of(corpus.src)
    assert rows_of(drawn.tgt) != rows_of(corpus.tgt)


def test_only_the_pairs_of_the_epoch_are_cut(tmp_path, tokenizer):
    corpus = store(tmp_path, tokenizer)
    rows = np.array([2, 3, 97, 210])
    drawn = SubwordRegularization(corpus, tokenizer, tokenizer, 0.5, 100)(rows, 3, 0)
    assert np.flatnonzero(drawn.src.lengths).tolist() == np.flatnonzero(drawn.tgt.lengths).tolist() == rows.tolist()
    assert tokenizer.decode([drawn.tgt[row].tolist() for row in rows]) == [PAIRS[row][1] for row in rows]


def test_batches_are_planned_by_the_lengths_as_drawn_and_resume_exactly(tmp_path, tokenizer):
    corpus = store(tmp_path, tokenizer)
    resample = SubwordRegularization(corpus, tokenizer, tokenizer, 0.5, 61)

    def stream() -> TrainingBatches:
        return TrainingBatches(corpus, 127, seed=5, resample=resample)

    size = len(stream().plan(0))
    whole = list(islice(stream(), 2 * size))
    texts = [pair[1] for pair in PAIRS]
    for batch in whole:
        assert max(batch.src.numel(), batch.tgt.numel()) <= 127
        assert tokenizer.decode(batch.targets.tolist()) == [texts[row] for row in batch.rows]
    assert sorted(row for batch in whole[:size] for row in batch.rows.tolist()) == list(range(211))
    for seen in (3, size - 1, size, size + 2):
        first, second = stream(), stream()
        list(islice(first, seen))
        second.load_state_dict(first.state_dict())
        rest = list(islice(second, 2 * size - seen))
        for resumed, expected in zip(rest, whole[seen:], strict=True):
            assert resumed.src.tolist() == expected.src.tolist()
            assert resumed.targets.tolist() == expected.targets.tolist()
