"""Significance tests against sacreBLEU's own, against enumeration, and against what must hold."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from seqloom.metrics import significance
from seqloom.metrics.significance import compare, interval, resample
from seqloom.metrics.translation import Metric

WORDS = ["the", "a", "cat", "dog", "mat", "sat", "ran", "saw", "on", "by", "red", "old", ".", ","]


def systems(count: int, error_a: float, error_b: float) -> tuple[list[str], list[str], list[str]]:
    """References and two systems that each get a share of the words wrong."""
    random = np.random.default_rng(7)

    def spoilt(sentence: list[str], error: float) -> str:
        return " ".join(str(random.choice(WORDS)) if random.random() < error else word for word in sentence)

    references = [list(map(str, random.choice(WORDS, random.integers(5, 19)))) for _ in range(count)]
    a, b = ([spoilt(reference, error) for reference in references] for error in (error_a, error_b))
    return a, b, [" ".join(reference) for reference in references]


def share(numbers: Sequence[float]) -> float:
    """Of one number to the next."""
    return float(numbers[0] / numbers[1]) if numbers[1] else 0.0


@pytest.mark.parametrize("errors", [(0.2, 0.2), (0.2, 0.23), (0.3, 0.2)])
@pytest.mark.parametrize(("name", "theirs"), [("bleu", BLEU()), ("chrf", CHRF(word_order=2))])
def test_like_sacrebleu(name, theirs, errors):
    a, b, references = systems(83, *errors)
    metric = Metric(name, "en")
    statistics = metric.statistics(a, references), metric.statistics(b, references)
    found = compare(*statistics, metric.score, 997)

    def tested(kind: str) -> list:
        _, results = PairedTest([("a", a), ("b", b)], {name: theirs}, [references], kind, n_samples=997)()
        return next(column for key, column in results.items() if key != "System")

    of_a, of_b = tested("bs")
    assert (found.a, found.b) == pytest.approx((of_a.score, of_b.score), abs=1e-9)
    for (low, high), other in ((found.a_interval, of_a), (found.b_interval, of_b)):
        assert (high - low) / 2 == pytest.approx(other.ci, rel=1e-3)
    sums = np.concatenate(list(resample(np.concatenate(statistics, axis=1), 997)))
    scores = np.array([metric.score(half) for half in sums.reshape(2 * 997, -1).tolist()]).reshape(997, 2)
    distances = np.abs(scores[:, 0] - scores[:, 1])
    assert ((distances - distances.mean() > abs(found.difference)).sum() + 1) / 998 == of_b.p_value

    assert found.p_randomization == pytest.approx(tested("ar")[1].p_value, abs=2e-3)
    # Two two-sided tests of one question. sacreBLEU's bootstrap centres absolute differences, so
    # that of two systems that are alike its p-value is far too small: no bound for it here.
    assert found.p_bootstrap == pytest.approx(found.p_randomization, abs=0.05)


def test_like_enumeration():
    random = np.random.default_rng(3)
    a, b = (np.stack([random.integers(0, 7, 5), random.integers(7, 11, 5)], axis=1).astype(float) for _ in range(2))
    observed = abs(share(a.sum(0)) - share(b.sum(0)))

    drawn = [list(rows) for rows in product(range(5), repeat=5)]
    differences = np.array([share(a[rows].sum(0)) - share(b[rows].sum(0)) for rows in drawn])
    centred = np.abs(differences - differences.mean())
    swaps = np.array(list(product([0.0, 1.0], repeat=5)))[:, :, None]
    shuffled = [share((swap * a + (1 - swap) * b).sum(0)) - share((swap * b + (1 - swap) * a).sum(0)) for swap in swaps]

    found = compare(a, b, share, resamplings=60_000)
    assert found.p_bootstrap == pytest.approx((centred >= observed - 1e-9).mean(), abs=0.01)
    assert found.p_randomization == pytest.approx((np.abs(shuffled) >= observed - 1e-9).mean(), abs=0.01)
    assert found.a_higher == pytest.approx(
        (differences > 1e-9).mean() + (np.abs(differences) <= 1e-9).mean() / 2, abs=0.01
    )
    assert found.difference == pytest.approx(share(a.sum(0)) - share(b.sum(0)))


def test_the_same_system_twice_is_no_different():
    a, _, references = systems(31, 0.3, 0.3)
    metric = Metric("bleu", "en")
    statistics = metric.statistics(a, references)
    found = compare(statistics, statistics, metric.score, 101)
    assert (found.p_bootstrap, found.p_randomization, found.a_higher) == (1, 1, 0.5)
    assert found.difference == 0
    assert found.difference_interval == (0, 0)


def test_exchanged_systems_give_the_mirrored_result():
    a, b, references = systems(61, 0.2, 0.3)
    metric = Metric("chrf", "en")
    statistics = [metric.statistics(system, references) for system in (a, b)]
    found = compare(statistics[0], statistics[1], metric.score, 211)
    mirrored = compare(statistics[1], statistics[0], metric.score, 211)
    assert found.a > found.b
    assert found.p_bootstrap < 0.05
    assert found.p_randomization < 0.05
    assert found.a_higher > 0.95
    assert found.difference_interval[0] > 0
    assert (mirrored.a, mirrored.b) == (found.b, found.a)
    assert mirrored.a_higher == pytest.approx(1 - found.a_higher)
    assert mirrored.difference_interval == pytest.approx([-end for end in found.difference_interval[::-1]])
    assert mirrored.p_bootstrap == found.p_bootstrap
    assert mirrored.p_randomization == found.p_randomization


def test_the_seed_decides():
    a, b, references = systems(61, 0.2, 0.23)
    metric = Metric("bleu", "en")
    statistics = [metric.statistics(system, references) for system in (a, b)]
    three, again, four = (compare(statistics[0], statistics[1], metric.score, 97, seed=seed) for seed in (3, 3, 4))
    assert three == again
    assert three != four


def test_one_sentence_tells_nothing():
    found = compare(np.array([[3.0, 5.0]]), np.array([[1.0, 5.0]]), share, 53)
    assert found.a_interval == (0.6, 0.6)
    assert found.p_randomization == 1  # both shuffles of one sentence are as far apart


def test_resampled_sets_have_as_many_sentences(monkeypatch):
    monkeypatch.setattr(significance, "MAX_DRAWN", 50)  # of 17 sentences, so 2 sets at a time
    counted = np.concatenate(list(resample(np.eye(17), 23)))
    assert counted.shape == (23, 17)
    assert (counted.sum(axis=1) == 17).all()
    assert len(np.unique(counted, axis=0)) == 23
    assert counted.max() > 1


def test_interval_leaves_a_fortieth_out_on_each_side():
    assert interval(np.arange(1000.0)[::-1]) == (25, 974)
    assert interval(np.array([3.0])) == (3, 3)
