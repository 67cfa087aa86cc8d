import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.metrics.classification import ClassScore, accuracy, class_scores, confusion, macro_f1, report

answers = st.integers(1, 5).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=23),
    )
)


@given(answers)
def test_counts_and_scores_are_those_of_counting_one_by_one(case: tuple[int, list[tuple[int, int]]]) -> None:
    classes, pairs = case
    predicted, expected = zip(*pairs, strict=True)
    counts = confusion(predicted, expected, classes)
    f1s = []
    for label in range(classes):
        right = sum(p == e == label for p, e in pairs)
        taken, there = predicted.count(label), expected.count(label)
        for other in range(classes):
            assert counts[label, other] == sum((e, p) == (label, other) for p, e in pairs)
        precision, recall = (right / taken if taken else 0), (right / there if there else 0)
        f1 = 2 * precision * recall / (precision + recall) if right else 0
        assert class_scores(counts)[label] == pytest.approx(ClassScore(precision, recall, f1, there))
        f1s += [f1] if taken or there else []
    assert macro_f1(counts) == pytest.approx(100 * sum(f1s) / len(f1s))
    assert accuracy(counts) == pytest.approx(100 * sum(p == e for p, e in pairs) / len(pairs))


def test_a_class_that_occurs_nowhere_does_not_count() -> None:
    """It would pull the mean down for nothing."""
    assert macro_f1(confusion([0, 1, 1], [0, 1, 1], 3)) == 100


def test_a_class_that_is_only_predicted_does() -> None:
    assert macro_f1(confusion([0, 2], [0, 0], 3)) == pytest.approx(100 * (2 / 3 + 0) / 2)


@pytest.mark.parametrize(("predicted", "expected"), [([], []), ([1], [1, 0])])
def test_numbers_that_do_not_go_together(predicted: list[int], expected: list[int]) -> None:
    with pytest.raises(ValueError, match="expected as many, and some"):
        confusion(predicted, expected, 2)


def test_a_report_is_one_json_object_and_a_table() -> None:
    found = report([0, 1, 1, 1, 0], [0, 1, 0, 1, 1], ["neg", "pos"], bootstrap=113)
    about = json.loads(json.dumps(found.as_dict()))
    assert about["accuracy"] == 60.0
    assert about["texts"] == 5
    assert about["confusion"] == [[1, 1], [1, 2]]
    assert about["labels"]["pos"] == {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}
    assert about["signature"]["f1"] == "f1|average:macro|classes:2|texts:5|bootstrap:113|seed:12345"
    assert about["confidence"]["accuracy"][0] <= 60 <= about["confidence"]["accuracy"][1]
    lines = found.as_table().splitlines()
    assert lines[0] == "5 texts"
    assert lines[1].split()[:2] == ["accuracy", "60.00"]
    assert lines[-1].split() == ["pos", "66.67", "66.67", "66.67", "3"]


def test_without_resampling_there_are_no_intervals() -> None:
    found = report(np.array([0, 1]), np.array([0, 1]), ["a", "b"])
    assert found.confidence == {}
    assert "[" not in found.as_table()
    assert found.signature["accuracy"] == "accuracy|classes:2|texts:2"


def test_the_interval_is_about_as_wide_as_it_must_be() -> None:
    """Of 400 answers of which 80 % are right, the deviation of the share is 2 %."""
    expected = np.zeros(400, np.int64)
    predicted = (np.arange(400) % 5 == 0).astype(np.int64)
    low, high = report(predicted, expected, ["a", "b"], bootstrap=1000).confidence["accuracy"]
    assert low == pytest.approx(80 - 2 * 1.96, abs=0.6)
    assert high == pytest.approx(80 + 2 * 1.96, abs=0.6)


def test_many_labels_take_no_table_of_tables() -> None:
    labels = [str(label) for label in range(311)]
    expected = np.arange(5_000) % 311
    predicted = np.where(np.arange(5_000) % 4 == 0, (expected + 1) % 311, expected)
    low, high = report(predicted, expected, labels, bootstrap=29).confidence["accuracy"]
    assert 70 < low < 75 < high < 80
