"""The settings of a search."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from seqloom.config.section import Section


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
    temperature: float = Field(
        1.0, gt=0, le=100, description="of sampling: below 1 keeps to what is probable, above 1 is wilder"
    )
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
        if self.min_length >= self.max_length:
            raise ValueError(
                f"min_length ({self.min_length}) is not less than max_length ({self.max_length}), which counts the end, "
                f"so that nothing is allowed"
            )
        least, most = self.min_length_ratio, self.max_length_ratio
        if most and most != "auto" and least > most:
            raise ValueError(
                f"min_length_ratio ({least}) is more than max_length_ratio ({most}), so that nothing is allowed"
            )
        return self
