"""A trained translator: a model folder in, texts to texts."""

import math
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from seqloom.config import DecodingConfig, Section, load_config
from seqloom.data.tokenizers import normalize
from seqloom.errors import UserError
from seqloom.machine import give_back_memory
from seqloom.pipeline.engines import NAMES, Name, Running, open_engine, open_ensemble
from seqloom.pipeline.faults import FAULTS
from seqloom.pipeline.guard import MODES, Guard, Guarded, Mode, Searched
from seqloom.pipeline.scoring import Scored, score_pairs
from seqloom.pipeline.segment import join, segment
from seqloom.pipeline.streaming import MAX_AT_ONCE, as_they_come
from seqloom.tasks.engine import BATCH_TOKENS, Engine
from seqloom.tasks.folder import ModelFolder, not_a_number
from seqloom.tasks.setup import TranslatorSetup

SHORTEST_LIMIT = 24
"""Tokens that are translated in one piece whatever the training data was."""


class Asked(Section):
    """The part of a recipe that a translation may be asked for with."""

    decoding: DecodingConfig = DecodingConfig()


@dataclass(frozen=True)
class Translation:
    """What became of one text."""

    text: str
    score: float
    """Log-probability / length^alpha; over the pieces of a long text, their mean."""
    alternatives: list[tuple[str, float]] = field(default_factory=list)
    """All n-best translations with their scores, the first being ``text``."""
    segments: int = 1
    """Into how many pieces the text was cut for the model."""
    flags: tuple[str, ...] = ()
    """What is wrong with ``text``, by the names in :data:`seqloom.pipeline.faults.FAULTS`."""
    caught: tuple[str, ...] = ()
    """What was wrong with the first answer."""
    retried: bool = False
    """Whether other searches were made because of it."""


