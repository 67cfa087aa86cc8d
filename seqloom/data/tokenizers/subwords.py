"""SentencePiece: byte-pair encoding, a unigram language model, characters, or the user's own model."""

import io
import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Literal

import numpy as np
import sentencepiece

from seqloom.data.tokenizers import model_proto
from seqloom.data.tokenizers.tokenizer import (
    BOS,
    EOS,
    NUM_SPECIAL,
    PAD,
    SPACE,
    SPECIAL_PIECES,
    UNK,
    new_pieces,
    normalize,
    unknown_piece,
)
from seqloom.errors import ConfigError, DataError, ModelFolderError, shown

NUM_BYTES = 256

RESERVED = "\u2585"
"""SentencePiece learns nothing from a sentence that holds this."""

MAX_TRAINING_CHARACTERS = 50_000_000
"""Of a larger corpus a part is counted."""

LONG_WORD, LONG_WORD_WEIGHT = 16, 10
"""SentencePiece holds a word once however often it is seen, and up to 150 bytes for each of its characters. One
of more than so many hardly comes twice: in Chinese it is a whole sentence. Its characters count so many times."""

SMOOTHING = 0.2
"""The exponent alpha of a sampled unigram segmentation's probability (Kudo 2018, section 3.3)."""

SPECIAL = dict(zip(("pad", "unk", "bos", "eos"), SPECIAL_PIECES, strict=True))
"""The special tokens by the names of their roles in SentencePiece."""

_seeding = threading.Lock()


