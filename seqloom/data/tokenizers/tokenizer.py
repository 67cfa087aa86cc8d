"""What a tokenizer is: the special tokens, the text that is kept, and what may be asked of it."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seqloom.errors import DataError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>")
"""How they are shown; a model of the user's may call them otherwise."""
NUM_SPECIAL = 4

MAX_PIECE_LENGTH = 1_000

SPACE = "\u2581"
"""What SentencePiece writes for a space; in a text it is therefore read as one."""


def normalize(text: str) -> str:
    """The text that a tokenizer keeps exactly: NFC, and any run of white space as one space.

    White space is what ``str.split`` takes for it (ideographic space, U+2028, form feed ...), and
    U+2581. Nothing else is changed: full-width forms, case and quotes are the writer's.
    """
    text = unicodedata.normalize("NFC", text)
    # Of all white space U+0020 alone counts as printable, so a glance tells most texts that are clean.
    if text.isprintable() and "  " not in text and SPACE not in text and text.strip() == text:
        return text
    return " ".join(text.replace(SPACE, " ").split())


class Encoder(Protocol):
    """What a store is written with; ids are without begin and end."""

    @property
    def vocab_size(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; an empty text has none."""
        ...


class Tokenizer(Encoder, Protocol):
    """What tasks and training ask of a tokenizer."""

    def __hash__(self) -> int: ...

    @property
    def tags(self) -> list[int]:
        """The tokens beside the four special ones that no text is cut into, such as ``<2de>``."""
        ...

    def sampled(self, texts: Sequence[str], dropout: float, seed: int) -> list[list[int]]:
        """Like ``encode``, cut at random: a function of its arguments alone.

        Raises:
            ConfigError: if there is but one way to cut a text.
        """
        ...

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence, on one line. PAD, BOS, EOS and tags leave no trace, UNK is ⁇."""
        ...

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The spelling of each token."""
        ...

    def surfaces(self, text: str) -> list[str]:
        """What of the normalized text each of its tokens stands for, a space in front of it too.

        Of a character that takes several tokens the last one has it, and the others have nothing.
        """
        ...

    def id_of(self, piece: str) -> int:
        """The token that is spelt so.

        Raises:
            DataError: if there is none.
        """
        ...

    def appended(self, pieces: Sequence[str], control: bool) -> "Tokenizer":
        """This vocabulary and, behind it, ``pieces``: tags if ``control``, else terms, one token wherever they stand.

        Raises:
            DataError: for a piece that is in the vocabulary already or cannot be.
        """
        ...

    def to_bytes(self) -> bytes:
        """The tokenizer's own file, which ``load_tokenizer`` reads."""
        ...


def initial_pieces(old: Tokenizer, new_pieces: Sequence[str]) -> list[list[int]]:
    """The tokens that ``old`` cuts each new piece into; the mean of their embeddings is a start for its own.

    The mark for a space in front is left out. A tag is cut like a text, which says little about it.
    """
    return [[token for token in ids if old.pieces([token]) != [SPACE]] or ids for ids in old.encode(list(new_pieces))]


def new_pieces(pieces: Sequence[str], known: Iterable[str]) -> list[str]:
    """The pieces to add, normalized; DataError for one that cannot be, or is among the ``known``."""
    added = [normalize(piece) for piece in pieces]
    seen = set(known)
    for piece in added:
        objections = {
            "it is empty": not piece,
            "it holds a null character": "\0" in piece,
            f"it has more than {MAX_PIECE_LENGTH:,} characters": len(piece) > MAX_PIECE_LENGTH,
            "it is in it already; leave it out": piece in seen,
        }
        for objection, holds in objections.items():
            if holds:
                raise DataError(f"{piece[:50]!r} cannot be added to the vocabulary: {objection}")
        seen.add(piece)
    return added


def unknown_piece(piece: str, tags: Sequence[str]) -> DataError:
    """What is said of a piece that is asked for and not there."""
    return DataError(f"{piece!r} is not in the vocabulary; the tags in it are: {', '.join(tags) or 'none'}")


def pad(sequences: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Sequences of ids as one [B, T] array, filled up with PAD at the end."""
    padded = np.full((len(sequences), max(map(len, sequences), default=0)), PAD, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded
