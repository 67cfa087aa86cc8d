"""The settings of each section; a field's description becomes the comment of a recipe, its only documentation."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from seqloom.config.section import Duration, Section, Texts


class DataConfig(Section):
    """Which files, cut into which tokens and batches."""

    FILES: ClassVar[tuple[str, ...]] = ("src", "tgt", "data", "valid_src", "valid_tgt", "valid_data", "tokenizer_file")
    MAY_CHANGE: ClassVar[tuple[str, ...]] = (*FILES, "check")

    src: Texts = Field((), description="source files, one sentence a line; ${NAME} is read from the environment")
    tgt: Texts = Field((), description="target files, line by line the translation of src")
    data: Texts = Field((), description="files that hold both sides: TSV, CSV, JSONL, Parquet, TMX, PO, XLIFF")
    valid_src: Texts = Field((), description="validation source; without validation files a share is held out")
    valid_tgt: Texts = Field((), description="validation target")
    valid_data: Texts = Field((), description="validation files that hold both sides")
    src_lang: str = Field("", description='source language as a short code, such as "zh"')
    tgt_lang: str = Field("", description='target language, such as "en"; it chooses how scores are computed')
    both_directions: bool = Field(
        False, description="one model for both ways: every pair is also learnt the other way round"
    )
    directions: Texts = Field(
        (),
        description='for a model of several languages: "en-de" or the like for each training file (pairs of src and tgt first, then data)',
    )
    valid_directions: Texts = Field((), description="the same for each validation file")
    weights: tuple[float, ...] = Field(
        (),
        description="how often a pass over the data sees each training file (src and tgt first, then data): 2 is twice, 0.1 a tenth, another one each time",
    )
    domains: Texts = Field((), description="a name for each training file, for the reports")
    inline_tags: Literal["strip", "keep"] = Field(
        "strip", description="what becomes of the markup inside of TMX and XLIFF sentences, on both sides alike"
    )
    valid_share: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="share of the pairs that is held out when no validation files are given (at most 2,000 pairs)",
    )
    tokenizer: Literal["bpe", "unigram", "characters", "words"] = Field(
        "bpe",
        description="how text is cut: byte-pair encoding, a unigram language model, characters, or words (Chinese by its dictionary)",
    )
    tokenizer_file: Texts = Field(
        (), description="your own SentencePiece model instead; two files are one for each side"
    )
    terms: Texts = Field(
        (), description="words and phrases that each become one token behind the learnt ones, wherever they stand"
    )
    subword_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="chance that a merge of bpe is left out, so that each pass cuts words anew; for unigram, that a cutting is sampled",
    )
    vocab_size: int = Field(
        8000, ge=300, le=1_000_000, description="at most this many pieces a vocabulary; a small corpus gets fewer"
    )
    joint_vocab: bool = Field(True, description="one vocabulary for both sides, or one each")
    character_coverage: float = Field(
        0.9998,
        gt=0.5,
        le=1,
        description="share of the text whose characters get pieces of their own; rarer ones are spelt in bytes",
    )
    max_length: int = Field(
        256,
        ge=4,
        le=65_535,
        description="a pair with a side of more tokens than this, its end token counted, is dropped and shown",
    )
    batch_tokens: int = Field(3072, ge=8, description="bounds rows x the longer of padded source and target")
    strict: bool = Field(False, description="refuse a corpus in which a pair would be dropped")
    check: bool = Field(
        True,
        description="look the corpus over first and refuse it if its sides are out of step, or most of it is damaged",
    )

    @classmethod
    def spelt_out(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """``tokenizer_file`` says by the number of its files whether there is one vocabulary."""
        files = given.get("tokenizer_file")
        one = isinstance(files, str) or (isinstance(files, Sequence) and len(files) == 1)
        return ({"joint_vocab": one} if files else {}) | dict(given)

    @model_validator(mode="after")
    def _check_tokenizer(self) -> "DataConfig":
        files, expected = len(self.tokenizer_file), 1 if self.joint_vocab else 2
        if files and files != expected:
            joint = "true" if self.joint_vocab else "false"
            raise ValueError(f"tokenizer_file: {files} given, expected {expected} with joint_vocab = {joint}")
        if self.subword_dropout and not files and self.tokenizer in ("characters", "words"):
            raise ValueError(
                f'subword_dropout cuts words anew in each pass, which tokenizer = "{self.tokenizer}" cannot; set it to 0'
            )
        return self


Sizes = Mapping[str, Mapping[str, Any]]


class NetworkConfig(Section):
    """What networks of all kinds have. What is not given comes from ``preset``."""

    PRESETS: ClassVar[Sizes] = {}
    SHORTHANDS: ClassVar[tuple[str, ...]] = ("num_layers",)

    kind: str
    preset: str
    d_model: int = Field(..., ge=2, le=65_536, description="width of the model")
    num_encoder_layers: int = Field(
        ..., ge=1, le=1000, description="encoder depth; num_layers sets both depths at once"
    )
    num_decoder_layers: int = Field(..., ge=1, le=1000, description="decoder depth")
    dropout: float = Field(
        ...,
        ge=0,
        lt=1,
        description="share set to zero, while training, of what each layer passes on and of the embeddings",
    )
    embedding_dropout: float | None = Field(
        None, ge=0, lt=1, description="the same for the embeddings alone; dropout unless given"
    )
    tied_embeddings: Literal["all", "output", "inputs", "none"] = Field(
        "all",
        description="what shares weights: source, target embedding and output projection; target embedding and output; both embeddings; nothing. all and inputs need a joint vocabulary",
    )
    output_bias: bool = Field(False, description="whether a learnt number is added to the score of each token")

    @classmethod
    def spelt_out(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """``preset`` gives what is not given beside it, ``num_layers`` both depths."""
        preset = cls.PRESETS.get(str(given.get("preset")), {})
        values: dict[str, Any] = {}
        for source in (preset, given):
            values |= {key: value for key, value in source.items() if key != "num_layers"}
            if "num_layers" in source:
                for key in ("num_encoder_layers", "num_decoder_layers"):
                    values[key] = source.get(key, source["num_layers"])
        return values

    def implied(self) -> set[str]:
        """What is as in the preset: to state it would hide a change of the preset."""
        return {
            key for key, value in self.spelt_out({"preset": self.preset}).items() if value == getattr(self, key)
        } - {"preset"}

    @property
    def places(self) -> int | None:
        """How many places of a sequence the network can tell apart; None where there is no end to them."""
        return None

    @property
    def layered(self) -> bool:
        """Whether it is made of layers that work one after another, each called once and as a whole."""
        return False

    @property
    def sizes(self) -> str:
        """For people."""
        return f"{self.num_encoder_layers} + {self.num_decoder_layers} layers, d_model {self.d_model:,}"

    @property
    def least_weights(self) -> int:
        """Fewer weights no model of these sizes has, whatever its vocabulary: a bound, without building it."""
        raise NotImplementedError

    def beyond(self, known: Mapping[str, Collection[Any]]) -> list[str]:
        """The settings, as ``model.key = value``, whose values are not among those ``known``.

        A ``kind`` that is not is all that there is to say.
        """
        keys = ["kind"] if self.kind not in known["kind"] else known
        return [f"model.{key} = {getattr(self, key)!r}" for key in keys if getattr(self, key) not in known[key]]

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        default = cls.model_fields["preset"].default
        return cls.spelt_out({"preset": default}) | cls.spelt_out(given)


class ModelConfig(NetworkConfig):
    """The sizes and parts of the network. What is not given comes from ``preset``."""

    PRESETS: ClassVar[Sizes] = {
        "tiny": {"d_model": 128, "d_ff": 512, "num_heads": 4, "num_layers": 3, "dropout": 0.1, "norm": "pre"},
        "small": {"d_model": 256, "d_ff": 1024, "num_heads": 8, "num_layers": 3, "dropout": 0.2, "norm": "pre"},
        # The two models of "Attention Is All You Need", table 3.
        "base": {"d_model": 512, "d_ff": 2048, "num_heads": 8, "num_layers": 6, "dropout": 0.1, "norm": "post"},
        "big": {"d_model": 1024, "d_ff": 4096, "num_heads": 16, "num_layers": 6, "dropout": 0.3, "norm": "post"},
    }

    kind: Literal["transformer"] = Field(
        "transformer", description="the architecture: transformer, or recurrent with settings of its own"
    )
    preset: Literal["tiny", "small", "base", "big"] = Field(
        "small", description="where the sizes below come from; base and big are those of Vaswani et al. 2017"
    )
    d_ff: int = Field(..., ge=1, le=262_144, description="width inside the feed-forward layers")
    num_heads: int = Field(..., ge=1, description="attention heads; d_model must be a multiple of it")
    num_kv_heads: int | None = Field(
        None,
        ge=1,
        description="heads of keys and values, each shared by several queries (grouped-query attention); num_heads unless given",
    )
    attention_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the attention weights set to zero while training"
    )
    feedforward_dropout: float = Field(0.0, ge=0, lt=1, description="the same inside of the feed-forward layers")
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "t5", "shaw", "index", "random", "none"] = Field(
        "sinusoidal", description="how a token's place is told to the model"
    )
    max_positions: int = Field(
        1024, ge=1, le=1_000_000, description="places that learned and random positions have; there is nothing beyond"
    )
    score: Literal["scaled_dot", "dot", "cosine"] = Field(
        "scaled_dot",
        description="what the softmax of attention is of: query and key multiplied and divided by sqrt(width), multiplied alone, or their cosine times a learnt temperature",
    )
    norm: Literal["pre", "post"] = Field(
        ..., description="normalisation before each sublayer, or after each residual sum as in the paper"
    )
    normalization: Literal["layer", "rms"] = Field(
        "layer", description="by mean and variance, or by the root mean square alone"
    )
    linear: Literal["plain", "weight_norm"] = Field(
        "plain",
        description="linear layers as they are, or with length and direction of each weight vector learnt apart",
    )
    activation: Literal["relu", "gelu", "silu", "swiglu", "geglu"] = Field(
        "relu",
        description="the non-linearity of the feed-forward layers; the last two are gated, with d_ff counted after the gate",
    )

    @property
    def layered(self) -> bool:
        return True

    @property
    def places(self) -> int | None:
        return self.max_positions if self.positions in ("learned", "random") else None

    @property
    def sizes(self) -> str:
        return f"{super().sizes}, d_ff {self.d_ff:,}, {self.num_heads:,} heads"

    @property
    def least_weights(self) -> int:
        attention, feedforward = 2 * self.d_model**2, 2 * self.d_model * self.d_ff
        layers = self.num_encoder_layers * (attention + feedforward)
        layers += self.num_decoder_layers * (2 * attention + feedforward)
        return layers + (self.max_positions * self.d_model if self.positions == "learned" else 0)

    @model_validator(mode="after")
    def _check_width(self) -> "ModelConfig":
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model ({self.d_model}) must be a multiple of num_heads ({self.num_heads})")
        if self.num_heads % (self.num_kv_heads or self.num_heads):
            raise ValueError(f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads ({self.num_kv_heads})")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(f"d_model ({self.d_model}) must be even: sinusoidal positions pair sine with cosine")
        if self.positions == "rotary" and self.d_model // self.num_heads % 2:
            raise ValueError(
                f"d_model / num_heads ({self.d_model // self.num_heads}) must be even: rotary positions turn pairs"
            )
        return self


class RecurrentConfig(NetworkConfig):
    """The sizes and parts of a recurrent network. What is not given comes from ``preset``."""

    PRESETS: ClassVar[Sizes] = {
        "tiny": {"d_model": 128, "num_layers": 1, "dropout": 0.1},
        "small": {"d_model": 256, "num_layers": 1, "dropout": 0.2},
        "base": {"d_model": 512, "num_layers": 1, "dropout": 0.2},
        # Luong et al. 2015, section 4.1, and the depth of Sutskever et al. 2014.
        "big": {"d_model": 1000, "num_layers": 4, "dropout": 0.2},
    }

    kind: Literal["recurrent"] = Field("recurrent", description="the architecture")
    preset: Literal["tiny", "small", "base", "big"] = Field("small", description="where the sizes below come from")
    cell: Literal["rnn", "lstm", "gru"] = Field("lstm", description="the layers of encoder and decoder")
    bidirectional: bool = Field(
        True, description="whether half of each encoder layer's units read the source backwards"
    )
    decoder: Literal["luong", "bahdanau", "cho", "sutskever"] = Field(
        "luong",
        description="what the decoder knows of the source: attention after its cell (Luong), or before it (Bahdanau); or only the encoder's last state, told at every step (Cho) or once, as its own first state (Sutskever)",
    )
    score: Literal["dot", "scaled_dot", "bilinear", "additive", "cosine"] = Field(
        "bilinear", description="what the softmax of that attention is of"
    )
    input_feeding: bool = Field(
        True, description="whether Luong's decoder is told what it has looked at in the step before"
    )
    shared_cells: bool = Field(
        False, description="whether encoder and decoder have the same cells; needs one depth, and bidirectional = false"
    )
    scheduled_sampling: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the target tokens that training replaces, at its end, by what the model itself has just said; it rises from 0 in a straight line",
    )

    @property
    def sizes(self) -> str:
        return f"{super().sizes}, {self.cell} cells, {self.decoder} decoder"

    @property
    def least_weights(self) -> int:
        gates = {"rnn": 1, "gru": 3, "lstm": 4}[self.cell]
        layers = self.num_encoder_layers * (1.5 if self.bidirectional else 2)
        layers += 0 if self.shared_cells else self.num_decoder_layers * 2
        return int(layers * gates * self.d_model**2)

    @model_validator(mode="after")
    def _check_cells(self) -> "RecurrentConfig":
        if self.bidirectional and self.d_model % 2:
            raise ValueError(f"d_model ({self.d_model}) must be even: half of it reads backwards")
        if self.shared_cells and self.bidirectional:
            raise ValueError("shared_cells needs bidirectional = false: a decoder cannot read backwards")
        if self.shared_cells and self.num_encoder_layers != self.num_decoder_layers:
            raise ValueError(
                f"shared_cells needs one depth, got num_encoder_layers ({self.num_encoder_layers}) and "
                f"num_decoder_layers ({self.num_decoder_layers})"
            )
        return self


MODEL_CONFIGS: dict[str, type[NetworkConfig]] = {"transformer": ModelConfig, "recurrent": RecurrentConfig}


def _kind(given: Any) -> Any:
    """Which of ``MODEL_CONFIGS`` some settings are of; without a word about it a Transformer's."""
    return given.get("kind", "transformer") if isinstance(given, Mapping) else getattr(given, "kind", None)


