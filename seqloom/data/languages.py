"""Languages: their codes, which of them a text is in, and from which to which is translated."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from seqloom.errors import ConfigError, UserError, shown
from seqloom.writing import subtags

SURE = 0.7
"""A language that is told with less confidence than this is asked for."""

LINES_TOGETHER = 10
"""Lines that are judged as one text: one line alone is often too short to tell."""

MAX_CHUNKS = 200

_ISO_639_1 = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en "
    "eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv "
    "ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne "
    "ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st "
    "su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
CODES = frozenset(_ISO_639_1.split())

CJK = {
    "ja": "\u3041-\u309f\u30a1-\u30fa\uff66-\uff9d",  # kana
    "ko": "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3",  # Hangul
    "zh": "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",  # Han, which all three write
}
OWN_SCRIPTS = {
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "hy": "\u0531-\u0587",
    "gu": "\u0a80-\u0aff",
    "pa": "\u0a00-\u0a7f",
    "or": "\u0b00-\u0b7f",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "kn": "\u0c80-\u0cff",
    "ml": "\u0d00-\u0d7f",
    "si": "\u0d80-\u0dff",
    "th": "\u0e00-\u0e7f",
    "lo": "\u0e80-\u0eff",
    "my": "\u1000-\u109f",
    "ka": "\u10a0-\u10ff",
    "km": "\u1780-\u17ff",
}
"""Languages that alone, or nearly so, write in a script of their own."""

_SCRIPTS = {language: re.compile(f"[{ranges}]") for language, ranges in (CJK | OWN_SCRIPTS).items()}
_LETTER = re.compile(r"[^\W\d_]")
_CODE = r"([a-z]+(?:[-_][A-Z0-9][^\W_]*)*)"
_DIRECTION = re.compile(f"{_CODE}-{_CODE}")


class Direction(NamedTuple):
    """From which language to which."""

    src: str
    tgt: str

    def __str__(self) -> str:
        return f"{self.src}-{self.tgt}"

    @property
    def tag(self) -> str:
        """The token before a source that says which language is wanted (Johnson et al. 2017, section 3)."""
        return f"<2{self.tgt}>"

    @property
    def reverse(self) -> "Direction":
        return Direction(self.tgt, self.src)

    @classmethod
    def parse(cls, text: str) -> "Direction":
        """Reads ``en-de``, ``en-zh-TW`` or ``pt_BR-en``: regions and scripts begin with a capital."""
        found = _DIRECTION.fullmatch(text)
        if found is None:
            raise ConfigError(f"{shown(text)!r} is no direction, expected source-target such as en-de or en-zh-TW")
        return cls(*found.groups())


LOOK_ALIKE = (
    {"no", "nb", "nn", "da"},
    {"hr", "sr", "bs", "sh"},
    {"id", "ms"},
    {"cs", "sk"},
    {"pt", "gl"},
    {"hi", "mr"},
)
"""Languages that are taken for one another."""


def is_code(text: str) -> bool:
    """Whether a text is written like a code, such as ``en``, ``zh_Hant-TW`` or ``sr@latin``."""
    return re.fullmatch(r"[A-Za-z]{2,8}([-_@.][A-Za-z0-9]{1,8})*", text.strip()) is not None


def require_code(text: str, option: str) -> None:
    """Raises ConfigError for what is given as a language and is no code of one, such as its name or a file's."""
    if text and not re.fullmatch(r"[A-Za-z]{2,3}([-_@.][A-Za-z0-9]{1,8})*", text):
        raise ConfigError(
            f"{option} {shown(text)}: is no code of a language, expected one such as en or zh-TW (qaa for what is none)"
        )


def same_language(one: str, other: str) -> bool:
    """Whether one code is the other or names it more narrowly: ``zh`` and ``zh-CN``, not ``zh-CN`` and ``zh-TW``."""
    return all(a == b for a, b in zip(subtags(one), subtags(other), strict=False))


def alike(one: str, other: str) -> bool:
    """Whether two codes mean one language, or two that are taken for one another."""
    return same_language(one, other) or any({subtags(one)[0], subtags(other)[0]} <= group for group in LOOK_ALIKE)


def is_other_way_round(src: str, tgt: str, declared: tuple[str, str]) -> bool:
    """Whether the languages that were told are those ``declared``, but in each other's place."""
    return (
        bool(src and tgt and all(declared))
        and not alike(*declared)
        and alike(src, declared[1])
        and alike(tgt, declared[0])
    )


def find_language(wanted: str, found: Collection[str]) -> list[str]:
    """The codes in ``found`` that mean ``wanted``: the one written like it, or all that name it otherwise."""
    exact = [code for code in found if subtags(code) == subtags(wanted)]
    return exact[:1] or [code for code in found if code and same_language(wanted, code)]