class Translator:
    """Holds a model ready; made by :func:`load`."""

    def __init__(self, folder: ModelFolder, setup: TranslatorSetup, engine: Engine) -> None:
        self.path = folder.path
        self.config = folder.config
        self.setup = setup
        self.engine = engine
        places = (engine.longest or math.inf) - 1 - bool(setup.directions)  # for the source's end token, and its tag
        self.limit = int(min(places, max(SHORTEST_LIMIT, setup.longest_source)))
        self.guard = Guard(setup.length_ratio)

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.setup.languages

    def towards(self, src_lang: str | None = None, tgt_lang: str | None = None) -> "Translator":
        """The same model, asked for one of its directions: a language that is not given is any that fits.

        Raises:
            UserError: if the model does not translate so, or knows several target languages that fit.
        """
        translator = copy(self)
        translator.setup = self.setup.towards(src_lang or "", tgt_lang or "")
        return translator

    def translate(
        self,
        texts: Sequence[str],
        *,
        n_best: int = 1,
        batch_tokens: int = BATCH_TOKENS,
        prefixes: Sequence[str] | str | None = None,
        guard: Mode = "retry",
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        **decoding: Any,
    ) -> list[Translation]:
        """Translates each text; an empty one stays empty, a long one is cut and put together again.

        Args:
            texts: any Unicode text; white space, line ends included, is read as one space.
            n_best: how many translations of each; ``beam`` must be at least as wide.
            batch_tokens: bounds what is translated together; changes nothing but the speed.
            prefixes: what each translation starts with, one for all or as many as texts; an empty
                one forces nothing. Of a text that is cut, it is the first part's.
            guard: what becomes of an answer that cannot be right: ``off`` leaves it, ``flag`` says so in
                the result, ``retry`` searches for a better one first.
            src_lang, tgt_lang: which way, where the model knows several; see :meth:`towards`.
            **decoding: settings of the search, such as ``beam=4``, ``sample=True`` or ``mbr="chrf"``.

        Raises:
            ConfigError: for a setting that does not exist or is out of range.
            UserError: for a text or a prefix that is not Unicode, or a prefix or a least length without room behind it.
            ModelFolderError: if no number comes out of the model.
        """
        if isinstance(texts, str):
            raise UserError("translate() takes a list of texts; put the text into a list: translate([text])")
        if src_lang or tgt_lang:
            directed = self.towards(src_lang, tgt_lang)
            return directed.translate(
                texts, n_best=n_best, batch_tokens=batch_tokens, prefixes=prefixes, guard=guard, **decoding
            )
        if guard not in MODES:
            raise UserError(f"guard={guard!r} is no way to guard, expected {', '.join(MODES[:-1])} or {MODES[-1]}")
        settings = self._decoding(decoding, n_best)
        if prefixes is None or isinstance(prefixes, str):
            prefixes = [prefixes or ""] * len(texts)
        if len(prefixes) != len(texts):
            raise UserError(f"{len(prefixes):,} prefixes for {len(texts):,} texts, expected one for each")
        for number, prefix in enumerate(prefixes):
            _require_unicode(prefix, f"prefix {number + 1}")
        parts: list[tuple[str, str]] = []  # with their prefixes
        spans: list[tuple[int, int]] = []
        checked = [self._checked(text, number) for number, text in enumerate(texts)]
        encode = self.setup.src_tokenizer.encode
        whole = list(dict.fromkeys(checked))
        tokens = dict(zip(whole, encode(whole), strict=True))
        for number, text in enumerate(checked):
            cut = [text] if len(tokens[text]) <= self.limit else segment(text, self.limit, self._count)
            spans.append((len(parts), len(parts) + len(cut)))
            parts += zip(cut, [prefixes[number], *[""] * (len(cut) - 1)], strict=True)
        distinct = {part: row for row, part in enumerate(dict.fromkeys(parts))}
        sources, forced = [part for part, _ in distinct], [prefix for _, prefix in distinct]
        if fresh := [part for part in dict.fromkeys(sources) if part not in tokens]:
            tokens |= zip(fresh, encode(fresh), strict=True)
        searched = Searched(
            self.setup,
            self.engine,
            sources,
            [tokens[source] for source in sources],
            forced if any(forced) else None,
            settings,
            n_best,
            batch_tokens,
        )
        answers = self.guard.watch(searched, guard)
        return [
            self._assembled([answers[distinct[part]] for part in parts[start:end]], guard == "retry")
            for start, end in spans
        ]

    def score(
        self, sources: Sequence[str], targets: Sequence[str], *, batch_tokens: int = BATCH_TOKENS
    ) -> list[Scored]:
        """How probable each of ``targets`` is to the model as the translation of its source.

        Nothing is cut: see :mod:`seqloom.pipeline.scoring` for what that means for long and empty texts.

        Raises:
            UserError: if there are not as many of one as of the other, or one is not Unicode or too long.
            ModelFolderError: if no number comes out of the model.
        """
        if isinstance(sources, str) or isinstance(targets, str):
            raise UserError("score() takes two lists of texts; put the texts into lists: score([source], [target])")
        if len(sources) != len(targets):
            raise UserError(f"{len(sources):,} sources and {len(targets):,} targets, expected one for each")
        checked = [[self._checked(text, number) for number, text in enumerate(side)] for side in (sources, targets)]
        return list(self.score_stream(zip(*checked, strict=True), batch_tokens=batch_tokens))

    def score_stream(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        names: tuple[str, str] = ("source ", "target "),
        batch_tokens: int = BATCH_TOKENS,
    ) -> Iterator[Scored]:
        """The same of any number of pairs as they come; ``names`` stand before the number of one that is too long."""
        for scored in score_pairs(self.setup, self.engine, pairs, batch_tokens, names):
            self._require_number(scored.log_prob)
            yield scored

    def stream(
        self, lines: Iterable[str], *, prefixes: Iterable[str] | str | None = None, **options: Any
    ) -> Iterator[Translation]:
        """Translates lines as they come: many at once when they are waiting, one when it is alone."""
        for chunk in as_they_come(_with_prefixes(lines, prefixes)):
            yield from self.translate([line for line, _ in chunk], prefixes=[prefix for _, prefix in chunk], **options)
            if len(chunk) == MAX_AT_ONCE:
                give_back_memory()

    def _decoding(self, given: dict[str, Any], n_best: int) -> DecodingConfig:
        wanted = tuple((key, value, type(value)) for key, value in given.items() if value is not None)
        try:
            return _checked_settings(self.setup.decoding, wanted, n_best)
        except TypeError:  # something that cannot be a setting; what is wrong with it is said
            return _checked_settings.__wrapped__(self.setup.decoding, wanted, n_best)

    @staticmethod
    def _checked(text: str, number: int) -> str:
        _require_unicode(text, f"text {number + 1}")
        return normalize(text)

    def _count(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.setup.src_tokenizer.encode(texts)]

    def _assembled(self, guarded: list[Guarded], retry: bool) -> Translation:
        answers = [each.answer for each in guarded]
        alternatives = list(zip(answers[0].texts, answers[0].scores, strict=True))
        if len(answers) > 1:
            alternatives = [
                (
                    join([answer.texts[rank] for answer in answers], self.languages[1]),
                    sum(answer.scores[rank] for answer in answers) / len(answers),
                )
                for rank in range(min(len(answer.texts) for answer in answers))
            ]
        self._require_number(alternatives[0][1])
        flags, caught = _named([each.flags for each in guarded]), _named([each.caught for each in guarded])
        return Translation(*alternatives[0], alternatives, len(answers), flags, caught, retry and bool(caught))

    def _require_number(self, calculated: float) -> None:
        if math.isnan(calculated):
            raise not_a_number(self.path)


