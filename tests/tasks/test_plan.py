"""What a budget chooses: monotone in data, time and speed, and always something that can be trained."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqloom.config import MODEL_CONFIGS, load_config
from seqloom.data.readers import Example
from seqloom.models.kinds import MODELS, build
from seqloom.tasks.plan import FEWEST_PIECES, MOST_PIECES, SIZES, Plan, plan_size, plan_vocabulary
from seqloom.tasks.translate import TranslateConfig


def pairs(
    count: int, src: str = "the garden is nice today", tgt: str = "der garten ist heute nett"
) -> list[tuple[int, Example]]:
    return [(0, Example(f"{src} {number}", tgt, number)) for number in range(count)]


def machine(operations: float) -> Any:
    """A speed in tokens a second that falls with the parameters of the stacks."""

    def speed(settings: Mapping[str, Any]) -> float:
        return operations / (28 * settings["model.d_model"] ** 2 * settings["model.num_layers"])

    return speed


def test_languages_of_one_script_share_a_vocabulary() -> None:
    plan = plan_vocabulary(pairs(1_000))
    assert plan.settings == {"data.vocab_size": 840, "data.joint_vocab": True}  # 8 sqrt(11,000)
    assert "1,000 pairs with about 11,000 words, and both languages share their letters" in plan.reasons[0]


def test_languages_of_two_scripts_get_one_each() -> None:
    plan = plan_vocabulary(pairs(10_000, src="我喜欢喝茶", tgt="i like to drink tea"))
    assert plan.settings["data.joint_vocab"] is False
    assert plan.settings["model.tied_embeddings"] == "output"
    assert "the languages are written differently" in plan.reasons[0]


@given(st.integers(1, 10**5))
def test_more_text_never_gets_a_smaller_vocabulary(count: int) -> None:
    few, more = (plan_vocabulary(pairs(n)).settings["data.vocab_size"] for n in (min(count, 100), min(count, 100) + 50))
    assert FEWEST_PIECES <= few <= more <= MOST_PIECES


def test_no_data_is_no_plan() -> None:
    assert plan_vocabulary([]) == Plan()


@given(
    kind=st.sampled_from(sorted(SIZES)),
    tokens=st.integers(100, 10**10),
    seconds=st.floats(1, 10**7),
    operations=st.floats(10**7, 10**15),
)
def test_whatever_the_data_and_the_machine_the_settings_are_valid(
    kind: str, tokens: int, seconds: float, operations: float
) -> None:
    plan = plan_size(tokens, seconds, machine(operations), SIZES[kind])
    config = load_config(TranslateConfig, defaults=plan.settings, flags={"model.kind": kind})
    assert config.model.d_model in {size.d_model for size in SIZES[kind]}
    assert 0.1 <= config.model.dropout <= 0.4
    assert 1_024 <= config.data.batch_tokens <= 4_096
    assert config.training.schedule == "wsd"


def test_more_time_gives_a_wider_model_and_more_dropout() -> None:
    plans = [plan_size(450_000, seconds, machine(3e10)).settings for seconds in (300, 3_000, 30_000)]
    widths = [plan["model.d_model"] for plan in plans]
    dropouts = [plan["model.dropout"] for plan in plans]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert dropouts == sorted(dropouts)


def test_little_data_never_gets_a_model_that_learns_it_by_heart() -> None:
    assert plan_size(450_000, 1e9, machine(1e15)).settings["model.d_model"] == 256
    assert plan_size(4_500_000, 1e9, machine(1e15)).settings["model.d_model"] == 512
    assert plan_size(450_000_000, 1e9, machine(1e15)).settings["model.d_model"] == 1024


@pytest.mark.parametrize("kind", SIZES)
def test_the_parameters_of_a_size_are_those_of_its_model(kind: str) -> None:
    for size in SIZES[kind]:
        config = load_config(TranslateConfig, defaults=size.settings, flags={"model.kind": kind})
        with torch.device("meta"):
            model = build(config.model, 5, 5)
        weights = sum(weight.numel() for weight in model.parameters()) - 5 * size.d_model
        assert size.parameters == pytest.approx(weights, rel=0.03)


def test_every_kind_has_sizes() -> None:
    assert set(SIZES) == set(MODELS) == set(MODEL_CONFIGS)
    for sizes in SIZES.values():
        assert [size.parameters for size in sizes] == sorted(size.parameters for size in sizes)


def test_a_slow_machine_is_not_asked_about_sizes_beyond_its_reach() -> None:
    asked = []

    def slow(settings: Mapping[str, Any]) -> float:
        asked.append(settings["model.d_model"])
        return 100.0

    assert plan_size(10**7, 1_200, slow).settings["model.d_model"] == 128
    assert asked == [128, 192]


@pytest.mark.parametrize("key", ["model.d_model", "model.dropout", "training.learning_rate"])
def test_what_the_user_says_stands(key: str) -> None:
    plan = plan_size(450_000, 1_200, machine(3e10)).settings
    given = {"model.d_model": 64, "model.dropout": 0.33, "training.learning_rate": 0.0007}[key]
    config = load_config(TranslateConfig, flags={key: given}, defaults=plan)
    section, _, name = key.partition(".")
    assert getattr(getattr(config, section), name) == given
