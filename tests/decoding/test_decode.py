"""Settings -> a search: each does what its description says, and those that exclude each other are refused."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from seqloom.config import DecodingConfig
from seqloom.decoding.constraints import Prefix
from seqloom.decoding.decode import Sources, decode, lengths
from tests.decoding.tables import Table, TableState

BOS, EOS = 1, 2


class Model(Table):
    """A table that reads sources: the sentence's number is its first token."""

    longest = None

    def start(self, src, src_mask=None):
        return TableState(src[:, 0].tolist())


def sources(*sizes, **settings):
    size = torch.tensor(sizes)
    ids = torch.arange(len(sizes))[:, None].expand(-1, max(sizes))
    return Sources(ids, torch.arange(max(sizes)) < size[:, None], **settings)


def test_lengths_relative_to_the_source():
    config = DecodingConfig(max_length=40, max_length_ratio=1.5, min_length=3, min_length_ratio=0.5)
    longest, shortest = lengths(sources(1, 11, 29, 17), config)
    assert longest.tolist() == [16, 32, 40, 40]
    assert lengths(sources(3, 4, 5), DecodingConfig(max_length_ratio=1.5))[0].tolist() == [16, 16, 32]
    assert shortest.tolist() == [3, 5, 14, 8]
    longest, shortest = lengths(sources(1, 11), DecodingConfig(max_length=40))
    assert longest.tolist() == [40, 40]
    longest, _ = lengths(sources(1, 11), DecodingConfig(max_length=40), places=23)
    assert longest.tolist() == [23, 23]
    assert shortest.tolist() == [0, 0]


def test_a_least_length_leaves_room_behind_it():
    config = DecodingConfig(max_length=61, max_length_ratio=1.0, min_length=29)
    assert lengths(sources(1, 41), config)[0].tolist() == [48, 61]
    config = DecodingConfig(max_length=61, max_length_ratio="auto", min_length_ratio=3.0)
    bounded = config.model_copy(update={"max_length_ratio": 1.5})  # as the training data say
    assert lengths(sources(1, 13), bounded)[0].tolist() == [16, 61]
    assert lengths(sources(1, 7), bounded)[0].tolist() == [16, 32]


def test_a_prefix_leaves_room_behind_it():
    forced = sources(1, 1, prefixes=[Prefix([5] * 13), Prefix()])
    assert lengths(forced, DecodingConfig(max_length=40, max_length_ratio=1.0))[0].tolist() == [32, 16]
    assert lengths(forced, DecodingConfig(max_length=17, max_length_ratio=1.0))[0].tolist() == [17, 16]


@pytest.mark.parametrize(
    ("settings", "obeys"),
    [
        ({"max_length": 3}, lambda h: len(h.tokens) <= 3),
        ({"max_length_ratio": 0.01}, lambda h: len(h.tokens) <= 16),
        ({"min_length": 6}, lambda h: len(h.tokens) >= 6),
        ({"min_length_ratio": 2.0}, lambda h: len(h.tokens) >= 6),
        ({"no_repeat_ngram": 1}, lambda h: len(set(h.tokens)) == len(h.tokens)),
    ],
)
@pytest.mark.parametrize("way", [{}, {"beam": 1}, {"sample": True}, {"diversity": 1.0}])
def test_every_way_keeps_to_every_bound(settings, obeys, way):
    model, config = Model(11, 4, sharpness=0.7), DecodingConfig(**way)
    own = sources(*[3] * 17, keys=np.arange(17, dtype=np.uint64))
    free = [h for found in decode(model, own, config, BOS, EOS, config.beam) for h in found]
    assert not all(map(obeys, free))
    config = config.model_copy(update=settings)
    assert all(obeys(h) for found in decode(model, own, config, BOS, EOS, config.beam) for h in found)


def test_each_setting_reaches_the_search():
    """None of them may be forgotten on the way: each changes what is found, or its score."""
    model, own = Model(11, 4, sharpness=0.7), sources(5, 4, 5, 4, keys=np.arange(4, dtype=np.uint64))
    changes: list[dict[str, Any]] = [
        {"beam": 2},
        {"length_penalty": 0.2},
        {"length_formula": "gnmt"},
        {"coverage_penalty": 0.5},
        {"repetition_penalty": 3.0},
        {"max_length": 3},
        {"sample": True},
        {"diversity": 1.0},
    ]
    of_sampling: list[dict[str, Any]] = [
        {},
        {"temperature": 0.2},
        {"top_k": 2},
        {"top_p": 0.3},
        {"min_p": 0.5},
        {"seed": 2},
    ]
    plain = decode(model, own, DecodingConfig(), BOS, EOS)
    for change in changes:
        assert decode(model, own, DecodingConfig(**change), BOS, EOS) != plain, change
    drawn = [decode(model, own, DecodingConfig(sample=True, **change), BOS, EOS) for change in of_sampling]
    assert all(drawn[0] != each for each in drawn[1:])
    read_elsewhere = {"min_length", "max_length_ratio", "min_length_ratio", "no_repeat_ngram", "mbr"}
    seen = {key for change in (*changes, *of_sampling) for key in change}
    assert seen | read_elsewhere == set(DecodingConfig.model_fields)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.5}, r"temperature \(0.5\) is a setting of sampling; set sample too"),
        ({"top_k": 5}, r"top_k \(5\) is a setting of sampling"),
        ({"top_p": 0.5}, r"top_p \(0.5\) is a setting of sampling"),
        ({"min_p": 0.5}, r"min_p \(0.5\) is a setting of sampling"),
        ({"sample": True, "diversity": 0.5}, "sample and diversity exclude each other: draws are independent already"),
        ({"beam": 1, "diversity": 0.5}, "diversity needs several hypotheses; set beam to 2 or more"),
        ({"beam": 1, "mbr": "chrf"}, "mbr needs several hypotheses; set beam to 2 or more"),
        (
            {"min_length": 9, "max_length": 8},
            r"min_length \(9\) is not less than max_length \(8\), which counts the end",
        ),
        (
            {"min_length": 7, "max_length": 7},
            r"min_length \(7\) is not less than max_length \(7\), which counts the end",
        ),
        (
            {"min_length_ratio": 2, "max_length_ratio": 1.5},
            r"min_length_ratio \(2.0\) is more than max_length_ratio \(1.5\), so that nothing is allowed",
        ),
    ],
)
def test_settings_that_make_no_sense_together(settings, message):
    with pytest.raises(ValidationError, match=message):
        DecodingConfig(**settings)
