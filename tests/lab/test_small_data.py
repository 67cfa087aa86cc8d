"""How the comparison on small data is made fair, and what is made of it."""

from pathlib import Path
from typing import Any

import pytest

from seqloom.errors import UserError
from seqloom.lab import small_data
from seqloom.lab.corpora import Corpus, require, write_sample
from seqloom.lab.small_data import Pair, measure, page
from seqloom.metrics.significance import Comparison
from tests.lab.conftest import TOY


def test_both_models_have_the_same_means(toy_data: Path, toy_settings: dict[str, Any]) -> None:
    kept = {key: value for key, value in toy_settings.items() if key not in ("model.d_ff", "model.num_heads")}
    files = {key for key in kept if key.startswith(("data.src", "data.tgt", "data.valid"))}
    settings = {key: value for key, value in kept.items() if key not in files}
    # The Transformer's own sizes are a budget's to choose; here they are those of a preset.
    settings |= {"model.d_model": 32, "model.num_encoder_layers": 1, "model.num_decoder_layers": 1}
    trained: list[dict[str, Any]] = []

    def train(run: Path, corpus: Corpus, where: Path, files: list[Path], flags: dict[str, Any]) -> Path:
        trained.append(flags)
        train_translator(run, corpus, where, files, flags)
        left = {path.name for path in run.iterdir()}
        assert "model" in left
        assert "checkpoints" not in left
        return run

    train_translator = small_data.train_translator
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_data, "train_translator", train)
        found = measure(101, TOY, toy_data, settings)
    ours, theirs = trained
    changed = {key: value for key, value in theirs.items() if ours.get(key) != value}
    width = found.widths[1]
    assert changed == {
        "model.kind": "recurrent",
        "model.d_model": width,
        "model.dropout": 0.1,
        "training.learning_rate": pytest.approx(5e-3 * 32 / width, rel=1e-3),
    }
    assert found.widths[0] == 32
    assert found.weights[1] == pytest.approx(found.weights[0], rel=0.05)
    assert 0 <= found.compared.p_bootstrap <= 1


def test_fewer_pairs_are_a_part_of_more(toy_data: Path, toy_corpus: Path, tmp_path: Path) -> None:
    few, more = (write_sample(TOY, toy_data, count, 1, tmp_path / str(count)) for count in (11, 23))
    pairs = [list(zip(*(path.read_text().splitlines() for path in files), strict=True)) for files in (few, more)]
    assert [len(each) for each in pairs] == [11, 23]
    assert pairs[0] == pairs[1][:11]
    whole = list(zip(*((toy_corpus / f"train.{side}").read_text().splitlines() for side in TOY.languages), strict=True))
    assert set(pairs[1]) <= set(whole)
    assert pairs[1] != whole[:23]


def test_too_few_pairs_are_refused(toy_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        write_sample(TOY, toy_data, 1000, 1, tmp_path)
    assert str(error.value) == (
        f"{toy_data}/toy/train.xx.gz: has 307 lines, expected at least 1,000; get the whole set"
    )


def test_without_data_sets_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLOOM_DATA", str(tmp_path))
    monkeypatch.setattr(small_data, "measure", lambda *given: pytest.fail("began"))
    with pytest.raises(UserError) as error:
        small_data.small_data(False)
    assert str(error.value) == (
        f"{tmp_path}/multi30k/train.en.gz: is not there, and the experiment small-data learns from it; set "
        f"SEQLOOM_DATA to the folder that holds multi30k"
    )


def test_all_sets_of_the_experiment_are_there(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLOOM_DATA", str(shared_data))
    assert require("small-data", *small_data.MORE_SIZES.values()) == shared_data


def pair(a: float, b: float, p: float) -> Pair:
    """What was measured, with some scores."""
    compared = Comparison(a, b, (a - 1, a + 1), (b - 1, b + 1), (a - b - 1, a - b + 1), 0.5, p, p)
    return Pair((128, 250), (1_900_000, 1_910_000), compared)


WORSE, BETTER, LUCK = pair(1, 3, 0.001), pair(31, 25, 0.001), pair(20, 21, 0.3)


@pytest.mark.parametrize(
    ("few", "many", "en", "zh"),
    [
        (WORSE, BETTER, "saying holds at equal time and weights: the Transformer", "数据多时则显著更好。"),
        (WORSE, LUCK, "worse with few pairs, and with many it is not.", "数据多时便不再如此。"),
        (WORSE, WORSE, "after 6m of training it is not the number of pairs that decides", "既未证实也未推翻。"),
        (LUCK, WORSE, "saying does not hold here", "不支持上述说法"),
        (BETTER, LUCK, "saying does not hold here", "不支持上述说法"),
    ],
)
def test_the_verdict_follows_what_was_measured(few: Pair, many: Pair, en: str, zh: str) -> None:
    found = {1_000: [few, few], 5_000: [LUCK, WORSE], 120_000: [many, many]}
    verdict = page(found, small_data.MORE_SIZES, "6m").verdict
    assert verdict.en.startswith(
        f"With 1,000 pairs the Transformer has a BLEU of {few.compared.a:.1f} and the recurrent model of "
        f"{few.compared.b:.1f}, with 120,000 pairs {many.compared.a:.1f} and {many.compared.b:.1f}. The "
    )
    assert en in verdict.en
    assert zh in verdict.zh


def test_seeds_that_disagree_are_luck() -> None:
    verdict = page({1_000: [WORSE, LUCK], 5_000: [WORSE, WORSE]}, small_data.SIZES, "90s").verdict
    assert "saying does not hold here" in verdict.en
