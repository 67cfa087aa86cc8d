"""All of a translator but its weights: what any engine that runs it needs to know. Loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from seqloom.config import AnyModelConfig, DecodingConfig, NetworkConfig
from seqloom.data.languages import Direction, choose_direction
from seqloom.data.lengths import GENERIC, LengthRatio
from seqloom.data.tokenizers import EOS, Tokenizer, load_tokenizer
from seqloom.errors import ModelFolderError
from seqloom.tasks.folder import WEIGHTS, ModelFolder, whole


@dataclass(frozen=True)
class TranslatorSetup:
    """Sizes, vocabularies, languages, and the search that a translator is used with."""

    model: NetworkConfig
    src_tokenizer: Tokenizer
    tgt_tokenizer: Tokenizer
    """The same object where there is one vocabulary."""
    languages: tuple[str, str]
    """Source and target; with several directions those of the first one, until one is chosen."""
    longest_source: int
    """Tokens of the longest source in the training data, without its tag."""
    decoding: DecodingConfig
    length_ratio: LengthRatio = GENERIC
    directions: tuple[Direction, ...] = ()
    """Of a model with several, which a tag before each source tells apart."""
    chosen: bool = False
    """Whether one of them was."""

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> "TranslatorSetup":
        """What a model folder says.

        Raises:
            ModelFolderError: if that is not whole.
        """
        about, files = folder.config, folder.files
        config = folder.path / "config.json"
        if "src.model" not in files:
            raise ModelFolderError(f"{config}: names no src.model; the folder is damaged")
        with whole(config):
            src = load_tokenizer(files["src.model"], str(folder.path / "src.model"))
            tgt = load_tokenizer(files["tgt.model"], str(folder.path / "tgt.model")) if "tgt.model" in files else src
            directions = tuple(Direction.parse(text) for text in about.get("directions", []))
            for direction in directions:
                src.id_of(direction.tag)
            model = model_config(about["model"])
            if folder.weights:
                _require_weights(model, folder)
            return cls(
                model,
                src,
                tgt,
                (_language(about["languages"][0]), _language(about["languages"][1])),
                _length(about["longest_source"]),
                DecodingConfig.model_validate(about["decoding"]),
                LengthRatio.read(about.get("length_ratio")),
                directions,
            )

    def describe(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """What ``from_folder`` reads: a part of config.json, and files."""
        about = {
            "languages": list(self.languages),
            "directions": list(map(str, self.directions)),
            "model": self.model.model_dump(mode="json"),
            "vocab_sizes": list(self.vocab_sizes),
            "longest_source": self.longest_source,
            "length_ratio": list(self.length_ratio),
            "decoding": self.decoding.model_dump(mode="json"),
        }
        files = {"src.model": self.src_tokenizer.to_bytes()}
        if self.tgt_tokenizer is not self.src_tokenizer:
            files["tgt.model"] = self.tgt_tokenizer.to_bytes()
        return about, files

    @property
    def vocab_sizes(self) -> tuple[int, int]:
        """Of source and target."""
        return self.src_tokenizer.vocab_size, self.tgt_tokenizer.vocab_size

    def towards(self, src_lang: str = "", tgt_lang: str = "") -> "TranslatorSetup":
        """The same model, asked to translate between these languages; one that is not given is any that fits.

        Raises:
            UserError: if it does not, or if several target languages are left.
        """
        known = self.directions or [Direction(*self.languages)]
        return replace(self, languages=choose_direction(known, src_lang, tgt_lang), chosen=True)

    def tag(self) -> list[int]:
        """The token to put before each source; none in a model of one direction.

        Raises:
            UserError: if it is not known into which of several languages to translate.
        """
        if not self.directions:
            return []
        languages = self.languages if self.chosen else self.towards().languages
        return [self.src_tokenizer.id_of(Direction(*languages).tag)]

    def bounded(self, decoding: DecodingConfig) -> DecodingConfig:
        """The same settings, with what the training data say of lengths in the place of ``auto``."""
        if decoding.max_length_ratio != "auto":
            return decoding
        return decoding.model_copy(update={"max_length_ratio": self.length_ratio.most})

    def targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text as a model has to say it: its tokens, the end."""
        return [[*ids, EOS] for ids in self.tgt_tokenizer.encode(texts)]

    def sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text as a model reads it: its direction's tag, its tokens, the end."""
        return self.framed(self.src_tokenizer.encode(texts))

    def framed(self, tokens: Sequence[Sequence[int]]) -> list[list[int]]:
        """Tokens of sources with the direction's tag before and the end behind."""
        tag = self.tag()
        return [[*tag, *ids, EOS] for ids in tokens]


MOST_TOKENS = 1 << 20
"""No data has a longer source."""


def model_config(given: Any) -> NetworkConfig:
    """The ``model`` of a config.json.

    Raises:
        ValidationError: if it is not whole.
    """
    config: NetworkConfig = TypeAdapter[NetworkConfig](AnyModelConfig).validate_python(given)
    return config


def _require_weights(config: NetworkConfig, folder: ModelFolder) -> None:
    """ModelFolderError if so many weights were never saved: nobody should make room for them."""
    least, saved = config.least_weights, sum(weight.numel() for weight in folder.weights.values())
    if saved < least:
        raise ModelFolderError(
            f"{folder.path / WEIGHTS}: does not fit config.json: it has {saved:,} numbers, and a model of these sizes "
            f"at least {least:,}; copy the model folder again"
        )


def _language(name: Any) -> str:
    if not isinstance(name, str) or len(name) > 100 or not name.isprintable():
        raise ValueError("languages")
    return name


def _length(tokens: Any) -> int:
    if type(tokens) is not int or not 0 <= tokens <= MOST_TOKENS:
        raise ValueError("longest_source")
    return tokens
