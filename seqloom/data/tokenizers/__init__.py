"""Text <-> token ids.

A tokenizer is kept as its own file inside the model folder, SentencePiece's or a JSON list of words.
Token ids below ``NUM_SPECIAL`` never come from text, whatever the text spells; but a word that a
vocabulary cannot spell is UNK.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from seqloom.data.tokenizers.subwords import SentencePiece
from seqloom.data.tokenizers.tokenizer import (
    BOS,
    EOS,
    NUM_SPECIAL,
    PAD,
    SPACE,
    UNK,
    Encoder,
    Tokenizer,
    initial_pieces,
    normalize,
    pad,
)
from seqloom.data.tokenizers.words import Words
from seqloom.errors import DataError, ModelFolderError
from seqloom.files import read_bytes

__all__ = [
    "BOS",
    "EOS",
    "NUM_SPECIAL",
    "PAD",
    "SPACE",
    "TOKENIZERS",
    "UNK",
    "Encoder",
    "SentencePiece",
    "Tokenizer",
    "Words",
    "initial_pieces",
    "load_tokenizer",
    "normalize",
    "open_tokenizer",
    "pad",
]

MAX_FILE_BYTES = 1 << 28

BRACE = b"{"
"""What a list of words starts with, and no SentencePiece model."""

TOKENIZERS: dict[str, Callable[[Iterable[str], int, float], Tokenizer]] = {
    "bpe": partial(SentencePiece.train, kind="bpe"),
    "unigram": partial(SentencePiece.train, kind="unigram"),
    "characters": partial(SentencePiece.train, kind="char"),
    "words": Words.train,
}
"""How each learns a vocabulary: (texts, vocab_size, character_coverage) -> tokenizer."""


def load_tokenizer(source: Path | bytes, name: str = "tokenizer") -> Tokenizer:
    """Reads a tokenizer of a model folder, of whichever kind, from its file or from the content of it.

    Raises:
        ModelFolderError: naming ``name``, or the path.
    """
    if isinstance(source, Path):
        try:
            return load_tokenizer(read_bytes(source, MAX_FILE_BYTES), str(source))
        except OSError as error:
            raise ModelFolderError(
                f"{source}: cannot be read ({error.strerror}); the model folder is not whole"
            ) from None
    return Words.from_bytes(source, name) if source.startswith(BRACE) else SentencePiece(source, name)


def open_tokenizer(path: Path) -> Tokenizer:
    """Reads a tokenizer file of the user's (``data.tokenizer_file``): a SentencePiece model, or one of a model folder.

    Raises:
        UserError: naming the path.
    """
    try:
        content = read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); data.tokenizer_file names it") from None
    return (
        Words.from_bytes(content, str(path)) if content.startswith(BRACE) else SentencePiece.adopt(content, str(path))
    )
