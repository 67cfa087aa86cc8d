import threading
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqloom.config import DataConfig
from seqloom.data.batch import PairBatch
from seqloom.data.batching import TrainingBatches, evaluation_batches, plan_batches, rows_of_epoch, sample_rows
from seqloom.data.corpus import Corpus, Dropped, write_corpus
from seqloom.data.prepare import prepare_pairs
from seqloom.data.readers import Example
from seqloom.errors import ConfigError, DataError
from tests.data.test_corpus import Numbers, store

BUDGET = 97


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """211 pairs; the first token of a source is unlike that of any other."""
    random = np.random.default_rng(1)
    pairs = [
        (" ".join(map(str, [100 + i, *[5] * n])), " ".join(["6"] * m))
        for i, (n, m) in enumerate(random.integers(1, 23, size=(211, 2)))
    ]
    return store(tmp_path_factory.mktemp("batching"), pairs, src=311)


def content(batch: PairBatch) -> tuple[list[int], list[list[int]], list[list[int]]]:
    return batch.rows.tolist(), batch.src.tolist(), batch.targets.tolist()


def epoch_of(corpus: Corpus, seed: int, epoch: int, budget: int = BUDGET) -> list[list[int]]:
    return [rows.tolist() for rows in TrainingBatches(corpus, budget, seed).plan(epoch)]


lengths = st.lists(st.tuples(st.integers(1, 41), st.integers(1, 41)), max_size=67)


@given(lengths, st.integers(41, 211), st.randoms(use_true_random=False))
def test_no_batch_exceeds_the_budget_and_every_pair_is_in_one(pairs, budget, random):
    src, tgt = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    order = list(range(len(pairs)))
    random.shuffle(order)
    batches = plan_batches(src, tgt, budget, np.array(order, dtype=np.int64))
    assert sorted(row for rows in batches for row in rows.tolist()) == list(range(len(pairs)))
    for rows in batches:
        assert len(rows) * max(src[rows].max(), tgt[rows].max()) <= budget
    # None could take the first pair of the next one, so no batch is smaller than it need be.
    for rows, following in pairwise(batches):
        joined = np.append(rows, following[0])
        assert len(joined) * max(src[joined].max(), tgt[joined].max()) > budget


@given(lengths, st.sampled_from([41, 16_383, 16_384, 65_536]), st.sampled_from([np.int32, np.int64]))
def test_the_order_of_a_plan_is_that_of_its_definition(pairs, longest, dtype):
    src, tgt = (np.array([*(pair[side] for pair in pairs), longest], dtype) for side in (0, 1))
    order = np.random.default_rng(len(pairs)).permutation(len(src))

    def place(at: int) -> tuple[int, int, int]:
        bound = max(src[order[at]], tgt[order[at]])
        surplus = int(src[order[at]]) - int(tgt[order[at]]) + at % 3 - 1
        return int(bound), surplus if bound % 2 else -surplus, at

    expected = [order[at] for at in sorted(range(len(order)), key=place)]
    assert [row for rows in plan_batches(src, tgt, 65_536, order) for row in rows] == expected


def test_short_pairs_come_first_in_a_plan():
    src = np.array([7, 2, 5, 3, 11])
    (*_, last) = batches = plan_batches(src, src, 11, np.arange(5))
    assert [rows.tolist() for rows in batches] == [[1, 3], [2], [0], [4]]
    assert last.tolist() == [4]


def test_padded_sides_of_real_batches_fit_the_budget(corpus):
    for batch in islice(TrainingBatches(corpus, BUDGET, seed=1), 40):
        assert batch.src.numel() <= BUDGET
        assert batch.tgt.numel() <= BUDGET


def test_an_epoch_holds_every_pair_once(corpus):
    for epoch in (0, 1, 7):
        assert sorted(row for rows in epoch_of(corpus, 3, epoch) for row in rows) == list(range(211))


