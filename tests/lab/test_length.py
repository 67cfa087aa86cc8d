"""How time and memory against length are measured."""

import math

import pytest

from seqloom.errors import UserError
from seqloom.lab import length
from seqloom.lab.length import crossing, exponent, models, steps, update


def test_both_decoders_have_as_many_weights() -> None:
    sizes = {
        name: sum(weight.numel() for part, weight in model.decoder.named_parameters() if weight.dim() > 1)
        for name, model in models().items()
    }
    assert sizes["attention"] == sizes["recurrence"] == 32 * length.WIDTH**2


def test_exponents_are_those_of_the_longest() -> None:
    lengths = [2, 4, 8, 16, 32, 64]
    assert exponent(lengths, [1e9, 1e9, *(5 * each**1.5 for each in lengths[2:])]) == pytest.approx(1.5)


def test_lines_cross_where_they_do() -> None:
    lengths = [4, 16, 64]
    straight, square = [8.0 * each for each in lengths], [1.0 * each**2 for each in lengths]
    found = crossing(lengths, square, straight)
    assert found is not None
    assert math.isclose(found, 8)
    assert crossing(lengths, straight, square) is None
    assert crossing(lengths, [1.0] * 3, [2.0] * 3) is None


@pytest.mark.parametrize("name", ["attention", "recurrence"])
def test_steps_and_updates_are_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models()[name]
    update(model, 3)
    assert all(weight.grad is None for weight in model.parameters())
    ticks = iter(range(100))
    monkeypatch.setattr(length.time, "perf_counter", lambda: next(ticks) ** 2)
    # Step n of pass r lasts from 10r + 2n to 10r + 2n + 1, squared: 20r + 4n + 1. The first pass is thrown away.
    assert steps(model.eval(), [1, 5]) == [21, 29]


def fake(monkeypatch: pytest.MonkeyPatch, power: float) -> None:
    """An attention whose costs grow so, and a recurrence whose costs grow with the length."""
    found = models()
    of = {id(model): name for name, model in found.items()}
    monkeypatch.setattr(length, "models", lambda: found)

    def cost(model: object, each: int) -> float:
        return each**power / 64 ** (power - 1) if of[id(model)] == "attention" else float(each)

    monkeypatch.setattr(length, "seconds", lambda work: cost(*work.args))
    monkeypatch.setattr(length, "megabytes", cost)
    monkeypatch.setattr(length, "steps", lambda model, lengths: [cost(model, each) for each in lengths])


def test_the_verdict_follows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, 2)
    verdict = length.length(False).verdict
    assert "2.00 | 1.00" in verdict.en
    assert "that is the square of the textbooks" in verdict.en
    assert "in memory from about 64 tokens on" in verdict.en
    assert "约 64 个词起" in verdict.zh
    fake(monkeypatch, 0.5)
    verdict = length.length(False).verdict
    assert "not yet the square of the textbooks" in verdict.en
    assert "in memory not even at 1,024 tokens" in verdict.en
    assert "到 1,024 个词仍不是" in verdict.zh


def test_without_a_word_on_memory_there_is_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length.Path, "exists", lambda path: False)
    with pytest.raises(UserError) as error:
        length.length(False)
    assert str(error.value) == (
        "the experiment length measures memory, which this system does not tell; run it on Linux"
    )
