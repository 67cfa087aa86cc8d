"""TOML recipes and flags -> checked configs, all mistakes in one report; and back to a recipe."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from seqloom.config.section import Section
from seqloom.errors import ConfigError, shown
from seqloom.files import read_bytes

ConfigT = TypeVar("ConfigT", bound=Section)

MAX_RECIPE_BYTES = 1 << 18
"""A recipe is read by a person; those that are printed have 12 KB."""

MAX_DOTS = 20
"""Of a key; the library takes the square of their number to read it."""
STRING = re.compile(r"""\"(?:[^"\\\n]|\\.)*\"|'[^'\n]*'""")
BETWEEN_KEYS = re.compile(r"[^\w\s.-]|\n")

PLAN = "the plan"
"""What mistakes in the defaults are told of."""

MAX_MISTAKES = 20
"""Told at once."""


def load_config(
    cls: type[ConfigT],
    *,
    recipe: Path | None = None,
    settings: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> ConfigT:
    """Builds a config from defaults, a recipe, ``section.key=value`` settings and flags, in that order.

    Later sources win. Every mistake in all of them is collected and reported at once.

    Args:
        cls: The root config of a task; its fields are sections.
        recipe: A TOML file with one table for each section.
        settings: ``section.key=value``, the value in TOML or as bare text.
        flags: ``{"section.key": value}``; a ``None`` is a flag that was not given.
        defaults: in the same form, what is better here than the defaults of the sections.

    Raises:
        ConfigError: One line for each mistake, with a suggestion for a misspelt key.
    """
    mistakes: list[str] = []
    sources = [
        (_read_flags(defaults or {}), PLAN),
        (_read_recipe(recipe, mistakes), str(recipe)),
        (_read_settings(settings, mistakes), "--set"),
        (_read_flags(flags or {}), ""),
    ]
    values: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}
    kinds = {section: table["kind"] for source, _ in sources for section, table in source.items() if "kind" in table}
    for source, label in sources:
        for section, table in source.items():
            kind = _section(cls, section, kinds.get(section))
            for key in kind.ALTERNATIVES if any(key in table for key in kind.ALTERNATIVES) else ():
                values.get(section, {}).pop(key, None)
            for key, value in kind.spelt_out(table).items():
                origin[f"{section}.{key}"] = where = f"{label}: " if label else ""
                origin.setdefault(section, where)
                try:
                    # A plan may be somebody else's, and what it names is not his to read.
                    values.setdefault(section, {})[key] = value if label == PLAN else _expand(value)
                except KeyError as unset:
                    mistakes.append(
                        f"{where}{section}.{shown(key)} names the environment variable {shown(unset.args[0])}, "
                        f"which is not set; export it before starting"
                    )
    try:
        config = cls.model_validate(values)
    except ValidationError as error:
        mistakes.extend(_once_each(_describe(cls, problem, origin, kinds) for problem in error.errors()))
    if mistakes:
        more = len(mistakes) - MAX_MISTAKES
        raise ConfigError("\n".join([*mistakes[:MAX_MISTAKES], *([f"and {more:,} more mistakes"] if more > 0 else [])]))
    return config


