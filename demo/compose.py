# SPDX-License-Identifier: Apache-2.0
"""Compose the demo corpus: Chinese-English sentence pairs from a readable grammar.

Usage::

    python demo/compose.py OUT_DIR

The grammar is every ``*.txt`` file in ``demo/grammar``, one file a topic, with the word lists
that several topics share in ``words.txt``. A line of a grammar file is one of these:

``# text``
    A comment. Blank lines and comments may stand anywhere.

``list drink: zh | en | cup``
    Starts a word list and names its columns; ``zh`` and ``en`` must be among them. Each line
    after it, such as ``茶 | tea | a cup of``, is an entry. A cell holding ``-`` is empty.

``list food = fruit + dish``
    A list of all the entries of other lists, which must be written further up or in
    ``words.txt``. It has the columns that all of them have.

``cap 200``
    Each template below, up to the next ``cap``, gives at most 200 pairs, drawn evenly.

``{who}喜欢{drink}。 = {who} like{who.s} {drink}.``
    A template, Chinese left and English right. A slot ``{drink}`` is filled from the list of
    that name: with its ``zh`` column on the left and ``en`` on the right. ``{drink.cup}`` takes
    another column. ``{act.who.form}`` takes the column of ``act`` that the ``form`` column of
    ``who`` names, which is how verbs agree. ``{drink2}`` is a second pick from ``drink``.
    Both sides must use the same slots, and no sentence uses one Chinese word for two slots.

English sentences get their capital letters, and the spaces that empty cells leave go. No Chinese
sentence may ever get two English translations or the other way round: that is an error naming
both lines.

``handwritten.tsv`` and ``examples.tsv`` hold one ``Chinese<TAB>English`` pair a line. The
handwritten pairs below the line ``# held out`` are the test set ``handwritten``. The examples,
which the demo shows, are kept out of all other files.

Everything is drawn with SHA-256, so that the same grammar gives the same bytes everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
VALID_PAIRS = 400
COMBINATION_PAIRS = 500
SEED = "seqloom demo 1"
SHARED_FILE = "words.txt"
HELD_OUT_LINE = "# held out"
# A template gives held-out sentences only if at least this many of its pairs exist.
SMALLEST_SPLIT_TEMPLATE = 20

SLOT = re.compile(r"\{([^{}]*)\}")
SLOT_PARTS = re.compile(r"([a-z]+)([2-9]?)(?:\.([a-z]+[2-9]?))?(?:\.([a-z]+))?")
SENTENCE_START = re.compile(r"(^|[.?!] )([a-z])")

Row = dict[str, str]


class CorpusError(Exception):
    """A fault in the grammar or in the pairs; the message names the file and the line."""


@dataclass(frozen=True)
class WordList:
    """A named list of words, with the cells of each entry under their column names."""

    columns: tuple[str, ...]
    rows: list[Row]


@dataclass(frozen=True)
class Slot:
    """One ``{...}`` of a template.

    ``name`` tells the picks of a sentence apart (``drink``, ``drink2``); ``agrees`` is the slot
    whose cell names the column to take, if any.
    """

    name: str
    column: str
    agrees: str | None = None


Part = str | Slot


@dataclass(frozen=True)
class Template:
    """A line of the grammar that gives sentence pairs, and where it stands."""

    origin: str
    topic: str
    cap: int
    slots: dict[str, WordList]
    zh: tuple[Part, ...]
    en: tuple[Part, ...]


@dataclass(frozen=True)
class Pair:
    """A sentence pair, the line that it comes from and the word-list entries in it."""

    zh: str
    en: str
    origin: str
    topic: str
    words: tuple[tuple[str, str], ...] = ()


@dataclass
class Corpus:
    """All the pairs, by the file that they are written to."""

    train: list[Pair]
    valid: list[Pair]
    combinations: list[Pair]
    handwritten: list[Pair]
    examples: list[Pair]

    def splits(self) -> dict[str, list[Pair]]:
        """The pairs by file name, the training file first."""
        return {
            "train": self.train,
            "valid": self.valid,
            "test.combinations": self.combinations,
            "test.handwritten": self.handwritten,
            "examples": self.examples,
        }


@dataclass
class Grammar:
    """The word lists and the templates of all grammar files."""

    lists: dict[str, WordList] = field(default_factory=dict)
    templates: list[Template] = field(default_factory=list)


def draw(*key: object) -> int:
    """A large number that depends on nothing but ``key`` and the seed."""
    text = "\t".join([SEED, *map(str, key)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class GrammarReader:
    """Reads grammar files line by line into a `Grammar`."""

    def __init__(self) -> None:
        """Start with no lists and no templates."""
        self.grammar = Grammar()
        self.origin = ""
        self.topic = ""
        self.open_list: WordList | None = None
        self.cap: int | None = None
        # Where each Chinese word, and each English one, is first given a translation.
        self.meanings: dict[tuple[str, str], tuple[str, str]] = {}

    def fail(self, message: str) -> CorpusError:
        """An error at the line being read."""
        return CorpusError(f"{self.origin}: {message}")

    def read(self, path: Path) -> None:
        """Add the lists and the templates of one file."""
        self.topic = path.stem
        self.open_list = None
        self.cap = None
        for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            self.origin = f"{path.name}:{number}"
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("list "):
                self.start_list(line.removeprefix("list "))
            elif line.startswith("cap "):
                self.set_cap(line.removeprefix("cap "))
            elif " = " in line:
                self.add_template(line)
            elif self.open_list is not None:
                self.add_row(line)
            else:
                raise self.fail(f"neither a list, an entry, a cap nor a template: {line}")

    def start_list(self, text: str) -> None:
        """Begin a list with columns (``name: ...``) or join lists (``name = a + b``)."""
        joined = " = " in text
        name, _, rest = text.partition(" = " if joined else ":")
        name = name.strip()
        if not re.fullmatch(r"[a-z]+", name):
            raise self.fail(f"a list needs a name of small letters, not {name!r}")
        if name in self.grammar.lists:
            raise self.fail(f"there is already a list {name!r}")
        if joined:
            parts = [self.find_list(part.strip()) for part in rest.split("+")]
            columns = tuple(c for c in parts[0].columns if all(c in p.columns for p in parts))
            self.grammar.lists[name] = WordList(columns, [row for p in parts for row in p.rows])
            self.open_list = None
            return
        columns = tuple(cell.strip() for cell in rest.split("|"))
        if not {"zh", "en"} <= set(columns) or len(set(columns)) < len(columns):
            raise self.fail("the columns must include zh and en, each name once")
        self.open_list = WordList(columns, [])
        self.grammar.lists[name] = self.open_list

    def find_list(self, name: str) -> WordList:
        """The list called ``name``, which must have been read already and have entries."""
        found = self.grammar.lists.get(name)
        if found is None or not found.rows:
            raise self.fail(f"there is no list {name!r} with entries")
        return found

    def add_row(self, line: str) -> None:
        """Add an entry to the open list; a word always has the same translation.

        Only a cell that begins with a hyphen, such as ``-two`` of ``twenty-two``, is free of
        that rule: it is not a whole word.
        """
        assert self.open_list is not None
        cells = [cell.strip() for cell in line.split("|")]
        columns = self.open_list.columns
        if len(cells) != len(columns) or "" in cells:
            raise self.fail(f"an entry here needs {len(columns)} cells: {' | '.join(columns)}")
        row = {c: "" if cell == "-" else cell for c, cell in zip(columns, cells, strict=True)}
        if any(row["zh"] == other["zh"] for other in self.open_list.rows):
            raise self.fail(f"the list already has {row['zh']!r}")
        word, translation = row["zh"], row["en"].lower()
        whole = translation != "" and not translation.startswith("-")
        for key, value in ((("zh", word), translation), (("en", translation), word)):
            if not whole:
                break
            meaning, origin = self.meanings.setdefault(key, (value, self.origin))
            if meaning != value:
                raise self.fail(f"{key[1]!r} is {value!r} here but {meaning!r} in {origin}")
        self.open_list.rows.append(row)

    def set_cap(self, text: str) -> None:
        """Set how many pairs each of the templates below gives at most."""
        if not text.strip().isdecimal() or int(text) == 0:
            raise self.fail(f"a cap must be a number above 0, not {text.strip()!r}")
        self.cap = int(text)
        self.open_list = None

    def add_template(self, line: str) -> None:
        """Add a template and check all its slots."""
        if self.cap is None:
            raise self.fail("a template needs a line 'cap NUMBER' above it")
        self.open_list = None
        left, _, right = line.partition(" = ")
        slots: dict[str, WordList] = {}
        zh = tuple(self.parts(left.strip(), "zh", slots))
        en = tuple(self.parts(right.strip(), "en", slots))
        for side in (zh, en):
            used = {name for part in side if isinstance(part, Slot) for name in names_of(part)}
            if used != set(slots):
                missing = ", ".join(sorted(set(slots) - used))
                raise self.fail(f"a slot stands on one side only: {missing}")
        if not slots:
            raise self.fail("a template needs slots; put fixed sentences into handwritten.tsv")
        self.check_agreement(zh + en, slots)
        self.grammar.templates.append(Template(self.origin, self.topic, self.cap, slots, zh, en))

    def parts(self, text: str, side: str, slots: dict[str, WordList]) -> Iterator[Part]:
        """Split one side into text and slots, and note the list of each slot in ``slots``."""
        for index, piece in enumerate(SLOT.split(text)):
            if index % 2 == 0:
                if "{" in piece or "}" in piece:
                    raise self.fail("a brace without its partner")
                yield piece
                continue
            match = SLOT_PARTS.fullmatch(piece)
            if match is None:
                raise self.fail(f"not a slot: {{{piece}}}")
            base, digit, middle, last = match.groups()
            words = self.find_list(base)
            slots[base + digit] = words
            if last is not None:
                yield Slot(base + digit, last, agrees=middle)
                continue
            column = middle or side
            if column not in words.columns:
                raise self.fail(f"the list {base!r} has no column {column!r}")
            yield Slot(base + digit, column)

    def check_agreement(self, parts: Sequence[Part], slots: dict[str, WordList]) -> None:
        """Refuse a slot that agrees with a slot or takes a column that is not there."""
        for part in parts:
            if not isinstance(part, Slot) or part.agrees is None:
                continue
            other = slots.get(part.agrees)
            if other is None or part.column not in other.columns:
                raise self.fail(f"there is no {{{part.agrees}.{part.column}}} to agree with")
            for row in other.rows:
                if row[part.column] not in slots[part.name].columns:
                    raise self.fail(f"{part.name!r} has no column {row[part.column]!r}")


def names_of(slot: Slot) -> set[str]:
    """The picks that a slot shows: its own, and the one that it agrees with."""
    return {slot.name} if slot.agrees is None else {slot.name, slot.agrees}


def read_grammar(folder: Path) -> Grammar:
    """Read every grammar file, the shared word lists first and the topics by name."""
    paths = sorted(folder.glob("*.txt"), key=lambda path: (path.name != SHARED_FILE, path.name))
    if not paths:
        raise CorpusError(f"{folder}: there are no grammar files here")
    reader = GrammarReader()
    for path in paths:
        reader.read(path)
    return reader.grammar


def render(parts: Iterable[Part], picks: dict[str, Row]) -> str:
    """Write one side of a template with the entries picked for its slots."""
    out = []
    for part in parts:
        if isinstance(part, str):
            out.append(part)
        elif part.agrees is None:
            out.append(picks[part.name][part.column])
        else:
            out.append(picks[part.name][picks[part.agrees][part.column]])
    text = re.sub(" +", " ", "".join(out)).strip()
    return re.sub(" ([.,?!])", r"\1", text)


def capitalize(sentence: str) -> str:
    """Give each sentence of an English side its capital letter."""
    return SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), sentence)


def expand(template: Template) -> list[Pair]:
    """The pairs of one template: all of them, or as many as its cap allows, drawn evenly."""
    names = sorted(template.slots)
    total = 1
    for name in names:
        total *= len(template.slots[name].rows)

    def pair_at(index: int) -> Pair | None:
        picks: dict[str, Row] = {}
        for name in names:
            rows = template.slots[name].rows
            index, which = divmod(index, len(rows))
            picks[name] = rows[which]
        words = tuple((row["zh"], row["en"].lower()) for row in picks.values())
        if len({zh for zh, _ in words}) < len(words):
            return None
        zh, en = render(template.zh, picks), capitalize(render(template.en, picks))
        return Pair(zh, en, template.origin, template.topic, words)

    if total <= 4 * template.cap:
        order = sorted(range(total), key=lambda i: draw("order", template.origin, i))
    else:  # Too many to list them all; repeated draws fall away in the dict.
        draws = (draw("draw", template.origin, i) % total for i in range(3 * template.cap))
        order = list(dict.fromkeys(draws))
    pairs = [pair for index in order if (pair := pair_at(index)) is not None]
    return pairs[: template.cap]


def compose_pairs(grammar: Grammar) -> list[Pair]:
    """The pairs of all templates, each once; one translation a sentence, both ways."""
    kept: list[Pair] = []
    seen_zh: dict[str, Pair] = {}
    seen_en: dict[str, Pair] = {}
    for template in grammar.templates:
        for pair in expand(template):
            same = seen_zh.get(pair.zh), seen_en.get(pair.en)
            for other in same:
                if other is not None and (other.zh, other.en) != (pair.zh, pair.en):
                    raise CorpusError(
                        f"{other.origin} and {pair.origin}: one sentence, two translations: "
                        f"{other.zh} {other.en} / {pair.zh} {pair.en}"
                    )
            if same == (None, None):
                seen_zh[pair.zh] = seen_en[pair.en] = pair
                kept.append(pair)
    return kept


def read_pairs(path: Path) -> tuple[list[Pair], list[Pair]]:
    """The pairs of a TSV file, above and below its ``# held out`` line."""
    above: list[Pair] = []
    below: list[Pair] = []
    current = above
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        origin = f"{path.name}:{number}"
        if line.strip() == HELD_OUT_LINE:
            current = below
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) != 2 or not all(cell and cell == cell.strip() for cell in cells):
            raise CorpusError(f"{origin}: a pair needs a Chinese side, one tab, an English side")
        current.append(Pair(cells[0], cells[1], origin, path.stem))
    return above, below


