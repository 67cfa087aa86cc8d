"""TOML recipes and flags -> frozen, checked configs; all mistakes in one report.

Each section is a pydantic model whose field descriptions become the comments of the recipe that
``seqloom config TASK`` prints, so a setting is documented in one place. Nothing here knows a
file format, a model or a task; tasks say which sections they need.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from seqloom.errors import ConfigError


class Section(BaseModel):
    """A group of settings: frozen, and with no room for a key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Section):
    """Which files, cut into which tokens and batches."""

    src: tuple[str, ...] = Field(
        (), description="source files, one sentence a line; ${NAME} is read from the environment"
    )
    tgt: tuple[str, ...] = Field((), description="target files, line by line the translation of src")
    data: tuple[str, ...] = Field((), description="files that hold both sides (TSV: source, tab, target)")
    valid_src: tuple[str, ...] = Field(
        (), description="validation source; without validation files a share is held out"
    )
    valid_tgt: tuple[str, ...] = Field((), description="validation target")
    valid_data: tuple[str, ...] = Field((), description="validation files that hold both sides")
    src_lang: str = Field("", description='source language as a short code, such as "zh"')
    tgt_lang: str = Field("", description='target language, such as "en"; it chooses how scores are computed')
    valid_share: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="share of the pairs that is held out when no validation files are given (at most 2,000 pairs)",
    )
    vocab_size: int = Field(
        8000, ge=300, le=1_000_000, description="at most this many pieces a vocabulary; a small corpus gets fewer"
    )
    joint_vocab: bool = Field(True, description="one vocabulary for both sides, or one each")
    character_coverage: float = Field(
        0.9998,
        gt=0.9,
        le=1,
        description="share of all characters that get a piece of their own; the rest are spelt in bytes",
    )
    max_length: int = Field(
        256, ge=4, le=65_535, description="a pair with a side of more tokens than this is dropped, counted and shown"
    )
    batch_tokens: int = Field(4096, ge=8, description="bounds rows x the longer of padded source and target")
    strict: bool = Field(False, description="refuse a corpus in which a pair would be dropped")


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 128, "d_ff": 512, "num_heads": 4, "num_layers": 3, "dropout": 0.1, "norm": "pre"},
    "small": {"d_model": 256, "d_ff": 1024, "num_heads": 8, "num_layers": 3, "dropout": 0.2, "norm": "pre"},
    # The two models of "Attention Is All You Need", table 3.
    "base": {"d_model": 512, "d_ff": 2048, "num_heads": 8, "num_layers": 6, "dropout": 0.1, "norm": "post"},
    "big": {"d_model": 1024, "d_ff": 4096, "num_heads": 16, "num_layers": 6, "dropout": 0.3, "norm": "post"},
}


class ModelConfig(Section):
    """The sizes and parts of the network. What is not given comes from ``preset``."""

    kind: Literal["transformer"] = Field("transformer", description="the architecture")
    preset: Literal["tiny", "small", "base", "big"] = Field(
        "small", description="where the sizes below come from; base and big are those of Vaswani et al. 2017"
    )
    d_model: int = Field(..., ge=2, le=65_536, description="width of the model")
    d_ff: int = Field(..., ge=1, le=262_144, description="width inside the feed-forward layers")
    num_heads: int = Field(..., ge=1, description="attention heads; d_model must be a multiple of it")
    num_encoder_layers: int = Field(
        ..., ge=1, le=1000, description="encoder depth; num_layers sets both depths at once"
    )
    num_decoder_layers: int = Field(..., ge=1, le=1000, description="decoder depth")
    dropout: float = Field(..., ge=0, lt=1, description="share of activations set to zero while training")
    positions: Literal["sinusoidal", "none"] = Field(
        "sinusoidal", description="how a token's place is told to the model"
    )
    norm: Literal["pre", "post"] = Field(
        ..., description="layer normalisation before each sublayer, or after each residual sum as in the paper"
    )
    activation: Literal["relu", "gelu"] = Field("relu", description="the non-linearity of the feed-forward layers")
    tied_embeddings: Literal["all", "output", "none"] = Field(
        "all",
        description="which of source embedding, target embedding and output projection share weights; all needs a joint vocabulary",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        values = dict(given)
        preset = dict(PRESETS.get(str(values.get("preset", "small")), PRESETS["small"]))
        for source in (values, preset):  # num_layers is shorthand for both depths
            if "num_layers" in source:
                depth = source.pop("num_layers")
                source.setdefault("num_encoder_layers", depth)
                source.setdefault("num_decoder_layers", depth)
        return {**preset, **values}

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelConfig":
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model ({self.d_model}) must be a multiple of num_heads ({self.num_heads})")
        if self.d_model % 2:
            raise ValueError(f"d_model ({self.d_model}) must be even: sinusoidal positions pair sine with cosine")
        return self


class TrainingConfig(Section):
    """How the weights are found."""

    steps: int | None = Field(
        None, ge=1, description="updates in all; when not given, as many as `epochs` passes over the data take"
    )
    epochs: float = Field(20, gt=0, description="passes over the data, where steps is not given")
    optimizer: Literal["adamw"] = Field("adamw", description="the update rule")
    learning_rate: float = Field(1e-3, gt=0, description="the highest rate that the schedule reaches")
    betas: tuple[float, float] = Field((0.9, 0.98), description="decay of Adam's first and second moment")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay of matrices (not of biases and norms)")
    schedule: Literal["linear", "inverse_sqrt", "noam"] = Field(
        "linear",
        description="after the warm-up: straight down to zero, or with the inverse square root of the step; noam takes its height from d_model as in the paper, section 5.3",
    )
    warmup: int = Field(400, ge=0, description="updates over which the rate rises")
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="share of the target's probability spread over the whole vocabulary"
    )
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 does not clip")
    accumulate: int = Field(1, ge=1, description="batches that make one update")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto takes bfloat16 for matrix products where this processor is fast at it"
    )
    validate_every: int = Field(500, ge=1, description="updates between two validations")
    checkpoint_every: int = Field(500, ge=1, description="updates between two checkpoints")
    average: int = Field(
        5, ge=1, description="at the end, the mean of the weights of this many last checkpoints is tried too"
    )
    patience: int = Field(
        0, ge=0, description="stop after this many validations without a better BLEU; 0 never stops early"
    )
    seed: int = Field(1, ge=0, lt=2**63, description="everything random follows from it")