class SentencePiece:
    """Raw text in pieces (Kudo and Richardson 2018), with ids as they stand in SentencePiece's own file.

    In a model that was trained here a character outside of the vocabulary is spelt in UTF-8 bytes,
    so nothing is ever unknown and ``decode(encode(text)) == normalize(text)``. Digits are pieces of
    their own, so a number never seen is read like any other. A model of the user's keeps no more of
    a text than it was made to.
    """

    def __init__(self, model: bytes, name: str = "tokenizer") -> None:
        self._model = model
        self._name = name
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, UnicodeDecodeError) as error:  # the latter quotes the damage
            raise ModelFolderError(
                f"{name}: is not a SentencePiece model, or damaged ({shown(error, 200)}); copy the model folder again"
            ) from None
        ids = [self._processor.pad_id(), self._processor.unk_id(), self._processor.bos_id(), self._processor.eos_id()]
        if ids != [PAD, UNK, BOS, EOS]:
            raise ModelFolderError(f"{name}: the special tokens are {ids}, expected {[PAD, UNK, BOS, EOS]}")

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        character_coverage: float = 0.9998,
        kind: Literal["bpe", "unigram", "char"] = "bpe",
    ) -> "SentencePiece":
        """Learns at most ``vocab_size`` pieces from ``texts``; the same ones from the same texts.

        Characters are taken by frequency until they make up ``character_coverage`` of the text or
        fill half of the vocabulary, so that there is room for words; all of it, if ``kind`` is "char".

        Raises:
            DataError: if there is no text at all.
        """
        sentences = _sample(texts)
        if not sentences:
            raise DataError("there is no text to learn a vocabulary from")
        room = vocab_size - NUM_SPECIAL - NUM_BYTES
        rare = _rare_characters(sentences, character_coverage, room - 1 if kind == "char" else room // 2)
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                # A digit is always a piece of its own, so nothing is learnt across it.
                sentence_iterator=(rare.sub("0", sentence) for sentence in sentences),
                model_writer=model,
                model_type=kind,
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                # What a unigram model starts from: of more it learns no better, and takes twice the time.
                seed_sentencepiece_size=max(100_000, 10 * vocab_size),
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

    @classmethod
    def adopt(cls, model: bytes, name: str) -> "SentencePiece":
        """The user's own model, with its special tokens moved to the front, where they are looked for.

        Raises:
            DataError: if it is no such model, naming it ``name``.
        """
        if not model:
            raise DataError(f"{name}: is empty, expected the .model file of SentencePiece")
        try:
            theirs = sentencepiece.SentencePieceProcessor(model_proto=model)
            first = {role: _special(theirs, role, name) for role in SPECIAL}
            if [at for at, _ in first.values()] != [PAD, UNK, BOS, EOS]:
                model = model_proto.reordered(model, first)
            return cls(model, name)
        except (RuntimeError, ValueError, IndexError, ModelFolderError):
            raise DataError(
                f"{name}: is not a SentencePiece model; data.tokenizer_file takes the .model file of SentencePiece"
            ) from None

    @property
    def vocab_size(self) -> int:
        return int(self._processor.get_piece_size())

    @cached_property
    def tags(self) -> list[int]:
        """The tokens beside the four special ones that no text is cut into, such as ``<2de>``."""
        return [i for i in range(NUM_SPECIAL, self.vocab_size) if self._processor.is_control(i)]

    @cached_property
    def _type(self) -> int:
        return model_proto.model_type(self._model)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without begin and end; an empty text has none.

        On one thread: who has many texts calls it on several.
        """
        normalized = [normalize(text) for text in texts]
        ids: list[list[int]] = self._processor.encode(normalized, out_type=int, num_threads=1)
        return ids

    def sampled(self, texts: Sequence[str], dropout: float, seed: int) -> list[list[int]]:
        """Like ``encode``, cut at random; the same for the same arguments and version of SentencePiece.

        BPE: each merge is left out with probability ``dropout`` (BPE-dropout, Provilkov et al. 2020).
        One that is left out stays out, where the paper tries it again in the next step: 0.05 here cuts
        about as finely as 0.1 there, with a fifth more tokens. Unigram: with probability ``dropout`` the
        segmentation of a text is drawn from all there are, by probability to the power of 0.2 (Kudo
        2018, section 3.3).

        Raises:
            ConfigError: if the model is of another type.
        """
        if not dropout:
            return self.encode(texts)
        if self._type == model_proto.BPE:
            return self._draw(texts, dropout, seed)
        if self._type == model_proto.UNIGRAM:
            random = np.random.Generator(np.random.PCG64(seed))
            chosen = (random.random(len(texts)) < dropout).tolist()
            drawn = iter(self._draw([text for text, draw in zip(texts, chosen, strict=True) if draw], SMOOTHING, seed))
            return [next(drawn) if draw else ids for ids, draw in zip(self.encode(texts), chosen, strict=True)]
        raise ConfigError(
            f"{self._name}: data.subword_dropout cuts words anew in each pass, which a bpe or unigram model can "
            f"and this one cannot; set it to 0"
        )

    def _draw(self, texts: Sequence[str], alpha: float, seed: int) -> list[list[int]]:
        normalized = [normalize(text) for text in texts]

        def draw() -> list[list[int]]:
            ids: list[list[int]] = self._processor.encode(
                normalized, out_type=int, num_threads=1, enable_sampling=True, nbest_size=-1, alpha=alpha
            )
            return ids

        # SentencePiece has one seed for all and a generator in each thread, which older versions seed
        # at its first use alone: hence the lock, and a new thread. The largest seed would be none.
        with _seeding, ThreadPoolExecutor(1) as thread:
            sentencepiece.set_random_generator_seed(seed % (2**32 - 1))
            return thread.submit(draw).result()

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence, on one line. PAD, BOS, EOS and tags leave no trace, UNK is ⁇."""
        return [normalize(text) for text in self._processor.decode([list(sequence) for sequence in ids])]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The spelling of each token, as SentencePiece shows it."""
        return [str(self._processor.id_to_piece(int(i))) for i in ids]

    def surfaces(self, text: str) -> list[str]:
        """What of the normalized text each of its tokens stands for, a space in front of it too.

        Of a character that is spelt in bytes the last one has it.
        """
        return [piece.surface for piece in self._processor.encode(normalize(text), return_type="proto").pieces]

    def id_of(self, piece: str) -> int:
        """The token that is spelt so.

        Raises:
            DataError: if there is none.
        """
        token = int(self._processor.piece_to_id(piece))
        if self._processor.id_to_piece(token) != piece:
            raise unknown_piece(piece, self.pieces(self.tags))
        return token

    def appended(self, pieces: Sequence[str], control: bool) -> "SentencePiece":
        """This vocabulary and, behind it, ``pieces``: tags if ``control``, else terms.

        A term is one token wherever its letters stand, inside of a word too.

        Raises:
            DataError: for a piece that is in the vocabulary already or cannot be.
        """
        known = {piece.replace(SPACE, " ") for piece in self.pieces(range(self.vocab_size))}
        kind = model_proto.CONTROL if control else model_proto.USER_DEFINED
        added = [model_proto.piece(piece.replace(" ", SPACE), kind) for piece in new_pieces(pieces, known)]
        return SentencePiece(self._model + b"".join(added), self._name)

    def to_bytes(self) -> bytes:
        """The model in SentencePiece's own file format."""
        return self._model


def _special(processor: sentencepiece.SentencePieceProcessor, role: str, name: str) -> tuple[int | None, str]:
    """Where a model has its special token and how it calls it; None for one to be added."""
    token = int(getattr(processor, f"{role}_id")())
    if token >= 0:
        return token, str(processor.id_to_piece(token))
    piece = SPECIAL[role]
    token = int(processor.piece_to_id(piece))
    if processor.id_to_piece(token) != piece:
        return None, piece
    if not processor.is_control(token):
        raise DataError(f"{name}: its piece {piece!r} is ordinary text, expected a control piece or none of that name")
    return token, piece


def _sample(texts: Iterable[str]) -> list[str]:
    """All texts, normalized, or an even share of a corpus too large to count pieces in."""
    kept: list[str] = []
    size, step = 0, 1
    for index, text in enumerate(texts):
        if index % step == 0:
            kept.append(normalize(text))
            size += _weight(kept[-1])
            if size > MAX_TRAINING_CHARACTERS:
                # By an odd number: where sources and targets come in turn, both stay.
                kept, step = kept[::3], step * 3
                size = sum(map(_weight, kept))
    return [sentence for sentence in kept if sentence]


def _weight(sentence: str) -> int:
    """Its characters, as far as they cost memory to learn from."""
    rare = sum(len(word) for word in sentence.split(" ") if len(word) > LONG_WORD)
    return len(sentence) + (LONG_WORD_WEIGHT - 1) * rare


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
