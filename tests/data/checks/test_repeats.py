"""Repeated pairs, against looking for them one by one, in memory and in files."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.checks import repeats as repeats_module
from seqloom.data.checks.repeats import EXACT, PAIR, SRC, TGT, Repeats

KEYS = st.lists(st.tuples(*[st.sampled_from([0, 1, 2, 3, (1 << 63) + 5, (1 << 64) - 1])] * 3), max_size=25)


def filled(rows: list[tuple[int, int, int, int]], chunk: int) -> Repeats:
    repeats = Repeats()
    for start in range(0, len(rows), chunk):
        repeats.add(np.array(rows[start : start + chunk], np.uint64).reshape(-1, 4), start)
    return repeats


@pytest.mark.parametrize("in_memory", [10**6, 4])
@given(rows=KEYS, chunk=st.integers(1, 7))
def test_repetitions_are_those_found_one_by_one(in_memory, rows, chunk):
    full = [(hash_of(src, tgt), hash_of(src, tgt), src, tgt) for src, tgt, _ in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats_module, "IN_MEMORY", in_memory)
        repeats = filled(full, chunk)
        try:
            check(repeats, full)
        finally:
            repeats.close()
    assert repeats._folder is None or not repeats._folder.exists()


def hash_of(src: int, tgt: int) -> int:
    return (31 * src + tgt + 7) % (1 << 64) if src and tgt else 0


def check(repeats: Repeats, rows: list[tuple[int, int, int, int]]) -> None:
    firsts = {keys[0]: row for row, keys in reversed(list(enumerate(rows)))}
    again = [row for row, keys in enumerate(rows) if keys[0] and firsts[keys[0]] < row]
    found = repeats.duplicates(EXACT)
    assert found.rows.tolist() == again
    assert repeats.duplicates(PAIR, found.rows).rows.tolist() == []
    counts = Counter(keys[0] for keys in rows if keys[0])
    for row, first, times in found.worst:
        assert rows[row][0] == rows[first][0]
        assert first < row
        assert times == counts[rows[row][0]]
    if found.worst:
        assert found.worst[0][2] == max(counts.values())
    for column in (SRC, TGT):
        partners = defaultdict(set)
        for keys in rows:
            partners[keys[column]].add(keys[PAIR])
        several = [row for row, keys in enumerate(rows) if keys[column] and len(partners[keys[column]]) > 1]
        variants = repeats.variants(column)
        assert variants.rows.tolist() == several
        for row, other, kinds in variants.worst:
            assert rows[row][column] == rows[other][column]
            assert rows[row][PAIR] != rows[other][PAIR]
            assert kinds == len(partners[rows[row][column]])


def test_nothing_repeats_in_nothing():
    repeats = Repeats()
    assert repeats.duplicates(EXACT).rows.tolist() == []
    assert repeats.variants(SRC).worst == []
    repeats.close()
