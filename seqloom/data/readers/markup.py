"""XML read as a stream by lxml, with nothing in it that reaches out: no entities, no DTD, no network.

Each element is dropped as soon as it has been used, so a file may be larger than the memory.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from seqloom.data.readers.compression import open_bytes
from seqloom.errors import DataError, shown

MAX_UNIT_BYTES = 1 << 24
"""More than 16 MiB without a finished unit are no translation; reading on would only fill the memory."""

CHUNK_BYTES = 1 << 15

MAX_NAMED = 1000
"""Languages and states that one file may name; each is remembered."""

LAST_PLAIN_LINE = 65_535
"""libxml2 keeps the line of an element up to here, and behind it that of the text next to it."""

CODES = {"bpt", "ept", "ph", "it", "ut", "x", "bx", "ex", "sc", "ec", "cp"}
"""Inline elements of TMX and XLIFF that stand for a piece of markup; their content is that markup."""

NOTES = {"hi", "mrk", "sm", "em"}
"""Inline elements that say something about the text and are no markup of it."""


def local_name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def read_elements(path: Path, root: str, names: Collection[str]) -> Iterator[Any]:
    """Yields the finished elements with one of ``names``; each is emptied when the next one is asked for.

    Raises:
        DataError: for XML that is not well-formed, has another root, or never ends a unit.
    """
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLPullParser(
        events=("end",),
        tag=[f"{{*}}{name}" for name in names],
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        collect_ids=False,
        remove_comments=True,
        remove_pis=True,
    )
    since_last_unit = 0
    try:
        with open_bytes(path) as file:
            while data := file.read(CHUNK_BYTES):
                parser.feed(data)
                if parser.feed_error_log.filter_from_fatals():  # an unknown entity does not stop the parser
                    raise etree.XMLSyntaxError("", 0, 0, 0)
                since_last_unit += len(data)
                if since_last_unit > MAX_UNIT_BYTES:
                    raise DataError(f"{path}: more than {MAX_UNIT_BYTES:,} bytes in one unit, expected a sentence")
                for _, element in parser.read_events():
                    since_last_unit = 0
                    yield element
                    element.clear()
                    for node in (element, *element.iterancestors()):
                        parent = node.getparent()
                        while parent is not None and node.getprevious() is not None:
                            del parent[0]
        outermost = parser.close()
    except etree.XMLSyntaxError as error:
        log = parser.feed_error_log.filter_from_fatals()
        line, why = (log[0].line, log[0].message) if log else (error.lineno or 1, error.msg)
        raise DataError(
            f"{path}:{line}: is not well-formed XML ({shown(why.strip(), 200)}); correct it there or export it again"
        ) from None
    if local_name(outermost) != root:
        raise DataError(f"{path}: its outermost element is <{shown(local_name(outermost))}>, expected <{root}>")


def remember(found: dict[Any, None], names: Iterable[Any], path: Path) -> None:
    """Notes the languages or pairs of them that a file names.

    Raises:
        DataError: if it names more than any file does.
    """
    found.update(dict.fromkeys(names))
    if len(found) > MAX_NAMED:
        raise DataError(
            f"{path}: names more than {MAX_NAMED:,} languages, such as {shown(next(reversed(found)))}; "
            f"expected the few of a translation memory"
        )


def line_of(element: Any) -> int:
    """The line on which an element's start tag ends."""
    line = int(element.sourceline or 0)
    if line >= LAST_PLAIN_LINE:
        # What is kept is the line on which the first text behind it ends.
        while not element.text and len(element):
            element = element[0]
        line -= (element.text or "").count("\n")
    return line


def text_of(element: Any, keep_tags: bool, path: Path) -> str:
    """The text of a segment, its inline tags left out or written as text.

    A tag that stands for markup is written as that markup where it holds it, such as
    ``<bpt>&lt;b&gt;</bpt>``, and otherwise as itself, such as ``<x id="1"/>``.
    """
    if not len(element):
        return element.text or ""
    parts = [element.text or ""]
    for child in element:
        if not isinstance(child.tag, str):  # comments are dropped by the parser, entities are not
            raise DataError(
                f"{path}:{line_of(element)}: has the entity {shown(child.text)}, which is not looked up; "
                f"expected the character itself"
            )
        parts += [_inline(child, keep_tags, path), child.tail or ""]
    return "".join(parts)


def _inline(element: Any, keep_tags: bool, path: Path) -> str:
    name = local_name(element)
    if not keep_tags and "lb" in (element.get("ctype"), element.get("type"), element.get("subType", "")[-2:]):
        return " "  # a line break
    if name in CODES:
        return ("".join(element.itertext()) or _tag(element, "/")) if keep_tags else ""
    content = text_of(element, keep_tags, path)
    if keep_tags and name not in NOTES:
        return f"{_tag(element)}{content}</{name}>"
    return content


def _tag(element: Any, end: str = "") -> str:
    attributes = "".join(f" {name.rpartition('}')[2]}={quoteattr(value)}" for name, value in element.items())
    return f"<{local_name(element)}{attributes}{end}>"
