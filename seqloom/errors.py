"""Every error that a user can meet, and the exit status that it ends the program with.

    SeqloomError                 1   a fault of ours, said in one sentence
    └── UserError                2   something that the user can put right
        ├── ConfigError              a recipe, a flag or a ``--set`` that cannot be used
        ├── DataError                a corpus that cannot be read or must not be used
        ├── ModelFolderError         a model folder that is missing, damaged or of another version
        ├── RunError                 a run folder that cannot be started, resumed or continued
        └── DivergenceError          a training whose loss is no longer a number

The message is one sentence in the user's words: what happened, where (``file:line``), what was
expected and what to do. Nothing else is printed unless ``--debug`` is given.
"""

import collections.abc
import difflib
import errno
import itertools
import unicodedata

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Errors of the system where there is no room."""

LISTED = 10
"""Names that a message has room for."""


class SeqloomError(Exception):
    """Base of all errors raised on purpose; ``exit_status`` is what the program ends with."""

    exit_status = 1


class UserError(SeqloomError):
    """Something that the user can put right."""

    exit_status = 2


class ConfigError(UserError):
    """A recipe, a flag or a ``--set`` that cannot be used."""


class DataError(UserError):
    """A corpus that cannot be read or must not be used."""


class ModelFolderError(UserError):
    """A model folder that is missing, damaged or of another format version."""


class RunError(UserError):
    """A run folder that cannot be started, resumed or continued."""


class DivergenceError(UserError):
    """A training whose loss is no longer a number."""


def shown(text: object, most: int = 60) -> str:
    """Something that was read, as a message may quote it: on one line, cut, and with nothing that steers a terminal."""
    start = str(text)[: most + 1]
    cut = start[:most] + "..." if len(start) > most else start
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"  # such as the wide space of Chinese
        else character.encode("unicode_escape").decode()
        for character in cut
    )


def listed(names: collections.abc.Collection[object]) -> str:
    """Names with commas between; of many the first ones, and how many more."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(shown(name) for name in itertools.islice(names, LISTED)) + more


def did_you_mean(name: str, known: collections.abc.Collection[str]) -> str:
    """What to say of a name that there is not."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
