"""Text <-> token ids, and the special tokens, in one place.

A tokenizer is kept as its own file inside the model folder. Token ids below ``NUM_SPECIAL`` never
come from text, whatever the text spells.
"""

import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import sentencepiece

from seqloom.errors import DataError, ModelFolderError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
NUM_SPECIAL = 4

SPACE = "\u2581"
"""What SentencePiece writes for a space; in a text it is therefore read as one."""

MAX_TRAINING_SENTENCES = 2_000_000


def normalize(text: str) -> str:
    """The text that a tokenizer keeps exactly: NFC, and any run of white space as one space.

    White space is Unicode's (ideographic space, U+2028, form feed ...), and U+2581. Nothing else
    is changed: full-width forms, case and quotes are the writer's.
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
        except RuntimeError as error:
            raise ModelFolderError(f"{name}: is not a SentencePiece model ({error})") from None
        ids = [self._processor.pad_id(), self._processor.unk_id(), self._processor.bos_id(), self._processor.eos_id()]
        if ids != [PAD, UNK, BOS, EOS]:
            raise ModelFolderError(f"{name}: the special tokens are {ids}, expected {[PAD, UNK, BOS, EOS]}")

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, character_coverage: float = 0.9998, threads: int = 0
    ) -> "SentencePiece":
        """Learns at most ``vocab_size`` pieces from ``texts``; deterministic.

        Raises:
            DataError: if there is no text at all.
        """
        sentences = _sample([text for text in map(normalize, texts) if text])
        if not sentences:
            raise DataError("the corpus has no text to learn a vocabulary from")
        model = io.BytesIO()
        # Characters take half of the vocabulary at most, so that there is room for words.
        character_coverage = min(character_coverage, _coverage_of(sentences, vocab_size // 2))
        while True:
            try:
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(sentences),
                    model_writer=model,
                    model_type="bpe",
                    vocab_size=vocab_size,
                    character_coverage=character_coverage,
                    byte_fallback=True,
                    split_digits=True,
                    normalization_rule_name="identity",
                    max_sentence_length=1 << 24,
                    pad_id=PAD,
                    unk_id=UNK,
                    bos_id=BOS,
                    eos_id=EOS,
                    num_threads=threads or os.cpu_count() or 1,
                    minloglevel=2,
                )
                return cls(model.getvalue())
            except RuntimeError as error:
                limit = _vocabulary_limit(str(error), vocab_size)
                if limit is None:
                    raise DataError(f"no vocabulary could be learnt from the corpus: {error}") from None
                vocab_size, model = limit, io.BytesIO()

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


def _sample(sentences: list[str]) -> Sequence[str]:
    """Every n-th sentence of a corpus too large to count pieces in."""
    return sentences[:: -(-len(sentences) // MAX_TRAINING_SENTENCES)] if sentences else sentences


def _coverage_of(sentences: Sequence[str], limit: int) -> float:
    """The share of all characters that the ``limit`` most frequent ones make up."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(sentence)
    if len(counts) <= limit:
        return 1.0
    kept = sum(count for _, count in counts.most_common(limit))
    return max(0.5, kept / counts.total() - 1e-6)


def _vocabulary_limit(message: str, asked: int) -> int | None:
    """The largest possible vocabulary, from what SentencePiece says when asked for more."""
    found = re.search(r"too high .* value <= (\d+)", message)
    return int(found[1]) if found and NUM_SPECIAL + 256 <= int(found[1]) < asked else None


def load_tokenizer(path: Path) -> SentencePiece:
    """Reads a tokenizer from a model folder."""
    try:
        return SentencePiece(path.read_bytes(), str(path))
    except OSError as error:
        raise ModelFolderError(f"{path}: cannot be read ({error.strerror}); the model folder is not whole") from None


TOKENIZERS = {"sentencepiece": SentencePiece}


def truncate(ids: Iterable[list[int]], max_length: int) -> tuple[list[list[int]], int]:
    """Cuts sequences to ``max_length`` tokens; returns them and how many were cut."""
    cut, count = [], 0
    for sequence in ids:
        count += len(sequence) > max_length
        cut.append(sequence[:max_length])
    return cut, count