class DecodingConfig(Section):
    """How an answer is searched for."""

    beam: int = Field(4, ge=1, le=1000, description="hypotheses kept at each step; 1 is greedy search")
    length_penalty: float = Field(
        1.0, ge=0, le=10, description="alpha: a hypothesis scores sum of log-probabilities / length^alpha"
    )
    max_length: int = Field(256, ge=1, le=65_535, description="longest output in tokens")


ConfigT = TypeVar("ConfigT", bound=Section)


def load_config(
    cls: type[ConfigT],
    *,
    recipe: Path | None = None,
    settings: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> ConfigT:
    """Builds a config from a recipe file, ``section.key=value`` settings and flags, in that order.

    Later sources win. Every mistake in all of them is collected and reported at once.

    Args:
        cls: The root config of a task; its fields are sections.
        recipe: A TOML file with one table for each section.
        settings: ``section.key=value``, the value in TOML or as bare text.
        flags: ``{"section.key": value}``; a ``None`` is a flag that was not given.

    Raises:
        ConfigError: One line for each mistake, with a suggestion for a misspelt key.
    """
    values: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}
    mistakes: list[str] = []
    if recipe is not None:
        for section, table in _read_recipe(recipe).items():
            if isinstance(table, dict):
                values[section] = table
                origin.update({f"{section}.{key}": str(recipe) for key in table})
            else:
                mistakes.append(
                    f"{recipe}: '{section}' stands outside of any section, expected [section] and then key = value"
                )
    for setting in settings:
        name, equals, text = setting.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            mistakes.append(f"--set {setting}: expected section.key=value, such as model.d_model=256")
            continue
        values.setdefault(section, {})[key] = _toml_value(text.strip())
        origin[f"{section}.{key}"] = f"--set {setting}"
    for name, value in (flags or {}).items():
        if value is not None:
            section, _, key = name.partition(".")
            values.setdefault(section, {})[key] = value
            origin[name] = f"--{key.replace('_', '-')}"
    values = {section: {key: _expand(v) for key, v in table.items()} for section, table in values.items()}
    try:
        config = cls.model_validate(values)
    except ValidationError as error:
        mistakes.extend(_describe(cls, problem, origin) for problem in error.errors())
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return config


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); give a TOML recipe, `seqloom config translate` prints one"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # bare words need no quotes on a command line


def _expand(value: Any) -> Any:
    """Replaces ${NAME} in strings, so that a recipe names data without naming a machine."""
    if isinstance(value, str) and "${" in value:
        expanded = os.path.expandvars(value)
        if "${" in expanded:
            raise ConfigError(f"{value}: names an environment variable that is not set; export it before starting")
        return expanded
    if isinstance(value, list | tuple):
        return [_expand(item) for item in value]
    return value


def _describe(cls: type[Section], problem: Any, origin: Mapping[str, str]) -> str:
    """One sentence for one of pydantic's findings."""
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location[:2])
    where = f"{origin[name]}: " if name in origin else ""
    if problem["type"] == "extra_forbidden":
        known = list(_keys(cls, location[:-1]))
        close = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
        kind = "section" if len(location) == 1 else f"key of [{location[0]}]"
        return f"{where}'{location[-1]}' is no {kind}; {hint}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if message == problem["msg"]:
        return f"{where}{name}: {message}"
    if "Value error" in problem["msg"]:
        return f"{where}[{location[0]}] {message}"
    return f"{where}{name} is {problem['input']!r}, expected {message}"


def _keys(cls: type[Section], path: list[str]) -> Iterable[str]:
    for part in path:
        annotation = cls.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            cls = annotation
    yield from cls.model_fields
    if cls is ModelConfig:
        yield "num_layers"


def recipe_text(config: Section, heading: str) -> str:
    """The config as a commented TOML recipe that :func:`load_config` reads back as the same."""
    lines = [f"# {heading}", ""]
    for section_name, section in config:
        lines += [f"# {(type(section).__doc__ or '').splitlines()[0]}", f"[{section_name}]"]
        for key, field in type(section).model_fields.items():
            value = getattr(section, key)
            setting = f"{key} = {_to_toml(value)}" if value is not None else f"# {key} ="
            lines.append(f"{setting:<32}  # {_comment(field)}")
        lines.append("")
    return "\n".join(lines)


def _comment(field: FieldInfo) -> str:
    choices = getattr(field.annotation, "__args__", ())
    listed = " | ".join(choices) + ": " if choices and all(isinstance(c, str) for c in choices) else ""
    return f"{listed}{field.description}"


def _to_toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_to_toml(item) for item in value) + "]"
    return str(value)
