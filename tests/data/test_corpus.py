import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data import corpus as corpus_module
from seqloom.data.corpus import Corpus, Dropped, require_pairs, write_corpus
from seqloom.data.readers import Example
from seqloom.errors import DataError

GROUPS = [["a.zh", "a.en"], ["b.tsv"]]


class Numbers:
    """A tokenizer of texts that spell their own token ids."""

    def __init__(self, vocab_size: int = 101) -> None:
        self.vocab_size = vocab_size

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[int(word) for word in text.split()] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return [" ".join(map(str, sequence)) for sequence in ids]

    def to_bytes(self) -> bytes:
        return b""


def store(
    folder: Path, pairs: Sequence[tuple[str, str]], max_length: int = 31, dropped: Dropped | None = None, **sizes: int
) -> Corpus:
    examples = [(0 if i < 3 else 1, Example(*pair, i + 1 if i < 3 else i - 2)) for i, pair in enumerate(pairs)]
    src, tgt = Numbers(sizes.get("src", 101)), Numbers(sizes.get("tgt", 101))
    return write_corpus(folder / "store", examples, GROUPS, src, tgt, max_length, dropped or Dropped())


PAIRS = [("5 6 7", "8"), ("9", "10 11"), ("12 13", "14"), ("15", "16 17 18 19"), ("20 21 22 23 24", "25")]


