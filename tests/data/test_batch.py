import numpy as np
import pytest
import torch

from seqloom.data.batch import LabelledBatch, collate, collate_labelled
from seqloom.data.tokenizers import BOS, EOS, PAD
from tests.data.test_corpus import store


def test_a_batch_is_shifted_right_and_padded_at_the_end(tmp_path):
    corpus = store(tmp_path, [("5 6 7", "8"), ("9", "10 11"), ("12 13", "14")])
    batch = collate(corpus, np.array([1, 0]))
    assert batch.src.tolist() == [[9, EOS, PAD, PAD], [5, 6, 7, EOS]]
    assert batch.tgt.tolist() == [[BOS, 10, 11], [BOS, 8, PAD]]
    assert batch.targets.tolist() == [[10, 11, EOS], [8, EOS, PAD]]
    assert batch.src_mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.real.tolist() == [0, 1, 2, 3, 4]
    assert batch.rows.tolist() == [1, 0]
    assert batch.num_targets == 5
    assert batch.padding == 3
    assert batch.positions == 14
    assert {batch.src.dtype, batch.tgt.dtype, batch.targets.dtype} == {torch.int64}


def test_what_the_decoder_reads_is_what_it_must_say_after_its_start(tmp_path):
    corpus = store(tmp_path, [("5", " ".join(["7"] * (i % 5 + 1))) for i in range(11)])
    rows = np.arange(11)[::-1]
    assert collate(corpus, rows).tgt.tolist() == corpus.tgt.padded(rows, PAD, before=BOS).tolist()


def test_a_batch_moves_as_a_whole(tmp_path):
    batch = collate(store(tmp_path, [("5 6", "8")]), np.array([0]))
    moved = batch.to(torch.device("meta"))
    assert {each.device.type for each in (moved.src, moved.tgt, moved.targets, moved.real)} == {"meta"}
    assert moved.rows is batch.rows


@pytest.mark.parametrize("of", [2, 3, 7])
def test_the_parts_of_a_batch_are_its_rows_by_turns_and_as_wide(tmp_path, of):
    corpus = store(tmp_path, [("5 6 7", "8"), ("9", "10 11"), ("12 13", "14"), ("15", "16 17 18 19")])
    rows = np.array([3, 0, 2])
    whole = collate(corpus, rows)
    for part in range(of):
        found = collate(corpus, rows, slice(part, None, of))
        for name in ("src", "tgt", "targets"):
            assert getattr(found, name).tolist() == getattr(whole, name)[part::of].tolist()
            assert getattr(found, name).shape[1] == getattr(whole, name).shape[1]
        assert found.rows.tolist() == rows[part::of].tolist()


# --- texts with labels ---


@pytest.fixture
def labelled(tmp_path):
    """The label is the one token of a target."""
    return store(tmp_path, [("5 6 7", "2"), ("9", "0"), ("12 13", "1"), ("15 16", "2")])


def test_a_text_has_its_label_and_no_end(labelled):
    batch = collate_labelled(labelled, np.array([1, 0, 2]))
    assert batch.tokens.tolist() == [[9, PAD, PAD], [5, 6, 7], [12, 13, PAD]]
    assert batch.labels.tolist() == [0, 2, 1]
    assert batch.mask.tolist() == [[True, False, False], [True] * 3, [True, True, False]]
    assert (batch.num_targets, batch.padding, batch.positions) == (3, 3, 9)
    assert batch.tokens.dtype == batch.labels.dtype == torch.int64


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_the_parts_of_labelled_texts_are_rows_by_turns(labelled, of):
    rows = np.array([3, 0, 2])
    batch = collate_labelled(labelled, rows)
    parts = batch.parts(of)
    assert len(parts) == min(of, 3)
    for number, part in enumerate(parts):
        assert part.tokens.tolist() == batch.tokens[number::of].tolist()
        assert part.labels.tolist() == batch.labels[number::of].tolist()
        assert part.rows.tolist() == rows[number::of].tolist()
        taken = collate_labelled(labelled, rows, slice(number, None, of))
        assert taken.tokens.tolist() == part.tokens.tolist()


def test_a_whole_batch_is_not_parted(labelled):
    batch = collate_labelled(labelled, np.array([3, 0, 2]), whole=True)
    assert batch.parts(2) == [batch]
    nothing = collate_labelled(labelled, np.array([3]), slice(1, None, 2), whole=True)
    assert nothing.parts(2) == []


def test_labelled_texts_move_as_a_whole(labelled):
    moved = collate_labelled(labelled, np.array([0]), whole=True).to(torch.device("meta"))
    assert isinstance(moved, LabelledBatch)
    assert {moved.tokens.device.type, moved.labels.device.type} == {"meta"}
    assert moved.whole