def check_distinct(*groups: Iterable[Pair]) -> None:
    """Refuse pairs that share a Chinese or an English sentence; the error names both lines."""
    for side in ("zh", "en"):
        seen: dict[str, Pair] = {}
        for group in groups:
            for pair in group:
                sentence = pair.zh if side == "zh" else pair.en
                other = seen.setdefault(sentence, pair)
                if other is not pair:
                    raise CorpusError(f"{other.origin} and {pair.origin} have the same sentence: {sentence}")


def check_words_trained(train: Iterable[Pair], held_out: Iterable[Pair]) -> None:
    """Refuse a held-out sentence with a word-list entry that no training sentence has."""
    trained = {word for pair in train for word in pair.words}
    for pair in held_out:
        for word in pair.words:
            if word not in trained:
                raise CorpusError(f"{pair.origin}: {word[0]!r} is held out but never in training")


def compose(folder: Path = HERE) -> Corpus:
    """Compose the whole corpus from ``folder``, with all its guarantees checked."""
    pairs = compose_pairs(read_grammar(folder / "grammar"))
    written, written_test = read_pairs(folder / "handwritten.tsv")
    examples, examples_below = read_pairs(folder / "examples.tsv")
    examples += examples_below

    # An example that the grammar gives too is forced out of it, whichever side is the same.
    shown = {pair.zh for pair in examples} | {pair.en for pair in examples}
    pairs = [pair for pair in pairs if pair.zh not in shown and pair.en not in shown]

    sizes = Counter(pair.origin for pair in pairs)
    order = sorted(pairs, key=lambda pair: draw("split", pair.zh, pair.en))
    ready = [pair for pair in order if sizes[pair.origin] >= SMALLEST_SPLIT_TEMPLATE]
    if len(ready) < VALID_PAIRS + COMBINATION_PAIRS:
        raise CorpusError(f"{folder}: the grammar gives too few pairs to hold any out")
    valid = ready[:VALID_PAIRS]
    combinations = ready[VALID_PAIRS : VALID_PAIRS + COMBINATION_PAIRS]
    held_out = {pair.zh for pair in valid + combinations}
    train = [pair for pair in order if pair.zh not in held_out] + written
    train.sort(key=lambda pair: draw("train", pair.zh, pair.en))

    corpus = Corpus(train, valid, combinations, written_test, examples)
    check_distinct(*corpus.splits().values())
    check_words_trained(train, valid + combinations)
    return corpus


