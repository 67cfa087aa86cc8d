"""Translation: sentence pairs -> a Transformer from one language to another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from seqloom.config import DataConfig, DecodingConfig, ModelConfig, Section, TrainingConfig
from seqloom.data.batch import PairBatch
from seqloom.data.batching import TrainingBatches, evaluation_batches, plan_batches, sample_rows
from seqloom.data.corpus_files import has_tags
from seqloom.data.languages import Direction
from seqloom.data.lengths import GENERIC, LengthRatio
from seqloom.data.prepare import Prepared, data_key, prepare_pairs, training_pairs
from seqloom.data.subword_regularization import SubwordRegularization
from seqloom.data.tokenizers import BOS, EOS, PAD, Tokenizer, load_tokenizer, pad, truncate
from seqloom.decoding.decode import Sources, decode
from seqloom.decoding.ensemble import Ensemble
from seqloom.decoding.mbr import expected_utility
from seqloom.decoding.step import Hypothesis
from seqloom.errors import ConfigError, DataError, ModelFolderError
from seqloom.metrics.similarity import SIMILARITIES
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.tasks.card import translator_card
from seqloom.tasks.carry_over import carry_over
from seqloom.tasks.directions import choose_direction, score_by_direction
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.forcing import TokenScores, score_tokens
from seqloom.tasks.plan import Plan, plan_size, plan_vocabulary
from seqloom.tasks.prefix import Prefixes
from seqloom.tasks.task import Evaluation, Loss, Sample, Say, Task

LANGUAGES = "data.src_lang", "data.tgt_lang"

FINE_TUNING_RATE = 3e-4
"""Learning rate of a training that starts from a trained model."""

SAMPLES = 5
"""Validation sentences shown with their translations, the same ones every time."""

RUNAWAY = 3
"""In validation a translation is cut when it is so many times as long as the data lets expect."""


class TranslateConfig(Section):
    """All settings of a translator."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig.model_validate({})
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()


class Answer(NamedTuple):
    """The translations of one sentence, best first."""

    texts: list[str]
    scores: list[float]
    truncated: bool
    """Whether the source had more tokens than can be read at once, so that its end was cut off; never
    so for what :mod:`seqloom.pipeline` has cut into sentences."""
    finished: list[bool]
    """Whether each came to its end; False for one that was cut at its greatest length."""
    lengths: list[int]
    """Tokens of each translation, without end."""
    source_length: int
    """Tokens of the source, without end."""


