import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from seqloom.config import (
    MODEL_CONFIGS,
    AnyModelConfig,
    DataConfig,
    DecodingConfig,
    ModelConfig,
    RecurrentConfig,
    Section,
    TrainingConfig,
    load_config,
    recipe_text,
    section_settings,
)
from seqloom.errors import ConfigError


class Root(Section):
    """A task's settings, as tasks put them together."""

    data: DataConfig = DataConfig()
    model: AnyModelConfig = ModelConfig.model_validate({})
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()


def recipe(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(*settings: str, **given: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_config(Root, settings=settings, **given)
    return str(error.value).splitlines()


def test_nothing_given_is_the_default():
    assert load_config(Root) == Root()


def test_later_sources_win(tmp_path):
    path = recipe(tmp_path, "[training]\nwarmup = 11\nsteps = 11\nseed = 11\n[data]\nsrc = ['a']\n")
    config = load_config(
        Root,
        recipe=path,
        settings=["training.steps=13", "training.seed=13", "training.seed=17"],
        flags={"training.seed": 19, "training.clip": None, "data.tgt": ["b", "c"]},
    )
    assert (config.training.warmup, config.training.steps, config.training.seed) == (11, 13, 19)
    assert config.training.clip == TrainingConfig().clip
    assert (config.data.src, config.data.tgt) == (("a",), ("b", "c"))
    assert load_config(Root, settings=["training.seed=13", "training.seed=17"]).training.seed == 17


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data.src_lang=zh", "zh"),
        ('data.src_lang="zh"', "zh"),
        ("data.src_lang =  zh ", "zh"),
        ("data.src_lang=", ""),
        ("data.src_lang=a=b", "a=b"),
        ("data.src=train.zh", ("train.zh",)),
        ("data.src=['a', 'b c']", ("a", "b c")),
        ("data.src=C:\\data\\a.txt", ("C:\\data\\a.txt",)),
        ("data.joint_vocab=false", False),
        ("data.vocab_size=4_001", 4001),
        ("training.epochs=2", 2.0),
        ("training.learning_rate=1e-3", 1e-3),
        ("training.betas=[0.8, 0.9]", (0.8, 0.9)),
        ("model.norm=post", "post"),
    ],
)
def test_a_setting_is_toml_or_bare_text(setting, value):
    section, key = setting.partition("=")[0].strip().split(".")
    config = load_config(Root, settings=[setting])
    assert getattr(getattr(config, section), key) == value


def test_a_later_source_says_how_long_it_is(tmp_path):
    path = recipe(tmp_path, '[training]\nbudget = "20m"\nseed = 7\n')

    def lengths(**given):
        training = load_config(Root, recipe=path, **given).training
        assert training.seed == 7
        return training.budget, training.epochs, training.steps

    assert lengths() == (1200, None, None)
    assert lengths(settings=["training.epochs=3"]) == (None, 3, None)
    assert lengths(settings=["training.epochs=3"], flags={"training.steps": 11}) == (None, None, 11)
    assert lengths(settings=["training.seed=7"], flags={"training.steps": None}) == (1200, None, None)
    (said,) = mistakes("training.epochs=3", "training.steps=11")
    assert said == "--set: [training] steps and epochs each say how long the run is to be; give one of them"


def test_one_section_takes_only_its_own_settings():
    assert section_settings("decoding", DecodingConfig, ["decoding.beam=3"]) == {"beam": 3}
    with pytest.raises(ConfigError) as error:
        section_settings("decoding", DecodingConfig, ["decoding.n_best=3", "decoding.baem=3", "model.norm=post"])
    found = str(error.value).split("\n")
    assert found[0].startswith("--set: 'n_best' is no key of [decoding]; ")
    assert found[1] == "--set: 'baem' is no key of [decoding]; did you mean 'beam'?"
    assert found[2] == "--set model.norm: only settings of [decoding] can be changed here"


