"""Text that an output has to start with -> the tokens that say it."""

import re
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from seqloom.data.tokenizers import NUM_SPECIAL, SPACE, UNK, Tokenizer
from seqloom.decoding.constraints import Prefix
from seqloom.errors import UserError

BYTE = re.compile("<0x[0-9A-F]{2}>")
"""How SentencePiece spells a byte, which is no text."""

OPEN_TOKENS = 4
"""At most so many tokens of an unfinished word may be cut in another way."""


@lru_cache(maxsize=4)
def prefixes_of(tokenizer: Tokenizer) -> "Prefixes":
    """The same for one tokenizer each time: to look through its vocabulary takes a while."""
    return Prefixes(tokenizer)


class Prefixes:
    """Turns texts that outputs have to start with into what a search can be held to.

    A tokenizer that sees a whole word often cuts it elsewhere than behind the part of it that was
    given: "Jun" may be "J" and "un", "Junge" a token of its own. So the word that the text ends with
    is only spelt, in any tokens, the last of which may say more. White space behind it ends the word,
    and another one follows.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.pieces = tokenizer.pieces(range(tokenizer.vocab_size))
        self.characters = torch.tensor([len(piece) for piece in self.pieces])
        """How many characters each token spells, [V]."""
        self.subwords = any(piece.startswith(SPACE) for piece in self.pieces)
        tags = {*range(NUM_SPECIAL), *tokenizer.tags}
        self.text = [i for i, piece in enumerate(self.pieces) if i not in tags and not BYTE.fullmatch(piece)]
        self.by_start: dict[str, list[int]] = {"": self.text}
        for i in self.text:
            self.by_start.setdefault(self.pieces[i][0], []).append(i)

    def forced(self, texts: Sequence[str], most: int) -> list[Prefix]:
        """One prefix for each of ``texts``; an empty text forces nothing.

        Raises:
            UserError: for a text that the vocabulary cannot spell, or that may take ``most`` tokens, as many as an
                output has.
        """
        each = {text: self._forced(text) for text in dict.fromkeys(texts)}
        for text, prefix in each.items():
            if prefix.longest >= most:
                raise UserError(
                    f"the output cannot start with {text!r:.60}: that may take {prefix.longest:,} tokens, and an "
                    f"output has at most {most:,} with its end, by decoding.max_length or the model's places; give less"
                )
        return [each[text] for text in texts]

    def _forced(self, text: str) -> Prefix:
        (ids,) = self.tokenizer.encode([text])
        if UNK in ids:
            raise UserError(f"the output cannot start with {text!r:.60}: the vocabulary cannot spell all of it")
        if not ids:
            return Prefix()
        if text[-1].isspace() or text[-1] == SPACE:
            return Prefix(ids, self._saying(SPACE if self.subwords else "")[None], self.characters)
        first = self._word_start(ids)
        rest = "".join(self.pieces[i] for i in ids[first:])
        steps = len(rest) if self.subwords else 1
        spelling = torch.stack([self._saying(rest[at:]) for at in range(steps)]) if rest else None
        return Prefix(ids[:first], spelling, self.characters)

    def _word_start(self, ids: Sequence[int]) -> int:
        """Where the last word begins, as far as it is spelt in text."""
        first = len(ids)
        while first and len(ids) - first < OPEN_TOKENS and not BYTE.fullmatch(self.pieces[ids[first - 1]]):
            first -= 1
            if not self.subwords or self.pieces[ids[first]].startswith(SPACE):
                break
        return first

    def _saying(self, rest: str) -> Tensor:
        """The tokens that say ``rest`` and more, or of subwords a beginning of it, as a boolean [V]."""
        allowed = torch.zeros(len(self.pieces), dtype=torch.bool)
        allowed[
            [
                i
                for i in self.by_start.get(rest[:1], [])
                if self.pieces[i].startswith(rest) or (self.subwords and rest.startswith(self.pieces[i]))
            ]
        ] = True
        return allowed
