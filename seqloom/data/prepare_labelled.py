"""From files of labelled texts to a tokenizer, the labels and stores, once, keyed by content.

The prepared folder is that of :mod:`seqloom.data.prepare` with ``text.model`` and ``labels.json``: a
label is stored as the one token of a target.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from seqloom.config import LabelledDataConfig
from seqloom.data.corpus import Corpus, Dropped, require_pairs, write_corpus
from seqloom.data.hold_out import Say, hold_out, usable
from seqloom.data.labels import MAX_LABEL_LENGTH, MAX_LABELS, Labels, is_name
from seqloom.data.prepared_folder import digest, is_ours, key_of, making, read_about, write_about
from seqloom.data.readers import Example, PairFiles, origin
from seqloom.data.tokenizers import MAX_FILE_BYTES, TOKENIZERS, Tokenizer, load_tokenizer, normalize, open_tokenizer
from seqloom.errors import DataError, ModelFolderError, listed, shown
from seqloom.files import read_bytes

STORE_VERSION = 1

SIDES = "text", "label"

VOCABULARIES = "text.model", "labels.json"

COUNTED = {"train_texts", "valid_texts", "train_tokens", "dropped", "held_out"}
"""What a prepared.json tells and a model's config.json repeats."""

FEWEST_TEXTS = 2
"""Of a label, on average: labels that are nearly all different are no labels."""


@dataclass(frozen=True)
class Reading:
    """How texts and labels are read, by whoever reads them: a training, a test set, a prediction."""

    lowercase: bool = False
    label_until: str = ""
    """Of a label only what stands before this counts; empty where all of it does."""

    def text(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def label(self, label: str) -> str:
        return normalize(label.partition(self.label_until)[0] if self.label_until else label)

    def example(self, example: Example) -> Example:
        return example._replace(src=self.text(example.src), tgt=self.label(example.tgt))


@dataclass(frozen=True)
class LabelledTexts:
    """Labelled texts, each with the group that it is of; can be gone through more than once."""

    files: Iterable[tuple[int, Example]]
    reading: Reading

    def __iter__(self) -> Iterator[tuple[int, Example]]:
        return ((group, self.reading.example(example)) for group, example in self.files)


@dataclass(frozen=True)
class PreparedTexts:
    """All that the training of a classifier needs of its data."""

    train: Corpus
    valid: Corpus
    tokenizer: Tokenizer
    labels: Labels
    reading: Reading
    key: str
    """Changes with the files, the settings and the version of the store."""
    about: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """What a model's config.json repeats."""
        return {key: value for key, value in self.about.items() if key in COUNTED}


def labelled_key(config: LabelledDataConfig) -> str:
    """A digest of the files and settings that a prepared folder is built from."""
    return key_of(_contents(config, *_open_files(config)))


def read_labelled(paths: Iterable[str], reading: Reading, labels: Labels) -> list[tuple[str, Example]]:
    """The texts of files with their labels, to test a classifier of ``labels`` on, and where each of them stands.

    Raises:
        DataError: if a text or label is missing, or a label unknown.
    """
    files = PairFiles(data=list(paths), name="test").labelled()
    found = []
    for group, example in LabelledTexts(files, reading):
        where = origin(files.names()[group], example.line)
        if not usable(example):
            raise DataError(f"{where}: expected a label and a text; delete the line, or complete it")
        _require_known(example.tgt, labels, where)
        found.append((where, example))
    if not found:
        raise DataError(f"{', '.join(paths)}: no text, expected labelled texts")
    return found


def prepare_labelled(config: LabelledDataConfig, folder: Path, say: Say) -> PreparedTexts:
    """Builds the prepared folder, or opens it if it was built from the same files and settings.

    Raises:
        DataError: for anything in the files that should not be trained on.
    """
    train, valid = _open_files(config)
    contents = _contents(config, train, valid)
    key = key_of(contents)
    prepared = _open(folder, key)
    if prepared is None:
        if is_ours(folder):
            say("The prepared data is damaged, or is of other files or settings: preparing it again.")
        with making(folder) as new, open(new / "dropped.tsv", "w", encoding="utf-8") as log:
            about = _write_all(config, train, valid, new, log, folder / "dropped.tsv", say)
            write_about(new, {"key": key, **contents, **about})
        prepared = _open(folder, key)
        assert prepared is not None
    return prepared


def _open_files(config: LabelledDataConfig) -> tuple[PairFiles, PairFiles]:
    if not config.data:
        raise DataError("no training files were given; expected --data FILE with labelled texts")
    return PairFiles(data=config.data).labelled(), PairFiles(data=config.valid_data, name="validation").labelled()


def _contents(config: LabelledDataConfig, train: PairFiles, valid: PairFiles) -> dict[str, Any]:
    return {
        "version": STORE_VERSION,
        "settings": config.model_dump(mode="json", exclude={*config.FILES, "batch_tokens"}),
        "train": train.fingerprint(),
        "valid": valid.fingerprint(),
        "tokenizers": [digest(open_tokenizer(Path(file)).to_bytes()) for file in config.tokenizer_file],
    }


def _open(folder: Path, key: str) -> PreparedTexts | None:
    """What was prepared from the same contents, if it is there and whole."""
    try:
        about = read_about(folder, key)
        if about is None or not about.keys() >= COUNTED:
            return None
        contents = [read_bytes(folder / name, MAX_FILE_BYTES) for name in VOCABULARIES]
        if [digest(content) for content in contents] != about["vocabularies"]:
            return None
        tokenizer, labels = load_tokenizer(contents[0]), Labels.from_bytes(contents[1], VOCABULARIES[1])
        sizes = tokenizer.vocab_size, len(labels)
        return PreparedTexts(
            Corpus(folder / "train", sizes),
            Corpus(folder / "valid", sizes),
            tokenizer,
            labels,
            Reading(about["settings"]["lowercase"], about["settings"]["label_until"]),
            key,
            about,
        )
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ModelFolderError):
        return None