def test_the_order_is_a_function_of_seed_and_epoch(corpus):
    stream = TrainingBatches(corpus, BUDGET, seed=3)
    stream.plan(5)
    assert [rows.tolist() for rows in stream.plan(2)] == epoch_of(corpus, 3, 2)
    plans = [epoch_of(corpus, seed, epoch) for seed in (3, 4) for epoch in (0, 1, 2)]
    assert len({str(plan) for plan in plans}) == 6


def test_the_order_is_that_of_all_runs_before(corpus):
    """A run is resumed to the bit, by a later program too."""
    random = np.random.Generator(np.random.PCG64([3, 2]))
    order = random.permutation(211)
    planned = plan_batches(corpus.src.lengths + 1, corpus.tgt.lengths + 1, BUDGET, order)
    expected = [planned[i].tolist() for i in random.permutation(len(planned))]
    assert epoch_of(corpus, 3, 2) == expected


def test_lengths_come_mixed(corpus):
    longest = [int(corpus.src.lengths[rows].max()) for rows in epoch_of(corpus, 3, 0)]
    assert longest != sorted(longest)
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.5


def test_pairs_meet_others_in_every_epoch():
    src, tgt = sentence_lengths()
    random = np.random.default_rng(2)
    one, two = (
        [set(rows.tolist()) for rows in plan_batches(src, tgt, 4096, random.permutation(len(src)))] for _ in "ab"
    )
    kept = [max(len(rows & others) for others in two) / len(rows) for rows in one]
    assert sum(kept) / len(kept) < 0.9


def test_the_stream_runs_through_the_epochs(corpus):
    stream = iter(TrainingBatches(corpus, BUDGET, seed=3))
    for epoch in range(3):
        plan = epoch_of(corpus, 3, epoch)
        assert [batch.rows.tolist() for batch in islice(stream, len(plan))] == plan


def test_a_restored_position_gives_exactly_the_rest(corpus):
    size = len(epoch_of(corpus, 3, 0))
    whole = [content(batch) for batch in islice(TrainingBatches(corpus, BUDGET, seed=3), 2 * size + 5)]
    for seen in (0, 1, size - 1, size, size + 1, 2 * size):
        first = TrainingBatches(corpus, BUDGET, seed=3)
        assert [content(batch) for batch in islice(first, seen)] == whole[:seen]
        state = first.state_dict()
        second = TrainingBatches(corpus, BUDGET, seed=4)
        second.plan(0)  # of another seed: must not be taken for the one of the restored seed
        second.load_state_dict(state)
        assert second.state_dict() == state
        assert [content(batch) for batch in islice(second, len(whole) - seen)] == whole[seen:]


class Watched:
    """What an epoch sees, and which ones have been asked for, by which thread."""

    def __init__(self, corpus: Corpus, damaged: int = -1) -> None:
        self.corpus, self.damaged = corpus, damaged
        self.asked: dict[int, str] = {}

    def __call__(self, rows: NDArray[np.int64], seed: int, epoch: int) -> Corpus:
        self.asked[epoch] = threading.current_thread().name
        if epoch == self.damaged:
            raise MemoryError("too much")
        return self.corpus


def test_the_next_epoch_is_planned_from_the_middle_of_one_and_once(corpus):
    watched = Watched(corpus)
    batches = TrainingBatches(corpus, BUDGET, seed=3, resample=watched)
    half = len(batches.plan(0)) // 2
    stream = iter(batches)
    list(islice(stream, half))
    assert list(watched.asked) == [0]
    next(stream)
    size = len(batches.plan(0))
    list(islice(stream, size - half + 3))
    assert list(watched.asked) == [0, 1]
    assert threading.main_thread().name not in watched.asked.values()


def test_what_goes_wrong_in_planning_is_raised_where_the_epoch_begins(corpus):
    batches = TrainingBatches(corpus, BUDGET, seed=3, resample=Watched(corpus, damaged=1))
    stream = iter(batches)
    assert len(list(islice(stream, len(batches.plan(0))))) == len(batches.plan(0))
    with pytest.raises(MemoryError, match="too much"):
        next(stream)


