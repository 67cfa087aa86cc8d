"""Shortlists: Model 1 against its plain definition, and the file that CTranslate2 reads."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from seqloom.data.corpus import Corpus
from seqloom.errors import RunError, UserError
from seqloom.export import shortlist
from seqloom.export.shortlist import learn_shortlist, read_vmap, write_vmap
from seqloom.pipeline.translator import load


def plain(pairs: list[tuple[list[int], list[int]]], iterations: int) -> dict[int, dict[int, float]]:
    """Expectation and maximisation, token by token."""
    probability: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(iterations):
        expected: dict[tuple[int, int], float] = defaultdict(float)
        for source, target in pairs:
            for t in target:
                total = sum(probability[s, t] for s in source)
                for s in source:
                    expected[s, t] += probability[s, t] / total
        sums: dict[int, float] = defaultdict(float)
        for (s, _), value in expected.items():
            sums[s] += value
        probability = defaultdict(float, {(s, t): value / sums[s] for (s, t), value in expected.items()})
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for (s, t), value in probability.items():
        found[s][t] = value
    return found


def test_it_is_model_1(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "CHUNK", 11)
    monkeypatch.setattr(shortlist, "EACH", 3)
    setup = load(toy_run, engine="torch").setup
    found = learn_shortlist(toy_run, setup.vocab_sizes)
    corpus = Corpus(toy_run / "data" / "train")
    pairs = [(corpus.src[row].tolist(), corpus.tgt[row].tolist()) for row in range(len(corpus))]
    expected = plain(pairs, shortlist.ITERATIONS)
    assert len(found.each) == setup.vocab_sizes[0]
    for source, targets in enumerate(found.each):
        values = sorted(expected.get(source, {}).values(), reverse=True)[:3]
        assert [expected[source][int(t)] for t in targets] == pytest.approx(values)
    assert set(range(4)) <= set(found.always.tolist())


def test_the_file_has_a_line_for_each_piece(tmp_path: Path) -> None:
    found = shortlist.Shortlist([np.array([2, 1]), np.array([], int), np.array([0])], np.array([0, 3]))
    write_vmap(found, ["a", "b", "c"], ["w", "x", "y", "z"], tmp_path / "vmap.txt")
    assert (tmp_path / "vmap.txt").read_text(encoding="utf-8") == "\tw z\na\ty x\nc\tw\n"
    read = read_vmap(tmp_path / "vmap.txt", ["a", "b", "c"], ["w", "x", "y", "z"])
    assert [each.tolist() for each in read.each] == [each.tolist() for each in found.each]
    assert read.always.tolist() == found.always.tolist()


def test_it_needs_the_training_data(toy_run: Path) -> None:
    with pytest.raises(RunError, match="has no prepared training data that fits the model, which a shortlist"):
        learn_shortlist(toy_run / "model", (5, 7))
    with pytest.raises(RunError, match="has no prepared training data that fits the model, which a shortlist"):
        learn_shortlist(toy_run, (5, 7))


def test_a_piece_with_a_space_has_no_place_in_the_file(tmp_path: Path) -> None:
    found = shortlist.Shortlist([np.array([1])], np.array([0]))
    with pytest.raises(UserError, match="with a space in a piece, as in machine learning"):
        write_vmap(found, ["a"], ["w", "machine learning"], tmp_path / "vmap.txt")


def test_long_pairs_are_looked_at_few_at_a_time(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = load(toy_run).setup
    whole = learn_shortlist(toy_run, setup.vocab_sizes)
    monkeypatch.setattr(shortlist, "CHUNK", 100)
    parts = learn_shortlist(toy_run, setup.vocab_sizes)
    assert [each.tolist() for each in parts.each] == [each.tolist() for each in whole.each]
