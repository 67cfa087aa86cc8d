"""How languages are written, as far as several parts have to know it."""

import re

WITHOUT_SPACES = {
    "zh": {"zh", "zho", "chi", "cmn", "yue", "wuu", "gan", "hak", "hsn", "lzh"},
    "ja": {"ja", "jpn"},
    "th": {"th", "tha"},
    "lo": {"lo", "lao"},
    "km": {"km", "khm"},
    "my": {"my", "mya", "bur"},
}
"""Languages that write no spaces between words, with all the codes that they go by."""

MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u109f\u1780-\u17d3"
"""Vowel signs and accents, which Python does not count among the letters; for a character class."""


def subtags(language: str) -> list[str]:
    """``zh_Hant-TW`` -> ``["zh", "hant", "tw"]``."""
    return re.split("[-_@.]", language.strip().lower())


def without_spaces(language: str) -> str:
    """A key of ``WITHOUT_SPACES`` for the code of such a language, such as ``zho_Hans``; empty for any other."""
    first, *others = subtags(language)
    if "latn" in others:  # Pinyin, Romaji
        return ""
    return next((short for short, codes in WITHOUT_SPACES.items() if first in codes), "")
