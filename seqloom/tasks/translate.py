"""Translation: sentence pairs -> a Transformer from one language to another."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from seqloom.config import DataConfig, DecodingConfig, ModelConfig, Section, TrainingConfig
from seqloom.data.batch import PairBatch
from seqloom.data.batching import TrainingBatches, evaluation_batches, plan_batches
from seqloom.data.prepare import Prepared, data_key, prepare_pairs
from seqloom.data.tokenizers import BOS, EOS, PAD, SentencePiece, pad, truncate
from seqloom.decoding.search import Hypothesis, Search
from seqloom.errors import ConfigError, ModelFolderError
from seqloom.metrics.translation import score_translations
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.tasks.card import translator_card
from seqloom.tasks.folder import ModelFolder
from seqloom.tasks.task import Evaluation, Loss, Sample, Say, Task

SAMPLES = 5
"""Validation sentences shown with their translations, the same ones every time."""


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


class Translate(Task):
    """From text in one language to text in another."""

    name: ClassVar[str] = "translate"
    Config: ClassVar[type[Section]] = TranslateConfig
    best_by: ClassVar[str] = "bleu"

    def __init__(
        self,
        model_config: ModelConfig,
        src_tokenizer: SentencePiece,
        tgt_tokenizer: SentencePiece,
        languages: tuple[str, str],
        longest_source: int,
        decoding: DecodingConfig,
        prepared: Prepared | None = None,
        config: TranslateConfig | None = None,
    ) -> None:
        self.model_config = model_config
        self.src_tokenizer = src_tokenizer
        self.tgt_tokenizer = tgt_tokenizer
        self.languages = languages
        self.longest_source = longest_source
        self.decoding = decoding
        self._prepared = prepared
        self._config = config

    @classmethod
    def prepare(cls, config: TranslateConfig, folder: Path, say: Say) -> "Translate":
        if not config.data.src_lang or not config.data.tgt_lang:
            raise ConfigError("the languages are not given; expected for example --src-lang zh --tgt-lang en")
        if config.model.tied_embeddings == "all" and not config.data.joint_vocab:
            raise ConfigError(
                "model.tied_embeddings = 'all' needs one vocabulary; set it to 'output', or data.joint_vocab to true"
            )
        prepared = prepare_pairs(config.data, folder, say)
        return cls(
            config.model,
            prepared.src_tokenizer,
            prepared.tgt_tokenizer,
            (config.data.src_lang, config.data.tgt_lang),
            prepared.about["longest_source"],
            config.decoding,
            prepared,
            config,
        )

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> "Translate":
        about, files = folder.config, folder.files
        try:
            src = SentencePiece(files["src.model"], str(folder.path / "src.model"))
            tgt = SentencePiece(files["tgt.model"], str(folder.path / "tgt.model")) if "tgt.model" in files else src
            return cls(
                ModelConfig.model_validate(about["model"]),
                src,
                tgt,
                (str(about["languages"][0]), str(about["languages"][1])),
                int(about["longest_source"]),
                DecodingConfig.model_validate(about["decoding"]),
            )
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
            "model": self.model_config.model_dump(mode="json"),
            "vocab_sizes": [self.src_tokenizer.vocab_size, self.tgt_tokenizer.vocab_size],
            "longest_source": self.longest_source,
            "decoding": self.decoding.model_dump(mode="json"),
        }
        if self._prepared is not None:
            kept = ("train_pairs", "valid_pairs", "train_tokens", "dropped", "held_out")
            about["data"] = {"fingerprint": self._prepared.key, **{key: self._prepared.about[key] for key in kept}}
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

    def training_batches(self) -> TrainingBatches:
        return TrainingBatches(self.prepared.train, self.config.data.batch_tokens, self.config.training.seed)

    def where(self, batch: PairBatch) -> list[str]:
        return [self.prepared.train.where(int(row)) for row in batch.rows]

    def loss(self, model: nn.Module, batch: PairBatch) -> Loss:
        return self._loss(model, batch, self.config.training.label_smoothing)

    def _loss(self, model: nn.Module, batch: PairBatch, smoothing: float) -> Loss:
        assert isinstance(model, EncoderDecoder)
        total = model.loss(batch.src, batch.tgt, batch.targets, batch.src_mask, batch.tgt_mask, smoothing)
        return Loss(total, batch.num_targets)

    def evaluate(self, model: nn.Module, split: str = "valid") -> Evaluation:
        """Loss without smoothing, BLEU and chrF++ of greedy translations."""
        assert isinstance(model, EncoderDecoder)
        corpus = getattr(self.prepared, split)
        device = next(model.parameters()).device
        model.eval()
        total, count = 0.0, 0
        hypotheses = [""] * len(corpus)
        greedy = self.decoding.model_copy(update={"beam": 1})
        with torch.inference_mode():
            for batch in evaluation_batches(corpus, 2 * self.config.data.batch_tokens):
                moved = batch.to(device)
                loss = self._loss(model, moved, 0.0)
                total, count = total + float(loss.sum), count + loss.count
                found = self._search(model, moved.src, moved.src_mask, greedy, n_best=1)
                texts = self.tgt_tokenizer.decode([best[0].tokens for best in found])
                for row, text in zip(batch.rows, texts, strict=True):
                    hypotheses[row] = text
        model.train()
        sources = self.src_tokenizer.decode([corpus.src[i].tolist() for i in range(min(SAMPLES, len(corpus)))])
        references = self.tgt_tokenizer.decode([corpus.tgt[i].tolist() for i in range(len(corpus))])
        scores = score_translations(hypotheses, references, self.languages[1], ("bleu", "chrf"))
        return Evaluation(
            scores={"valid_loss": total / count, **{name: score.value for name, score in scores.items()}},
            signatures={name: score.signature for name, score in scores.items()},
            samples=[Sample(*texts) for texts in zip(sources, references, hypotheses, strict=False)],
        )

    def predict(  # type: ignore[override]
        self,
        model: nn.Module,
        inputs: Sequence[str],
        decoding: DecodingConfig | None = None,
        n_best: int = 1,
        batch_tokens: int = 4096,
    ) -> Iterator[Answer]:
        """Translates texts that the model can read whole; :mod:`seqloom.pipeline` cuts longer ones.

        ``batch_tokens`` bounds what is translated together and changes nothing but the speed. An
        empty text has an empty translation.
        """
        assert isinstance(model, EncoderDecoder)
        decoding = decoding or self.decoding
        device = next(model.parameters()).device
        ids = self.src_tokenizer.encode(inputs)
        answers: dict[int, Answer] = {}
        limit = 65_535
        whole = [len(sequence) <= limit for sequence in ids]
        ids, _ = truncate(ids, limit)
        lengths = np.array([len(sequence) + 1 for sequence in ids], dtype=np.int64)
        order = np.flatnonzero(lengths > 1)
        model.eval()
        with torch.inference_mode():
            budget = max(batch_tokens // decoding.beam, int(lengths.max(initial=1)))
            for rows in plan_batches(lengths, lengths, budget, order):
                src = torch.from_numpy(pad([[*ids[row], EOS] for row in rows])).to(device)
                found = self._search(model, src, src != PAD, decoding, n_best)
                texts = self.tgt_tokenizer.decode([h.tokens for best in found for h in best])
                for row, best in zip(rows.tolist(), found, strict=True):
                    answers[row] = Answer(texts[: len(best)], [h.score for h in best], not whole[row])
                    texts = texts[len(best) :]
        for row in range(len(inputs)):
            yield answers.get(row, Answer([""], [0.0], False))

    def _search(
        self, model: EncoderDecoder, src: Tensor, mask: Tensor, decoding: DecodingConfig, n_best: int
    ) -> list[list[Hypothesis]]:
        search = Search(BOS, EOS, decoding.beam, decoding.length_penalty, decoding.max_length, n_best)
        return search.run(model.step, model.start(src, mask), src.size(0), src.device)
