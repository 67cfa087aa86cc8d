"""Text <-> token ids, and the special tokens, in one place.

A tokenizer is kept as its own file inside the model folder. Token ids below ``NUM_SPECIAL`` never
come from text, whatever the text spells.
"""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from seqloom.errors import DataError, ModelFolderError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
NUM_SPECIAL = 4
NUM_BYTES = 256

SPACE = "\u2581"
"""What SentencePiece writes for a space; in a text it is therefore read as one."""

RESERVED = "\u2585"
"""SentencePiece learns nothing from a sentence that holds this."""

MAX_TRAINING_CHARACTERS = 50_000_000
"""Of a larger corpus a part is counted: SentencePiece holds up to 100 bytes for each character."""


def normalize(text: str) -> str:
    """The text that a tokenizer keeps exactly: NFC, and any run of white space as one space.

    White space is what ``str.split`` takes for it (ideographic space, U+2028, form feed ...), and
    U+2581. Nothing else is changed: full-width forms, case and quotes are the writer's.
    """
    return " ".join(unicodedata.normalize("NFC", text).replace(SPACE, " ").split())


class Tokenizer(Protocol):
    """What tasks and training ask of a tokenizer; ids are without begin and end."""

    @property
    def vocab_size(self) -> int: ...
    def encode(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]: ...
    def to_bytes(self) -> bytes: ...


class SentencePiece:
    """Byte-pair encoding of raw text (Sennrich et al. 2016; Kudo and Richardson 2018).

    A character outside of the vocabulary is spelt in UTF-8 bytes, so nothing is ever unknown and
    ``decode(encode(text)) == normalize(text)``. Digits are pieces of their own, so a number never
    seen is read like any other.
    """

    def __init__(self, model: bytes, name: str = "tokenizer") -> None:
        self._model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, UnicodeDecodeError) as error:  # the latter quotes the damage
            raise ModelFolderError(
                f"{name}: is not a SentencePiece model, or damaged ({error}); copy the model folder again"
            ) from None
        ids = [self._processor.pad_id(), self._processor.unk_id(), self._processor.bos_id(), self._processor.eos_id()]
        if ids != [PAD, UNK, BOS, EOS]:
            raise ModelFolderError(f"{name}: the special tokens are {ids}, expected {[PAD, UNK, BOS, EOS]}")

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, character_coverage: float = 0.9998) -> "SentencePiece":
        """Learns at most ``vocab_size`` pieces from ``texts``; the same ones from the same texts.

        Characters are taken by frequency until they make up ``character_coverage`` of the text or
        fill half of the vocabulary, so that there is room for words.

        Raises:
            DataError: if there is no text at all.
        """
        sentences = _sample(text for text in map(normalize, texts) if text)
        if not sentences:
            raise DataError("there is no text to learn a vocabulary from")
        rare = _rare_characters(sentences, character_coverage, (vocab_size - NUM_SPECIAL - NUM_BYTES) // 2)
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                # A digit is always a piece of its own, so nothing is learnt across it.
                sentence_iterator=(rare.sub("0", sentence) for sentence in sentences),
                model_writer=model,
                model_type="bpe",
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                character_coverage=1.0,
                byte_fallback=True,
                split_digits=True,
                normalization_rule_name="identity",
                max_sentence_length=1 << 24,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(f"no vocabulary could be learnt from the corpus: {error}") from None
        return cls(model.getvalue())

    @property
    def vocab_size(self) -> int:
        return int(self._processor.get_piece_size())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without begin and end; an empty text has none."""
        ids: list[list[int]] = self._processor.encode([normalize(text) for text in texts], out_type=int)
        return ids

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence of ids, on one line; special tokens leave no trace."""
        kept = [[i for i in sequence if i >= NUM_SPECIAL] for sequence in ids]
        return [normalize(text) for text in self._processor.decode(kept)]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The spelling of each token, as SentencePiece shows it."""
        return [str(self._processor.id_to_piece(int(i))) for i in ids]

    def to_bytes(self) -> bytes:
        """The model in SentencePiece's own file format."""
        return self._model


def _sample(sentences: Iterable[str]) -> list[str]:
    """All sentences, or an even share of a corpus too large to count pieces in."""
    kept: list[str] = []
    size, step = 0, 1
    for index, sentence in enumerate(sentences):
        if index % step == 0:
            kept.append(sentence)
            size += len(sentence)
            if size > MAX_TRAINING_CHARACTERS:
                # By an odd number: where sources and targets come in turn, both stay.
                kept, step = kept[::3], step * 3
                size = sum(map(len, kept))
    return kept


def _rare_characters(sentences: Iterable[str], coverage: float, limit: int) -> re.Pattern[str]:
    """Matches the characters that get no piece of their own."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(sentence)
    counts.pop(" ", None)
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    left = (1 - coverage) * counts.total()
    while ranked and (len(ranked) > limit or counts[ranked[-1]] <= left):
        left -= counts[ranked.pop()]
    rare = counts.keys() - set(ranked) | {RESERVED}
    return re.compile(f"[{re.escape(''.join(sorted(rare)))}]")


def load_tokenizer(path: Path) -> SentencePiece:
    """Reads a tokenizer from a model folder."""
    try:
        return SentencePiece(path.read_bytes(), str(path))
    except OSError as error:
        raise ModelFolderError(f"{path}: cannot be read ({error.strerror}); the model folder is not whole") from None


def truncate(ids: Iterable[list[int]], max_length: int) -> tuple[list[list[int]], int]:
    """Cuts sequences to ``max_length`` tokens; returns them and how many were cut."""
    cut, count = [], 0
    for sequence in ids:
        count += len(sequence) > max_length
        cut.append(sequence[:max_length])
    return cut, count


def pad(sequences: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Sequences of ids as one [B, T] array, filled up with PAD at the end."""
    padded = np.full((len(sequences), max(map(len, sequences), default=0)), PAD, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded
