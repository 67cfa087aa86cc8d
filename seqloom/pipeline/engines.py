"""Which engine runs a model: CTranslate2 where it gives just what torch would, and torch for all else.

Nothing heavy is loaded before it is needed: a translation by CTranslate2 never loads torch.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from seqloom.config import DecodingConfig
from seqloom.data.tokenizers import EOS, UNK
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.errors import ConfigError, ModelFolderError, shown
from seqloom.pipeline.ensemble import require_one_vocabulary
from seqloom.tasks.engine import BATCH_TOKENS, Engine, TokenScores
from seqloom.tasks.folder import WEIGHTS, ModelFolder, not_a_number, of_the_newest, read_config, read_model
from seqloom.tasks.setup import TranslatorSetup

if TYPE_CHECKING:
    from seqloom.decoding.constraints import Prefix
    from seqloom.decoding.shortlist import Shortlist
    from seqloom.export.store import Export

Name = Literal["auto", "torch", "ctranslate2"]
NAMES: tuple[Name, ...] = ("auto", "torch", "ctranslate2")

TASK = "translate"

NO_SHORTLIST = (
    "{}: has no shortlist that was measured and accepted into each of its languages; "
    "seqloom export --shortlist makes one"
)

ATTEMPTS = 5
"""To open a model that is replaced in the meantime."""

LOG = logging.getLogger(__name__)

Say = Callable[[str], None]
"""Where a sentence goes that the user should read."""


@dataclass(frozen=True)
class Running:
    """Where and by what models are run."""

    device: str = "cpu"
    engine: Name = "auto"
    threads: int | None = None
    """Processor threads that CTranslate2 may use; all unless given."""
    say: Say = LOG.warning
    """Where sentences about engines go, such as that a model is exported."""
    before_torch: Callable[[], None] = lambda: None
    """Called if torch is going to be loaded."""
    shortlist: bool = False
    """Whether a search chooses among likely pieces alone. CTranslate2 takes those of all sentences that it
    translates together, so that a translation may depend on its neighbours; torch takes those of each."""
    scores: bool = True
    """Whether translations come with their scores. CTranslate2 searches greedily faster without; they are 0 then."""
    compute_type: str | None = None
    """What CTranslate2 calculates in; the fastest that is proven unless given."""


class WithTorch:
    """A fast engine for what it does exactly, and torch for the rest, loaded when it is first needed."""

    def __init__(self, fast: Any, open_torch: Callable[[], Engine], say: Say) -> None:
        self.fast = fast
        self._open_torch = cache(open_torch)
        self._say = say
        self._said: set[str] = set()

    @property
    def torch(self) -> Engine:
        """The engine that does everything."""
        return self._open_torch()

    def quiet(self) -> "WithTorch":
        """The same, for searches that nobody asked for in particular."""
        engine = copy(self)
        engine._say = lambda text: None
        engine._said = set()
        return engine

    @property
    def longest(self) -> int | None:
        longest: int | None = self.fast.longest
        return longest

    def search(
        self,
        sources: Sequence[Sequence[int]],
        decoding: DecodingConfig,
        n_best: int = 1,
        batch_tokens: int = BATCH_TOKENS,
        prefixes: "Sequence[Prefix] | None" = None,
    ) -> list[list[Hypothesis]]:
        engine = self._for(self.fast.cannot_search(sources, decoding, prefixes))
        return engine.search(sources, decoding, n_best, batch_tokens, prefixes)

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], batch_tokens: int = BATCH_TOKENS
    ) -> list[TokenScores]:
        return self._for(self.fast.cannot_score(sources, targets)).score(sources, targets, batch_tokens)

    def _for(self, reason: str) -> Engine:
        if not reason:
            engine: Engine = self.fast
            return engine
        if reason not in self._said:
            self._said.add(reason)
            self._say(f"CTranslate2 does not do this just as it is defined: {reason}. Torch does it, more slowly.")
        return self.torch


def engine_and_type(engine: Engine, decoding: DecodingConfig) -> tuple[str, str]:
    """By what a search is done, and what that calculates in."""
    if isinstance(engine, WithTorch) and not engine.fast.cannot_search([], decoding):
        return "ctranslate2", engine.fast.export.variant
    return "torch", "float32"


class Opened(NamedTuple):
    """A model ready to be run."""

    folder: ModelFolder
    setup: TranslatorSetup
    engine: Engine


def open_engine(path: Path, running: Running) -> Opened:
    """A model with what runs it.

    Raises:
        ConfigError: if CTranslate2 is asked for and cannot be had.
        ModelFolderError: if there is no model, or it is damaged, and so is the one before it.
    """
    return of_the_newest(path, lambda folder: _open(folder, running))


def _open(path: Path, running: Running) -> Opened:
    for attempt in range(ATTEMPTS):
        folder = read_translator(path, weights=False)
        setup = TranslatorSetup.from_folder(folder)
        obstacle = "" if running.engine == "torch" else _obstacle(setup, running.device)
        if obstacle or running.engine == "torch":
            break
        try:
            fast = _fast(folder, setup, running)
            return Opened(folder, setup, WithTorch(fast, partial(_open_torch, folder, running), running.say))
        # A training may put another model there meanwhile. What CTranslate2 cannot open is a RuntimeError, and of a
        # file that was made to look whole also what its numbers lead to.
        except (OSError, RuntimeError, ValueError, LookupError, MemoryError, ModelFolderError) as error:
            if isinstance(error, ModelFolderError) and not _was_replaced(folder):
                raise  # no engine could run it
            obstacle = f"CTranslate2 cannot run {folder.path} ({shown(error, 300)})"
            if attempt == ATTEMPTS - 1 or not _was_replaced(folder):
                break
    if running.engine == "torch" or (running.engine == "auto" and obstacle):
        if running.engine == "auto" and running.device == "cpu":
            running.say(f"{obstacle}; torch translates instead, more slowly.")
        return Opened(folder, setup, _open_torch(folder, running))
    raise ConfigError(f"the engine ctranslate2 cannot be used: {obstacle}; use auto or torch")


def open_ensemble(paths: Sequence[Path], running: Running) -> Opened:
    """Several models that translate as one, which torch alone can do; the folder is that of the first.

    Raises:
        ConfigError: if CTranslate2 or a shortlist is asked for.
        ModelFolderError: if one cannot be read, or they differ in languages or vocabulary.
    """
    if running.engine == "ctranslate2":
        raise ConfigError("the engine ctranslate2 runs one model; an ensemble needs auto or torch")
    if running.shortlist:
        raise ConfigError("a shortlist is that of one model; translate with the ensemble, or with a shortlist")
    running.before_torch()
    from seqloom.decoding.ensemble import Ensemble
    from seqloom.tasks.device import device_named
    from seqloom.tasks.torch_engine import TorchEngine, trained_model

    folders = [read_translator(path) for path in paths]
    setups = [TranslatorSetup.from_folder(folder) for folder in folders]
    require_one_vocabulary([(folder.path, setup) for folder, setup in zip(folders, setups, strict=True)])
    models = [trained_model(*member) for member in zip(folders, setups, strict=True)]
    joint = replace(setups[0], longest_source=min(setup.longest_source for setup in setups))
    return Opened(folders[0], joint, TorchEngine(Ensemble(models).to(device_named(running.device)).eval()))


def read_translator(path: Path, weights: bool = True) -> ModelFolder:
    """A model folder whose task is translation.

    Raises:
        ModelFolderError: if there is none.
    """
    folder = read_model(path, weights)
    if folder.config["task"] != TASK:
        raise ModelFolderError(f"{folder.path}: is a model for the task {folder.config['task']!r}, expected {TASK!r}")
    return folder


def _obstacle(setup: TranslatorSetup, device: str) -> str:
    """Why CTranslate2 cannot run a model; empty if it can."""
    if device != "cpu":
        return f"CTranslate2 is used on a CPU, and the device is {device}"
    if find_spec("ctranslate2") is None:
        return "CTranslate2 is not installed (pip install ctranslate2)"
    try:
        from seqloom.export.ctranslate2_engine import missing_parts
    except ImportError as error:
        return f"CTranslate2 is installed and cannot be loaded ({error})"

    missing = missing_parts(setup.model)
    return f"CTranslate2 does not know {missing}" if missing else ""


def open_each(path: Path, running: Running) -> Iterator[tuple[str, TranslatorSetup, Engine]]:
    """One after the other all engines that a model can be run with here, by their names.

    Raises:
        ModelFolderError: if there is no model, or it is damaged.
    """
    folder = read_translator(path, weights=False)
    setup = TranslatorSetup.from_folder(folder)
    if obstacle := _obstacle(setup, running.device):
        running.say(f"{obstacle}.")
    else:
        from seqloom.export.ctranslate2_engine import CTranslate2Engine
        from seqloom.pipeline.probe import choose

        for export in _usable(folder, running):
            choice = choose([export], setup, running.threads, running.say)
            engine = CTranslate2Engine(export, setup, choice.shape, running.scores)
            yield f"ctranslate2 {export.variant}, {choice.shape}", setup, engine
    yield "torch float32", setup, _open_torch(folder, running)


def _open_torch(folder: ModelFolder, running: Running) -> Engine:
    """What runs the model that ``folder`` was read of, and no other that was put there since.

    Raises:
        ModelFolderError: if one was.
    """
    running.before_torch()
    from seqloom.tasks.torch_engine import open_torch_engine

    whole = _read_weights(folder)
    setup = TranslatorSetup.from_folder(whole)
    return open_torch_engine(whole, setup, running.device, _shortlist(folder, setup) if running.shortlist else None)


def _shortlist(folder: ModelFolder, setup: TranslatorSetup) -> "Shortlist":
    """That of an export, as it was measured.

    Raises:
        ConfigError: if there is none.
    """
    from seqloom.export.shortlist import read_vmap
    from seqloom.export.store import SHORTLIST, VARIANTS, find_export

    exports = (find_export(folder, variant)[0] for variant in VARIANTS if variant.endswith(SHORTLIST))
    for export in exports:
        if export is not None and export.proven:
            sides = (side.pieces(range(side.vocab_size)) for side in (setup.src_tokenizer, setup.tgt_tokenizer))
            return read_vmap(export.path / "vmap.txt", *sides)
    raise ConfigError(NO_SHORTLIST.format(folder.path))


def _read_weights(folder: ModelFolder) -> ModelFolder:
    whole = read_translator(folder.path)
    if whole.config["files"][WEIGHTS] != folder.config["files"][WEIGHTS]:
        raise ModelFolderError(f"{folder.path}: was replaced by another model since it was loaded; load it again")
    return whole


def _was_replaced(folder: ModelFolder) -> bool:
    """Whether another model stands where this one was read."""
    return bool(read_config(folder.path)["files"][WEIGHTS] != folder.config["files"][WEIGHTS])


def _fast(folder: ModelFolder, setup: TranslatorSetup, running: Running) -> Engine:
    """The exported model in the fastest type that is proven, in the shape that is fastest here."""
    from seqloom.export.ctranslate2_engine import CTranslate2Engine
    from seqloom.pipeline.probe import choose

    usable = [
        export
        for export in _usable(folder, running)
        if export.shortlist == running.shortlist and running.compute_type in (None, export.compute_type)
    ]
    if not usable:
        raise ConfigError(NO_SHORTLIST.format(folder.path))
    choice = choose(usable, setup, running.threads, running.say)
    export = next(each for each in usable if each.variant == choice.variant)
    engine = CTranslate2Engine(export, setup, choice.shape, running.scores)
    if not running.scores:  # which otherwise show whether a model calculates numbers
        (known,) = engine.score([[UNK, EOS]], [[UNK, EOS]])
        if math.isnan(sum(known.log_probs)):
            raise not_a_number(folder.path)
    return engine


def _usable(folder: ModelFolder, running: Running) -> "list[Export]":
    """The exports that may be used: in float32, made if there is none, and in the types that are proven."""
    from seqloom.export.ctranslate2_engine import supported_types
    from seqloom.export.store import VARIANTS, find_export

    usable = []
    for variant in VARIANTS:
        export, problem = find_export(folder, variant)
        if problem:
            anew = "is made anew" if variant == "float32" else "is not used before seqloom export measures it anew"
            running.say(f"{problem}; it {anew}.")
        if export is None and variant == "float32":
            running.before_torch()
            from seqloom.export.ctranslate2_model import export_model

            running.say(f"Exporting {folder.path} for CTranslate2, once.")
            export = export_model(_read_weights(folder), variant)
        if export is None or not export.proven:
            continue
        if export.compute_type not in supported_types():
            running.say(
                f"This processor does not calculate in {export.compute_type}, which was proven for {folder.path}."
            )
            continue
        usable.append(export)
    return usable