def _read_recipe(path: Path | None, mistakes: list[str]) -> dict[str, dict[str, Any]]:
    if path is None:
        return {}
    try:
        text = read_bytes(path, MAX_RECIPE_BYTES).decode("utf-8-sig")
        if any(part.count(".") > MAX_DOTS for part in BETWEEN_KEYS.split(STRING.sub("s", text))):
            raise ValueError(f"a key has more than {MAX_DOTS} dots")
        recipe = tomllib.loads(text)
    except OSError as error:
        mistakes.append(
            f"{path}: cannot be read ({error.strerror}); give a TOML recipe, `seqloom config translate` prints one"
        )
        return {}
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, a number without end, lists in lists
        mistakes.append(f"{path}: is not TOML: {shown(error, 300)}; correct it there")
        return {}
    mistakes += [
        f"{path}: '{shown(key)}' stands outside of any section, expected [section] and then {shown(key)} = value"
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
            mistakes.append(f"--set {shown(setting, 200)}: expected section.key=value, such as model.d_model=256")
    return tables


def section_settings(section: str, cls: type[Section], settings: Iterable[str]) -> dict[str, Any]:
    """``section.key=value`` settings by key, where only one section, of the class ``cls``, can be changed.

    Raises:
        ConfigError: One line for each that is of another section, or is no setting.
    """
    mistakes: list[str] = []
    tables = _read_settings(settings, mistakes)
    known = _keys(cls)
    mistakes += [
        f"--set: {_stranger(key, f'key of [{section}]', known)}" for key in tables.get(section, {}) if key not in known
    ]
    mistakes += [
        f"--set {shown(other)}.{shown(key)}: only settings of [{section}] can be changed here"
        for other, table in tables.items()
        if other != section
        for key in table
    ]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return tables.get(section, {})


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
    except (ValueError, RecursionError):
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


def _describe(cls: type[Section], problem: Any, origin: Mapping[str, str], kinds: Mapping[str, Any]) -> str:
    """One sentence for one of pydantic's findings."""
    location = [str(part) for part in problem["loc"]]
    variants, of_kind = _variants(cls, location[0]), ""
    if len(variants) > 1 and len(location) > 1:
        named = location.pop(1)
        of_kind = f" with kind = {named!r}" if location[0] in kinds else ""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "union_tag_invalid":
        location.append("kind")
        kind, problem = "literal_error", {**problem, "input": kinds[location[0]]}
        context = {"expected": context["expected_tags"].replace(", ", " or ")}
    name = ".".join(location[:2])
    where = origin.get(name, "")
    if kind == "extra_forbidden":
        known = _keys(cls if len(location) == 1 else _section(cls, location[0], kinds.get(location[0])))
        what = "section" if len(location) == 1 else f"key of [{location[0]}]{of_kind}"
        others = [each for each in variants if len(location) > 1 and location[-1] in _keys(each)]
        hint = f"it is one with kind = {others[0].model_fields['kind'].default!r}" if others else ""
        return where + _stranger(location[-1], what, known, hint)
    if kind == "value_error":
        return f"{where}[{name}] {shown(context['error'], 300)}"
    if kind == "literal_error":
        expected, hint = context["expected"], _hint(problem["input"], re.findall("'(.*?)'", context["expected"]))
        return f"{where}{name} is {shown(repr(problem['input']))}, expected {expected}{hint and '; ' + hint}"
    expected = next((text for start, text in EXPECTED.items() if kind.startswith(start)), problem["msg"])
    return f"{where}{name} is {shown(repr(problem['input']))}, expected {expected.format(**context)}"


def _once_each(sentences: Iterable[str]) -> list[str]:
    """One sentence for a value that is none of several things, where pydantic has one for each."""
    expected: dict[str, dict[str, None]] = {}  # what was expected is a key: a list may hold the same mistake often
    for sentence in sentences:
        said, _, right = sentence.partition(", expected ")
        expected.setdefault(said, {})[right] = None
    return [f"{said}, expected {' or '.join(rights)}" if all(rights) else said for said, rights in expected.items()]


def _stranger(word: str, what: str, known: Sequence[str], hint: str = "") -> str:
    """That a word is none of those known."""
    return f"'{shown(word)}' is no {what}; {hint or _hint(word, known) or 'known are ' + ', '.join(known)}"


def _hint(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word)[:100], known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else ""


def _variants(cls: type[Section], name: str) -> list[type[Section]]:
    """The classes of a section: several where its ``kind`` tells which one is meant, none if it does not exist."""
    annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
    choices = [get_args(choice)[0] for choice in get_args(annotation)] or [annotation]
    return [choice for choice in choices if isinstance(choice, type) and issubclass(choice, Section)]


def _section(cls: type[Section], name: str, kind: Any = None) -> type[Section]:
    """The class of a section, the first one unless ``kind`` is another's; if it does not exist, one without keys."""
    variants = _variants(cls, name) or [Section]
    return next((each for each in variants[1:] if each.model_fields["kind"].default == kind), variants[0])


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
