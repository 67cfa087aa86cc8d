"""The settings of a classifier of texts."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from seqloom.config.data import BatchTokens, CharacterCoverage, MaxLength, ValidShare, VocabSize
from seqloom.config.section import Section, Texts
from seqloom.config.training import CheckpointEvery, LearningRate, Precision, TrainingConfig, ValidateEvery, Warmup

MOST_WORDS = 1_000
"""That a filter sees at once."""


class LabelledDataConfig(Section):
    """Which labelled texts, cut into which tokens and batches."""

    FILES: ClassVar[tuple[str, ...]] = ("data", "valid_data", "tokenizer_file")
    MAY_CHANGE: ClassVar[tuple[str, ...]] = FILES

    data: Texts = Field(
        (),
        description="files of labelled texts: TSV with the label first, or CSV, JSONL, Parquet with label and text; ${NAME} is read from the environment",
    )
    valid_data: Texts = Field((), description="the same to validate with; without them a share is held out")
    valid_share: ValidShare = Field(
        0.1,
        description="share of the texts that is held out when no validation files are given (at most 2,000)",
    )
    label_until: str = Field(
        "", description='of a label only what stands before this counts: with ":", ENTY of ENTY:animal'
    )
    lowercase: bool = Field(False, description="read all texts in small letters")
    tokenizer: Literal["words", "bpe", "unigram", "characters"] = Field(
        "words",
        description="how text is cut: words (Chinese by its dictionary), byte-pair encoding, a unigram language model, or characters",
    )
    tokenizer_file: Texts = Field(
        (), max_length=1, description="a vocabulary of yours instead: that of a model folder, or a SentencePiece model"
    )
    vocab_size: VocabSize = Field(20_000, description="at most this many pieces; a small corpus gets fewer")
    character_coverage: CharacterCoverage = 0.9998
    max_length: MaxLength = Field(2048, description="a text of so many tokens or more is not trained on, and shown")
    batch_tokens: BatchTokens = Field(1024, description="bounds texts x padded length of a batch")
    strict: bool = Field(False, description="refuse a corpus in which a text would be dropped")


class ClassifierConfig(Section):
    """The network that reads a text and names its class."""

    kind: Literal["bag", "convolutional", "recurrent", "transformer"] = Field(
        "recurrent",
        description="logistic regression on a bag of words; Kim's convolutions with the maximum over time; a recurrent or a Transformer encoder whose states are pooled",
    )
    d_model: int = Field(128, ge=2, le=65_536, description="width of the word vectors; a bag of words has none")
    dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share set to zero, while training, of word vectors and of what the text became",
    )
    word_dropout: float = Field(0.0, ge=0, lt=1, description="share of the words that training leaves out")
    ngrams: int = Field(
        2, ge=1, le=5, description="of a bag: sequences of so many words are in it too, from single words on"
    )
    buckets: int = Field(
        1 << 18, ge=1, le=1 << 26, description="of a bag: rows that all sequences of several words share by their hash"
    )
    bag_dropout: float = Field(
        0.3, ge=0, lt=1, description="of a bag: share of its words and sequences of words that training leaves out"
    )
    bag_start: Literal["zero", "naive_bayes"] = Field(
        "zero",
        description="of a bag: what training starts from, nothing or what counting finds: naive Bayes",
    )
    widths: tuple[int, ...] = Field(
        (3, 4, 5), min_length=1, max_length=100, description="of convolutional: how many words its filters see at once"
    )
    filters: int = Field(100, ge=1, le=65_536, description="of convolutional: how many of each width")
    cell: Literal["lstm", "gru", "rnn"] = Field("lstm", description="of recurrent: what remembers")
    hidden_size: int = Field(128, ge=1, le=65_536, description="of recurrent: units of a layer and direction")
    bidirectional: bool = Field(True, description="of recurrent: whether texts are read backwards as well")
    num_layers: int = Field(1, ge=1, le=1000, description="depth of recurrent and transformer")
    num_heads: int = Field(4, ge=1, description="of transformer: attention heads; d_model must be a multiple of it")
    d_ff: int = Field(512, ge=1, le=262_144, description="of transformer: width inside the feed-forward layers")
    wide: Literal["none", "together", "apart"] = Field(
        "none",
        description="put a bag of words beside the network: together, the sum of their scores learns; apart, each learns by itself, and their mean answers",
    )
    pooling: Literal["attention", "mean", "max"] = Field(
        "attention",
        description="how the states of recurrent and transformer become one: by learnt weights, their mean, or the largest of each number",
    )
    normalization: Literal["none", "batch", "layer", "instance", "group", "rms"] = Field(
        "none", description="of what convolutional, recurrent and transformer make of each word, before it is pooled"
    )
    linear: Literal["plain", "weight_norm"] = Field(
        "plain",
        description="the layer that names the class as it is, or with length and direction of each class's weights learnt apart",
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "ClassifierConfig":
        if self.kind == "transformer" and (self.d_model % self.num_heads or self.d_model % 2):
            raise ValueError(f"d_model ({self.d_model}) must be even and a multiple of num_heads ({self.num_heads})")
        if min(self.widths) < 1 or max(self.widths) > MOST_WORDS:
            raise ValueError(f"widths {self.widths} must be numbers of words, from 1 to {MOST_WORDS:,}")
        return self


class ClassifierTraining(TrainingConfig):
    """How the weights are found."""

    learning_rate: LearningRate = 2e-3
    warmup: Warmup = 50
    validate_every: ValidateEvery = 100
    checkpoint_every: CheckpointEvery = 100
    precision: Precision = "float32"
