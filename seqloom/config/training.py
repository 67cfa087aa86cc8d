"""The settings of a training."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from seqloom.config.section import Duration, Section, Texts

Decay = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, description="the highest rate that the schedule reaches")]
Warmup = Annotated[int, Field(ge=0, description="updates over which the rate rises")]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Field(description="auto takes bfloat16 for matrix products where this processor is fast at it"),
]
ValidateEvery = Annotated[int, Field(ge=1, description="updates between two validations")]
CheckpointEvery = Annotated[int, Field(ge=1, description="updates between two checkpoints")]


class TrainingConfig(Section):
    """How the weights are found."""

    ALTERNATIVES: ClassVar[tuple[str, ...]] = ("steps", "epochs", "budget")
    MAY_CHANGE: ClassVar[tuple[str, ...]] = ALTERNATIVES
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
    learning_rate: LearningRate = 1e-3
    betas: tuple[Decay, Decay] = Field((0.9, 0.98), description="decay of Adam's first and second moment")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay of matrices (not of biases and norms)")
    schedule: Literal["linear", "cosine", "wsd", "inverse_sqrt", "noam"] = Field(
        "linear",
        description="after the warm-up: straight down to zero; along a cosine; flat and then down (warm-up, stable, decay); with the inverse square root of the step; noam takes its height from d_model as in the paper, section 5.3",
    )
    decay: float = Field(0.4, gt=0, le=1, description="share of the run over which wsd goes down")
    warmup: Warmup = 400
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="share of the target's probability spread over the whole vocabulary"
    )
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 does not clip")
    accumulate: int = Field(1, ge=1, description="batches that make one update")
    precision: Precision = "auto"
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
    validate_every: ValidateEvery = 500
    validation_pairs: int | None = Field(
        None,
        ge=1,
        description="score no more than this many validation pairs, a fixed sample, while training; all unless given",
    )
    checkpoint_every: CheckpointEvery = 500
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
    def _check_wholes(self) -> "TrainingConfig":
        lengths = [key for key in self.ALTERNATIVES if getattr(self, key) is not None]
        if len(lengths) > 1:
            raise ValueError(f"{' and '.join(lengths)} each say how long the run is to be; give one of them")
        if self.compile == "on" and self.recompute:
            raise ValueError("compile = on and recompute exclude each other; leave one out")
        if self.compile == "on" and (self.workers or 1) > 1:
            raise ValueError(f"compile = on and workers = {self.workers} exclude each other; leave one out")
        wholes = [("optimizer", self.optimizer == "muon"), ("compile", self.compile == "on")]
        for key, wrong in (*wholes, ("workers", (self.workers or 1) > 1)):
            if self.shard and wrong:
                raise ValueError(f"shard and {key} = {getattr(self, key)} exclude each other; leave one out")
        return self