def test_all_mistakes_come_in_one_report(tmp_path):
    path = recipe(
        tmp_path,
        'x = 1\n[modle]\nd_model = 3\n[model]\nd_modle = 3\nnorm = "pots"\n[training]\nsteps = 0\n[data]\nsrc = 3\n',
    )
    found = mistakes(
        "nonsense", "data.vocab_size=many", "data.tgt=${SEQLOOM_UNSET}/a", recipe=path, flags={"training.seed": -1}
    )
    assert sorted(found) == sorted(
        [
            f"{path}: 'x' stands outside of any section, expected [section] and then x = value",
            f"{path}: 'modle' is no section; did you mean 'model'?",
            f"{path}: 'd_modle' is no key of [model]; did you mean 'd_model'?",
            f"{path}: model.norm is 'pots', expected 'pre' or 'post'; did you mean 'post'?",
            f"{path}: training.steps is 0, expected at least 1",
            f"{path}: data.src is 3, expected a list in brackets",
            "--set nonsense: expected section.key=value, such as model.d_model=256",
            "--set: data.vocab_size is 'many', expected a whole number",
            "--set: data.tgt names the environment variable SEQLOOM_UNSET, which is not set; export it before starting",
            "training.seed is -1, expected at least 0",
        ]
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.strict=perhaps", "--set: data.strict is 'perhaps', expected true or false"),
        ("data.src_lang=1", "--set: data.src_lang is 1, expected a text in quotes"),
        ("data.src=[1]", "--set: data.src is 1, expected a text in quotes"),
        ("data.valid_share=0.5", "--set: data.valid_share is 0.5, expected less than 0.5"),
        ("data.valid_share=0", "--set: data.valid_share is 0, expected more than 0.0"),
        ("data.character_coverage=1.1", "--set: data.character_coverage is 1.1, expected at most 1.0"),
        ("training.steps=0.5", "--set: training.steps is 0.5, expected a whole number"),
        ("training.epochs=some", "--set: training.epochs is 'some', expected a number"),
        ("decoding.max_length_ratio=long", "--set: decoding.max_length_ratio is 'long', expected a number or 'auto'"),
        (f"data.weights={['a'] * 500}", "--set: data.weights is 'a', expected a number"),
        ("decoding.max_length_ratio=-1", "--set: decoding.max_length_ratio is -1, expected at least 0.0 or 'auto'"),
        ("training.learning_rate=nan", "--set: training.learning_rate is nan, expected a finite number"),
        ("training.clip=inf", "--set: training.clip is inf, expected a finite number"),
        ("training.betas=[0.9]", "--set: training.betas is [0.9], expected one value more"),
        ("training.betas=[0.9, 0.9, 0.9]", "--set: training.betas is [0.9, 0.9, 0.9], expected 2 values"),
        ("training.betas=[0.9, 1.0]", "--set: training.betas is 1.0, expected less than 1.0"),
        ("training.betas=0.9", "--set: training.betas is 0.9, expected a list in brackets"),
        (
            "training.schedule=liner",
            "--set: training.schedule is 'liner', expected 'linear', 'cosine', 'wsd', 'inverse_sqrt' or 'noam'; "
            "did you mean 'linear'?",
        ),
        (
            "model.preset=bsae",
            "--set: model.preset is 'bsae', expected 'tiny', 'small', 'base' or 'big'; did you mean 'base'?",
        ),
        ("model.preset=[1]", "--set: model.preset is [1], expected 'tiny', 'small', 'base' or 'big'"),
        ("model.kind=xyz", "--set: model.kind is 'xyz', expected 'transformer' or 'recurrent'"),
        ("model.num_layer=2", "--set: 'num_layer' is no key of [model]; did you mean 'num_layers'?"),
        ("modl.d_model=2", "--set: 'modl' is no section; did you mean 'model'?"),
        ("zzz.d_model=2", "--set: 'zzz' is no section; known are data, model, training, decoding"),
        ("decoding.zzz=2", "--set: 'zzz' is no key of [decoding]; known are " + ", ".join(DecodingConfig.model_fields)),
        ("decoding.beam.x=2", "--set: 'beam.x' is no key of [decoding]; did you mean 'beam'?"),
    ],
)
def test_a_mistake_says_what_was_expected(setting, message):
    assert mistakes(setting) == [message]


@pytest.mark.parametrize("setting", ["", "model", "model.d_model", "model=3", "=3", ".d_model=3", "model.=3"])
def test_a_setting_without_section_key_or_value(setting):
    assert mistakes(setting) == [f"--set {setting}: expected section.key=value, such as model.d_model=256"]


