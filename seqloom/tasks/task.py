"""The contract between a task and what trains, serves and explains it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from seqloom.config import Section
from seqloom.data.corpus import Corpus
from seqloom.errors import UserError
from seqloom.models.recompute import layers_of, recompute
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.plan import Plan

Say = Callable[[str], None]
"""Where a sentence about what is being done goes."""

SAMPLES = 5
"""Of a validation, shown with their answers, the same ones every time."""


@dataclass(frozen=True)
class Loss:
    """A sum and what it is over; never a mean, so that parts of a batch can be added up."""

    sum: Tensor
    count: int
    """Of real target tokens."""


class Batch(Protocol):
    """What the training loop asks of a batch."""

    @property
    def num_targets(self) -> int: ...
    @property
    def padding(self) -> int: ...
    @property
    def positions(self) -> int: ...
    def parts(self, count: int) -> list[Self]: ...
    def to(self, device: torch.device) -> Self: ...
    def pinned(self) -> Self: ...


class Batches(Protocol):
    """An endless stream whose position can be saved and restored."""

    def __iter__(self) -> Iterator[Any]: ...
    def state_dict(self) -> dict[str, int]: ...
    def load_state_dict(self, state: dict[str, int]) -> None: ...
    def plan(self, epoch: int) -> Sequence[Any]: ...
    def share(self, part: int, of: int) -> None:
        """From now on each batch has only the rows that are this part of ``of``, by turns; maybe none."""


class Sample(NamedTuple):
    """One line that shows what a model can do by now."""

    source: str
    reference: str
    answer: str


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on a split."""

    scores: dict[str, float]
    """By their names; ``valid_loss``, the mean loss of a target, is one of them."""
    signatures: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    headline: str = ""
    """The score that tells most, for a line that shows the progress."""


class Report(Protocol):
    """The scores of a test."""

    def as_dict(self) -> dict[str, Any]: ...
    def as_table(self) -> str: ...


class Answer(Protocol):
    """What a task says of one input."""

    def line(self, weights: bool) -> str:
        """On one line; with how much each part of the input counted, if these ``weights`` are wanted."""

    def as_dict(self, weights: bool) -> dict[str, Any]:
        """The same for programs."""


class Setup(Protocol):
    """All of a trained model but its weights."""

    @property
    def model(self) -> Any:
        """The settings of the network, of which d_model is one."""

    def describe(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """A part of config.json, and files, from which it can be read again."""


class PreparedData(Protocol):
    """All that a training needs of its data."""

    @property
    def train(self) -> Corpus: ...
    @property
    def key(self) -> str: ...
    @property
    def summary(self) -> dict[str, Any]:
        """What the config.json of a model repeats of it."""


SetupT = TypeVar("SetupT", bound=Setup)
PreparedT = TypeVar("PreparedT", bound=PreparedData)
ConfigT = TypeVar("ConfigT", bound=Section)


class Task(ABC, Generic[SetupT, PreparedT, ConfigT]):
    """Data, model, loss, metric and answer of one thing that users ask for.

    Args:
        setup: all of the model but its weights.
        prepared: the data, if it is to be trained.
        config: the settings of that training.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Section]]
    best_by: ClassVar[str]
    """The score that tells the best model; larger is better."""

    def __init__(self, setup: SetupT, prepared: PreparedT | None = None, config: ConfigT | None = None) -> None:
        self.setup = setup
        self._prepared = prepared
        self._config = config

    @property
    def prepared(self) -> PreparedT:
        assert self._prepared is not None, "a task loaded from a model folder has no data"
        return self._prepared

    @property
    def config(self) -> ConfigT:
        assert self._config is not None, "a task loaded from a model folder has no config"
        return self._config

    @classmethod
    @abstractmethod
    def prepare(cls, config: Any, folder: Path, say: Say) -> "Task":
        """Reads the data of ``config`` into ``folder``, or takes up what is there already."""

    @classmethod
    @abstractmethod
    def from_folder(cls, folder: ModelFolder) -> "Task":
        """The task of a trained model: no data, but all that ``predict`` needs."""

    @classmethod
    @abstractmethod
    def data_key(cls, config: Any) -> str:
        """Changes whenever the training data, as the model sees it, changes; reads only the files."""

    @classmethod
    def plan_data(cls, config: Any) -> Plan:
        """Settings that a look at the files suggests, before they are prepared; only for a budget."""
        return Plan()

    @classmethod
    def plan_start(cls, origin: ModelFolder, config: Any) -> Plan:
        """Settings that a run with this ``config`` takes over from the trained model that it starts from."""
        return Plan()

    def after(self, origin: Mapping[str, Any]) -> Self:
        """The same task for a model that goes on from another, and still knows what it did: its config.json."""
        return self

    @abstractmethod
    def adopt(self, model: nn.Module, origin: ModelFolder, say: Say) -> None:
        """Copies the weights of a trained model into ``model``, and says exactly which."""

    def plan_model(self, seconds: float, speed: Callable[[Mapping[str, Any]], float]) -> Plan:
        """Settings for the best model that ``seconds`` of training can give.

        ``speed`` makes a few updates with settings on top of the run's, and tells real target
        tokens a second.
        """
        return Plan()

    @abstractmethod
    def reconfigured(self, config: Any) -> Self:
        """The same data with other settings of model, training or decoding."""

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A new model with random weights, from torch's generator."""

    def stacks(self, model: nn.Module) -> list[nn.Module]:
        """The modules of ``model`` that hold nearly all of its work, for torch.compile."""
        return []

    def layers(self, model: nn.Module) -> list[nn.Module]:
        """The parts of them that work one after another, each called as a whole."""
        return layers_of(self.stacks(model))

    def recompute(self, model: nn.Module) -> None:
        """Makes them keep nothing but their inputs for the way back."""
        recompute(self.layers(model))

    @property
    def weighs_words(self) -> bool:
        """Whether an answer says how much each word of a text counted."""
        return False

    @property
    def model_width(self) -> int:
        """d_model, for schedules that depend on it."""
        return int(self.setup.model.d_model)

    @abstractmethod
    def training_batches(self) -> Batches:
        """The endless stream of training batches."""

    def where(self, batch: Any) -> list[str]:
        """``file:line`` of every example of a batch."""
        return [self.prepared.train.where(int(row)) for row in batch.rows]

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any, random: torch.Generator | None = None, progress: float = 0.0) -> Loss:
        """What training makes small when the share ``progress`` of it is behind.

        Dropout draws from ``random``, or from torch's own generator.
        """

    @abstractmethod
    def evaluate(self, model: nn.Module, split: str) -> Evaluation:
        """Scores on a split that is not trained on."""

    def test(self, model: nn.Module, files: Sequence[str], bootstrap: int = 0) -> Report:
        """Scores on files like those that it is trained on, with intervals from ``bootstrap`` resamplings."""
        raise UserError(f"the task {self.name} has no test on files")

    def describe(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """What a model folder holds beside weights: the task's part of config.json, and files."""
        about, files = self.setup.describe()
        if self._prepared is not None:
            about["data"] = {"fingerprint": self._prepared.key, **self._prepared.summary}
        return about, files

    @abstractmethod
    def card(self, config: dict[str, Any]) -> str:
        """The README of a model folder, from its config.json."""

    @classmethod
    @abstractmethod
    def usage(cls, config: dict[str, Any], run: str) -> str:
        """The command that puts lines through the model in ``run``, whose config.json is given."""

    @abstractmethod
    def predict(self, model: nn.Module, inputs: Sequence[Any], **options: Any) -> Iterator[Any]:
        """An answer for each input, in order; FloatingPointError if the model calculates what is no number."""
