"""Translation: sentence pairs -> a Transformer from one language to another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from seqloom.config import (
    AnyModelConfig,
    DataConfig,
    DecodingConfig,
    ModelConfig,
    NetworkConfig,
    Section,
    TrainingConfig,
)
from seqloom.data.batch import PairBatch
from seqloom.data.batching import TrainingBatches, evaluation_batches, sample_rows
from seqloom.data.corpus_files import has_tags
from seqloom.data.languages import Direction
from seqloom.data.lengths import LengthRatio
from seqloom.data.prepare import Prepared, data_key, prepare_pairs, training_pairs
from seqloom.data.subword_regularization import SubwordRegularization
from seqloom.data.tokenizers import BOS, EOS
from seqloom.decoding.decode import Sources, decode
from seqloom.errors import ConfigError
from seqloom.machine import memory
from seqloom.models.kinds import build
from seqloom.models.sequence_to_sequence import SequenceToSequence
from seqloom.tasks.answers import Answer, translate
from seqloom.tasks.card import translate_command, translator_card
from seqloom.tasks.carry_over import carry_over
from seqloom.tasks.directions import score_by_direction
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.plan import SIZES, Plan, plan_size, plan_vocabulary
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.task import SAMPLES, Evaluation, Loss, Sample, Say, Task
from seqloom.tasks.torch_engine import TorchEngine

LANGUAGES = "data.src_lang", "data.tgt_lang"

FINE_TUNING_RATE = 3e-4
"""Learning rate of a training that starts from a trained model."""

RUNAWAY = 3
"""In validation a translation is cut when it is so many times as long as the data lets expect."""


class TranslateConfig(Section):
    """All settings of a translator."""

    data: DataConfig = DataConfig()
    model: AnyModelConfig = ModelConfig.model_validate({})
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()


class Translate(Task[TranslatorSetup, Prepared, TranslateConfig]):
    """From text in one language to text in another."""

    name: ClassVar[str] = "translate"
    Config: ClassVar[type[Section]] = TranslateConfig
    best_by: ClassVar[str] = "bleu"

    @classmethod
    def prepare(cls, config: TranslateConfig, folder: Path, say: Say) -> "Translate":
        tied, data = config.model.tied_embeddings, config.data
        if tied in ("all", "inputs") and not data.joint_vocab and not data.tokenizer_file:
            other = "output" if tied == "all" else "none"
            raise ConfigError(
                f"model.tied_embeddings = {tied!r} needs one vocabulary; "
                f"set it to {other!r}, or data.joint_vocab to true"
            )
        places = config.model.places
        if places is not None and data.max_length > places:
            raise ConfigError(
                f"data.max_length ({data.max_length:,}) is more than the places that the model can tell apart, "
                f"model.max_positions ({places:,}); lower the one or raise the other"
            )
        training = config.training
        by_layer = {"recompute": training.recompute, "shard": training.shard, "compile": training.compile == "on"}
        for key, wanted in by_layer.items():
            if wanted and not config.model.layered:
                raise ConfigError(
                    f"training.{key} works layer by layer, and the steps of a model with model.kind = "
                    f"{config.model.kind!r} go through all of its layers; leave it out"
                )
        _require_memory(config.model)
        prepared = prepare_pairs(data, folder, say)
        src, tgt = (each.pieces(range(each.vocab_size)) for each in (prepared.src_tokenizer, prepared.tgt_tokenizer))
        if tied in ("all", "inputs") and src != tgt:
            raise ConfigError(
                f"model.tied_embeddings = {tied!r} needs the same pieces on both sides, and those of "
                f"data.tokenizer_file differ ({len(src):,} and {len(tgt):,}); "
                f"set it to {'output' if tied == 'all' else 'none'!r}"
            )
        setup = TranslatorSetup(
            config.model,
            prepared.src_tokenizer,
            prepared.tgt_tokenizer,
            prepared.languages,
            prepared.about["longest_source"],
            config.decoding,
            LengthRatio.read(prepared.about.get("length_ratio")),
            tuple(dict.fromkeys(prepared.directions)),
        )
        return cls(setup, prepared, config)

    @classmethod
    def plan_data(cls, config: TranslateConfig) -> Plan:
        if config.training.init_from or config.data.tokenizer_file:
            return Plan()
        return plan_vocabulary(training_pairs(config.data), has_tags(config.data))

    def plan_model(self, seconds: float, speed: Callable[[Mapping[str, Any]], float]) -> Plan:
        if self.config.training.init_from:
            return Plan({"training.schedule": "wsd"}, ["the rate stays and falls to zero in the last part"])
        train = self.prepared.train
        tokens = len(train) + int(train.tgt.lengths.sum())
        longest = 1 + max(int(side.lengths.max(initial=0)) for side in (train.src, train.tgt))
        model = self.config.model
        given = {key: getattr(model, key) for key in model.model_fields_set}
        return plan_size(tokens, seconds, speed, SIZES[model.kind], given, longest)

    def reconfigured(self, config: TranslateConfig) -> "Translate":
        return type(self)(replace(self.setup, model=config.model, decoding=config.decoding), self._prepared, config)

    @classmethod
    def plan_start(cls, origin: ModelFolder, config: TranslateConfig) -> Plan:
        """Its vocabulary, languages and sizes, and a rate that does not wash away what it knows."""
        about = TranslatorSetup.from_folder(origin)
        names = [name for name in ("src.model", "tgt.model") if name in origin.files]
        model = about.model.model_dump(mode="json", exclude={"preset"})
        settings = {
            "data.tokenizer_file": [str((origin.path / name).resolve()) for name in names],
            "data.joint_vocab": len(names) == 1,
            **(
                {} if about.directions or config.data.directions else dict(zip(LANGUAGES, about.languages, strict=True))
            ),
            "training.learning_rate": FINE_TUNING_RATE,
            "training.warmup": 50,
            **{f"model.{key}": value for key, value in model.items()},
            **{f"decoding.{key}": value for key, value in about.decoding.model_dump(mode="json").items()},
        }
        return Plan(settings, [f"vocabulary and sizes are those of {origin.path}"])

    def after(self, origin: Mapping[str, Any]) -> "Translate":
        """Sentences as long as it has learnt before are no reason to cut them now."""
        longest = max(self.setup.longest_source, origin["longest_source"])
        ratio = self.setup.length_ratio.after(LengthRatio.read(origin.get("length_ratio")))
        return type(self)(replace(self.setup, longest_source=longest, length_ratio=ratio), self._prepared, self.config)

    def adopt(self, model: nn.Module, origin: ModelFolder, say: Say) -> None:
        about = TranslatorSetup.from_folder(origin)
        if about.directions and not self.setup.directions:
            raise ConfigError(
                f"{origin.path}: translates {', '.join(map(str, about.directions))}, told apart by tags, and this "
                f"training has none; give --both-directions, or --direction for each training file"
            )
        src = about.src_tokenizer, self.setup.src_tokenizer
        tgt = about.tgt_tokenizer, self.setup.tgt_tokenizer
        tables = {
            "src_embedding.table.weight": src,
            "tgt_embedding.table.weight": tgt,
            "output.weight": tgt,
            "output.bias": tgt,
        }
        say(carry_over(model, origin, tables))

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> "Translate":
        return cls(TranslatorSetup.from_folder(folder))

    def card(self, config: dict[str, Any]) -> str:
        return translator_card(config)

    @classmethod
    def usage(cls, config: dict[str, Any], run: str) -> str:
        return translate_command(config, run)

    @classmethod
    def data_key(cls, config: TranslateConfig) -> str:
        return data_key(config.data)

    def build_model(self) -> SequenceToSequence:
        return build(self.setup.model, *self.setup.vocab_sizes)

    def stacks(self, model: nn.Module) -> list[nn.Module]:
        assert isinstance(model, SequenceToSequence)
        return model.stacks

    def training_batches(self) -> TrainingBatches:
        data, prepared = self.config.data, self.prepared
        resample = None
        if data.subword_dropout:
            longest = min(data.max_length, data.batch_tokens)
            resample = SubwordRegularization(
                prepared.train, prepared.src_tokenizer, prepared.tgt_tokenizer, data.subword_dropout, longest
            )
        seed = self.config.training.seed
        return TrainingBatches(prepared.train, data.batch_tokens, seed, prepared.weights, resample)

    def loss(
        self, model: nn.Module, batch: PairBatch, random: torch.Generator | None = None, progress: float = 0.0
    ) -> Loss:
        training = self.config.training
        return self._loss(model, batch, training.label_smoothing, training.consistency, random, progress)

    def _loss(
        self,
        model: nn.Module,
        batch: PairBatch,
        smoothing: float = 0.0,
        consistency: float = 0.0,
        random: torch.Generator | None = None,
        progress: float = 0.0,
    ) -> Loss:
        assert isinstance(model, SequenceToSequence)
        tokens = batch.src, batch.tgt, batch.targets, batch.src_mask, batch.real
        total = model.loss(*tokens, smoothing, consistency, random, progress)
        return Loss(total, batch.num_targets)

    def evaluate(self, model: nn.Module, split: str = "valid") -> Evaluation:
        """Loss without smoothing, BLEU and chrF++ of greedy translations."""
        assert isinstance(model, SequenceToSequence)
        corpus = getattr(self.prepared, split)
        device = next(model.parameters()).device
        model.eval()
        total, count = 0.0, 0
        rows = sample_rows(len(corpus), self.config.training.validation_pairs)
        hypotheses: dict[int, str] = {}
        usual = float(corpus.tgt.lengths.sum() / corpus.src.lengths.sum())
        # An untrained model never ends by itself.
        plain = {"beam": 1, "sample": False, "diversity": 0.0, "mbr": "none", "max_length_ratio": RUNAWAY * usual}
        greedy = self.setup.decoding.model_copy(update=plain)
        with torch.inference_mode():
            for batch in evaluation_batches(corpus, 2 * self.config.data.batch_tokens, rows):
                moved = batch.to(device)
                loss = self._loss(model, moved, 0.0)
                total, count = total + float(loss.sum), count + loss.count
                found = decode(model, Sources(moved.src, moved.src_mask), greedy, BOS, EOS)
                texts = self.setup.tgt_tokenizer.decode([best[0].tokens for best in found])
                hypotheses |= zip(batch.rows.tolist(), texts, strict=True)
        model.train()
        sources = self.setup.src_tokenizer.decode([corpus.src[row].tolist() for row in rows[:SAMPLES]])
        references = self.setup.tgt_tokenizer.decode([corpus.tgt[row].tolist() for row in rows])
        answers = [hypotheses[row] for row in rows.tolist()]
        of_group = self.prepared.valid_directions or [Direction(*self.setup.languages)] * len(corpus.groups)
        directions = [of_group[number] for number in corpus.group[rows]]
        scores, signatures = score_by_direction(answers, references, directions)
        return Evaluation(
            scores={"valid_loss": total / count, **scores},
            signatures=signatures,
            samples=[Sample(*texts) for texts in zip(sources, references, answers, strict=False)],
            headline=f"BLEU {scores['bleu']:.1f}",
        )

    def predict(  # type: ignore[override]
        self, model: nn.Module, inputs: Sequence[str], decoding: DecodingConfig | None = None, n_best: int = 1
    ) -> Iterator[Answer]:
        """Translates texts that the model can read whole; :mod:`seqloom.pipeline` cuts longer ones."""
        assert isinstance(model, SequenceToSequence)
        yield from translate(self.setup, TorchEngine(model), self.setup.src_tokenizer.encode(inputs), decoding, n_best)


TRAINING_BYTES = 16
"""Of each weight: itself, its gradient, and two moments of it."""


def _require_memory(config: NetworkConfig) -> None:
    """ConfigError for sizes that this machine cannot hold, before anything is made for them."""
    needed = TRAINING_BYTES * config.least_weights
    if needed > memory():
        raise ConfigError(
            f"model: {config.sizes} take at least {needed >> 30:,} GiB to train, and this machine has "
            f"{memory() >> 30:,}; make them smaller"
        )
