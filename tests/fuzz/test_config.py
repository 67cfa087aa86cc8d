"""Recipes and settings, damaged or made up: a config, or a report of what is wrong with it."""

import json

from hypothesis import strategies as st

from seqloom.config import load_config, recipe_text
from seqloom.errors import ConfigError
from seqloom.tasks.translate import TranslateConfig
from tests.fuzz.fuzzing import EDITS, HOSTILE, edited, fuzz, require_sentence

RECIPE = recipe_text(TranslateConfig(), "A recipe").encode()
SECTIONS = sorted(TranslateConfig.model_fields)
KEYS = sorted({key for _, section in TranslateConfig() for key in type(section).model_fields})

WORDS = st.sampled_from([*KEYS, *SECTIONS, "a.b", "__class__", "", "num_layers", "preset"]) | st.text(max_size=8)
VALUES = (
    HOSTILE | st.text(max_size=20) | st.integers() | st.floats() | st.sampled_from(["${HOME}", "${NOT_SET}", "${}"])
)


def toml(value: object) -> str:
    """A value as TOML writes it, as far as it can."""
    text = json.dumps(value)
    return {"null": '""', "Infinity": "inf", "NaN": "nan"}.get(text, text)


@fuzz(EDITS)
def check_damaged(folder, edits):
    path = folder / "recipe.toml"
    path.write_bytes(edited(RECIPE, edits))
    try:
        load_config(TranslateConfig, recipe=path)
    except ConfigError as error:
        require_sentence(error, lines=50)


@fuzz(st.lists(st.tuples(st.sampled_from(SECTIONS), st.sampled_from(KEYS) | WORDS, VALUES), max_size=8))
def check_values(folder, given):
    """Values of any type for any key, in a recipe, in settings and as flags."""
    tables: dict[str, dict[str, str]] = {}
    for section, key, value in given:
        tables.setdefault(section, {})[json.dumps(key)] = toml(value)
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
        for section, table in tables.items()
    )
    path = folder / "recipe.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    settings = [f"{section}.{key}={toml(value)}" for section, key, value in given]
    flags = {f"{section}.{key}": value for section, key, value in given}
    for source in ({"recipe": path}, {"settings": settings}, {"flags": flags}):
        try:
            load_config(TranslateConfig, **source)
        except ConfigError as error:
            require_sentence(error, lines=50)


def test_damaged(tmp_path):
    check_damaged(tmp_path)


def test_values(tmp_path):
    check_values(tmp_path)