AnyModelConfig = Annotated[
    Annotated[ModelConfig, Tag("transformer")] | Annotated[RecurrentConfig, Tag("recurrent")],
    Discriminator(_kind),
]
"""Settings of a network of any kind."""


Decay = Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(Section):
    """How the weights are found."""

    MAY_CHANGE: ClassVar[tuple[str, ...]] = ("steps", "epochs", "budget")
    """A larger total."""

    steps: int | None = Field(None, ge=1, description="updates in all; without it, `epochs` decides")
    epochs: float | None = Field(
        None, gt=0, description="passes over the data; without steps and epochs, 20 passes and at least 1,000 updates"
    )
    budget: Duration | None = Field(
        None,
        gt=0,
        description="wall-clock time in all, such as 20m or 1h30m, instead of steps: sizes and schedule that are not given are chosen for it",
    )
    replay: str = Field("", description="the plan.json of a run by budget, to make that run again step by step")
    init_from: str = Field("", description="a run or model folder whose weights and vocabulary to start from")
    freeze: Texts = Field((), description='weights that stay as they are, by name with wildcards, such as "encoder.*"')
    optimizer: Literal["adamw", "adam", "muon"] = Field(
        "adamw",
        description="the update rule: with weight decay apart, as in the paper, or orthogonalised steps for the matrices",
    )
    learning_rate: float = Field(1e-3, gt=0, description="the highest rate that the schedule reaches")
    betas: tuple[Decay, Decay] = Field((0.9, 0.98), description="decay of Adam's first and second moment")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay of matrices (not of biases and norms)")
    schedule: Literal["linear", "cosine", "wsd", "inverse_sqrt", "noam"] = Field(
        "linear",
        description="after the warm-up: straight down to zero; along a cosine; flat and then down (warm-up, stable, decay); with the inverse square root of the step; noam takes its height from d_model as in the paper, section 5.3",
    )
    decay: float = Field(0.4, gt=0, le=1, description="share of the run over which wsd goes down")
    warmup: int = Field(400, ge=0, description="updates over which the rate rises")
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="share of the target's probability spread over the whole vocabulary"
    )
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 does not clip")
    accumulate: int = Field(1, ge=1, description="batches that make one update")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto takes bfloat16 for matrix products where this processor is fast at it"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="let torch.compile fuse the layers before the first step; auto does so on a GPU"
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="threads that take a part of each batch through the model alone; unless given, tried out at the start",
    )
    recompute: bool = Field(
        False,
        description="keep only the inputs of each layer, and calculate it again on the way back: less memory for a third more work",
    )
    shard: bool = Field(
        False,
        description="of several processes each keeps only its part of weights, gradients and optimizer; for models too large for one GPU",
    )
    validate_every: int = Field(500, ge=1, description="updates between two validations")
    validation_pairs: int | None = Field(
        None,
        ge=1,
        description="score no more than this many validation pairs, a fixed sample, while training; all unless given",
    )
    checkpoint_every: int = Field(500, ge=1, description="updates between two checkpoints")
    average: int = Field(
        5, ge=1, description="at the end, the mean of the weights of this many last checkpoints is tried too"
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="a running mean of the weights with this decay a step, such as 0.999, is tried at the end too; 0 for none",
    )
    consistency: float = Field(
        0.0, ge=0, description="weight of R-Drop: two dropout masks should predict the same; makes steps twice as long"
    )
    patience: int = Field(
        0, ge=0, description="stop after this many validations without a better score; 0 never stops early"
    )
    seed: int = Field(1, ge=0, lt=2**63, description="everything random follows from it")

    @model_validator(mode="after")
    def _check_sharding(self) -> "TrainingConfig":
        wholes = [("optimizer", self.optimizer == "muon"), ("compile", self.compile == "on")]
        for key, wrong in (*wholes, ("workers", (self.workers or 1) > 1)):
            if self.shard and wrong:
                raise ValueError(f"shard and {key} = {getattr(self, key)} exclude each other; leave one out")
        return self