def test_a_flag_is_named_by_its_setting():
    assert mistakes(flags={"data.valid_share": 2}) == ["data.valid_share is 2, expected less than 0.5"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[data]\nsrc = zh\n", "is not TOML: Invalid value (at line 2, column 7)"),
        (b"[data\n", "is not TOML: "),
        (b"[data]\nvocab_size = 400\nvocab_size = 500\n", "is not TOML: Cannot overwrite a value"),
        (b"[data]\nsrc = '\xff'\n", "is not TOML: 'utf-8' codec can't decode byte 0xff in position 14"),
    ],
)
def test_bad_toml_is_named_with_its_place(tmp_path, content, message):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    (found, *others) = mistakes("model.d_model=x", recipe=path)
    assert found.startswith(f"{path}: {message}")
    assert others == ["--set: model.d_model is 'x', expected a whole number"]


def test_a_recipe_as_a_windows_editor_saves_it(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf[decoding]\r\nbeam = 7\r\n")
    assert load_config(Root, recipe=path).decoding.beam == 7


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_recipe_that_cannot_be_read(tmp_path, name):
    (found,) = mistakes(recipe=tmp_path / name)
    assert found.startswith(f"{tmp_path / name}: cannot be read (")
    assert found.endswith("); give a TOML recipe, `seqloom config translate` prints one")


def sizes(**given: Any) -> dict[str, Any]:
    return ModelConfig.model_validate(given).model_dump()


@pytest.mark.parametrize("name", ModelConfig.PRESETS)
def test_a_preset_gives_what_is_not_given(name):
    expected = dict(ModelConfig.PRESETS[name])
    depth = expected.pop("num_layers")
    config = sizes(preset=name)
    assert config.items() >= (expected | {"num_encoder_layers": depth, "num_decoder_layers": depth}).items()
    assert sizes(preset=name, d_ff=67, norm="pre")["d_ff"] == 67
    assert sizes(preset=name, d_ff=67)["d_model"] == expected["d_model"]


def test_presets_are_the_choices_and_small_is_the_default():
    assert set(get_args(ModelConfig.model_fields["preset"].annotation)) == set(ModelConfig.PRESETS)
    assert sizes() == sizes(preset="small")


def test_base_is_the_model_of_the_paper():
    base = sizes(preset="base")
    assert (base["num_encoder_layers"], base["num_decoder_layers"]) == (6, 6)
    assert (base["d_model"], base["num_heads"], base["d_ff"]) == (512, 8, 2048)
    assert (base["positions"], base["norm"], base["activation"]) == ("sinusoidal", "post", "relu")


def depths(config: Root) -> tuple[int, int]:
    return config.model.num_encoder_layers, config.model.num_decoder_layers


@pytest.mark.parametrize(
    ("toml", "settings", "expected"),
    [
        ("num_layers = 5", [], (5, 5)),
        ("num_layers = 5\nnum_encoder_layers = 7", [], (7, 5)),
        ("num_decoder_layers = 1", [], (3, 1)),
        ("num_encoder_layers = 7\nnum_decoder_layers = 1", ["model.num_layers=2"], (2, 2)),
        ("num_layers = 5", ["model.num_encoder_layers=2"], (2, 5)),
        ("num_layers = 5", ["model.preset=base"], (6, 6)),
        ("preset = 'base'", ["model.num_layers=2"], (2, 2)),
        ("num_layers = 5", ["model.num_encoder_layers=2", "model.num_layers=4"], (2, 4)),
    ],
)
def test_num_layers_is_short_for_both_depths(tmp_path, toml, settings, expected):
    assert depths(load_config(Root, recipe=recipe(tmp_path, f"[model]\n{toml}\n"), settings=settings)) == expected


def test_a_later_preset_replaces_earlier_sizes_but_not_those_beside_it(tmp_path):
    path = recipe(tmp_path, recipe_text(Root(), "full"))
    base = load_config(Root, recipe=path, settings=["model.preset=base"]).model
    assert base == ModelConfig.model_validate({"preset": "base"})
    narrow = load_config(Root, recipe=path, settings=["model.d_model=64", "model.preset=base"]).model
    assert isinstance(narrow, ModelConfig)
    assert (narrow.d_model, narrow.d_ff) == (64, 2048)


def test_bad_num_layers_are_told_by_both_depths():
    assert mistakes("model.num_layers=none") == [
        "--set: model.num_encoder_layers is 'none', expected a whole number",
        "--set: model.num_decoder_layers is 'none', expected a whole number",
    ]


def test_heads_divide_the_width():
    assert mistakes("model.d_model=100", "model.num_heads=7") == [
        "--set: [model] d_model (100) must be a multiple of num_heads (7)"
    ]


def test_only_sinusoids_need_an_even_width():
    odd = ["model.d_model=35", "model.num_heads=5"]
    (found,) = mistakes(*odd)
    assert found == "--set: [model] d_model (35) must be even: sinusoidal positions pair sine with cosine"
    assert load_config(Root, settings=[*odd, "model.positions=none"]).model.d_model == 35


def test_environment_variables_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQLOOM_A", "/some where")
    monkeypatch.setenv("SEQLOOM_B", "$SEQLOOM_A ${")
    path = recipe(tmp_path, "[data]\nsrc = ['${SEQLOOM_A}/a', '$SEQLOOM_A/%SEQLOOM_A%/${}${']\n")
    config = load_config(Root, recipe=path, settings=["data.tgt=${SEQLOOM_A}${SEQLOOM_A}"])
    assert config.data.src == ("/some where/a", "$SEQLOOM_A/%SEQLOOM_A%/${}${")
    assert config.data.tgt == ("/some where/some where",)
    assert load_config(Root, settings=["data.src_lang=${SEQLOOM_B}"]).data.src_lang == "$SEQLOOM_A ${"


def test_a_plan_reads_no_environment_variable(monkeypatch):
    monkeypatch.setenv("SEQLOOM_A", "secret")
    config = load_config(Root, settings=["data.tgt=${SEQLOOM_A}"], defaults={"data.src": ["${SEQLOOM_A}", "${NONE}"]})
    assert config.data.src == ("${SEQLOOM_A}", "${NONE}")
    assert config.data.tgt == ("secret",)


def test_an_unset_variable_is_named_with_its_place(tmp_path, monkeypatch):
    monkeypatch.delenv("SEQLOOM_UNSET", raising=False)
    path = recipe(tmp_path, "[data]\nsrc = ['${SEQLOOM_UNSET}/a']\n")
    assert mistakes(recipe=path) == [
        f"{path}: data.src names the environment variable SEQLOOM_UNSET, which is not set; export it before starting"
    ]


def test_a_config_is_frozen():
    config = Root()
    with pytest.raises(ValidationError, match="frozen"):
        config.training.seed = 2  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.training = TrainingConfig()  # type: ignore[misc]
    assert hash(config) == hash(Root())


names = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "${" not in text)
CONFIGS = st.builds(
    Root,
    data=st.builds(
        DataConfig,
        src=st.lists(names).map(tuple),
        src_lang=names,
        tgt_lang=names,
        valid_share=st.floats(1e-300, 0.4999),
        vocab_size=st.integers(300, 1_000_000),
        strict=st.booleans(),
    ),
    model=st.builds(
        lambda **given: ModelConfig.model_validate(given),
        preset=st.sampled_from(list(ModelConfig.PRESETS)),
        d_model=st.integers(1, 997).map(lambda heads: 16 * heads),
        dropout=st.floats(0, 0.99),
        num_encoder_layers=st.integers(1, 31),
        norm=st.sampled_from(["pre", "post"]),
    ),
    training=st.builds(
        TrainingConfig,
        steps=st.none() | st.integers(1, 10**18),
        learning_rate=st.floats(5e-324, 1e308),
        betas=st.tuples(st.floats(0, 0.999999), st.floats(0, 0.999999)),
        seed=st.integers(0, 2**63 - 1),
    ),
)