class Translate(Task):
    """From text in one language to text in another."""

    name: ClassVar[str] = "translate"
    Config: ClassVar[type[Section]] = TranslateConfig
    best_by: ClassVar[str] = "bleu"

    def __init__(
        self,
        model_config: ModelConfig,
        src_tokenizer: Tokenizer,
        tgt_tokenizer: Tokenizer,
        languages: tuple[str, str],
        longest_source: int,
        decoding: DecodingConfig,
        prepared: Prepared | None = None,
        config: TranslateConfig | None = None,
        length_ratio: LengthRatio = GENERIC,
        directions: Sequence[Direction] = (),
    ) -> None:
        """``directions`` are those of a model with several, which a tag before each source tells apart."""
        self.model_config = model_config
        self.src_tokenizer = src_tokenizer
        self.tgt_tokenizer = tgt_tokenizer
        self.languages = languages
        """Source and target; with several directions those of the first one, until one is chosen."""
        self.directions = tuple(dict.fromkeys(directions))
        self.is_directed = len({direction.tgt for direction in directions}) < 2
        """Whether it is known into which language is translated."""
        self.longest_source = longest_source
        self.length_ratio = length_ratio
        self.decoding = decoding
        self._prepared = prepared
        self._config = config

    @classmethod
    def prepare(cls, config: TranslateConfig, folder: Path, say: Say) -> "Translate":
        tied, data = config.model.tied_embeddings, config.data
        if tied in ("all", "inputs") and not data.joint_vocab:
            other = "output" if tied == "all" else "none"
            raise ConfigError(
                f"model.tied_embeddings = {tied!r} needs one vocabulary; "
                f"set it to {other!r}, or data.joint_vocab to true"
            )
        if config.model.positions in ("learned", "random") and data.max_length > config.model.max_positions:
            raise ConfigError(
                f"data.max_length ({data.max_length:,}) is more than the places of {config.model.positions} positions, "
                f"model.max_positions ({config.model.max_positions:,}); lower the one or raise the other"
            )
        prepared = prepare_pairs(data, folder, say)
        return cls(
            config.model,
            prepared.src_tokenizer,
            prepared.tgt_tokenizer,
            prepared.languages,
            prepared.about["longest_source"],
            config.decoding,
            prepared,
            config,
            LengthRatio.read(prepared.about.get("length_ratio")),
            prepared.directions,
        )

    @classmethod
    def plan_data(cls, config: TranslateConfig) -> Plan:
        if config.training.init_from or config.data.tokenizer_file:
            return Plan()
        return plan_vocabulary(training_pairs(config.data), has_tags(config.data))

    def plan_model(self, seconds: float, speed: Callable[[Mapping[str, Any]], float]) -> Plan:
        if self.config.training.init_from:
            return Plan({"training.schedule": "wsd"}, ["the rate stays and falls to zero in the last part"])
        return plan_size(len(self.prepared.train) + int(self.prepared.train.tgt.lengths.sum()), seconds, speed)

    def reconfigured(self, config: TranslateConfig) -> "Translate":
        task = copy(self)
        task.model_config, task.decoding, task._config = config.model, config.decoding, config
        return task

    @classmethod
    def plan_start(cls, origin: ModelFolder) -> Plan:
        """Its vocabulary, languages and sizes, and a rate that does not wash away what it knows."""
        about = cls.from_folder(origin)
        names = [name for name in ("src.model", "tgt.model") if name in origin.files]
        model = about.model_config.model_dump(mode="json", exclude={"preset"})
        settings = {
            "data.tokenizer_file": [str((origin.path / name).resolve()) for name in names],
            "data.joint_vocab": len(names) == 1,
            **({} if about.directions else dict(zip(LANGUAGES, about.languages, strict=True))),
            "training.learning_rate": FINE_TUNING_RATE,
            "training.warmup": 50,
            **{f"model.{key}": value for key, value in model.items()},
        }
        return Plan(settings, [f"vocabulary and sizes are those of {origin.path}"])

    def adopt(self, model: nn.Module, origin: ModelFolder, say: Say) -> None:
        about = type(self).from_folder(origin)
        if about.directions and not self.directions:
            raise ConfigError(
                f"{origin.path}: translates {', '.join(map(str, about.directions))}, told apart by tags, and this "
                f"training has none; give --both-directions, or --direction for each training file"
            )
        src, tgt = (about.src_tokenizer, self.src_tokenizer), (about.tgt_tokenizer, self.tgt_tokenizer)
        tables = {"src_embedding.table.weight": src, "tgt_embedding.table.weight": tgt, "output.weight": tgt}
        say(carry_over(model, origin, tables))

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> "Translate":
        about, files = folder.config, folder.files
        try:
            src = load_tokenizer(files["src.model"], str(folder.path / "src.model"))
            tgt = load_tokenizer(files["tgt.model"], str(folder.path / "tgt.model")) if "tgt.model" in files else src
            directions = [Direction.parse(text) for text in about.get("directions", [])]
            for direction in directions:
                src.id_of(direction.tag)
            return cls(
                ModelConfig.model_validate(about["model"]),
                src,
                tgt,
                (str(about["languages"][0]), str(about["languages"][1])),
                int(about["longest_source"]),
                DecodingConfig.model_validate(about["decoding"]),
                length_ratio=LengthRatio.read(about.get("length_ratio")),
                directions=directions,
            )
        except (ConfigError, DataError) as error:
            raise ModelFolderError(
                f"{folder.path / 'config.json'}: directions: {error}; the folder is damaged"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ModelFolderError(
                f"{folder.path / 'config.json'}: {place}: {first['msg']}; the folder is damaged"
            ) from None
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelFolderError(
                f"{folder.path / 'config.json'}: {error!r} is missing or wrong; the folder is damaged"
            ) from None

    def describe(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        about = {
            "languages": list(self.languages),
            "directions": list(map(str, self.directions)),
            "model": self.model_config.model_dump(mode="json"),
            "vocab_sizes": [self.src_tokenizer.vocab_size, self.tgt_tokenizer.vocab_size],
            "longest_source": self.longest_source,
            "length_ratio": list(self.length_ratio),
            "decoding": self.decoding.model_dump(mode="json"),
        }
        if self._prepared is not None:
            kept = ("train_pairs", "valid_pairs", "train_tokens", "dropped", "held_out")
            about["data"] = {
                "fingerprint": self._prepared.key,
                **{key: self._prepared.about[key] for key in kept},
                "domains": self._prepared.domains,
            }
        files = {"src.model": self.src_tokenizer.to_bytes()}
        if self.tgt_tokenizer is not self.src_tokenizer:
            files["tgt.model"] = self.tgt_tokenizer.to_bytes()
        return about, files

    def card(self, config: dict[str, Any]) -> str:
        return translator_card(config)

    @property
    def prepared(self) -> Prepared:
        assert self._prepared is not None, "a task loaded from a model folder has no data"
        return self._prepared

    @property
    def config(self) -> TranslateConfig:
        assert self._config is not None, "a task loaded from a model folder has no config"
        return self._config

    @classmethod
    def data_key(cls, config: TranslateConfig) -> str:
        return data_key(config.data)

    @property
    def model_width(self) -> int:
        return self.model_config.d_model

    def build_model(self) -> EncoderDecoder:
        return EncoderDecoder(self.model_config, self.src_tokenizer.vocab_size, self.tgt_tokenizer.vocab_size)

    def stacks(self, model: nn.Module) -> list[nn.Module]:
        assert isinstance(model, EncoderDecoder)
        return [model.encoder, model.decoder]

    def training_batches(self) -> TrainingBatches:
        data, prepared = self.config.data, self.prepared
        resample = None
        if data.subword_dropout:
            longest = min(data.max_length, data.batch_tokens)
            resample = SubwordRegularization(
                prepared.train, self.src_tokenizer, self.tgt_tokenizer, data.subword_dropout, longest
            )
        seed = self.config.training.seed
        return TrainingBatches(prepared.train, data.batch_tokens, seed, prepared.weights, resample)

    def where(self, batch: PairBatch) -> list[str]:
        return [self.prepared.train.where(int(row)) for row in batch.rows]

    def loss(self, model: nn.Module, batch: PairBatch, random: torch.Generator | None = None) -> Loss:
        training = self.config.training
        return self._loss(model, batch, training.label_smoothing, training.consistency, random)

    def _loss(
        self,
        model: nn.Module,
        batch: PairBatch,
        smoothing: float = 0.0,
        consistency: float = 0.0,
        random: torch.Generator | None = None,
    ) -> Loss:
        assert isinstance(model, EncoderDecoder)
        tokens = batch.src, batch.tgt, batch.targets, batch.src_mask, batch.real
        total = model.loss(*tokens, smoothing, consistency, random)
        return Loss(total, batch.num_targets)

    def evaluate(self, model: nn.Module, split: str = "valid") -> Evaluation:
        """Loss without smoothing, BLEU and chrF++ of greedy translations."""
        assert isinstance(model, EncoderDecoder)
        corpus = getattr(self.prepared, split)
        device = next(model.parameters()).device
        model.eval()
        total, count = 0.0, 0
        rows = sample_rows(len(corpus), self.config.training.validation_pairs)
        hypotheses: dict[int, str] = {}
        usual = float(corpus.tgt.lengths.sum() / corpus.src.lengths.sum())
        # An untrained model never ends by itself.
        plain = {"beam": 1, "sample": False, "diversity": 0.0, "mbr": "none", "max_length_ratio": RUNAWAY * usual}
        greedy = self.decoding.model_copy(update=plain)
        with torch.inference_mode():
            for batch in evaluation_batches(corpus, 2 * self.config.data.batch_tokens, rows):
                moved = batch.to(device)
                loss = self._loss(model, moved, 0.0)
                total, count = total + float(loss.sum), count + loss.count
                found = decode(model, Sources(moved.src, moved.src_mask), greedy, BOS, EOS)
                texts = self.tgt_tokenizer.decode([best[0].tokens for best in found])
                hypotheses |= zip(batch.rows.tolist(), texts, strict=True)
        model.train()
        sources = self.src_tokenizer.decode([corpus.src[row].tolist() for row in rows[:SAMPLES]])
        references = self.tgt_tokenizer.decode([corpus.tgt[row].tolist() for row in rows])
        answers = [hypotheses[row] for row in rows.tolist()]
        of_group = self.prepared.valid_directions or [Direction(*self.languages)] * len(corpus.groups)
        directions = [of_group[number] for number in corpus.group[rows]]
        scores, signatures = score_by_direction(answers, references, directions)
        return Evaluation(
            scores={"valid_loss": total / count, **scores},
            signatures=signatures,
            samples=[Sample(*texts) for texts in zip(sources, references, answers, strict=False)],
        )

    def towards(self, src_lang: str = "", tgt_lang: str = "") -> "Translate":
        """The same model, asked to translate between these languages; one that is not given is any that fits.

        Raises:
            UserError: if it does not, or if several target languages are left.
        """
        task = copy(self)
        task.languages = choose_direction(self.directions or [Direction(*self.languages)], src_lang, tgt_lang)
        task.is_directed = True
        return task

    def _tag(self) -> list[int]:
        """The token to put before each source; none in a model of one direction."""
        if not self.is_directed:
            self.towards()
        return [self.src_tokenizer.id_of(Direction(*self.languages).tag)] if self.directions else []

    def predict(  # type: ignore[override]
        self,
        model: nn.Module,
        inputs: Sequence[str],
        decoding: DecodingConfig | None = None,
        n_best: int = 1,
        batch_tokens: int = 4096,
        prefixes: Sequence[str] | None = None,
    ) -> Iterator[Answer]:
        """Translates texts that the model can read whole; :mod:`seqloom.pipeline` cuts longer ones.

        ``batch_tokens`` bounds what is translated together and changes nothing but the speed. Each
        translation starts with its text of ``prefixes``. An empty text has an empty translation.
        """
        assert isinstance(model, EncoderDecoder | Ensemble)
        decoding = decoding or self.decoding
        device = next(model.parameters()).device
        tag = self._tag()
        ids = self.src_tokenizer.encode(inputs)
        answers: dict[int, Answer] = {}
        limit = 65_535 - len(tag)
        whole = [len(sequence) <= limit for sequence in ids]
        ids, _ = truncate(ids, limit)
        lengths = np.array([len(tag) + len(sequence) + 1 for sequence in ids], dtype=np.int64)
        order = np.flatnonzero(lengths > len(tag) + 1)
        forced = self._prefixes.forced(prefixes, decoding.max_length) if prefixes else None
        keys = np.array([_key(sequence) for sequence in ids], np.uint64)
        model.eval()
        with torch.inference_mode():
            budget = max(batch_tokens // decoding.beam, int(lengths.max(initial=1)))
            for rows in plan_batches(lengths, lengths, budget, order):
                src = torch.from_numpy(pad([[*tag, *ids[row], EOS] for row in rows])).to(device)
                sources = Sources(src, src != PAD, keys[rows], [forced[row] for row in rows] if forced else None)
                candidates = n_best if decoding.mbr == "none" else decoding.beam
                found = decode(model, sources, decoding, BOS, EOS, candidates)
                texts = self.tgt_tokenizer.decode([h.tokens for best in found for h in best])
                for row, best in zip(rows.tolist(), found, strict=True):
                    answer = self._answer(texts[: len(best)], best, not whole[row], decoding.mbr, n_best)
                    answers[row] = answer._replace(source_length=len(ids[row]))
                    texts = texts[len(best) :]
        for row in range(len(inputs)):
            yield answers.get(row, Answer([""], [0.0], False, [True], [0], 0))

    def score(
        self, model: nn.Module, sources: Sequence[str], targets: Sequence[str], batch_tokens: int = 4096
    ) -> Iterator[TokenScores]:
        """How probable each of ``targets`` is as the translation of its source, whatever their lengths.

        An empty side is its end token alone.
        """
        assert isinstance(model, EncoderDecoder | Ensemble)
        tag = self._tag()
        src = [[*tag, *ids, EOS] for ids in self.src_tokenizer.encode(sources)]
        tgt = [[*ids, EOS] for ids in self.tgt_tokenizer.encode(targets)]
        return score_tokens(model, src, tgt, batch_tokens)

    @cached_property
    def _prefixes(self) -> Prefixes:
        return Prefixes(self.tgt_tokenizer)

    def _answer(self, texts: list[str], found: list[Hypothesis], truncated: bool, mbr: str, n_best: int) -> Answer:
        """The first ``n_best`` of what was found, or those of the greatest expected utility."""
        order = list(range(len(found)))
        if mbr != "none":
            similar = SIMILARITIES[mbr]
            utility = expected_utility(texts, [h.draws for h in found], lambda each: similar(each, self.languages[1]))
            order.sort(key=lambda i: -utility[i])
        chosen = [(texts[i], found[i]) for i in order[:n_best]]
        return Answer(
            [text for text, _ in chosen],
            [h.score for _, h in chosen],
            truncated,
            [h.finished for _, h in chosen],
            [len(h.tokens) for _, h in chosen],
            source_length=0,
        )


def _key(ids: Sequence[int]) -> int:
    """A number for a source, the same in any company, from which its random draws follow."""
    return int.from_bytes(blake2b(np.array(ids, np.int64).tobytes(), digest_size=8).digest(), "little")
