"""What can be found in a corpus: one table of kinds, with what each means, when it is serious and what to do."""

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

MOST_EXAMPLES = 5

LEAST_PAIRS = 3
"""So many pairs are more than an accident, whatever share of a small corpus fewer are."""

SHOWN_CHARACTERS = 200
"""Of a text in an example."""


class Severity(StrEnum):
    FATAL = "fatal"
    """Training refuses."""
    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True)
class Kind:
    """A kind of finding; shares are of all pairs, for an overlap of the lines held against the corpus."""

    title: str
    """What a pair has, or is; in dropped.tsv the reason."""
    advice: str
    problem: float = 1.1
    """The share from which it is a problem; more than 1 is never reached."""
    fatal: float = 1.1
    problem_count: int = sys.maxsize
    """So many are a problem in a corpus of any size."""
    dropped: bool = False
    """Whether --fix leaves such a pair out."""


KINDS = {
    # First, as much else may be due to it.
    "invalid_utf8": Kind(
        "bytes that are not UTF-8",
        "Convert the file first, with `iconv -f GB18030 -t UTF-8` or from what else it is in: UTF-16, WINDOWS-1252.",
        fatal=0,
        dropped=True,
    ),
    # Of whole files.
    "line_counts": Kind(
        "files with different numbers of lines",
        "Find the line that is missing or too many; do not cut the longer file.",
        fatal=0,
    ),
    "misalignment": Kind(
        "sides out of step",
        "A line is missing or too many on one side where this begins: put it right, or let --fix pair the lines of two "
        "files anew.",
        fatal=0,
    ),
    "unrelated": Kind(
        "sides that do not belong together",
        "Look at some pairs: the sides are no translations of one another, or too far out of step.",
        problem=0,
    ),
    "no_pairs": Kind("text on both sides", "Give the files of a corpus.", fatal=0),
    "other_language": Kind(
        "another language than said", "Give --src-lang and --tgt-lang as they are.", problem=0
    ),
    "mixed_line_ends": Kind("a line that ends otherwise than most of its file", "Harmless; both ends are read."),
    "byte_order_mark": Kind("a byte order mark at the beginning", "Harmless; it is not read as text."),
    "left_out": Kind("not to be used, by what its format says", "Training leaves them out as well.", dropped=True),
    # Of pairs.
    "empty": Kind("both sides empty", "Training leaves them out.", problem=0.05, dropped=True),
    "one_sided": Kind(
        "one side empty",
        "Training leaves them out; many of them mean that something went wrong before.",
        problem=0.005,
        dropped=True,
    ),
    "swapped_sides": Kind(
        "source and target in each other's place",
        "Put them right, or drop them; if it is all of them, exchange --src and --tgt.",
        problem=0.001,
        fatal=0.5,
        dropped=True,
    ),
    "wrong_language_block": Kind(
        "a side in another language, among many such",
        "Drop them: what is trained on is what comes out.",
        problem=0.002,
        problem_count=50,
        fatal=0.5,
        dropped=True,
    ),
    "wrong_language": Kind(
        "a side in the language of the other",
        "Drop them: what is trained on is what comes out.",
        problem=0.005,
        fatal=0.5,
        dropped=True,
    ),
    "wrong_script": Kind(
        "a side in a script that is not its own",
        "Look at them; drop them if they are in another language.",
        problem=0.002,
        fatal=0.5,
        dropped=True,
    ),
    "copied": Kind(
        "the target is the source itself",
        "A model learns from them to leave text untranslated; drop them but for names and code.",
        problem=0.02,
        fatal=0.5,
        dropped=True,
    ),
    "length_ratio": Kind(
        "one side far too long for the other",
        "Look at them: they are bad translations, or not cut alike.",
        problem=0.01,
        dropped=True,
    ),
    "long": Kind("far longer than a sentence", "Cut them into sentences.", problem=0.01),
    "mojibake": Kind(
        "text decoded wrongly, such as Ã¼ for ü",
        "Read the original in its true encoding again.",
        problem=0.0005,
        fatal=0.5,
        dropped=True,
    ),
    "replacement_characters": Kind(
        "U+FFFD or question marks, where characters were lost",
        "Read the original in its true encoding again.",
        problem=0.0005,
        fatal=0.5,
        dropped=True,
    ),
    "control_characters": Kind(
        "control characters, or others that are no text",
        "Remove them.",
        problem=0.0005,
        dropped=True,
    ),
    "line_separators": Kind(
        "a line end inside of a text, such as U+2028",
        "Other programs take it for the end of a line and lose step there; replace it by a space.",
        problem=0.0005,
        dropped=True,
    ),
    "invisible_characters": Kind(
        "characters that cannot be seen, such as U+200B",
        "Remove them if they mean nothing.",
        problem=0.05,
    ),
    "markup": Kind(
        "leftover markup, such as <b> or &amp;",
        "Remove it, or keep it the same on both sides if the model is to translate it.",
        problem=0.01,
    ),
    "numbers": Kind("numbers that do not match", "Look at some: they may be bad translations.", problem=0.05),
    "urls": Kind("addresses that do not match", "Look at some: they may be bad translations.", problem=0.01),
    "placeholders": Kind(
        "placeholders, such as %s or {name}, that do not match",
        "A program that fills them in fails on such a translation; put them right.",
        problem=0.01,
    ),
    # Of pairs among others.
    "duplicates": Kind(
        "the same as a pair before",
        "Drop them, unless they are meant to weigh more.",
        problem=0.005,
        dropped=True,
    ),
    "near_duplicates": Kind(
        "the same as a pair before but for case, punctuation and spaces",
        "Drop them, unless they are meant to weigh more.",
        problem=0.02,
        dropped=True,
    ),
    "many_targets": Kind(
        "a source that has other targets elsewhere", "Usual where sentences are short.", problem=0.5
    ),
    "many_sources": Kind(
        "a target that has other sources elsewhere",
        "Usual where sentences are short; one target behind very many sources is a boilerplate or a mistake.",
        problem=0.5,
    ),
    "overlap": Kind(
        "a side that is in the files held against the corpus",
        "A score on text that was trained on says nothing; drop these pairs from the training set.",
        problem=0.005,
        dropped=True,
    ),
}  # fmt: skip
"""In the order in which findings of one severity are told. Ordinary clean corpora do not reach the shares."""


