"""Whole words as tokens, by frequency."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from seqloom.data.tokenizers.tokenizer import (
    MAX_PIECE_LENGTH,
    NUM_SPECIAL,
    SPECIAL_PIECES,
    UNK,
    new_pieces,
    normalize,
    unknown_piece,
)
from seqloom.errors import ConfigError, DataError, ModelFolderError, shown
from seqloom.files import parse_json
from seqloom.writing import MARKS

FORMAT = "seqloom words"
VERSION = 1
MAX_WORDS = 2_000_000
MAX_BYTES = 1 << 26

UNKNOWN = "⁇"
"""What an unknown word is shown as, SentencePiece's sign for it."""

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
HIRAGANA, KATAKANA = "\u3041-\u309f", "\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
LETTER = rf"(?:[^\W\d_{HAN}{HIRAGANA}{KATAKANA}]|[{MARKS}])"
TOKEN = re.compile(
    rf"""(?P<han>[{HAN}]+)
    |[{HIRAGANA}]+|[{KATAKANA}]+
    |{LETTER}+(?:['’-]{LETTER}+)*       # don't, well-known
    |\d+(?:[.,:]\d+)*                   # 1,000.5, 10:30
    |\S
    """,
    re.VERBOSE,
)
WITHOUT_SPACES = re.compile(rf"[{HAN}{HIRAGANA}{KATAKANA}\u3000-\u303f\uff01-\uff65\uffe0-\uffee]")
"""Nothing is put between these and their neighbours."""
CLOSING, OPENING = frozenset(".,!?;:%)]}’”»…'/"), frozenset("([{‘“«$£€¥#@/")