def _write_all(
    config: LabelledDataConfig,
    train: PairFiles,
    valid: PairFiles,
    folder: Path,
    log: TextIO,
    log_path: Path,
    say: Say,
) -> dict[str, Any]:
    reading = Reading(config.lowercase, config.label_until)
    labels = _labels(train, reading)
    for group, example in LabelledTexts(valid, reading):
        if usable(example):
            _require_known(example.tgt, labels, origin(valid.names()[group], example.line))
    parts = (train, valid) if valid else hold_out(train, config.valid_share, say=say, read=reading.text)
    train_texts, valid_texts = (LabelledTexts(part, reading) for part in parts)
    say("Learning the vocabulary ...")
    tokenizer = _tokenizer(config, train_texts)
    contents = tokenizer.to_bytes(), labels.to_bytes()
    for name, content in zip(VOCABULARIES, contents, strict=True):
        (folder / name).write_bytes(content)
    stores, lost = {}, {}
    for name, files, texts in (("train", train, train_texts), ("valid", valid or train, valid_texts)):
        dropped = Dropped(log)
        store = stores[name] = write_corpus(
            folder / name, texts, files.names(), tokenizer, labels, config.max_length, dropped, sides=SIDES
        )
        lost[name] = dict(dropped.counts)
        if dropped.counts and config.strict:
            raise DataError(f"the {name} corpus has texts that would be dropped, and --strict was given: {dropped}")
        require_pairs(store, "training" if name == "train" else "validation", dropped, "no usable text")
        if dropped.counts:
            say(f"Dropped from the {name} corpus: {dropped}; all are named in {log_path}.")
    if not valid:
        say(f"No validation files given: {len(stores['valid']):,} texts are held out of training for that.")
    say(
        f"{len(stores['train']):,} texts to train on, {len(stores['valid']):,} to validate with, "
        f"{tokenizer.vocab_size:,} pieces, {len(labels):,} labels: {listed(labels.names)}."
    )
    return {
        "vocabularies": [digest(content) for content in contents],
        "train_texts": len(stores["train"]),
        "valid_texts": len(stores["valid"]),
        "train_tokens": stores["train"].src.tokens.size,
        "dropped": lost,
        "held_out": not valid,
    }


def _labels(train: PairFiles, reading: Reading) -> Labels:
    """Those of the training texts.

    Raises:
        DataError: if they cannot be labels.
    """
    names: set[str] = set()
    texts = 0
    for group, example in LabelledTexts(train, reading):
        if usable(example):
            texts += 1
            names.add(example.tgt)
            if not is_name(example.tgt):
                where = origin(train.names()[group], example.line)
                length = len(example.tgt)
                found = f"{length:,} characters" if length > MAX_LABEL_LENGTH else "a control character"
                raise DataError(
                    f"{where}: the label has {found}, expected a short name; "
                    f"the label stands first, then a tab, then the text"
                )
    where = ", ".join(chain.from_iterable(train.names()))
    if len(names) < 2:
        raise DataError(
            f"{where}: {f'all texts have the label {shown(names.pop())}' if names else 'no text has a label'}, "
            f"expected texts of two classes or more"
        )
    if (len(names) * FEWEST_TEXTS > texts and texts > FEWEST_TEXTS**2) or len(names) > MAX_LABELS:
        raise DataError(
            f"{where}: {len(names):,} different labels for {texts:,} texts, expected a few labels for many texts; "
            f"the label stands first, then a tab, then the text"
        )
    return Labels(names)


def _require_known(label: str, labels: Labels, where: str) -> None:
    if label not in labels:
        raise DataError(
            f"{where}: the label {shown(label)!r} is that of no training text, expected one of {listed(labels.names)}"
        )


def _tokenizer(config: LabelledDataConfig, texts: LabelledTexts) -> Tokenizer:
    if config.tokenizer_file:
        return open_tokenizer(Path(config.tokenizer_file[0]))
    of_train = (example.src for _, example in texts if not example.left_out)
    return TOKENIZERS[config.tokenizer](of_train, config.vocab_size, config.character_coverage)
