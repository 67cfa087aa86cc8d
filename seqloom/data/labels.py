"""The classes of texts, by name."""

import json
import unicodedata
from collections.abc import Iterable, Sequence

from seqloom.data.tokenizers import normalize
from seqloom.errors import ModelFolderError, shown
from seqloom.files import parse_json

MAX_LABELS = 1 << 16
MAX_LABEL_LENGTH = 1_000


def is_name(label: str) -> bool:
    """Whether it can be a label: short, as it would be written, and with nothing in it that steers a terminal."""
    return (
        0 < len(label) <= MAX_LABEL_LENGTH
        and normalize(label) == label
        and "Cc" not in map(unicodedata.category, label)
    )


class Labels:
    """Names of classes <-> their numbers; each name is one token, so that a store holds it like a text."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "Labels":
        """Reads what ``to_bytes`` wrote, trusting nothing in it."""
        try:
            names = parse_json(content)
            if not isinstance(names, list) or not 2 <= len(names) <= MAX_LABELS:
                raise ValueError(f"expected a list of 2 to {MAX_LABELS:,} names")
            if not all(isinstance(each, str) and is_name(each) for each in names):
                raise ValueError("one of them is no name")
            if names != sorted(set(names)):
                raise ValueError("they are not in order, or one stands twice")
            "".join(names).encode()  # a half of a surrogate pair is no character
        except ValueError as error:
            raise ModelFolderError(
                f"{name}: is no list of labels, or damaged ({shown(error, 200)}); copy the model folder again"
            ) from None
        return cls(names)

    def __len__(self) -> int:
        return len(self.names)

    def number(self, name: str) -> int:
        """That of a class that there is."""
        return self._numbers[name]

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    @property
    def vocab_size(self) -> int:
        return len(self.names)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The number of each label; an empty one has none."""
        return [[self._numbers[text]] if text else [] for text in texts]

    def to_bytes(self) -> bytes:
        """A JSON list in the order of their numbers."""
        return json.dumps(self.names, ensure_ascii=False, indent=0).encode()
