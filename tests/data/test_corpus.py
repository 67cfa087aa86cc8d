import gc
import io
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data import corpus as corpus_module
from seqloom.data.corpus import Corpus, Dropped, Sentences, require_pairs, write_corpus
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


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Unhurried(Numbers):
    """The later chunks are done sooner."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        time.sleep(0.001 * (53 - int(texts[0].split()[0])) / 5 if texts[0] else 0)
        return super().encode(texts)


MANY = [(f"{i} 7", "" if i % 11 == 3 else f"{i} 8 9") for i in range(53)]


@pytest.mark.parametrize("cores", [1, 2, 7])
@pytest.mark.parametrize("chunk", [1, 5, 97])
def test_what_is_stored_depends_neither_on_the_threads_nor_on_the_chunks(tmp_path, monkeypatch, cores, chunk):
    lists = Numbers().encode([text for text, other in MANY if other])
    monkeypatch.setattr(corpus_module, "CHUNK", chunk)
    monkeypatch.setattr(corpus_module, "cores", lambda: cores)
    examples = [(int(i > 30), Example(*pair, i + 1)) for i, pair in enumerate(MANY)]
    log = io.StringIO()
    dropped = Dropped(log)
    corpus = write_corpus(tmp_path / "s", examples, GROUPS, Unhurried(), Numbers(70_000), 7, dropped, tags=[91, 92])
    assert [corpus.src[i].tolist()[1:] for i in range(len(corpus))] == lists
    assert log.getvalue() == "".join(
        f"{'b.tsv' if i > 30 else 'a.zh'}:{i + 1}{'' if i > 30 else f' and a.en:{i + 1}'}\tan empty target\n"
        for i in range(3, 53, 11)
    )
    # All at once, by numpy's own hand.
    kept = [i for i, pair in enumerate(MANY) if pair[1]]
    arrays = {
        "src.offsets.npy": np.cumsum([0, *[3] * len(kept)]),
        "tgt.offsets.npy": np.cumsum([0, *[3] * len(kept)]),
        "group.npy": np.array([int(i > 30) for i in kept], np.int32),
        "line.npy": np.array(kept) + 1,
    }
    stored = files_of(tmp_path / "s")
    for name, array in arrays.items():
        expected = io.BytesIO()
        np.save(expected, array)
        assert stored[name] == expected.getvalue()
    assert stored["src.bin"] == np.array([[91 + (i > 30), i, 7] for i in kept], "<u2").tobytes()
    assert stored["tgt.bin"] == np.array([[i, 8, 9] for i in kept], "<u4").tobytes()


def test_chunks_are_tokenized_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "CHUNK", 1)
    monkeypatch.setattr(corpus_module, "cores", lambda: 2)
    meeting = threading.Barrier(2, timeout=20)

    class Sociable(Numbers):
        def encode(self, texts: Sequence[str]) -> list[list[int]]:
            meeting.wait()
            return super().encode(texts)

    examples = [(1, Example("5", "6", i)) for i in range(4)]
    assert len(write_corpus(tmp_path / "s", examples, GROUPS, Sociable(), Numbers(), 7, Dropped())) == 4


def test_no_more_is_read_ahead_than_can_be_tokenized(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "CHUNK", 1)
    monkeypatch.setattr(corpus_module, "cores", lambda: 2)
    stored, ahead = [0], []

    def examples() -> Iterator[tuple[int, Example]]:
        for i in range(41):
            ahead.append(i - stored[-1])
            yield 1, Example("5", "6", i)

    write_corpus(tmp_path / "s", examples(), GROUPS, Numbers(), Numbers(), 7, Dropped(), stored.append)
    assert 1 < max(ahead) <= 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError("a.zh:6: no"), MemoryError])
@pytest.mark.parametrize("where", ["reading", "tokenizing"])
def test_what_goes_wrong_ends_all_threads(tmp_path, monkeypatch, error, where):
    monkeypatch.setattr(corpus_module, "CHUNK", 1)
    monkeypatch.setattr(corpus_module, "cores", lambda: 3)

    class Failing(Numbers):
        def encode(self, texts: Sequence[str]) -> list[list[int]]:
            if where == "tokenizing" and texts == ["5 6"]:
                raise error
            return super().encode(texts)

    def examples() -> Iterator[tuple[int, Example]]:
        for i in range(23):
            if where == "reading" and i == 6:
                raise error
            yield 1, Example("5 6" if i == 6 else "5", "6", i)

    before = set(threading.enumerate())
    with pytest.raises(error if isinstance(error, type) else DataError):
        write_corpus(tmp_path / "s", examples(), GROUPS, Failing(), Numbers(), 7, Dropped())
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("is_large", [True, False])
def test_what_is_read_of_a_large_file_does_not_stay_in_memory(tmp_path, monkeypatch, is_large):
    resident = Path("/proc/self/smaps")
    if not resident.exists():
        pytest.skip("needs Linux")
    path = tmp_path / "src.bin"
    np.arange(1 << 22).astype("<u2").tofile(path)
    np.save(tmp_path / "src.offsets.npy", np.arange(0, (1 << 22) + 1, 1 << 10))
    monkeypatch.setattr(corpus_module, "MAPPED_BYTES", (1 << 23) - is_large)
    sentences = Sentences.open(tmp_path, "src", "<u2")

    def kilobytes() -> int:
        return int(resident.read_text().partition(str(path))[2].partition("Rss:")[2].split()[0])

    read = [sentences.padded(np.arange(start, start + 64), 0)[:, [0, 1, 1023]] for start in range(0, 1 << 12, 64)]
    assert np.array_equal(np.concatenate(read), (1 << 10) * np.arange(1 << 12)[:, None] % (1 << 16) + [0, 1, 1023])
    assert kilobytes() == (0 if is_large else 1 << 23 >> 10)
    assert sentences[3].tolist() == list(range(3 << 10, 4 << 10))
    assert kilobytes() > 0
    sentences.release()
    assert kilobytes() == 0
    assert sentences[3].tolist() == list(range(3 << 10, 4 << 10))


def test_a_store_is_closed_when_it_is_no_longer_used(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "MAPPED_BYTES", 0)
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs Linux")
    gc.collect()  # of what other tests left
    before = len(list(descriptors.iterdir()))
    corpus = store(tmp_path, PAIRS)
    assert len(list(descriptors.iterdir())) > before
    del corpus
    gc.collect()
    assert len(list(descriptors.iterdir())) == before


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


@pytest.fixture(scope="module", params=[True, False], ids=["mapped", "read"])
def long_store(tmp_path_factory, request) -> Iterator[Corpus]:
    random = np.random.default_rng(1)
    lengths = random.integers(1, 24, size=(53, 2))
    texts = [tuple(" ".join(map(str, random.integers(4, 101, n))) for n in pair) for pair in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "MAPPED_BYTES", 1 << 20 if request.param else 0)
        yield store(tmp_path_factory.mktemp("long"), texts)  # type: ignore[arg-type]


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
