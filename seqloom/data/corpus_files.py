"""What a config says of its files: their languages and directions, how often each is seen, and its name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from seqloom.config import DataConfig
from seqloom.data.languages import SURE, Direction, detect, require_code, same_language
from seqloom.data.readers import Group, Options, PairFiles, named_languages
from seqloom.errors import ConfigError, DataError, listed, shown

LOOKED_AT = 20_000
"""Pairs at the beginning of a file among which are those that tell its languages."""

SAMPLED = 1_000


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus. Tuples have an entry for each group of ``train``."""

    train: PairFiles
    valid: PairFiles
    """Empty where a share of ``train`` is to be held out."""
    weights: tuple[float, ...]
    """How often a pass over the data sees a pair."""
    domains: tuple[str, ...]
    directions: tuple[Direction, ...]
    """Empty where there is but one, which needs no tag."""
    valid_directions: tuple[Direction, ...]
    """Likewise of ``valid``, or of ``train`` once more where nothing else is validated with."""


def open_files(config: DataConfig, languages: tuple[str, str] = ("", "")) -> CorpusFiles:
    """The files of ``config``, to be read as texts in ``languages`` or in the directions that it gives.

    Raises:
        ConfigError: if weights, domains or directions do not go with the files.
        DataError: if the files themselves do not go together.
    """
    train = PairFiles(config.src, config.tgt, config.data)
    valid = PairFiles(config.valid_src, config.valid_tgt, config.valid_data, name="validation")
    if not train:
        raise DataError("no training files were given; expected --src FILE --tgt FILE, or --data FILE")
    names, valid_names = ([" and ".join(group) for group in files.names()] for files in (train, valid))
    _check_weights(config, names)
    _check_directions(config, valid_names)
    each = [Direction.parse(text) for text in config.directions] or [Direction(*languages)] * len(names)
    valid_each = [Direction.parse(text) for text in config.valid_directions] or [each[0]] * len(valid_names)
    weights, domains = config.weights or (1.0,) * len(names), config.domains or tuple(names)
    both = config.both_directions
    directions, valid_directions = (
        (*there, *(direction.reverse for direction in there if both)) if has_tags(config) else ()
        for there in (each, valid_each if valid else each)
    )
    return CorpusFiles(
        train.reading([Options(*direction, config.inline_tags) for direction in each], both),
        valid.reading([Options(*direction, config.inline_tags) for direction in valid_each], both),
        weights * (1 + both),
        domains * (1 + both),
        directions,
        valid_directions,
    )


def has_tags(config: DataConfig) -> bool:
    """Whether a tag before each source says which language is wanted."""
    return config.both_directions or bool(config.directions)


def _check_weights(config: DataConfig, names: Sequence[str]) -> None:
    for key in ("weights", "domains", "directions"):
        _require_one_each(key, getattr(config, key), names, "training")
    for weight, name in zip(config.weights, names, strict=False):
        if weight < 0:
            raise ConfigError(f"data.weights: the weight of {name} is {weight:g}, expected 0 or more")
    if config.weights and not any(config.weights):
        raise ConfigError(
            f"data.weights: all are 0, so nothing is left to train on; give {names[0]} or another one more"
        )


def _check_directions(config: DataConfig, valid_names: Sequence[str]) -> None:
    if config.valid_directions and not config.directions:
        raise ConfigError(
            "data.valid_directions: says which way validation files are translated, but data.directions does not say "
            "that of the training files; give both, or neither"
        )
    if not has_tags(config):
        return
    if config.both_directions and config.directions:
        raise ConfigError("data.both_directions and data.directions: both were given, expected one of them")
    if not config.joint_vocab:
        raise ConfigError(
            "data.joint_vocab is false, but several directions share one vocabulary for all languages; set it to true"
        )
    if config.both_directions:
        return
    if valid_names and not config.valid_directions:
        raise ConfigError(f"data.valid_directions: expected one for each validation file ({', '.join(valid_names)})")
    _require_one_each("valid_directions", config.valid_directions, valid_names, "validation")
    targets = {Direction.parse(text).tgt for text in config.directions}
    for text in config.valid_directions:
        if Direction.parse(text).tgt not in targets:
            raise ConfigError(
                f"data.valid_directions: {text} translates into a language that no training file does; "
                f"expected one of {', '.join(sorted(targets))}"
            )


def _require_one_each(key: str, given: Sequence[object], names: Sequence[str], kind: str) -> None:
    if given and len(given) != len(names):
        raise ConfigError(
            f"data.{key}: {len(given)} for {len(names)} {kind} {'file' if len(names) == 1 else 'files'} "
            f"({', '.join(names)}), expected one for each"
        )


def languages_of(config: DataConfig, say: Callable[[str], None]) -> tuple[str, str]:
    """Source and target as they are given, or else as the files name them, or else as their texts tell.

    What was not given is said. Empty where there is no text at all, which preparing will report.

    Raises:
        ConfigError: if one is given that is none of the directions'.
        DataError: if they cannot be told with confidence, or are one and the same.
    """
    if config.directions:
        directions = [Direction.parse(text) for text in config.directions]
        for side, (key, language) in enumerate((("src_lang", config.src_lang), ("tgt_lang", config.tgt_lang))):
            if language and not any(same_language(language, direction[side]) for direction in directions):
                raise ConfigError(
                    f"data.{key} is {shown(language)}, which is not in data.directions ({listed(config.directions)}); "
                    f"leave it out, or correct one of them"
                )
        return directions[0]
    given = Options(config.src_lang, config.tgt_lang, config.inline_tags)
    for language, option in zip(given.languages, ("--src-lang", "--tgt-lang"), strict=True):
        require_code(language, option)
    if all(given.languages):
        return given.languages
    groups = [group for group in open_files(config, given.languages).train.groups if not group.turned]
    named = [named_languages(group.paths[0], given) if len(group.paths) == 1 else given.languages for group in groups]
    # Where one file names its languages and another does not, the text of the other says which side is which.
    known, namer = min(zip(named, groups, strict=True), key=lambda pair: all(pair[0]))
    found = list(known)
    read = [group for group, languages in zip(groups, named, strict=True) if not all(languages)]
    sample = _sample([replace(group, options=replace(given, src_lang=known[0], tgt_lang=known[1])) for group in read])
    if read and not sample:
        return known
    for side, (role, flag) in enumerate((("source", "--src-lang"), ("target", "--tgt-lang"))):
        if given.languages[side]:
            continue
        how = f"named by {namer.names()[0]}"
        if not known[side]:
            found[side], confidence = detect([example[side] for example in sample])
            how = f"{min(99, int(100 * confidence))} % sure"
            if confidence < SURE:
                names = ", ".join(group.names()[-side] for group in read)
                guess = f"{found[side]}, {how}" if found[side] else "it has no letters"
                raise DataError(
                    f"{names}: the {role} language cannot be told from the text ({guess}); give it with {flag}"
                )
        say(f"{role.capitalize()} language: {found[side]} ({how}); give {flag} to set it.")
    if same_language(*found):
        names = ", ".join(name for group in groups for name in group.names())
        raise DataError(
            f"{names}: source and target are both in {found[0]}, expected two languages; "
            f"give --src-lang and --tgt-lang if that is meant"
        )
    return found[0], found[1]


def _sample(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Some pairs of each group, from all over its beginning."""
    pairs: list[tuple[str, str]] = []
    for group in groups:
        usable = [(example.src, example.tgt) for example in islice(group, LOOKED_AT) if not example.left_out]
        pairs += usable[:: max(1, len(usable) // SAMPLED)]
    return pairs