@pytest.fixture(scope="module")
def groups(tmp_path_factory) -> Corpus:
    """307 pairs of two groups in turn, 103 and 204 of them."""
    examples = [(int(i % 3 > 0), Example(" ".join(["5"] * (i % 11 + 1)), "6 7", i + 1)) for i in range(307)]
    return write_corpus(
        tmp_path_factory.mktemp("groups") / "store", examples, [["a"], ["b"]], Numbers(), Numbers(), 31, Dropped()
    )


def test_equal_weights_are_no_weights(groups):
    weighted = TrainingBatches(groups, BUDGET, 3, weights=(1.0, 1.0))
    for epoch in (0, 4):
        assert [rows.tolist() for rows in weighted.plan(epoch)] == epoch_of(groups, 3, epoch)


weight = st.one_of(st.floats(0, 5), st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 1.0, 1.1, 2.0]))


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=97), st.tuples(weight, weight, weight, weight), st.integers(0, 99)
)
def test_pairs_come_as_often_as_their_groups_weigh(group, weights, first):
    group = np.array(group, dtype=np.int32)
    seen = np.zeros(len(group), np.int64)
    for epoch in range(first, first + 12):
        rows = rows_of_epoch(group, weights, 7, epoch)
        counts = np.bincount(rows, minlength=len(group))
        seen += counts
        assert rows.tolist() == sorted(rows)
        for number, expected in enumerate(weights):
            of_group = counts[group == number]
            # Whole copies of all, and of the fraction what is nearest.
            assert set(of_group.tolist()) <= {int(expected), int(expected) + 1}
            assert abs(of_group.sum() - expected * len(of_group)) < 1 + 1e-9
            # None comes before its turn.
            total = seen[group == number]
            assert np.ptp(total) <= 1 if len(total) else True


def test_ten_passes_at_a_tenth_see_every_pair_once(groups):
    passes = [rows_of_epoch(groups.group, (0.1, 2.0), 5, epoch) for epoch in range(20, 30)]
    counts = np.bincount(np.concatenate(passes))
    assert set(counts[groups.group == 0].tolist()) == {1}
    assert set(counts[groups.group == 1].tolist()) == {20}
    taken = [rows[groups.group[rows] == 0].tolist() for rows in passes]
    assert {len(rows) for rows in taken} == {10, 11}
    assert taken[0] != list(range(*(taken[0][0], taken[0][-1] + 1, 3)))  # shuffled, not in the order of the file
    other = rows_of_epoch(groups.group, (0.1, 2.0), 6, 20)
    assert other.tolist() != passes[0].tolist()


def test_batches_mix_the_groups_by_weight(groups):
    stream = TrainingBatches(groups, BUDGET, seed=3, weights=(3.0, 0.5))
    plan = stream.plan(2)
    share = [float((groups.group[rows] == 0).mean()) for rows in plan]
    assert np.concatenate(plan).tolist().count(0) == 3
    assert sum(map(len, plan)) == 3 * 103 + 102
    assert sum(0 < part < 1 for part in share) > 0.9 * len(plan)


def test_a_weighted_stream_is_resumed_exactly(groups):
    def stream() -> TrainingBatches:
        return TrainingBatches(groups, BUDGET, seed=3, weights=(1.5, 0.1))

    size = len(stream().plan(0))
    whole = [content(batch) for batch in islice(stream(), 3 * size)]
    for seen in (1, size - 1, size, 2 * size + 1):
        first, second = stream(), stream()
        list(islice(first, seen))
        second.load_state_dict(first.state_dict())
        assert [content(batch) for batch in islice(second, 3 * size - seen)] == whole[seen:]


def test_an_epoch_without_pairs_is_passed_over(groups):
    batches = islice(TrainingBatches(groups, BUDGET, seed=3, weights=(0.001, 0.0)), 2)
    assert [groups.group[batch.rows].tolist() for batch in batches] == [[0], [0]]


def test_weights_that_leave_nothing(groups, corpus):
    with pytest.raises(DataError, match=r"^data\.weights are 0 for all pairs that there are; give some of them more$"):
        TrainingBatches(groups, BUDGET, seed=1, weights=(0.0, 0.0))