class Example(NamedTuple):
    """A pair that has it."""

    where: str
    """``file:line``, of both sides."""
    src: str
    tgt: str
    why: str = ""

    def as_dict(self) -> dict[str, str]:
        return self._asdict()


@dataclass
class Finding:
    """What was found of one kind, and how serious that is."""

    kind: str
    severity: Severity
    count: int
    share: float
    examples: list[Example] = field(default_factory=list)
    """The worst, or else the first."""
    message: str = ""

    @property
    def advice(self) -> str:
        return KINDS[self.kind].advice

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "severity": str(self.severity),
            "count": self.count,
            "share": round(self.share, 6),
            "message": self.message,
            "advice": self.advice,
            "examples": [example.as_dict() for example in self.examples],
        }


def severity_of(kind: str, count: int, share: float) -> Severity:
    """How serious it is that so many pairs have it, which are such a share of all."""
    about = KINDS[kind]
    if not about.fatal:
        return Severity.FATAL
    if count >= LEAST_PAIRS and share >= about.fatal:
        return Severity.FATAL
    serious = count >= about.problem_count or (count >= LEAST_PAIRS and share >= about.problem)
    return Severity.PROBLEM if serious else Severity.NOTE


def excerpt(text: str) -> str:
    """As much of a text as an example shows."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def visible(text: str) -> str:
    """A text in which nothing acts on a screen: what cannot be printed is spelt as its code."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


VERDICTS = {
    Severity.FATAL: "This corpus must not be trained on as it is.",
    Severity.PROBLEM: "This corpus has problems.",
    Severity.NOTE: "No problem was found.",
}
