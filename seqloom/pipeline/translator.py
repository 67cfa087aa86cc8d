"""A trained translator: a model folder in, texts to texts."""

import math
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from seqloom.config import DecodingConfig, load_config
from seqloom.data.tokenizers import normalize
from seqloom.decoding.ensemble import Ensemble
from seqloom.errors import ModelFolderError, UserError
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.pipeline.ensemble import require_one_vocabulary
from seqloom.pipeline.faults import FAULTS
from seqloom.pipeline.guard import MODES, Guard, Guarded, Mode, Searched
from seqloom.pipeline.scoring import Scored, score_pairs
from seqloom.pipeline.segment import join, segment
from seqloom.tasks.device import device_named
from seqloom.tasks.folder import ModelFolder, read_model
from seqloom.tasks.registry import TASKS
from seqloom.tasks.translate import Translate

SHORTEST_LIMIT = 24
"""Tokens that are translated in one piece whatever the training data was."""

MAX_LINES_AT_ONCE = 1024


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

    def __init__(self, members: Sequence[tuple[ModelFolder, Translate]], device: torch.device) -> None:
        folder, self.task = members[0]
        self.path = folder.path
        self.config = folder.config
        models = [_trained_model(*member) for member in members]
        self.model = models[0] if len(models) == 1 else Ensemble(models)
        self.model.to(device).eval()
        places = (self.model.longest or math.inf) - 1  # the source's end token takes one
        self.limit = int(min(places, max(SHORTEST_LIMIT, min(task.longest_source for _, task in members))))
        self.guard = Guard(self.task.length_ratio)

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.task.languages

    def towards(self, src_lang: str | None = None, tgt_lang: str | None = None) -> "Translator":
        """The same model, asked for one of its directions: a language that is not given is any that fits.

        Raises:
            UserError: if the model does not translate so, or knows several target languages that fit.
        """
        translator = copy(self)
        translator.task = self.task.towards(src_lang or "", tgt_lang or "")
        return translator

    def translate(
        self,
        texts: Sequence[str],
        *,
        n_best: int = 1,
        batch_tokens: int = 4096,
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
            UserError: for a text that is not Unicode.
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
        parts: list[tuple[str, str]] = []  # with their prefixes
        spans: list[tuple[int, int]] = []
        for number, text in enumerate(texts):
            cut = segment(self._checked(text, number), self.limit, self._count)
            spans.append((len(parts), len(parts) + len(cut)))
            parts += zip(cut, [prefixes[number], *[""] * (len(cut) - 1)], strict=True)
        distinct = {part: row for row, part in enumerate(dict.fromkeys(parts))}
        sources, forced = [part for part, _ in distinct], [prefix for _, prefix in distinct]
        searched = Searched(
            self.task,
            self.model,
            self.languages,
            sources,
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

    def score(self, sources: Sequence[str], targets: Sequence[str], *, batch_tokens: int = 4096) -> list[Scored]:
        """How probable each of ``targets`` is to the model as the translation of its source.

        Nothing is cut: see :mod:`seqloom.pipeline.scoring` for what that means for long and empty texts.

        Raises:
            UserError: if there are not as many of one as of the other, or one is not Unicode or too long.
        """
        if isinstance(sources, str) or isinstance(targets, str):
            raise UserError("score() takes two lists of texts; put the texts into lists: score([source], [target])")
        if len(sources) != len(targets):
            raise UserError(f"{len(sources):,} sources and {len(targets):,} targets, expected one for each")
        checked = [[self._checked(text, number) for number, text in enumerate(side)] for side in (sources, targets)]
        return list(score_pairs(self.task, self.model, zip(*checked, strict=True), batch_tokens))

    def stream(
        self, lines: Iterable[str], *, prefixes: Iterable[str] | str | None = None, **options: Any
    ) -> Iterator[Translation]:
        """Translates lines as they come: many at once when they are waiting, one when it is alone."""
        Line = tuple[str, str]
        waiting: queue.Queue[Line | BaseException | None] = queue.Queue(maxsize=4 * MAX_LINES_AT_ONCE)

        def read() -> None:
            try:
                for line in _with_prefixes(lines, prefixes):
                    waiting.put(line)
                waiting.put(None)
            except BaseException as error:  # noqa: BLE001 - raised again where the results are read
                waiting.put(error)

        threading.Thread(target=read, daemon=True).start()
        end: BaseException | Line | None = ("", "")
        while isinstance(end, tuple):
            chunk: list[Line] = []
            end = waiting.get()
            while isinstance(end, tuple):
                chunk.append(end)
                if len(chunk) == MAX_LINES_AT_ONCE or waiting.empty():
                    break
                end = waiting.get()
            yield from self.translate([line for line, _ in chunk], prefixes=[prefix for _, prefix in chunk], **options)
        if end is not None:
            raise end

    def _decoding(self, given: dict[str, Any], n_best: int) -> DecodingConfig:
        stored = self.task.decoding.model_dump()
        if given.get("beam") is None and n_best > stored["beam"]:
            stored["beam"] = n_best
        wanted = {key: value for key, value in given.items() if value is not None}
        # What is given stands first: a mistake is told of the first of all.
        wanted |= {key: value for key, value in stored.items() if key not in wanted}
        flags = {f"decoding.{key}": value for key, value in wanted.items()}
        decoding: DecodingConfig = load_config(Translate.Config, flags=flags).decoding  # type: ignore[attr-defined]
        if n_best > decoding.beam:
            raise UserError(f"{n_best} translations of each text need a beam of {n_best} or more, got {decoding.beam}")
        return decoding

    @staticmethod
    def _checked(text: str, number: int) -> str:
        try:
            text.encode()
        except (UnicodeEncodeError, AttributeError):
            raise UserError(f"text {number + 1} is not Unicode text ({text!r:.60}); decode it first") from None
        return normalize(text)

    def _count(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.task.src_tokenizer.encode(texts)]

    def _assembled(self, guarded: list[Guarded], retry: bool) -> Translation:
        answers = [each.answer for each in guarded]
        ranks = min(len(answer.texts) for answer in answers)
        alternatives = [
            (
                join([answer.texts[rank] for answer in answers], self.languages[1]),
                sum(answer.scores[rank] for answer in answers) / len(answers),
            )
            for rank in range(ranks)
        ]
        flags, caught = (
            tuple(name for name in FAULTS if any(name in faults for faults in found))
            for found in ([each.flags for each in guarded], [each.caught for each in guarded])
        )
        return Translation(*alternatives[0], alternatives, len(answers), flags, caught, retry and bool(caught))


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


def _trained_model(folder: ModelFolder, task: Translate) -> EncoderDecoder:
    model = task.build_model()
    own = dict(model.named_parameters())
    wrong = [
        f"{name} is {'missing' if name in own else 'unknown'}"
        if name not in own or name not in folder.weights
        else f"{name} has shape {list(folder.weights[name].shape)}, expected {list(own[name].shape)}"
        for name in sorted(own.keys() | folder.weights.keys())
        if name not in own or name not in folder.weights or own[name].shape != folder.weights[name].shape
    ]
    if wrong:
        raise ModelFolderError(f"{folder.path / 'model.safetensors'}: does not fit config.json: {'; '.join(wrong[:5])}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(folder.weights[name])
    return model


def load(path: str | Path | Sequence[str | Path], device: str = "cpu") -> Translator:
    """Loads the model of a run folder or a model folder; of several, as one ensemble.

    An ensemble takes the mean of its members' probabilities at each step, and the settings of the first.

    Raises:
        ModelFolderError: if there is none, or it is damaged, or of a newer version, or members differ in
            languages or vocabulary.
    """
    chosen = device_named(device)
    paths = [path] if isinstance(path, str | Path) else path
    if not paths:
        raise UserError("load() was given an empty list, expected at least one run or model folder")
    members = [_read_task(Path(each)) for each in paths]
    require_one_vocabulary(members)
    return Translator(members, chosen)


def _read_task(path: Path) -> tuple[ModelFolder, Translate]:
    folder = read_model(path)
    task_class = TASKS.get(folder.config["task"])
    if task_class is None:
        raise ModelFolderError(
            f"{folder.path}: is a model for the task {folder.config['task']!r}, which this version does not know"
        )
    task = task_class.from_folder(folder)
    assert isinstance(task, Translate)
    return folder, task
