"""What a wall-clock budget is to be spent on: sizes, vocabulary, dropout, rate, from data and speed.

A plan proposes settings; whatever the user has set stands. The numbers here are rules of thumb that
were fitted to measurements (docs/budget.md), not laws.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from seqloom.data.readers import Example
from seqloom.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """Settings by ``section.key``, and why."""

    settings: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def __add__(self, other: "Plan") -> "Plan":
        return Plan({**self.settings, **other.settings}, [*self.reasons, *other.reasons])


SAMPLE = 20_000
"""Pairs that are looked at closely; all are counted."""

PIECES_PER_ROOT_WORD = 8
FEWEST_PIECES, MOST_PIECES = 500, 32_000


def plan_vocabulary(examples: Iterable[tuple[int, Example]], several_directions: bool = False) -> Plan:
    """A vocabulary that grows with the square root of the text, one for both sides if they share letters.

    ``several_directions`` share one in any case.
    """
    letters = Counter[str](), Counter[str]()
    words = [0.0, 0.0]
    pairs = 0
    for _, example in examples:
        if example.left_out:
            continue
        pairs += 1
        if pairs <= SAMPLE:
            for side, text in enumerate((example.src, example.tgt)):
                letters[side].update(filter(str.isalpha, text))
                words[side] += _words(text)
    if not pairs:
        return Plan()  # preparing will say what is wrong
    shared = _overlap(*letters)
    scale = pairs / min(pairs, SAMPLE)
    joint = several_directions or shared >= 0.5
    words_to_cover = (sum(words) if joint else max(words)) * scale
    wanted = min(MOST_PIECES, max(FEWEST_PIECES, _rounded(PIECES_PER_ROOT_WORD * math.sqrt(words_to_cover))))
    settings: dict[str, Any] = {"data.vocab_size": wanted, "data.joint_vocab": joint}
    if not joint:
        settings["model.tied_embeddings"] = "output"
    sides = "both languages share their letters" if shared >= 0.5 else "the languages are written differently"
    return Plan(
        settings,
        [
            f"vocabulary: {wanted:,} pieces {'for both sides' if joint else 'a side'}; "
            f"{pairs:,} pairs with about {sum(words) * scale:,.0f} words, and {sides}"
        ],
    )


@dataclass(frozen=True)
class Size:
    """A model that has proved its worth somewhere. Layers are those of encoder and decoder."""

    d_model: int
    num_heads: int
    layers: tuple[int, int]
    patience: float = field(default=1.0, compare=False)
    """Of the passes that are wanted, the share without which a smaller model learns more."""

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "model.d_model": self.d_model,
            "model.d_ff": 4 * self.d_model,
            "model.num_heads": self.num_heads,
            "model.num_encoder_layers": self.layers[0],
            "model.num_decoder_layers": self.layers[1],
            "model.norm": "pre",
        }

    @property
    def parameters(self) -> int:
        """Of the stacks: 12 D^2 in an encoder layer, 16 D^2 in a decoder layer."""
        return (12 * self.layers[0] + 16 * self.layers[1]) * self.d_model**2

    def within(self, given: Mapping[str, Any]) -> "Size":
        """This one as far as settings of the model leave it free."""
        width = given.get("d_model", self.d_model)
        heads = self.num_heads if width == self.d_model else _heads(width)
        return Size(width, given.get("num_heads", heads), _layers(self.layers, given), self.patience)


@dataclass(frozen=True)
class RecurrentSize:
    """The same for a recurrent model."""

    d_model: int
    layers: tuple[int, int]
    patience: ClassVar[float] = 1.0

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "model.d_model": self.d_model,
            "model.num_encoder_layers": self.layers[0],
            "model.num_decoder_layers": self.layers[1],
        }

    @property
    def parameters(self) -> int:
        """Of the stacks: 6 D^2 in an encoder layer of LSTMs both ways, 8 D^2 in a decoder layer and 7 D^2 around it."""
        return (6 * self.layers[0] + 8 * self.layers[1] + 7) * self.d_model**2

    def within(self, given: Mapping[str, Any]) -> "RecurrentSize":
        return RecurrentSize(given.get("d_model", self.d_model), _layers(self.layers, given))


def _layers(layers: tuple[int, int], given: Mapping[str, Any]) -> tuple[int, int]:
    encoder, decoder = layers
    return given.get("num_encoder_layers", encoder), given.get("num_decoder_layers", decoder)


NARROWEST_HEAD = 32
MOST_HEADS = 16


def _heads(width: int) -> int:
    """Heads for a width that no size here has, each of them of an even width if it can be: rotary positions need it."""
    heads = [count for count in range(1, MOST_HEADS + 1) if width % count == 0 and width >= count * NARROWEST_HEAD]
    return max(heads, key=lambda count: (width // count % 2 == 0, count), default=1)


TRANSFORMERS = [
    Size(128, 4, (2, 2)),
    Size(128, 4, (4, 4), patience=0.2),
    Size(192, 6, (4, 4)),
    Size(256, 8, (4, 4)),
    Size(384, 6, (5, 5)),
    Size(512, 8, (6, 6)),
    Size(1024, 16, (6, 6)),
]
RECURRENT = [RecurrentSize(width, (1, 1)) for width in (128, 192, 256, 384, 512, 768, 1024)]
SIZES: dict[str, Sequence[Size | RecurrentSize]] = {"transformer": TRANSFORMERS, "recurrent": RECURRENT}
"""By ``model.kind``, the smallest first."""

LARGEST = {1_500_000: TRANSFORMERS[3].parameters, 20_000_000: TRANSFORMERS[5].parameters}
"""Weights that so many target tokens can fill; a larger model learns them by heart."""

USED = 0.9
"""Of the time, for training; the rest goes into scores and saving."""

STEPS_WANTED = 7_000
"""Updates below which it is better to make them of less text each."""

ROW_SHARE = 1.15
"""Positions that a batch bounds, to real target tokens."""


def plan_size(
    tokens: int,
    seconds: float,
    speed: Callable[[Mapping[str, Any]], float],
    sizes: Sequence[Size | RecurrentSize] = TRANSFORMERS,
    given: Mapping[str, Any] | None = None,
    longest: int = 1,
) -> Plan:
    """The largest of ``sizes`` that still sees ``tokens`` target tokens often enough within ``seconds``.

    Args:
        tokens: target tokens of all pairs.
        seconds: for training, scores and saving.
        speed: target tokens a second with settings, measured.
        sizes: the smallest first.
        given: settings of the model by their names that are not to be chosen.
        longest: positions of the longest sequence, which has to fit into a batch.

    Raises:
        ConfigError: if the settings given suit none of the sizes.
    """
    largest = next((weights for most, weights in LARGEST.items() if tokens < most), sizes[-1].parameters)
    needed = 40 if tokens < 1_500_000 else 10 if tokens < 20_000_000 else 3
    chosen, passes = None, 0.0
    tried: list[str] = []
    refused: list[ConfigError] = []
    for size in dict.fromkeys(size.within(given or {}) for size in sizes):
        if chosen and size.parameters > largest:
            break
        try:
            rate = speed(size.settings)
        except ConfigError as error:  # a width that is no multiple of the heads given, say
            refused.append(error)
            continue
        found = rate * seconds * USED / tokens
        enough = needed * size.patience
        tried.append(f"{size.d_model} x {_told(size.layers)} at {rate:,.0f} tokens/s makes {found:.0f} of {enough:.0f}")
        if chosen and found < enough:
            break
        chosen, passes = size, found
    if chosen is None:
        raise refused[0]
    # How often a weight can see a token decides how easily it learns it by heart.
    dropout = 0.1 + 0.05 * math.log2(max(1.0, passes * chosen.parameters / tokens / 45))
    dropout = round(min(0.4, dropout), 2)
    wanted = round(passes * tokens * ROW_SHARE / STEPS_WANTED / 512)
    batch = 512 * max(2, min(8, wanted), math.ceil(longest / 512))
    updates = passes * tokens * ROW_SHARE / batch
    settings = {
        **chosen.settings,
        "model.dropout": dropout,
        "data.batch_tokens": batch,
        "training.schedule": "wsd",
        "training.learning_rate": round(1.5e-3 * 256 / chosen.d_model, 6),
        "training.warmup": int(min(400, max(1, updates / 8))),
        "training.average": 5,
    }
    return Plan(
        settings,
        [
            f"model: {chosen.d_model} wide, {_told(chosen.layers)} layers, the largest that makes enough passes over "
            f"{tokens:,} target tokens or as many as it can ({'; '.join(tried)})",
            f"dropout {dropout}, for about {passes:.0f} passes",
            f"batches of {batch:,} tokens, about {updates:,.0f} steps; the rate stays at "
            f"{settings['training.learning_rate']} and falls to zero in the last part",
        ],
    )


def _told(layers: tuple[int, int]) -> str:
    return f"{layers[0]}+{layers[1]}"


def _words(text: str) -> float:
    """Words, about: two Chinese characters make one."""
    unspaced = sum("\u3040" <= character <= "\u9fff" for character in text)
    return len(text.split()) + unspaced / 2


def _overlap(a: Counter[str], b: Counter[str]) -> float:
    """The share of the letters of two texts that is common to both."""
    total_a, total_b = max(1, a.total()), max(1, b.total())
    return sum(min(a[letter] / total_a, b[letter] / total_b) for letter in a)


def _rounded(number: float) -> int:
    """To two digits: nobody should read more into it."""
    unit = 10 ** max(0, int(math.log10(max(1.0, number))) - 1)
    return round(number / unit) * unit
