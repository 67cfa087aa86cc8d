"""From the files of a config to a tokenizer and stores, once, keyed by content.

The prepared folder holds ``train/`` and ``valid/`` (stores), the tokenizers, ``dropped.tsv`` (every
pair left out, with its place and the reason) and ``prepared.json``. It is built beside its place
and renamed when whole, so what is there is complete.
"""

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from seqloom.config import DataConfig
from seqloom.data.corpus import Corpus, Dropped, require_pairs, write_corpus
from seqloom.data.readers import Example, PairFiles
from seqloom.data.tokenizers import SentencePiece, load_tokenizer, normalize
from seqloom.errors import DataError

STORE_VERSION = 1
MAX_HELD_OUT = 2_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """All that a training needs of its data."""

    train: Corpus
    valid: Corpus
    src_tokenizer: SentencePiece
    tgt_tokenizer: SentencePiece
    key: str
    """Changes with the files, the settings and the version of the store."""
    about: dict[str, Any]


def prepare_pairs(config: DataConfig, folder: Path, say: Say) -> Prepared:
    """Builds the prepared folder, or opens it if it was built from the same files and settings.

    Raises:
        DataError: for anything in the files that should not be trained on.
    """
    train = PairFiles(config.src, config.tgt, config.data)
    valid = PairFiles(config.valid_src, config.valid_tgt, config.valid_data, name="validation")
    if not train:
        raise DataError("no training files were given; expected --src FILE --tgt FILE, or --data FILE.tsv")
    settings = config.model_dump(
        mode="json", exclude={"src", "tgt", "data", "valid_src", "valid_tgt", "valid_data", "batch_tokens"}
    )
    contents = {
        "version": STORE_VERSION,
        "settings": settings,
        "train": train.fingerprint(),
        "valid": valid.fingerprint(),
    }
    key = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
    about = _read_about(folder)
    if about is None or about["key"] != key:
        if about is not None:
            say("The data or its settings have changed since it was prepared: preparing it again.")
        _build(config, train, valid, folder, {"key": key, **contents}, say)
    about = _read_about(folder)
    assert about is not None
    src_tokenizer = load_tokenizer(folder / "src.model")
    tgt_tokenizer = src_tokenizer if config.joint_vocab else load_tokenizer(folder / "tgt.model")
    return Prepared(Corpus(folder / "train"), Corpus(folder / "valid"), src_tokenizer, tgt_tokenizer, key, about)


def _read_about(folder: Path) -> dict[str, Any] | None:
    try:
        about: dict[str, Any] = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return about


def _build(
    config: DataConfig, train: PairFiles, valid: PairFiles, folder: Path, about: dict[str, Any], say: Say
) -> None:
    new = folder.with_name(f"{folder.name}.new-{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        with open(new / "dropped.tsv", "w", encoding="utf-8") as log:
            about |= _write_all(config, train, valid, new, log, say)
        (new / "prepared.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write_all(
    config: DataConfig, train: PairFiles, valid: PairFiles, folder: Path, log: TextIO, say: Say
) -> dict[str, Any]:
    train_dropped, valid_dropped = Dropped(log), Dropped(log)
    train_examples: Iterable[tuple[int, Example]] = train
    valid_examples: Iterable[tuple[int, Example]] = valid
    if not valid:
        held_out = HeldOut(train, config.valid_share)
        train_examples, valid_examples = held_out.split(False), held_out.split(True)
    say("Learning the vocabulary ...")
    tokenizers = _train_tokenizers(config, train_examples)
    for name, tokenizer in tokenizers.items():
        (folder / f"{name}.model").write_bytes(tokenizer.to_bytes())
    src, tgt = tokenizers["src"], tokenizers.get("tgt", tokenizers["src"])
    stores = {}
    for name, files, examples, dropped in (
        ("train", train, train_examples, train_dropped),
        ("valid", valid or train, valid_examples, valid_dropped),
    ):
        stores[name] = write_corpus(folder / name, examples, files.names(), src, tgt, config.max_length, dropped)
        if dropped.counts and config.strict:
            raise DataError(f"the {name} corpus has pairs that would be dropped, and --strict was given: {dropped}")
        require_pairs(stores[name], "training" if name == "train" else "validation", dropped)
        if dropped.counts:
            say(f"Dropped from the {name} corpus: {dropped}; all are named in dropped.tsv.")
    if not valid:
        say(f"No validation files given: {len(stores['valid']):,} pairs are held out of training for it.")
    sizes = f"{src.vocab_size:,}" if src is tgt else f"{src.vocab_size:,} + {tgt.vocab_size:,}"
    say(f"{len(stores['train']):,} pairs to train on, {len(stores['valid']):,} to validate with, {sizes} pieces.")
    return {
        "train_pairs": len(stores["train"]),
        "valid_pairs": len(stores["valid"]),
        "train_tokens": [int(stores["train"].src.lengths.sum()), int(stores["train"].tgt.lengths.sum())],
        "longest_source": int(stores["train"].src.lengths.max()),
        "dropped": {"train": dict(train_dropped.counts), "valid": dict(valid_dropped.counts)},
        "held_out": not valid,
    }


def _train_tokenizers(config: DataConfig, examples: Iterable[tuple[int, Example]]) -> dict[str, SentencePiece]:
    def learn(sides: tuple[str, ...]) -> SentencePiece:
        texts = (getattr(example, side) for _, example in examples for side in sides)
        return SentencePiece.train(texts, config.vocab_size, config.character_coverage)

    if config.joint_vocab:
        return {"src": learn(("src", "tgt"))}
    return {"src": learn(("src",)), "tgt": learn(("tgt",))}


class HeldOut:
    """Chooses a share of the sources for validation, by a hash of the text.

    All pairs with one source fall on one side, so no validation source is trained on; the choice
    depends on the texts alone, not on their order.
    """

    def __init__(self, files: PairFiles, share: float) -> None:
        self.files = files
        hashes = array(
            "Q", (self._hash(example) for _, example in files if example.src.strip() and example.tgt.strip())
        )
        sources = np.unique(np.frombuffer(hashes, dtype=np.uint64)) if hashes else np.empty(0, np.uint64)
        if len(sources) < 2:
            raise DataError(
                f"{files.names()[0][0]}: {len(sources)} distinct usable pairs are too few to train on and to hold "
                f"some out; give more, and validation files with --valid-src and --valid-tgt"
            )
        count = min(MAX_HELD_OUT, max(1, round(share * len(sources))))
        self.limit = int(sources[count - 1])

    @staticmethod
    def _hash(example: Example) -> int:
        return int.from_bytes(hashlib.blake2b(normalize(example.src).encode(), digest_size=8).digest())

    def split(self, held_out: bool) -> "_Split":
        return _Split(self, held_out)


@dataclass(frozen=True)
class _Split:
    """One of the two parts; can be gone through more than once."""

    parent: HeldOut
    held_out: bool

    def __iter__(self) -> Iterator[tuple[int, Example]]:
        for group, example in self.parent.files:
            if (HeldOut._hash(example) <= self.parent.limit) == self.held_out:
                yield group, example
