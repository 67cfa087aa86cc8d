"""Numbers that a translation has lost or changed.

Only what is written in digits is compared, and every doubt is the translation's: 5 may become
"five", 3月 "March", 3.5万 35,000, 15:00 3 p.m. and the '80s 1980s without anything being wrong.
"""

import re

from seqloom.data.languages import subtags

NUMBER = re.compile(
    r"(?<!\d)\d{1,3}(?:[,.'’ \u00a0\u202f，．]\d{3})+(?!\d)"  # in groups of three
    r"|\d+"
)

MONTH = re.compile(r"(?<!\d)\d{1,2}(?= ?月)")

NUMERAL = r"[〇零二两三四五六七八九十百千万亿兩萬億]|一[〇零一二两三四五六七八九十百千万亿兩萬億]|半"
NUMBER_WORDS = {
    language: re.compile(words, re.IGNORECASE | re.VERBOSE)
    for language, words in {
        "en": r"""\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve
            |(?:twen|thir|for|four|fif|six|seven|eigh|nine)(?:teen|ty|teenth|tieth)|hundred|thousand|million|billion
            |first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|dozen|half|quarter|couple|pair|twin|twice
            |once|noon|midnight)s?\b""",
        "de": r"""\b(?:null|eins|zwei|zwo|drei|vier|fünf|sech|sieb|acht|neun|zehn|elf|zwölf|halb|hälfte|viertel|paar
            |beide|dutzend|erst|dritt|einmal|mittag|mitternacht)|zehn|zig|ßig|hundert|tausend|million|milliard""",
        "fr": r"""\b(?:zéro|deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douz|treize|quatorze|quinz|seize|vingt
            |trent|quarant|cinquant|soixant|cent|mill|demi|moitié|quart|premi|second|tiers|midi|minuit)""",
        "es": r"""\b(?:cero|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce|trece|catorce|quince|diec|veint
            |trein|cuaren|cincuen|sesen|seten|ochen|noven|cien|mil|docena|medi[oa]|mitad|cuart|primer|segund|tercer)""",
        "zh": NUMERAL,
        "ja": NUMERAL,
    }.items()
}
"""What a number looks like when it is spelt, by language; rather too much than too little."""

SURELY_DIGITS = 3
"""A number with so many significant digits is not written in words where it was in digits."""


def numbers_differ(source: str, answer: str, languages: tuple[str, str], exact: bool = False) -> bool:
    """Whether a number of ``source`` is surely missing from ``answer``, or another one there instead.

    Args:
        source: the text that was translated.
        answer: its translation.
        languages: codes of both; a language without an entry in ``NUMBER_WORDS`` spells no number.
        exact: leaves the translation no doubt: each number must be in it, in digits, and no other.
    """
    theirs = _numbers(source)
    if not theirs:
        return False
    ours = _numbers(answer)
    # What is said twice may be said once, and a month may have its name.
    months = _numbers(" ".join(MONTH.findall(source)))
    lost = [number for number in theirs if number not in ours and number not in months]
    new = [number for number in ours if number not in theirs]
    if not (lost or (exact and new)):
        return False
    src, tgt = (subtags(language)[0] for language in languages)
    spelt_there, spelt_here = _spelt(source, src), _spelt(answer, tgt)
    if exact:
        return bool(lost) or len(new) > spelt_there
    # Where there may be a word such as "thousand" or 万, 3.5 may be 35,000.
    scaled = spelt_there + spelt_here > 0 or not NUMBER_WORDS.keys() >= {src, tgt}
    for number in list(lost):
        twins = (n for n in new if _same_time(number, n) or _same_fraction(number, n, f"{source} {answer}"))
        twin = next(twins, None)
        if twin is not None:
            lost.remove(number)
            new.remove(twin)
    if _digits(lost, scaled) == _digits(new, scaled):
        return False
    changed = len(lost) > spelt_here and len(new) > spelt_there
    return changed or sum(len(number.rstrip("0")) >= SURELY_DIGITS for number in lost) > spelt_here


def _numbers(text: str) -> list[str]:
    """Each number written in digits, of any script, but 0; the decimals of one are another."""
    found = ("".join(str(int(c)) for c in number if c.isdecimal()) for number in NUMBER.findall(text))
    return list(dict.fromkeys(number for number in (digits.lstrip("0") for digits in found) if number))


def _digits(numbers: list[str], scaled: bool) -> str:
    """Their digits in a row, the same for 12 345 and 12345 and, if ``scaled``, for 3.5 [万] and 35,000."""
    digits = "".join(numbers)
    return digits.replace("0", "") if scaled else digits


def _same_time(a: str, b: str) -> bool:
    """Whether these may be an hour by two clocks, a year with and without its century, or a century and its years."""
    low, high = sorted((a, b), key=len)
    if len(high) <= 2:
        return abs(int(a) - int(b)) == 12 and max(int(a), int(b)) <= 24
    if len(low) > 2 or len(high) != 4 or high[0] not in "12":
        return False
    return int(high[2:]) == int(low) or int(high[:2]) + 1 == int(low)


def _same_fraction(a: str, b: str, text: str) -> bool:
    """Whether these may be the decimals of 1.5 and 1.50; the longer one would stand so in ``text``."""
    low, high = sorted((a, b), key=len)
    return len(low) == 1 and high == low + "0" and re.search(rf"\d[.,]{high}(?!\d)", text) is not None


def _spelt(text: str, language: str) -> int:
    words = NUMBER_WORDS.get(language)
    return 0 if words is None else len(words.findall(text))
