"""Texts to translations: a translator's setup and an engine that runs its model. Loads no torch."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from seqloom.config import DecodingConfig
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.errors import UserError
from seqloom.tasks.engine import BATCH_TOKENS, Engine
from seqloom.tasks.setup import TranslatorSetup


class Answer(NamedTuple):
    """The translations of one sentence, best first."""

    texts: list[str]
    scores: list[float]
    finished: list[bool]
    """Whether each came to its end; False for one that was cut at its greatest length."""
    lengths: list[int]
    """Tokens of each translation, without end."""
    source_length: int
    """Tokens of the source, without tag and end."""


EMPTY = Answer([""], [0.0], [True], [0], 0)
"""The translation of an empty text."""


def translate(
    setup: TranslatorSetup,
    engine: Engine,
    tokens: Sequence[list[int]],
    decoding: DecodingConfig | None = None,
    n_best: int = 1,
    batch_tokens: int = BATCH_TOKENS,
    prefixes: Sequence[str] | None = None,
) -> list[Answer]:
    """Translates texts that the model can read whole; :mod:`seqloom.pipeline` cuts longer ones.

    Args:
        setup: what the model is.
        engine: what runs it.
        tokens: of each text, without tag and end.
        decoding: the search; the model's own unless given.
        n_best: translations of each.
        batch_tokens: bounds what is translated together, and changes nothing but the speed.
        prefixes: what each translation starts with.

    Raises:
        UserError: for a least length or a prefix that leaves no room for an end.
    """
    decoding = setup.bounded(decoding or setup.decoding)
    most = min(decoding.max_length, engine.longest or decoding.max_length)
    if decoding.min_length >= most:
        raise UserError(
            f"decoding.min_length is {decoding.min_length:,}, and an output of this model has at most {most:,} tokens "
            f"with its end; give less"
        )
    rows = [row for row, ids in enumerate(tokens) if ids]
    forced = None
    if prefixes:
        from seqloom.tasks.prefix import prefixes_of

        forced = prefixes_of(setup.tgt_tokenizer).forced([prefixes[row] for row in rows], most)
    candidates = n_best if decoding.mbr == "none" else decoding.beam
    found = engine.search(setup.framed([tokens[row] for row in rows]), decoding, candidates, batch_tokens, forced)
    spelt = iter(setup.tgt_tokenizer.decode([each.tokens for best in found for each in best]))
    answers = [EMPTY] * len(tokens)
    for row, best in zip(rows, found, strict=True):
        own = list(islice(spelt, len(best)))
        chosen = _agreeing(own, best, decoding.mbr, setup.languages[1])[:n_best]
        answers[row] = Answer(
            [own[i] for i in chosen],
            [best[i].score for i in chosen],
            [best[i].finished for i in chosen],
            [len(best[i].tokens) for i in chosen],
            len(tokens[row]),
        )
    return answers


def _agreeing(texts: Sequence[str], found: Sequence[Hypothesis], mbr: str, language: str) -> list[int]:
    """The order of what was found: as it is, or by expected utility."""
    order = list(range(len(found)))
    if mbr != "none":
        from seqloom.decoding.mbr import expected_utility
        from seqloom.metrics.similarity import SIMILARITIES

        similar = SIMILARITIES[mbr]
        utility = expected_utility(texts, [each.draws for each in found], lambda own: similar(own, language))
        order.sort(key=lambda i: -utility[i])
    return order
