"""Text that was decoded by the wrong encoding, told by what that makes of it."""

import re

import numpy as np
from numpy.typing import NDArray

from seqloom.data.checks.characters import CLASSES, Texts

_LATE = "".join(bytes([byte]).decode("cp1252", "ignore") for byte in range(0x80, 0xC0)) + "\x80-\x9f"
"""What cp1252 and Latin-1 make of a byte of UTF-8 that is not the first of its character."""

_CYRILLIC_LATE = "".join(bytes([byte]).decode("cp1251", "ignore") for byte in range(0x80, 0xC0))

MOJIBAKE = re.compile(
    "|".join(
        (
            f"[ÂÃ][{_LATE}]",  # ü is Ã¼, « is Â«
            f"â[{_LATE}]{{2}}|â€œ",  # quotes and dashes
            f"[A-Za-z][ÄÅ][{_LATE}](?=[a-z])",  # ł is Å‚
            f"(?:[Ä-ß][{_LATE}]){{2,}}",  # Cyrillic, Greek
            f"(?:[à-ï][{_LATE}]{{2}}){{2,}}|[ðÐ][{_LATE}]{{3}}",  # Chinese, emoji
            f"(?:[РС][{_CYRILLIC_LATE}]){{3,}}",  # the same as cp1251
            "[A-Za-z]├[\u00a0-\u00ff\u2500-\u259f]",  # ü as cp437
            "[\u00a1-\u00bf]?(?:[\u00c0-\u00fe][\u00a1-\u00bf]{0,6}){6,}",  # GBK as Latin-1
            "锟斤拷|烫烫烫|屯屯屯",  # U+FFFD, and memory never written, as GBK
        )
    )
)

HAN_IN_WORD = re.compile("[A-Za-zÀ-ÿ][\u4e00-\u9fff\ue000-\uf8ff]{1,2}(?=[a-zß-ÿ])")
"""ü as GBK; only where the language does not write Chinese characters."""

TRIGGERS = "РС├锟烫屯"
"""One of these, or a character of Latin-1, is in all that ``MOJIBAKE`` finds."""

LOOKED_AT = 64
"""Bytes of a text."""

LEAST_UNDONE = 0.7
"""Share of them that become text again."""

LEAST_HAN = 4


def mojibake(side: Texts, writes_han: bool) -> NDArray[np.int64]:
    """The texts that were decoded wrongly."""
    points = side.characters
    suspicious = (points >= 0x80) & (points <= 0xFF)
    for trigger in TRIGGERS:
        suspicious |= points == ord(trigger)
    found = [row for row in side.rows_at(np.flatnonzero(suspicious)).tolist() if MOJIBAKE.search(side.texts[row])]
    han = side.counts(side.classes == CLASSES["Han"])
    if writes_han:
        found += [row for row in np.flatnonzero(han >= LEAST_HAN).tolist() if _is_utf8_as_gbk(side.texts[row])]
    else:
        found += [row for row in np.flatnonzero(han).tolist() if HAN_IN_WORD.search(side.texts[row])]
    return np.unique(np.array(found, np.int64))


def _is_utf8_as_gbk(text: str) -> bool:
    """Whether its bytes in GBK make sense as UTF-8, which those of Chinese in truth hardly ever do."""
    raw = text[:LOOKED_AT].encode("gbk", "ignore")[:LOOKED_AT]
    foreign = sum(map((0x7F).__lt__, raw))
    undone = 3 * sum(map("\u0800".__le__, raw.decode("utf-8", "ignore")))
    return undone >= LEAST_UNDONE * foreign > 0