def _require_unicode(text: str, name: str) -> None:
    try:
        text.encode()
    except (UnicodeEncodeError, AttributeError):
        raise UserError(f"{name} is not Unicode text ({text!r:.60}); decode it first") from None


def _named(faults: list[tuple[str, ...]]) -> tuple[str, ...]:
    """What is wrong with any of some answers, by the names in ``FAULTS`` and in their order."""
    return tuple(name for name in FAULTS if any(name in each for each in faults)) if any(faults) else ()


@lru_cache(64)  # to check them takes longer than a step of a small model
def _checked_settings(stored: DecodingConfig, given: tuple[tuple[str, Any, type], ...], n_best: int) -> DecodingConfig:
    """The settings ``given`` (name, value, its type) on top of those that a model is stored with."""
    settings = stored.model_dump()
    wanted = {key: value for key, value, _ in given}
    if "beam" not in wanted and n_best > settings["beam"]:
        settings["beam"] = n_best
    # What is given stands first: a mistake is told of the first of all.
    wanted |= {key: value for key, value in settings.items() if key not in wanted}
    decoding = load_config(Asked, flags={f"decoding.{key}": value for key, value in wanted.items()}).decoding
    if n_best > decoding.beam:
        raise UserError(f"{n_best} translations of each text need a beam of {n_best} or more, got {decoding.beam}")
    return decoding


def _with_prefixes(lines: Iterable[str], prefixes: Iterable[str] | str | None) -> Iterator[tuple[str, str]]:
    """Each line with its prefix; UserError where one of both ends before the other."""
    if prefixes is None or isinstance(prefixes, str):
        yield from ((line, prefixes or "") for line in lines)
        return
    for number, (line, prefix) in enumerate(zip_longest(lines, prefixes)):
        if line is None or prefix is None:
            few, many = ("lines", "prefixes") if line is None else ("prefixes", "lines")
            raise UserError(f"there are {number:,} {few} and more {many}; expected a prefix for each line")
        yield line, prefix


def load(
    path: str | Path | Sequence[str | Path],
    device: str = "cpu",
    engine: Name = "auto",
    threads: int | None = None,
) -> Translator:
    """Loads the model of a run folder or a model folder; of several, as one ensemble.

    Where another engine is used than the one that was meant, or something takes time once, a warning is logged.
    An ensemble takes the mean of its members' probabilities at each step, and the settings of the first.

    Args:
        path: the folder, or several.
        device: cpu, or a GPU by its name.
        engine: ``ctranslate2``, which leaves to torch what it cannot do; ``torch``; or ``auto``, the first where it
            can be had.
        threads: processor threads that CTranslate2 may use; all unless given.

    Raises:
        UserError: if there is no such engine or device.
        ModelFolderError: if there is no model, or it is damaged, or of a newer version, or members differ in
            languages or vocabulary.
    """
    return open_translator(path, Running(device, engine, threads))


def open_translator(path: str | Path | Sequence[str | Path], running: Running) -> Translator:
    """The same, with more to say on how it is run."""
    if running.engine not in NAMES:
        raise UserError(f"engine={running.engine!r} is not known, expected {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    paths = [Path(each) for each in ([path] if isinstance(path, str | Path) else path)]
    if not paths:
        raise UserError("load() was given an empty list, expected at least one run or model folder")
    return Translator(*(open_engine(paths[0], running) if len(paths) == 1 else open_ensemble(paths, running)))
