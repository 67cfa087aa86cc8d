import json

import pytest

from seqloom.data.labels import Labels
from seqloom.errors import ModelFolderError


def test_labels_are_numbered_in_their_order() -> None:
    labels = Labels({"pos", "neg", "中性"})
    assert labels.names == ["neg", "pos", "中性"]
    assert [labels.number(name) for name in labels.names] == [0, 1, 2]
    assert labels.encode(["中性", "", "neg"]) == [[2], [], [0]]
    assert (len(labels), labels.vocab_size) == (3, 3)
    assert "pos" in labels
    assert "Pos" not in labels


def test_a_file_of_labels_is_read_again() -> None:
    labels = Labels(["b", "a", "ä b"])
    assert Labels.from_bytes(labels.to_bytes(), "x").names == ["a", "b", "ä b"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[", "Expecting"),
        (b'{"a": 1}', "expected a list of 2 to 65,536 names"),
        (b'["a"]', "expected a list of 2 to 65,536 names"),
        (b'["a", 1]', "one of them is no name"),
        (b'["", "a"]', "one of them is no name"),
        (b'["a", "b\\tc"]', "one of them is no name"),
        (b'["a", "b\\u001b[31m"]', "one of them is no name"),
        (b'["b", "a"]', "they are not in order, or one stands twice"),
        (b'["a", "a"]', "they are not in order, or one stands twice"),
        (json.dumps(["a", "\ud800"]).encode(), "surrogates not allowed"),
        (b'["a", "\xff"]', "can't decode"),
    ],
)
def test_a_damaged_file_is_told(content: bytes, reason: str) -> None:
    with pytest.raises(ModelFolderError) as error:
        Labels.from_bytes(content, "model/labels.json")
    assert str(error.value).startswith("model/labels.json: is no list of labels, or damaged (")
    assert reason in str(error.value)