@given(CONFIGS)
def test_a_recipe_is_read_back_as_the_same_config(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("recipe") / "a.toml"
    path.write_text(recipe_text(config, "seqloom train RUN --config THIS_FILE"), encoding="utf-8", newline="")
    assert load_config(Root, recipe=path) == config


def test_a_recipe_says_every_setting_its_default_and_what_it_does():
    text = recipe_text(Root(), "how to use it")
    assert text.startswith("# how to use it\n")
    tables = tomllib.loads(text)
    assert list(tables) == ["data", "model", "training", "decoding"]
    for (name, section), part in zip(Root(), text.split("\n\n")[1:], strict=True):
        summary = str(type(section).__doc__).splitlines()[0]
        lines = part.strip().splitlines()
        assert lines[:2] == [f"# {summary}", f"[{name}]"]
        for line, (key, field) in zip(lines[2:], type(section).model_fields.items(), strict=True):
            assert line.endswith(str(field.description))
            if getattr(section, key) is None or key in section.implied():
                assert line.startswith(f"# {key} = ")
                assert key not in tables[name]
            else:
                assert line.startswith(f"{key} = ")
                assert key in tables[name]
    assert "  # pre | post: normalisation" in text


def test_every_setting_is_described():
    sections: list[type[Section]] = [DataConfig, *MODEL_CONFIGS.values(), TrainingConfig, DecodingConfig]
    for section in sections:
        for key, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{key}"


@pytest.mark.parametrize(
    ("given", "expected"), [("90", None), ("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1.5h", 5400), (7, 7)]
)
def test_a_time_is_read_in_words(given, expected):
    if expected is None:
        with pytest.raises(ConfigError, match="'90' is no time, expected one with its unit, such as 20m or 1h30m"):
            load_config(Root, flags={"training.budget": given})
    else:
        assert load_config(Root, flags={"training.budget": given}).training.budget == expected


def test_a_default_gives_way_to_every_other_source(tmp_path):
    (tmp_path / "recipe.toml").write_text("[model]\nd_model = 64\nnum_heads = 4\n")
    plan = {"model.d_model": 96, "model.dropout": 0.25, "training.warmup": 7}
    config = load_config(Root, recipe=tmp_path / "recipe.toml", settings=["training.warmup=9"], defaults=plan)
    assert (config.model.d_model, config.model.dropout, config.training.warmup) == (64, 0.25, 9)


# --- kinds of models ---


def test_the_kind_may_be_named_anywhere(tmp_path):
    """Before or after what depends on it: a preset of a recipe is that of the kind that a flag names."""
    path = recipe(tmp_path, '[model]\npreset = "base"\nnum_layers = 3\n')
    plain = load_config(Root, recipe=path).model
    assert (plain.kind, plain.d_model, plain.num_encoder_layers) == ("transformer", 512, 3)
    config = load_config(Root, recipe=path, settings=["model.kind=recurrent", "model.cell=gru"]).model
    assert config == RecurrentConfig.model_validate({"preset": "base", "num_layers": 3, "cell": "gru"})
    text = recipe_text(load_config(Root, settings=["model.kind=recurrent", "model.score=cosine"]), "recurrent")
    assert load_config(Root, recipe=recipe(tmp_path, text)).model.score == "cosine"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["kind=recurent"],
            "--set: model.kind is 'recurent', expected 'transformer' or 'recurrent'; did you mean 'recurrent'?",
        ),
        (["kind=3"], "--set: model.kind is 3, expected 'transformer' or 'recurrent'"),
        (["cell=gru"], "--set: 'cell' is no key of [model]; it is one with kind = 'recurrent'"),
        (
            ["kind=recurrent", "num_heads=2"],
            "--set: 'num_heads' is no key of [model] with kind = 'recurrent'; it is one with kind = 'transformer'",
        ),
        (
            ["kind=recurrent", "d_modle=2"],
            "--set: 'd_modle' is no key of [model] with kind = 'recurrent'; did you mean 'd_model'?",
        ),
        (
            ["kind=recurrent", "cell=lstn"],
            "--set: model.cell is 'lstn', expected 'rnn', 'lstm' or 'gru'; did you mean 'lstm'?",
        ),
        (["kind=recurrent", "d_model=7"], "--set: [model] d_model (7) must be even: half of it reads backwards"),
        (
            ["kind=recurrent", "shared_cells=true"],
            "--set: [model] shared_cells needs bidirectional = false: a decoder cannot read backwards",
        ),
        (
            ["kind=recurrent", "shared_cells=true", "bidirectional=false", "num_decoder_layers=2"],
            "--set: [model] shared_cells needs one depth, got num_encoder_layers (1) and num_decoder_layers (2)",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_terms_of_the_kind(settings, message):
    assert mistakes(*(f"model.{setting}" for setting in settings)) == [message]


@pytest.mark.parametrize("kind", MODEL_CONFIGS)
def test_every_kind_has_its_presets(kind):
    cls = MODEL_CONFIGS[kind]
    assert cls.model_fields["kind"].default == kind
    assert set(get_args(cls.model_fields["preset"].annotation)) == set(cls.PRESETS)
    for name in cls.PRESETS:
        assert load_config(Root, settings=[f"model.kind={kind}", f"model.preset={name}"]).model.kind == kind


@pytest.mark.parametrize("with_it", ["training.recompute=true", "training.workers=2"])
def test_what_the_compiler_does_not_follow(with_it):
    with pytest.raises(
        ConfigError, match=r"compile = on and (recompute|workers = 2) exclude each other; leave one out"
    ):
        load_config(Root, settings=["training.compile=on", with_it])
