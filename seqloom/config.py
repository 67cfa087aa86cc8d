"""TOML recipes and flags -> frozen, checked configs; all mistakes in one report.

Each section is a pydantic model whose field descriptions become the comments of the recipe that
``seqloom config TASK`` prints, so a setting is documented in one place. Nothing here knows a
file format, a model or a task; tasks say which sections they need.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from seqloom.errors import ConfigError


class Section(BaseModel):
    """A group of settings: frozen, and with no room for a key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    SHORTHANDS: ClassVar[tuple[str, ...]] = ()
    """Keys that may be given and stand for others."""

    @classmethod
    def spelt_out(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings ``given``, with those that they imply."""
        return dict(given)

    def implied(self) -> set[str]:
        """The keys whose values follow from others, so that a recipe need not state them."""
        return set()


Files = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]
"""File names; one alone needs no brackets."""


class DataConfig(Section):
    """Which files, cut into which tokens and batches."""

    FILES: ClassVar[tuple[str, ...]] = ("src", "tgt", "data", "valid_src", "valid_tgt", "valid_data")
    """The keys that name files."""

    src: Files = Field((), description="source files, one sentence a line; ${NAME} is read from the environment")
    tgt: Files = Field((), description="target files, line by line the translation of src")
    data: Files = Field((), description="files that hold both sides (TSV: source, tab, target)")
    valid_src: Files = Field((), description="validation source; without validation files a share is held out")
    valid_tgt: Files = Field((), description="validation target")
    valid_data: Files = Field((), description="validation files that hold both sides")
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
        gt=0.5,
        le=1,
        description="share of the text whose characters get pieces of their own; rarer ones are spelt in bytes",
    )
    max_length: int = Field(
        256,
        ge=4,
        le=65_535,
        description="a pair with a side of more tokens than this, its end token counted, is dropped and shown",
    )
    batch_tokens: int = Field(3072, ge=8, description="bounds rows x the longer of padded source and target")
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
    dropout: float = Field(
        ...,
        ge=0,
        lt=1,
        description="share set to zero, while training, of what each sublayer adds and of the embeddings: the paper's places",
    )
    inner_dropout: float = Field(
        0.0, ge=0, lt=1, description="the same for attention weights and inside the feed-forward layers"
    )
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

    SHORTHANDS: ClassVar[tuple[str, ...]] = ("num_layers",)

    @classmethod
    def spelt_out(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """``preset`` gives what is not given beside it, ``num_layers`` both depths."""
        preset = PRESETS.get(str(given.get("preset")), {})
        values: dict[str, Any] = {}
        for source in (preset, given):
            values |= {key: value for key, value in source.items() if key != "num_layers"}
            if "num_layers" in source:
                for key in ("num_encoder_layers", "num_decoder_layers"):
                    values[key] = source.get(key, source["num_layers"])
        return values

    def implied(self) -> set[str]:
        """What is as in the preset: to state it would hide a change of the preset."""
        return {
            key for key, value in self.spelt_out({"preset": self.preset}).items() if value == getattr(self, key)
        } - {"preset"}

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        default = cls.model_fields["preset"].default
        return cls.spelt_out({"preset": default}) | cls.spelt_out(given)

    @model_validator(mode="after")
    def _check_width(self) -> "ModelConfig":
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model ({self.d_model}) must be a multiple of num_heads ({self.num_heads})")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(f"d_model ({self.d_model}) must be even: sinusoidal positions pair sine with cosine")
        return self


Decay = Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(Section):
    """How the weights are found."""

    steps: int | None = Field(None, ge=1, description="updates in all; without it, `epochs` decides")
    epochs: float | None = Field(
        None, gt=0, description="passes over the data; without steps and epochs, 20 passes and at least 1,000 updates"
    )
    optimizer: Literal["adamw", "muon"] = Field("adamw", description="the update rule")
    learning_rate: float = Field(1e-3, gt=0, description="the highest rate that the schedule reaches")
    betas: tuple[Decay, Decay] = Field((0.9, 0.98), description="decay of Adam's first and second moment")
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
    mistakes: list[str] = []
    sources = [
        (_read_recipe(recipe, mistakes), str(recipe)),
        (_read_settings(settings, mistakes), "--set"),
        (_read_flags(flags or {}), "--{key}"),
    ]
    values: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}
    for source, label in sources:
        for section, table in source.items():
            for key, value in _section(cls, section).spelt_out(table).items():
                where = origin[f"{section}.{key}"] = label.replace("{key}", key.replace("_", "-"))
                origin.setdefault(section, where)
                try:
                    values.setdefault(section, {})[key] = _expand(value)
                except KeyError as unset:
                    mistakes.append(
                        f"{where}: {section}.{key} names the environment variable {unset.args[0]}, which is not set; "
                        f"export it before starting"
                    )
    try:
        config = cls.model_validate(values)
    except ValidationError as error:
        mistakes.extend(_describe(cls, problem, origin) for problem in error.errors())
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return config


def _read_recipe(path: Path | None, mistakes: list[str]) -> dict[str, dict[str, Any]]:
    if path is None:
        return {}
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        mistakes.append(
            f"{path}: cannot be read ({error.strerror}); give a TOML recipe, `seqloom config translate` prints one"
        )
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        mistakes.append(f"{path}: is not TOML: {error}")
        return {}
    mistakes += [
        f"{path}: '{key}' stands outside of any section, expected [section] and then {key} = value"
        for key, table in recipe.items()
        if not isinstance(table, dict)
    ]
    return {section: table for section, table in recipe.items() if isinstance(table, dict)}


def _read_settings(settings: Iterable[str], mistakes: list[str]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        section, _, key = (part.strip() for part in name.partition("."))
        if equals and section and key:
            tables.setdefault(section, {})[key] = _toml_value(text.strip())
        else:
            mistakes.append(f"--set {setting}: expected section.key=value, such as model.d_model=256")
    return tables


def _read_flags(flags: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    for name, value in flags.items():
        section, _, key = name.partition(".")
        if value is not None:
            tables.setdefault(section, {})[key] = value
    return tables


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # bare words need no quotes on a command line


def _expand(value: Any) -> Any:
    """Replaces ${NAME} in strings, so that a recipe names data without naming a machine."""
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda name: os.environ[name[1]], value)
    if isinstance(value, list | tuple):
        return [_expand(item) for item in value]
    return value


EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "a text in quotes",
    "tuple": "a list in brackets",
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "missing": "one value more",
    "too_long": "{max_length} values",
}
"""What was expected, by the beginning of the name that pydantic gives to the problem."""


def _describe(cls: type[Section], problem: Any, origin: Mapping[str, str]) -> str:
    """One sentence for one of pydantic's findings."""
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location[:2])
    where = f"{origin[name]}: " if name in origin else ""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys(cls if len(location) == 1 else _section(cls, location[0]))
        what = "section" if len(location) == 1 else f"key of [{location[0]}]"
        return f"{where}'{location[-1]}' is no {what}; {_hint(location[-1], known) or 'known are ' + ', '.join(known)}"
    if kind == "value_error":
        return f"{where}[{name}] {context['error']}"
    if kind == "literal_error":
        expected, hint = context["expected"], _hint(problem["input"], re.findall("'(.*?)'", context["expected"]))
        return f"{where}{name} is {problem['input']!r}, expected {expected}{hint and '; ' + hint}"
    expected = next((text for start, text in EXPECTED.items() if kind.startswith(start)), problem["msg"])
    return f"{where}{name} is {problem['input']!r}, expected {expected.format(**context)}"


def _hint(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else ""


def _section(cls: type[Section], name: str) -> type[Section]:
    """The class of a section; for one that does not exist, one without keys."""
    annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else Section


def _keys(cls: type[Section]) -> list[str]:
    return [*cls.model_fields, *cls.SHORTHANDS]


def recipe_text(config: Section, heading: str) -> str:
    """The config as a commented TOML recipe that :func:`load_config` reads back as the same."""
    lines = [f"# {heading}", ""]
    for section_name, section in config:
        lines += [f"# {(type(section).__doc__ or '').splitlines()[0]}", f"[{section_name}]"]
        for key, field in type(section).model_fields.items():
            value = getattr(section, key)
            setting = f"{key} = {_to_toml(value)}" if value is not None else f"# {key} ="
            if key in section.implied():
                setting = f"# {setting}"
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
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # all else that JSON writes is TOML
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_to_toml(item) for item in value) + "]"
    return str(value)
