"""What a budget chooses: monotone in data, time and speed, and always something that can be trained."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqloom.config import MODEL_CONFIGS, load_config
from seqloom.data.readers import Example
from seqloom.errors import ConfigError
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
        weights = 12 * settings["model.num_encoder_layers"] + 16 * settings["model.num_decoder_layers"]
        return operations / (weights * settings["model.d_model"] ** 2)

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
        asked.append((settings["model.d_model"], settings["model.num_encoder_layers"]))
        return 100.0

    plan = plan_size(10**7, 1_200, slow)
    assert plan.settings["model.d_model"] == 128
    assert asked == [(128, 2), (128, 4)]
    assert plan.reasons[0].endswith("(128 x 2+2 at 100 tokens/s makes 0 of 10; 128 x 4+4 at 100 tokens/s makes 0 of 2)")


def test_few_passes_get_a_shallow_model_and_more_a_deep_one() -> None:
    """Deeper ones learn more in the end, and less before."""
    layers = [
        plan_size(450_000, seconds, lambda settings: 20_000.0).settings["model.num_decoder_layers"]
        for seconds in (90, 180, 300, 1_200)
    ]
    assert layers == [2, 2, 4, 4]


@pytest.mark.parametrize("kind", SIZES)
@given(
    given=st.fixed_dictionaries(
        {},
        optional={
            "d_model": st.integers(1, 700).map(lambda half: 2 * half),
            "num_encoder_layers": st.integers(1, 40),
            "num_decoder_layers": st.integers(1, 40),
            "positions": st.sampled_from(["sinusoidal", "rotary"]),
            "dropout": st.floats(0, 0.9),
        },
    ),
    tokens=st.integers(100, 10**8),
)
def test_what_is_given_of_a_model_is_kept_and_the_rest_suits_it(kind: str, given: dict[str, Any], tokens: int) -> None:
    """The heads to the width, above all, and the rate and the dropout too."""
    if kind == "recurrent":
        given.pop("positions", None)
    flags = {f"model.{key}": value for key, value in given.items()} | {"model.kind": kind}
    tried = []

    def speed(settings: Mapping[str, Any]) -> float:
        tried.append(load_config(TranslateConfig, defaults=settings, flags=flags).model)
        return float(machine(1e10)(settings))

    plan = plan_size(tokens, 1_200, speed, SIZES[kind], given)
    model = load_config(TranslateConfig, defaults=plan.settings, flags=flags).model
    assert {key: getattr(model, key) for key in given} == given
    assert plan.settings["training.learning_rate"] == pytest.approx(1.5e-3 * 256 / model.d_model, abs=1e-6)
    assert len({each.d_model for each in tried}) == 1 or "d_model" not in given
    assert len(tried) == 1 or not {"d_model", "num_encoder_layers", "num_decoder_layers"} <= given.keys()
    if "num_encoder_layers" in given:
        assert f" {given['num_encoder_layers']}+" in plan.reasons[0]


def test_heads_that_suit_none_of_the_widths_are_refused_and_others_are_tried() -> None:
    def planned(**given: Any) -> Any:
        flags = {f"model.{key}": value for key, value in given.items()}

        def speed(settings: Mapping[str, Any]) -> float:
            load_config(TranslateConfig, defaults=settings, flags=flags)
            return 1e9

        return plan_size(10**7, 1_200, speed, given=given).settings["model.d_model"]

    assert planned(num_heads=3) == 384
    with pytest.raises(ConfigError, match=r"d_model \(128\) must be a multiple of num_heads \(5\)"):
        planned(num_heads=5)


def test_a_config_knows_what_was_given() -> None:
    given = load_config(TranslateConfig, flags={"model.d_model": 256, "model.num_layers": 2}).model.model_fields_set
    assert given == {"d_model", "num_encoder_layers", "num_decoder_layers"}
    assert load_config(TranslateConfig).model.model_fields_set == set()
    preset = load_config(TranslateConfig, settings=["model.preset=tiny"]).model
    assert {"d_model", "num_heads", "dropout"} < preset.model_fields_set


@pytest.mark.parametrize("key", ["model.d_model", "model.dropout", "training.learning_rate"])
def test_what_the_user_says_stands(key: str) -> None:
    plan = plan_size(450_000, 1_200, machine(3e10)).settings
    given = {"model.d_model": 64, "model.dropout": 0.33, "training.learning_rate": 0.0007}[key]
    config = load_config(TranslateConfig, flags={key: given}, defaults=plan)
    section, _, name = key.partition(".")
    assert getattr(getattr(config, section), name) == given


def test_the_longest_pair_fits_into_a_batch() -> None:
    short = plan_size(450_000, 90, machine(3e10)).settings["data.batch_tokens"]
    assert short == 1_024
    assert plan_size(450_000, 90, machine(3e10), longest=1_024).settings["data.batch_tokens"] == 1_024
    assert plan_size(450_000, 90, machine(3e10), longest=1_101).settings["data.batch_tokens"] == 1_536