def test_a_pair_that_fits_no_batch_is_named(corpus):
    longest = int(np.maximum(corpus.src.lengths, corpus.tgt.lengths).max()) + 1
    TrainingBatches(corpus, longest, seed=1)
    with pytest.raises(DataError) as error:
        TrainingBatches(corpus, longest - 1, seed=1)
    index = int(np.maximum(corpus.src.lengths, corpus.tgt.lengths).argmax())
    assert str(error.value) == (
        f"{corpus.where(index)}: {longest:,} tokens do not fit into a batch of {longest - 1:,}; "
        f"raise data.batch_tokens or lower data.max_length"
    )


@pytest.mark.parametrize("budget", [BUDGET, 3])
def test_evaluation_sees_every_pair_once_whatever_its_length(corpus, budget):
    batches = list(evaluation_batches(corpus, budget, np.arange(211)))
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == list(range(211))
    longest = int(np.maximum(corpus.src.lengths, corpus.tgt.lengths).max()) + 1
    assert all(max(batch.src.numel(), batch.tgt.numel()) <= max(budget, longest) for batch in batches)


def test_evaluation_sees_the_rows_asked_for(corpus):
    rows = sample_rows(211, 17)
    batches = evaluation_batches(corpus, BUDGET, rows)
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == rows.tolist()


def test_a_sample_of_rows_is_fixed_and_no_larger_than_what_there_is():
    rows = sample_rows(211, 17)
    assert rows.tolist() == sample_rows(211, 17).tolist() == sorted(set(rows.tolist()))
    assert len(rows) == 17
    assert set(rows.tolist()) < set(range(211))
    assert rows.tolist() != list(range(17))
    for at_most in (None, 211, 307):
        assert sample_rows(211, at_most).tolist() == list(range(211))


def padding_of(src: NDArray[np.integer[Any]], tgt: NDArray[np.integer[Any]], batch_tokens: int) -> float:
    order = np.random.default_rng(1).permutation(len(src))
    positions = sum(
        len(rows) * int(src[rows].max() + tgt[rows].max()) for rows in plan_batches(src, tgt, batch_tokens, order)
    )
    return 1 - float((src + tgt).sum()) / positions


def sentence_lengths() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    random = np.random.default_rng(1)
    src = np.clip(random.lognormal(2.9, 0.55, 20_011), 2, 255)
    tgt = np.clip(src * random.lognormal(0.1, 0.25, 20_011), 2, 255)
    return src.astype(np.int64), tgt.astype(np.int64)


@pytest.mark.parametrize("batch_tokens", [1024, 4096])
def test_padding_is_under_ten_percent_on_lengths_like_those_of_sentences(batch_tokens):
    assert padding_of(*sentence_lengths(), batch_tokens) < 0.10


def test_padding_is_under_ten_percent_on_multi30k(shared_data: Path, tmp_path):
    folder = shared_data / "multi30k"
    config = DataConfig(
        src=(str(folder / "train.en.gz"),),
        tgt=(str(folder / "train.de.gz"),),
        valid_src=(str(folder / "val.en.gz"),),
        valid_tgt=(str(folder / "val.de.gz"),),
    )
    prepared = prepare_pairs(config, tmp_path / "data", lambda said: None)
    assert (len(prepared.train), len(prepared.valid)) == (29_000, 1_014)
    assert prepared.src_tokenizer.vocab_size == 8_000
    stream = TrainingBatches(prepared.train, config.batch_tokens, seed=1)
    padding = positions = 0
    for batch in islice(stream, len(stream.plan(0))):
        padding += batch.padding
        positions += batch.positions
    assert padding / positions < 0.05  # 10 % is promised
    assert padding_of(prepared.train.src.lengths + 1, prepared.train.tgt.lengths + 1, 3072) < 0.10


def test_what_has_to_stay_together_is_not_shared(tmp_path):
    batches = TrainingBatches(store(tmp_path, [("5 6 7", "8 9 10")] * 7), BUDGET, seed=1, whole=True)
    batches.share(0, 1)
    with pytest.raises(ConfigError, match="learns from all texts of a batch together"):
        batches.share(0, 2)
