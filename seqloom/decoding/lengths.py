"""How long an output may be and must be. Loads no torch."""

from seqloom.config import DecodingConfig

ROOM = 10
"""Tokens beyond a multiple of the source's that an output may have, and beyond its prefix and its least length."""

STEP = 16
"""A bound by the source is rounded up to a multiple of this, so that sentences of about one length have the same: what
searches with one bound for many gets fewer and fuller batches, and a sentence keeps its own in any company."""


def length_bounds(read: int, config: DecodingConfig, places: int | None = None, forced: int = 0) -> tuple[int, int]:
    """The greatest and the least length of an output, its end counted in the first.

    Args:
        read: tokens of its source, with the end.
        config: the settings; a bound by the training data is one for those who know these.
        places: how many tokens the model can tell apart by their position; None for any number.
        forced: how many tokens the output's prefix may take.
    """
    longest = min(config.max_length, places or config.max_length)
    shortest = max(int(read * config.min_length_ratio), config.min_length)
    if config.max_length_ratio and config.max_length_ratio != "auto":
        by_source = max(int(read * config.max_length_ratio), forced, shortest) + ROOM
        longest = min(longest, -(-by_source // STEP) * STEP)
    return longest, shortest