class DecodingConfig(Section):
    """How an answer is searched for."""

    EARLIER_DEFAULTS: ClassVar[Mapping[str, Any]] = {"max_length_ratio": 0.0}

    beam: int = Field(4, ge=1, le=1000, description="hypotheses kept at each step; 1 is greedy search")
    length_penalty: float = Field(
        1.0, ge=0, le=10, description="alpha: a hypothesis scores sum of log-probabilities / length^alpha"
    )
    max_length: int = Field(256, ge=1, le=65_535, description="longest output in tokens")
    min_length: int = Field(0, ge=0, le=65_535, description="shortest output in tokens")
    max_length_ratio: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="longest output as a multiple of the source's tokens, and 10 more; auto for what is far beyond the training data, 0 for no such bound",
    )
    min_length_ratio: float = Field(
        0.0, ge=0, le=10, description="shortest output as a multiple of the source's tokens"
    )
    length_formula: Literal["power", "gnmt"] = Field(
        "power",
        description="what a hypothesis' log-probability is divided by: length^alpha, or GNMT's ((5 + length) / 6)^alpha",
    )
    coverage_penalty: float = Field(
        0.0, ge=0, le=10, description="beta of GNMT's penalty for source words that attention has left out"
    )
    repetition_penalty: float = Field(
        1.0, ge=1, le=10, description="logits of tokens said already are divided by this (multiplied where negative)"
    )
    no_repeat_ngram: int = Field(0, ge=0, le=100, description="no sequence of so many tokens comes twice; 0 allows all")
    sample: bool = Field(
        False, description="draw tokens at random instead of searching for the best; beam is then the number of draws"
    )
    temperature: float = Field(1.0, gt=0, le=100, description="of sampling: below 1 is bolder, above 1 wilder")
    top_k: int = Field(0, ge=0, description="sample among so many best tokens; 0 for all")
    top_p: float = Field(1.0, gt=0, le=1, description="sample among the best tokens that make up this probability")
    min_p: float = Field(
        0.0, ge=0, le=1, description="sample among tokens at least this share as probable as the best one"
    )
    diversity: float = Field(
        0.0,
        ge=0,
        le=100,
        description="beam search in groups of one that each lose this much for a token that an earlier group took; for n-best lists that differ",
    )
    mbr: Literal["none", "chrf", "bleu"] = Field(
        "none",
        description="choose, of the n-best or the samples, the one that agrees most with all others by this score (minimum Bayes risk)",
    )
    seed: int = Field(1, ge=0, lt=2**63, description="of sampling")

    @model_validator(mode="after")
    def _check_combinations(self) -> "DecodingConfig":
        sampling = ("temperature", "top_k", "top_p", "min_p")
        idle = [key for key in sampling if getattr(self, key) != type(self).model_fields[key].default]
        if idle and not self.sample:
            raise ValueError(f"{idle[0]} ({getattr(self, idle[0])}) is a setting of sampling; set sample too")
        if self.sample and self.diversity:
            raise ValueError("sample and diversity exclude each other: draws are independent already")
        if self.beam == 1 and (self.diversity or self.mbr != "none"):
            raise ValueError(
                f"{'diversity' if self.diversity else 'mbr'} needs several hypotheses; set beam to 2 or more"
            )
        for key in ("length", "length_ratio"):
            least, most = getattr(self, f"min_{key}"), getattr(self, f"max_{key}")
            if most != "auto" and least > most and (key == "length" or most):
                raise ValueError(f"min_{key} ({least}) is more than max_{key} ({most}), so that nothing is allowed")
        return self
