"""The settings of pairs, and the kinds of setting that data of every task has."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from seqloom.config.section import Section, Texts

ValidShare = Annotated[float, Field(gt=0, lt=0.5)]
VocabSize = Annotated[int, Field(ge=300, le=1_000_000)]
CharacterCoverage = Annotated[
    float,
    Field(
        gt=0.5,
        le=1,
        description="share of the text whose characters get pieces of their own; rarer ones are spelt in bytes",
    ),
]
MaxLength = Annotated[int, Field(ge=4, le=65_535)]
BatchTokens = Annotated[int, Field(ge=8)]


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
    valid_share: ValidShare = Field(
        0.01,
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
    vocab_size: VocabSize = Field(8000, description="at most this many pieces a vocabulary; a small corpus gets fewer")
    joint_vocab: bool = Field(True, description="one vocabulary for both sides, or one each")
    character_coverage: CharacterCoverage = 0.9998
    max_length: MaxLength = Field(
        256,
        description="a pair with a side of more tokens than this, its end token counted, is dropped and shown",
    )
    batch_tokens: BatchTokens = Field(3072, description="bounds rows x the longer of padded source and target")
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