def choose_direction(known: Sequence[Direction], src_lang: str = "", tgt_lang: str = "") -> Direction:
    """The one of the ``known`` directions that is asked for; a language that is not given may be any.

    The target decides. Where several sources fit, the model was trained to tell them by itself. A code written
    like the one that is asked for goes before others that fit: of en-zh and en-zh-TW, ``zh`` is the first.

    Raises:
        UserError: if none fits, or if several target languages do.
    """
    names = ", ".join(map(str, known))
    to_target = [direction for direction in known if not tgt_lang or same_language(tgt_lang, direction.tgt)]
    fitting = [direction for direction in to_target if not src_lang or same_language(src_lang, direction.src)]
    if len(known) > 1 and not to_target:
        tag = Direction("", tgt_lang).tag
        raise UserError(
            f"the tag {tag} is not in the vocabulary of this model, which translates {names}; ask for one of these"
        )
    if not fitting:
        asked = Direction(src_lang or "?", tgt_lang or "?")
        raise UserError(f"this model translates {names} and not {asked}; ask for that, or load another model")
    for side, wanted in ((1, tgt_lang), (0, src_lang)):
        fitting = [each for each in fitting if subtags(each[side]) == subtags(wanted)] or fitting
    if len({direction.tgt for direction in fitting}) > 1:
        raise UserError(f"this model translates {names}; say into which language, by tgt_lang or --tgt-lang")
    return fitting[0]


def settle(found: Sequence[str], src: str = "", tgt: str = "") -> tuple[str, str] | None:
    """Which two of the languages ``found`` are source and target; None if that is not clear.

    Args:
        found: codes as a file has them, the source's first where the file says which it is.
        src: the source language that is wanted; if none is, it follows from the rest.
        tgt: the target language likewise.
    """
    if not src and not tgt:
        return (found[0], found[1]) if len(found) == 2 else None
    sides = [find_language(side, found) if side else [] for side in (src, tgt)]
    for side, other in ((0, 1), (1, 0)):
        if not (src, tgt)[side]:
            sides[side] = [code for code in found if code not in sides[other]]
    return (sides[0][0], sides[1][0]) if len(sides[0]) == len(sides[1]) == 1 and sides[0] != sides[1] else None


@lru_cache(1024)
def is_reversed(named: tuple[str, str], wanted: tuple[str, str]) -> bool | None:
    """Whether what a file names source and target is wanted the other way round; None if it is something else.

    A language that is not named, or not wanted in particular, is any language.
    """
    agreeing: dict[bool, int] = {}
    for turned in (False, True):
        both = zip(named[::-1] if turned else named, wanted, strict=True)
        same = [same_language(one, other) for one, other in both if one and other]
        if all(same):
            agreeing[turned] = len(same)
    return max(agreeing, key=agreeing.__getitem__, default=None)


def detect(texts: Sequence[str]) -> tuple[str, float]:
    """The language that most of ``texts`` are in, and how sure that is, from 0 to 1.

    The script decides where it can: Han without kana is Chinese. Otherwise it is the mean probability
    that a model of some 100 languages gives, over texts of several lines.
    """
    step = max(LINES_TOGETHER, -(-len(texts) // MAX_CHUNKS))
    chunks = [texts[start : start + LINES_TOGETHER] for start in range(0, len(texts), step)]
    votes: defaultdict[str, float] = defaultdict(float)
    for chunk in chunks:
        text = " ".join(chunk)
        by_script = _by_script(text)
        for language, probability in [(by_script, 1.0)] if by_script else _identifier().rank(text):
            votes[language] += probability * len(chunk)
    language, votes_for_it = max(votes.items(), key=lambda vote: (vote[1], vote[0]), default=("", 0.0))
    return language, votes_for_it / max(1, sum(map(len, chunks)))


def _by_script(text: str) -> str:
    """The language whose script makes up much of a text; nothing where several languages share it."""
    counts = {language: len(pattern.findall(text)) for language, pattern in _SCRIPTS.items()}
    letters = len(_LETTER.findall(text))
    cjk = sum(counts[language] for language in CJK)
    if 4 * cjk > letters:  # a character says as much as several letters do
        return "ja" if 10 * counts["ja"] > cjk else "ko" if 2 * counts["ko"] > cjk else "zh"
    language = max(OWN_SCRIPTS, key=lambda language: counts[language])
    return language if 2 * counts[language] > letters else ""


@cache
def _identifier() -> Any:
    """The model of py3langid; reading it takes a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Without the small relatives of large languages, such as Nigerian Pidgin, which simple English looks like.
    identifier.set_languages([language for language in identifier.labels if language in CODES])
    return identifier
