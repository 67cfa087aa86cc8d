"""What every group of settings is made of."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """A group of settings: frozen, and with no room for a key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    FILES: ClassVar[tuple[str, ...]] = ()
    """Keys that name files, whose contents count and not the place."""
    MAY_CHANGE: ClassVar[tuple[str, ...]] = ()
    """Keys that may be other ones when a run is gone on with."""
    EARLIER_DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    """What a key's default was in an earlier version, where that is no reason not to go on with a run."""
    ALTERNATIVES: ClassVar[tuple[str, ...]] = ()
    """Keys that say the same in several ways: who gives one takes back what was said before by another."""
    SHORTHANDS: ClassVar[tuple[str, ...]] = ()
    """Keys that may be given and stand for others."""

    @classmethod
    def spelt_out(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings ``given``, with those that they imply."""
        return dict(given)

    def may_follow(self, key: str, before: Any) -> bool:
        """Whether a run that was started with ``before`` may be gone on with as this section has it."""
        if key in self.EARLIER_DEFAULTS and getattr(self, key) == type(self).model_fields[key].default:
            return bool(before == self.EARLIER_DEFAULTS[key])
        return key in self.MAY_CHANGE

    def implied(self) -> set[str]:
        """The keys whose values follow from others, so that a recipe need not state them."""
        return set()


Texts = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]
"""Several names; one alone needs no brackets."""

SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")


def seconds(given: Any) -> Any:
    """``"90s"``, ``"20m"``, ``"1h30m"``, ``"1.5h"`` -> seconds; a number is seconds already."""
    if not isinstance(given, str):
        return given
    if not DURATION.fullmatch(given):
        raise ValueError(f"{given!r} is no time, expected one with its unit, such as 20m or 1h30m")
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", given))


Duration = Annotated[float, BeforeValidator(seconds)]
"""A time in seconds; a text such as ``20m`` or ``1h30m`` will do."""