def write(corpus: Corpus, out: Path) -> None:
    """Write every split as two line-aligned files; refuse a folder with other files in it."""
    names = {f"{name}.{side}" for name in corpus.splits() for side in ("zh", "en")}
    out.mkdir(parents=True, exist_ok=True)
    strangers = sorted(path.name for path in out.iterdir() if path.name not in names)
    if strangers:
        raise CorpusError(f"{out}: there are other files here, such as {strangers[0]}")
    for name, pairs in corpus.splits().items():
        zh = "".join(pair.zh + "\n" for pair in pairs)
        en = "".join(pair.en + "\n" for pair in pairs)
        (out / f"{name}.zh").write_bytes(zh.encode("utf-8"))
        (out / f"{name}.en").write_bytes(en.encode("utf-8"))


def summary(corpus: Corpus) -> str:
    """What was composed, in a few lines."""
    topics = Counter(pair.topic for pairs in corpus.splits().values() for pair in pairs)
    words = Counter(word for pair in corpus.train for word in pair.words)
    lines = [f"{name}: {len(pairs)} pairs" for name, pairs in corpus.splits().items()]
    lines.append("by topic: " + ", ".join(f"{t} {n}" for t, n in sorted(topics.items())))
    (rare_zh, rare_en), count = min(words.items(), key=lambda item: (item[1], item[0]))
    lines.append(f"{len(words)} words; the rarest, {rare_zh} ({rare_en}), in {count} sentences")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 after an error."""
    parser = argparse.ArgumentParser(description="Compose the Chinese-English demo corpus.")
    parser.add_argument("out", metavar="OUT_DIR", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        corpus = compose()
        write(corpus, options.out)
    except (CorpusError, OSError) as error:
        print(f"compose.py: {error}", file=sys.stderr)
        return 1
    print(summary(corpus))
    return 0


if __name__ == "__main__":
    sys.exit(main())
