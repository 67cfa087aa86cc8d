"""How quality against length is measured, and whether a decline is one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqloom.errors import UserError
from seqloom.lab import fixed_code
from seqloom.lab.corpora import Corpus, train_translator
from seqloom.lab.fixed_code import (
    COMMA,
    DECODERS,
    END,
    SPECIAL,
    Measured,
    dictionary,
    new_model,
    sentences,
    shares,
    trend,
)
from seqloom.metrics.significance import resample
from tests.lab.conftest import TOY


def test_clauses_change_places_and_words_their_language() -> None:
    means = dictionary()
    places = set()
    for src, tgt in zip(*sentences(31, 7, means), strict=True):
        assert src[-1] == tgt[-1] == END
        one, other = int((src == COMMA).nonzero()), int((tgt == COMMA).nonzero())
        assert one + other == 7
        places.add(one)
        words = src[:-1]
        assert tgt[:other].equal(means[words[one + 1 :] - SPECIAL] + SPECIAL)
        assert tgt[other + 1 : -1].equal(means[words[:one] - SPECIAL] + SPECIAL)
    assert places == {1, 2, 3, 4, 5, 6}


def test_answers_are_compared_place_by_place() -> None:
    targets = torch.tensor([[5, 2, 7, END]] * 4)
    said = [[5, 2, 7], [5, 7, 2], [5], [4, 5, 2, 7]]
    assert shares(said, targets).tolist() == [1, pytest.approx(1 / 3), pytest.approx(1 / 3), 0]


def test_a_model_learns_the_shortest_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixed_code, "LENGTHS", [2])
    torch.manual_seed(1)
    model = new_model(DECODERS["attention"])
    fixed_code.learn(model, 60)
    assert fixed_code.right(model.eval(), 2).mean() > 0.8


def test_new_sentences_are_new() -> None:
    """Of the shortest there are fewest."""
    trained, means = fixed_code.STEPS * fixed_code.ROWS // len(fixed_code.LENGTHS), dictionary()
    seen, _ = sentences(trained, fixed_code.LENGTHS[0], means, torch.Generator().manual_seed(3))
    tested, _ = sentences(fixed_code.TESTED, fixed_code.LENGTHS[0], means, torch.Generator().manual_seed(5))
    known = {tuple(src) for src in seen.tolist()}
    assert sum(tuple(src) in known for src in tested.tolist()) < 0.03 * fixed_code.TESTED


def test_trends() -> None:
    random = np.random.default_rng(3)
    lengths = np.repeat(np.arange(2.0, 12.0), 13)
    noise = random.normal(0, 5, len(lengths))
    falling, level = trend(lengths, 80 - 4 * lengths + noise), trend(lengths, 80 + noise)
    assert falling.slope == pytest.approx(-40, abs=5)
    assert falling.low < falling.slope < falling.high < -30
    assert falling.p == pytest.approx(1 / (fixed_code.RESAMPLINGS + 1))
    assert falling.falls
    assert level.low < 0 < level.high
    assert level.p > 0.05
    assert not level.falls
    assert not trend(lengths, 4 * lengths + noise).falls


def measured(fixed: float, attention: float) -> Measured:
    """Qualities that change so for each word."""
    lengths = np.repeat(np.array(fixed_code.LENGTHS, np.float64), 5)
    noise = np.random.default_rng(1).normal(0, 1, len(lengths))
    return Measured(
        lengths, {"fixed code": 90 + fixed * lengths + noise, "attention": 90 + attention * lengths - noise}
    )


def test_means_by_length_lie_in_their_intervals() -> None:
    found = measured(-3, 0)
    rows = found.by_length([(4, 4), (6, 10)])
    assert [(name, count) for name, count, _ in rows] == [("4", 5), ("6 to 10", 15)]
    chosen = found.quality["fixed code"][(found.lengths >= 6) & (found.lengths <= 10)]
    mean, low, high = rows[1][2]["fixed code"]
    assert mean == pytest.approx(chosen.mean())
    assert low < mean < high
    sums = np.concatenate(list(resample(chosen[:, None], fixed_code.RESAMPLINGS)))
    assert low == pytest.approx(np.quantile(sums / 15, 0.025), abs=0.3)


@pytest.mark.parametrize(
    ("fixed", "attention", "en", "zh"),
    [
        (-3, -0.5, "which is a significant decline", "下降显著"),
        (0, 0, "which is no significant decline", "没有显著下降"),
    ],
)
def test_the_verdict_follows_what_was_measured(
    fixed: float, attention: float, en: str, zh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed_code, "made_up", lambda steps: measured(fixed, attention))
    found = fixed_code.fixed_code(False)
    assert en in found.verdict.en
    assert zh in found.verdict.zh
    assert ("attention loses less" in found.verdict.en) == (fixed < attention)
    assert "Real captions are measured with `--full`" in found.done.en
    assert len(found.tables) == len(found.plots) == 1


def test_real_captions_are_translated_by_both(
    toy_data: Path, toy_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders = []

    def train(run: Path, corpus: Corpus, where: Path, files: list[Path], flags: dict[str, Any]) -> Path:
        decoders.append(flags["model.decoder"])
        return train_translator(run, corpus, where, files, flags)

    monkeypatch.setattr(fixed_code, "train_translator", train)
    monkeypatch.setattr(fixed_code, "MULTI30K", TOY)
    monkeypatch.setattr(fixed_code, "RESAMPLINGS", 50)
    own = {"src", "tgt", "valid_src", "valid_tgt", "d_ff", "num_heads"}
    settings = {key: value for key, value in toy_settings.items() if key.partition(".")[2] not in own}
    found = fixed_code.real(toy_data, settings)
    assert found.lengths.tolist() == [4.0] * 31  # digits apart
    assert all(quality.shape == (31,) for quality in found.quality.values())
    assert dict(zip(found.quality, decoders, strict=True)) == DECODERS


def test_in_full_real_captions_are_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLOOM_DATA", str(tmp_path))
    monkeypatch.setattr(fixed_code, "made_up", lambda steps: pytest.fail("began"))
    with pytest.raises(UserError, match="the experiment fixed-code learns from it; set SEQLOOM_DATA to the folder"):
        fixed_code.fixed_code(True)
