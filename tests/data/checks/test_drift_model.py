import numpy as np
import pytest

from seqloom.data.checks.drift_features import HASHES, Features
from seqloom.data.checks.drift_model import (
    BY_LENGTH,
    SURE,
    Comparison,
    Lexicon,
    Lines,
    _rotate,
    band_products,
    compare_band,
    compare_rows,
    standard_lengths,
)


@pytest.fixture
def random():
    return np.random.default_rng(1)


def some_lines(random, count: int) -> Lines:
    return Lines(
        random.normal(size=(count, 5)).astype(np.float32),
        random.normal(size=count).astype(np.float32),
        random.integers(0, 2**32, count, np.uint32),
        random.integers(0, 2**32, count, np.uint32),
        np.zeros(count, bool),
    )


@pytest.mark.parametrize(("count", "width"), [(1, 1), (3, 7), (64, 49), (131, 11)])
def test_a_band_is_the_diagonals_of_the_product(random, count, width):
    src = random.normal(size=(count + width - 1, 5)).astype(np.float32)
    tgt = random.normal(size=(count, 5)).astype(np.float32)
    whole = tgt @ src.T
    expected = [[whole[row, row + k] for k in range(width)] for row in range(count)]
    np.testing.assert_allclose(band_products(src, tgt), expected, rtol=1e-4, atol=1e-5)


def test_signs_of_a_band_are_those_of_its_rows(random):
    src, tgt = some_lines(random, 67 + 12), some_lines(random, 67)
    band = compare_band(src, tgt)
    for k in (0, 5, 12):
        rows = compare_rows(Lines._make(part[k : k + 67] for part in src), tgt)
        for of_band, of_rows in zip(band, rows, strict=True):
            np.testing.assert_allclose(of_band[:, k], of_rows, rtol=1e-4, atol=1e-5)


def test_rotate_is_a_singular_value_decomposition(random):
    columns = random.normal(size=(97, 7)).astype(np.float32)
    u, v, s = _rotate(columns)
    np.testing.assert_allclose(u * s @ v.T, columns, atol=1e-4)
    np.testing.assert_allclose(u.T @ u, np.eye(7), atol=1e-4)
    np.testing.assert_allclose(np.sort(s), np.sort(np.linalg.svd(columns, compute_uv=False)), rtol=1e-4)


def test_the_lexicon_brings_translations_together(random):
    # Word n of one side is word n + 1000 of the other; every line has a word that says nothing.
    words = np.stack([random.choice(np.arange(1, 60), 6, replace=False) for _ in range(1500)]).astype(np.uint16)
    src = np.concatenate([words, np.full((1500, 1), 99)], axis=1).astype(np.uint16)
    tgt = np.concatenate([words[:, ::-1] + 1000, np.full((1500, 1), 1099)], axis=1).astype(np.uint16)
    lexicon = Lexicon.learn(src[:1000], tgt[:1000], 32)
    one, other = lexicon.src(src[1000:]), lexicon.tgt(tgt[1000:])
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-4)
    closeness = one @ other.T
    pairs, strangers = np.diag(closeness), closeness[~np.eye(500, dtype=bool)]
    assert pairs.mean() > strangers.mean() + 5 * strangers.std()
    assert (closeness.argmax(0) == np.arange(500)).mean() > 0.95


def test_unknown_words_and_no_words_are_nowhere():
    words = np.tile(np.arange(1, 5, dtype=np.uint16), (50, 1))
    lexicon = Lexicon.learn(words, words, 3)
    assert not lexicon.src(np.array([[0, 0, 0, 0], [70, 71, HASHES - 1, 0]], np.uint16)).any()
    empty = Lexicon.learn(np.zeros((0, 4), np.uint16), np.zeros((0, 4), np.uint16), 3)
    assert not empty.tgt(words).any()


def test_a_regression_finds_the_sign_that_tells(random):
    features = len(BY_LENGTH.weights) - 1
    pairs, strangers = random.normal(size=(2, 20_000, features)).astype(np.float32)
    pairs[:, 0] += 2
    compare = Comparison.learn(pairs, strangers)
    # Two normal distributions of deviation 1 and means 2 and 0: the logarithm of their ratio is 2 x - 2.
    assert compare.weights[0] == pytest.approx(2, abs=0.1)
    assert compare.weights[-1] == pytest.approx(-2, abs=0.1)
    assert np.abs(compare.weights[1:-1]).max() < 0.1
    fits = compare(list(pairs.T))
    assert fits.mean() > 1.5
    assert np.abs(fits).max() <= SURE


def test_without_examples_what_is_known_of_all_languages_stays():
    none = np.zeros((0, len(BY_LENGTH.weights) - 1), np.float32)
    np.testing.assert_allclose(Comparison.learn(none, none).weights, BY_LENGTH.weights)


def test_lengths_are_standardised_without_the_empty_ones(random):
    lengths = np.append(random.integers(5, 200, 500), [0, 0, 65_535]).astype(np.uint16)
    nothing = np.zeros(len(lengths), np.uint32)
    standard = standard_lengths(Features(lengths, np.zeros((len(lengths), 1), np.uint16), nothing, nothing))
    assert standard[:500].mean() == pytest.approx(0, abs=0.05)
    assert standard[:500].std() == pytest.approx(1, abs=0.1)
    assert np.abs(standard).max() <= 3