class Words:
    """A vocabulary of the most frequent words: simple to read and to explain, and lossy.

    Chinese is cut by the dictionary of jieba, without guessing at words that are not in it; everything
    else by a regular expression into words, numbers and punctuation, sentence by sentence, so that one
    vocabulary serves both. Other languages that are written without spaces are not cut well. A word
    outside of the vocabulary is UNK, and spaces are put where they are usual and not where they were:
    text does not come back as it was. Learners meet it first and can read every token; a translator
    for use wants "bpe", to which no word is unknown.
    """

    def __init__(self, words: Sequence[str], added: Sequence[tuple[str, bool]] = ()) -> None:
        """``added`` are pieces put behind the words, each with whether it is a tag."""
        self._words = list(words)
        self._added = list(added)
        self._pieces = [*SPECIAL_PIECES, *self._words, *(piece for piece, _ in self._added)]
        self._ids = {piece: i for i, piece in enumerate(self._pieces)}
        self.tags = [self._ids[piece] for piece, control in self._added if control]
        self._unspoken = {*range(NUM_SPECIAL), *self.tags} - {UNK}
        terms = sorted((piece for piece, control in self._added if not control), key=len, reverse=True)
        self._terms = re.compile("|".join(map(_whole, terms))) if terms else None

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, character_coverage: float = 1.0) -> "Words":
        """The most frequent words of ``texts``, at most ``vocab_size`` with the special tokens.

        Words seen only once are left out, where others are seen more often: it is from them that a
        model learns what to do with an unknown one. There is no use for ``character_coverage``.

        Raises:
            DataError: if there is no text at all.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(word for word in cut(normalize(text)) if len(word) <= MAX_PIECE_LENGTH)
        if not counts:
            raise DataError("there is no text to learn a vocabulary from")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        often = [word for word in ranked if counts[word] > 1]
        return cls((often or ranked)[: vocab_size - NUM_SPECIAL])

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "Words":
        """Reads what ``to_bytes`` wrote, trusting nothing in it."""
        try:
            if len(content) > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
            about = parse_json(content)
            if about["format"] != FORMAT or about["version"] != VERSION:
                raise ValueError(f"the format is {about['format']!r}, version {about['version']!r}")
            words = [_checked(word) for word in about["words"]]
            added = [(_checked(piece), control is True) for piece, control in about["added"]]
            if len(words) + len(added) > MAX_WORDS:
                raise ValueError(f"more than {MAX_WORDS:,} words")
            if len({*SPECIAL_PIECES, *words, *(piece for piece, _ in added)}) < NUM_SPECIAL + len(words) + len(added):
                raise ValueError("a word stands in it twice")
        except (ValueError, LookupError, TypeError) as error:
            raise ModelFolderError(
                f"{name}: is not a vocabulary of words, or damaged ({shown(error, 200)}); copy the model folder again"
            ) from None
        return cls(words, added)

    @property
    def vocab_size(self) -> int:
        return len(self._pieces)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without begin and end; an empty text has none."""
        return [[self._ids.get(word, UNK) for word in self._cut(normalize(text))] for text in texts]

    def _cut(self, text: str) -> Iterator[str]:
        start = 0
        for term in self._terms.finditer(text) if self._terms else ():
            yield from cut(text[start : term.start()])
            yield term[0]
            start = term.end()
        yield from cut(text[start:])

    def sampled(self, texts: Sequence[str], dropout: float, seed: int) -> list[list[int]]:
        """Words are cut in one way only: raises ConfigError unless ``dropout`` is 0."""
        if dropout:
            raise ConfigError(
                'data.subword_dropout cuts words anew in each pass, which data.tokenizer = "words" cannot; set it to 0'
            )
        return self.encode(texts)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence. PAD, BOS, EOS and tags leave no trace, UNK is ⁇."""
        return [
            join([UNKNOWN if i == UNK else self._pieces[i] for i in sequence if i not in self._unspoken])
            for sequence in ids
        ]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The spelling of each token."""
        return [self._pieces[i] for i in ids]

    def surfaces(self, text: str) -> list[str]:
        """The words of a text, as they stand in it, known or not."""
        return list(self._cut(normalize(text)))

    def id_of(self, piece: str) -> int:
        """The token that is spelt so.

        Raises:
            DataError: if there is none.
        """
        if piece not in self._ids:
            raise unknown_piece(piece, self.pieces(self.tags))
        return self._ids[piece]

    def appended(self, pieces: Sequence[str], control: bool) -> "Words":
        """This vocabulary and, behind it, ``pieces``: tags if ``control``, else terms, of several words or one.

        Raises:
            DataError: for a piece that is in the vocabulary already or cannot be.
        """
        added = [(piece, control) for piece in new_pieces(pieces, self._ids)]
        return Words(self._words, [*self._added, *added])

    def to_bytes(self) -> bytes:
        """A JSON file of the words in the order of their ids, behind the four special tokens."""
        about = {"format": FORMAT, "version": VERSION, "words": self._words, "added": self._added}
        return json.dumps(about, ensure_ascii=False, indent=0).encode()


def cut(text: str) -> Iterator[str]:
    """The words of a normalized text; put together they are the text without its spaces."""
    for match in TOKEN.finditer(text):
        if match.lastgroup == "han":
            yield from _dictionary_words(match[0])
        else:
            yield match[0]


def _dictionary_words(text: str) -> list[str]:
    # Reads a dictionary of some megabytes, which nobody else should wait for.
    import rjieba

    return list(rjieba.cut(text, False))


def join(words: Sequence[str]) -> str:
    """Words as a text, with spaces where they are usual."""
    parts, quoted = list(words[:1]), words[:1] == ['"']
    for left, right in pairwise(words):
        glued = (
            WITHOUT_SPACES.match(left[-1])
            or WITHOUT_SPACES.match(right[0])
            or (left in OPENING or right in CLOSING)
            or (left == '"' and quoted)
            or (right == '"' and quoted)
        )
        if right == '"':
            quoted = not quoted
        parts.append(right if glued else f" {right}")
    return "".join(parts)


def _whole(term: str) -> str:
    """Matches a term, and not as a part of a longer word."""
    return rf"(?<!{LETTER}){re.escape(term)}(?!{LETTER})"


def _checked(word: Any) -> str:
    if not isinstance(word, str) or not 0 < len(word) <= MAX_PIECE_LENGTH:
        raise ValueError(f"{str(word)[:20]!r} is no word")
    word.encode()  # a half of a surrogate pair is no character
    if normalize(word) != word:
        raise ValueError(f"{word[:20]!r} is not as it would be written")
    return word
