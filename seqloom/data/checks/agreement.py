"""What must be the same on both sides of a pair: numbers, addresses, placeholders.

Every doubt about a number is the pair's: 5 may be "five", 3月 "March", 3.5万 35,000, 15:00 3 p.m. and 80年代 the 1980s
without anything being wrong, and Chinese numerals and full-width digits are numbers like others.
"""

import re
import unicodedata
from collections import Counter

ADDRESS = re.compile(
    r"(?:https?://|www\.)[^\s<>\"'，。；：！？、（）【】「」『』《》]+|[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,255}",
    re.ASCII,
)
PLACEHOLDER = re.compile(
    r"%(?:\d+\$)?[-+#0]?\d*(?:\.\d+)?[sdifuxXcge@](?![A-Za-z])|%\(\w+\)[a-z]|\$?\{[\w.:]*\}", re.ASCII
)

NUMBER = re.compile(r"\d+(?:[.,'’ \u00a0\u202f]\d+)*")

NUMERAL = re.compile(
    r"[〇零一二两三四五六七八九十百千万亿兩萬億半]"
    r"|\b(?:hundred|thousand|million|billion|trillion|dozen|hundert|tausend|millionen?|milliarden?|billionen?)"
    r"|\d ?(?:[kKmMbB]|Mio|Mrd|Mill)\b"
    r"|\d ?(?:世[纪紀]|年代)|\d0(?:['’]?s|er)\b",
    re.IGNORECASE,
)
"""Where something is counted in words, or a decade is named, its digits may stand otherwise on the other side."""

SURELY_DIGITS = 3
"""A number of so many digits, closing zeros not counted, stays in digits."""


def addresses_differ(src: str, tgt: str) -> bool:
    """Whether one side has an address of the web or of mail that the other has not."""
    return _addresses(src) != _addresses(tgt)


def _addresses(text: str) -> set[str]:
    return {found.rstrip(".,;:!?)]}").lower() for found in ADDRESS.findall(text)}


def placeholders_differ(src: str, tgt: str) -> bool:
    """Whether one side has a placeholder more often than the other."""
    return Counter(PLACEHOLDER.findall(src)) != Counter(PLACEHOLDER.findall(tgt))


def numbers_differ(src: str, tgt: str) -> bool:
    """Whether a number is surely on one side alone, or another one in its place."""
    in_order = _numbers(src), _numbers(tgt)
    ours, theirs = map(set, in_order)
    lost, new = ours - theirs, theirs - ours
    # 12 345 may be one number to us and two to the other side.
    if "".join(in_order[0]) == "".join(in_order[1]):
        return False
    for number in list(lost):
        hour = next((other for other in new if _same_hour(number, other)), None)
        if hour is not None:
            lost.remove(number)
            new.remove(hour)
    if lost and new and len(ours) == len(theirs) and max(map(len, lost | new)) >= 2:
        return not (NUMERAL.search(src) or NUMERAL.search(tgt))
    sure = {number for number in lost | new if len(number) >= SURELY_DIGITS}
    return bool(sure) and not (NUMERAL.search(src) or NUMERAL.search(tgt))


def _same_hour(one: str, other: str) -> bool:
    """Whether these may be an hour by a clock of 12 and one of 24."""
    return max(len(one), len(other)) <= 2 and abs(int(one) - int(other)) == 12 and max(int(one), int(other)) <= 24


def _numbers(text: str) -> list[str]:
    """Each number in digits of any script, as its digits without zeros before and behind."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    found = (re.sub(r"\D", "", number) for number in NUMBER.findall(text))
    digits = ("".join(str(int(digit)) for digit in number) if not number.isascii() else number for number in found)
    return list(dict.fromkeys(stripped for number in digits if (stripped := number.strip("0"))))
