"""The settings of networks that write sequences: the core of all, and what each kind adds."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, ModelWrapValidatorHandler, Tag, model_validator

from seqloom.config.section import Section

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

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """``model_fields_set`` is what was given, or follows from a preset that was."""
        if not isinstance(given, Mapping):
            return validate(given)
        spelt_out = cls.spelt_out(given)
        made = validate(cls.spelt_out({"preset": cls.model_fields["preset"].default}) | spelt_out)
        made.__pydantic_fields_set__.intersection_update(spelt_out)
        return made


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
