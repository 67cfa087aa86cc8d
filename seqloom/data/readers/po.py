"""PO, the message catalogues of gettext, read by polib."""

import gettext
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seqloom.data.languages import is_code, is_reversed
from seqloom.data.readers.compression import open_bytes
from seqloom.data.readers.example import Example, Options
from seqloom.data.readers.lines import read_whole_lines
from seqloom.errors import DataError, shown

MAX_CHARACTERS = 1 << 26
"""polib holds a whole catalogue, in some ten times its size; larger ones are no catalogues of a program."""

MAX_MESSAGES, MAX_MESSAGE_LINES = 500_000, 5_000
"""polib keeps a message in 1.5 KB, and copies what it has of one with each further line."""

HEADER_BYTES = 1 << 16
MESSAGE = re.compile(r"\s*(?:#~\s*)?msgid\b")
"""The line on which a message begins."""

MANY = 100
"""A number of things that has the form for many in all languages that tell two from few."""

Plural = Callable[[int], int]
"""A number of things -> the form that it has."""

UNICODE = {"utf-8", "utf8", "us-ascii", "ascii", "charset"}
"""What a catalogue may be in; CHARSET is what stands in one that nobody has filled in."""


def read_po(path: Path, options: Options) -> Iterator[Example]:
    """Yields the messages and their translations; fuzzy, untranslated and obsolete ones are left out.

    Of a message with a plural, the singular goes with the form that the header has for one thing, the plural with
    that for many; where it does not say, with the first and the last one.

    Raises:
        DataError: if it is not UTF-8, no PO, or in another language than those that are wanted.
    """
    catalogue = _parse(path)
    language = _language(catalogue.metadata.get("Language", ""))
    turned = is_reversed(("", language), options.languages)
    if turned is None:
        raise DataError(
            f"{path}: is a translation into {language} by its header, expected {' or '.join(options.languages)}; "
            f"correct its Language or leave the file out"
        )
    plural = _plural_of(catalogue.metadata.get("Plural-Forms", ""))
    for entry in catalogue:
        left_out = ""
        if entry.obsolete:
            left_out = "an obsolete translation"
        elif entry.fuzzy:
            left_out = "a fuzzy translation"
        elif not entry.translated():
            left_out = "no translation"
        for src, tgt in _texts(entry, plural):
            example = Example(src, tgt, max(1, entry.linenum), left_out)
            yield example.turned() if turned else example


def po_languages(path: Path, options: Options) -> tuple[str, str]:
    """The language that the header says the translations are in; that of the messages is not told."""
    with open_bytes(path) as file:
        named = re.search(rb'^"Language: *([^"\\]*)', file.read(HEADER_BYTES), re.MULTILINE)
    language = _language(named[1].decode("ascii", "replace") if named else "")
    if is_reversed(("", language), options.languages):
        language = ""
    return options.src_lang, options.tgt_lang or language


def _language(named: str) -> str:
    """What a header calls its language, if that is a code."""
    return named.strip() if is_code(named) else ""


def _plural_of(header: str) -> Plural | None:
    """Which of its forms a language has for a number, by its ``Plural-Forms``; None where that does not say."""
    named = re.search(r"plural\s*=\s*([n0-9()?:|&!=<>+*/%\s-]{1,900});?\s*$", header)
    if named is None:
        return None
    try:
        plural = gettext.c2py(named[1])
        return plural if all(isinstance(plural(number), int) for number in (1, MANY)) else None
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _texts(entry: Any, plural: Plural | None) -> list[tuple[str, str]]:
    """What is said with which translation, in one entry."""
    if not entry.msgid_plural:
        return [(entry.msgid, entry.msgstr)]
    forms = dict(sorted(entry.msgstr_plural.items())) or {0: ""}
    one, many = (plural(1), plural(MANY)) if plural else (0, 0)
    if one == many or not {one, many} <= forms.keys():
        one, many = min(forms), max(forms)
    # A language with one form uses it for any number, so it says what the plural says.
    singular = [(entry.msgid, forms[one])] if len(forms) > 1 else []
    return [*singular, (entry.msgid_plural, forms[many])]


def _parse(path: Path) -> Any:
    import polib  # type: ignore[import-untyped]

    with open_bytes(path) as file:
        charset = re.search(rb'^"Content-Type:[^\n]*charset=([\w.:-]+)', file.read(HEADER_BYTES), re.MULTILINE)
    if charset and charset[1].decode("ascii", "replace").lower() not in UNICODE:
        raise DataError(
            f"{path}: is in {shown(charset[1].decode('ascii', 'replace'))} by its header, expected UTF-8; "
            f"convert it first with `msgconv -t UTF-8`"
        )
    with TemporaryDirectory() as folder:
        # Unpacked, known to be UTF-8, and given by its name: in a text polib takes more characters for line ends.
        plain = Path(folder) / "plain.po"
        size = messages = lines = 0
        with open(plain, "w", encoding="utf-8", newline="") as copy:
            for number, line in enumerate(read_whole_lines(path), start=1):
                size += copy.write(line)
                lines += 1
                if "msgid" in line and MESSAGE.match(line):
                    messages, lines = messages + 1, 0
                if lines > MAX_MESSAGE_LINES:
                    raise DataError(
                        f"{path}:{number}: the message here has more than {MAX_MESSAGE_LINES:,} lines, expected the "
                        f"messages of a program"
                    )
                if size > MAX_CHARACTERS or messages > MAX_MESSAGES:
                    most = f"{MAX_MESSAGES:,} messages" if messages > MAX_MESSAGES else f"{MAX_CHARACTERS:,} characters"
                    raise DataError(
                        f"{path}: has more than {most}, expected the messages of a program; cut it into several files"
                    )
        try:
            return polib.pofile(str(plain), encoding="utf-8")
        except OSError as error:
            line, why = re.search(r"\(line (\d+)\)(?:: (.*))?", str(error)).groups()  # type: ignore[union-attr]
            why = shown(why or "syntax error", 200)
            raise DataError(f"{path}:{line}: is not PO ({why}); correct it there") from None