@pytest.mark.parametrize("chunk", [1, 2, 20_000])
def test_stored_tokens_are_the_encoded_ones(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(corpus_module, "CHUNK", chunk)
    corpus = store(tmp_path, PAIRS)
    assert len(corpus) == len(PAIRS)
    for side, texts in ((corpus.src, [p[0] for p in PAIRS]), (corpus.tgt, [p[1] for p in PAIRS])):
        expected = Numbers().encode(texts)
        assert [side[i].tolist() for i in range(len(PAIRS))] == expected
        assert side.lengths.tolist() == [len(ids) for ids in expected]
        assert side.offsets.tolist() == np.cumsum([0, *side.lengths]).tolist()
    reopened = Corpus(tmp_path / "store")
    assert [reopened.src[i].tolist() for i in range(5)] == [corpus.src[i].tolist() for i in range(5)]


def test_every_pair_knows_where_it_was_read(tmp_path):
    corpus = store(tmp_path, [*PAIRS[:1], ("", ""), *PAIRS[2:]])
    assert [corpus.where(i) for i in range(len(corpus))] == [
        "a.zh:1 and a.en:1",
        "a.zh:3 and a.en:3",
        "b.tsv:1",
        "b.tsv:2",
    ]


def test_tokens_are_mapped_and_not_read(tmp_path):
    corpus = store(tmp_path, PAIRS)
    assert isinstance(corpus.src.tokens, np.memmap)
    assert not corpus.src.tokens.flags.writeable


@pytest.mark.parametrize(("vocab_size", "dtype", "size"), [(65_536, "<u2", 2), (65_537, "<u4", 4)])
def test_ids_take_two_bytes_while_they_fit(tmp_path, vocab_size, dtype, size):
    largest = vocab_size - 1
    corpus = store(tmp_path, [(f"4 {largest}", "5"), (f"{largest}", "6")], src=vocab_size)
    assert corpus.src.tokens.dtype == dtype
    assert corpus.tgt.tokens.dtype == "<u2"
    assert corpus.src[0].tolist() == [4, largest]
    assert corpus.src.padded(np.array([1, 0]), 0).tolist() == [[largest, 0], [4, largest]]
    assert (tmp_path / "store" / "src.bin").stat().st_size == 3 * size


def test_pairs_are_dropped_pairwise_and_counted(tmp_path):
    log = (tmp_path / "dropped.tsv").open("w+", encoding="utf-8")
    dropped = Dropped(log)
    pairs = [("", "1"), ("1 2 3 4", "5"), ("6", "  "), ("", ""), ("7", "1 2 3 4 5"), ("1 2 3", "4 5 6"), ("", "8")]
    corpus = store(tmp_path, pairs, max_length=4, dropped=dropped)
    assert len(corpus) == 1
    assert (corpus.src[0].tolist(), corpus.tgt[0].tolist()) == ([1, 2, 3], [4, 5, 6])
    assert corpus.where(0) == "b.tsv:3"
    assert dict(dropped.counts) == {
        "an empty source": 2,
        "a source of 4 tokens or more": 1,
        "an empty target": 1,
        "both sides empty": 1,
        "a target of 4 tokens or more": 1,
    }
    log.seek(0)
    assert log.read().splitlines() == [
        "a.zh:1 and a.en:1\tan empty source",
        "a.zh:2 and a.en:2\ta source of 4 tokens or more",
        "a.zh:3 and a.en:3\tan empty target",
        "b.tsv:1\tboth sides empty",
        "b.tsv:2\ta target of 4 tokens or more",
        "b.tsv:4\tan empty source",
    ]
    log.close()
    assert str(dropped).startswith(
        "2 with an empty source (the first: a.zh:1 and a.en:1); "
        "1 with a source of 4 tokens or more (the first: a.zh:2 and a.en:2); 1 with an empty target"
    )


def test_what_a_reader_leaves_out_is_dropped_for_its_reason(tmp_path):
    dropped = Dropped()
    examples = [
        (1, Example("5", "6", 1, "a fuzzy translation")),
        (1, Example("", "", 2, "no target")),
        (1, Example("7", "8", 3)),
    ]
    corpus = write_corpus(tmp_path / "s", examples, GROUPS, Numbers(), Numbers(), 7, dropped)
    assert [corpus.where(i) for i in range(len(corpus))] == ["b.tsv:3"]
    assert dropped.first == {"a fuzzy translation": "b.tsv:1", "no target": "b.tsv:2"}


def test_a_tag_stands_before_the_sources_of_its_group(tmp_path):
    dropped = Dropped()
    examples = [
        (0, Example("5 6", "7", 1)),
        (1, Example("8", "9", 1)),
        (1, Example("", "9", 2)),
        (0, Example("1 2 3", "4", 2)),
    ]
    corpus = write_corpus(tmp_path / "s", examples, GROUPS, Numbers(), Numbers(), 4, dropped, tags=[91, 92])
    assert [corpus.src[i].tolist() for i in range(len(corpus))] == [[91, 5, 6], [92, 8]]
    assert [corpus.tgt[i].tolist() for i in range(len(corpus))] == [[7], [9]]
    assert corpus.group.tolist() == [0, 1]
    assert dict(dropped.counts) == {"an empty source": 1, "a source of 4 tokens or more": 1}  # the tag is one of them


def test_an_empty_store_can_be_opened_and_is_refused(tmp_path):
    dropped = Dropped()
    corpus = store(tmp_path, [("", "1")], dropped=dropped)
    assert len(corpus) == 0
    with pytest.raises(DataError) as error:
        require_pairs(corpus, "validation", dropped)
    assert str(error.value) == (
        "a.zh and a.en and b.tsv: no usable sentence pair (1 with an empty source "
        "(the first: a.zh:1 and a.en:1)), expected a validation corpus"
    )
    with pytest.raises(
        DataError, match=r"^a\.zh and a\.en and b\.tsv: no usable sentence pair, expected a training co"
    ):
        require_pairs(corpus, "training", Dropped())


def test_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "CHUNK", 2)
    told: list[int] = []
    examples = [(1, Example("5", "6", i)) for i in range(5)]
    write_corpus(tmp_path / "s", examples, GROUPS, Numbers(), Numbers(), 7, Dropped(), told.append)
    assert told == [2, 4, 5]


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "no offsets", "no about"])
def test_a_store_that_is_not_whole_is_not_opened(tmp_path, damage):
    folder = tmp_path / "store"
    store(tmp_path, PAIRS)
    if damage == "cut":
        (folder / "src.bin").write_bytes((folder / "src.bin").read_bytes()[:-2])
    elif damage == "empty":
        (folder / "tgt.bin").write_bytes(b"")
    elif damage == "missing":
        (folder / "tgt.bin").unlink()
    elif damage == "no offsets":
        (folder / "src.offsets.npy").write_bytes(b"")
    else:
        (folder / "corpus.json").write_text(json.dumps({}))
    with pytest.raises((OSError, EOFError, ValueError, LookupError)):
        Corpus(folder)


@pytest.fixture(scope="module")
def long_store(tmp_path_factory) -> Corpus:
    random = np.random.default_rng(1)
    lengths = random.integers(1, 24, size=(53, 2))
    texts = [tuple(" ".join(map(str, random.integers(4, 101, n))) for n in pair) for pair in lengths]
    return store(tmp_path_factory.mktemp("long"), texts)  # type: ignore[arg-type]


token = st.one_of(st.none(), st.integers(0, 3))


@given(st.lists(st.integers(0, 52), min_size=1, max_size=11), st.integers(0, 3), token, token)
def test_padded_is_what_a_loop_would_do(long_store, rows, pad, before, after):
    sentences = [
        ([] if before is None else [before]) + long_store.src[row].tolist() + ([] if after is None else [after])
        for row in rows
    ]
    longest = max(map(len, sentences))
    expected = [sentence + [pad] * (longest - len(sentence)) for sentence in sentences]
    got = long_store.src.padded(np.array(rows), pad, before, after)
    assert got.dtype == np.int64
    assert got.tolist() == expected
