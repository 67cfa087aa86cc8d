"""From the files of a config to a tokenizer and stores, once, keyed by content.

The prepared folder holds ``train/`` and ``valid/`` (stores), the tokenizers, ``dropped.tsv`` (every
pair left out, with its place and the reason) and ``prepared.json``. It is built beside its place
and renamed when whole, so what is there is complete.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from seqloom.config import DataConfig
from seqloom.data.corpus import Corpus, Dropped, require_pairs, write_corpus
from seqloom.data.readers import Example, PairFiles
from seqloom.data.tokenizers import SentencePiece, load_tokenizer, normalize
from seqloom.errors import DataError, ModelFolderError

STORE_VERSION = 1
MAX_HELD_OUT = 2_000
TOLD_EVERY = 200_000
"""Pairs between two signs of life; a multiple of what is tokenized together."""

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


def data_key(config: DataConfig) -> str:
    """A digest of the files and settings that a prepared folder is built from."""
    return _key(_contents(config, *_files(config)))


def prepare_pairs(config: DataConfig, folder: Path, say: Say) -> Prepared:
    """Builds the prepared folder, or opens it if it was built from the same files and settings.

    Raises:
        DataError: for anything in the files that should not be trained on.
    """
    train, valid = _files(config)
    contents = _contents(config, train, valid)
    key = _key(contents)
    prepared = _open(folder, key)
    if prepared is None:
        if _is_ours(folder):
            say("The data or its settings have changed since it was prepared: preparing it again.")
        _build(config, train, valid, folder, {"key": key, **contents}, say)
        prepared = _open(folder, key)
        assert prepared is not None
    return prepared


def _files(config: DataConfig) -> tuple[PairFiles, PairFiles]:
    """The files to train on and to validate with; the latter may be none."""
    train = PairFiles(config.src, config.tgt, config.data)
    valid = PairFiles(config.valid_src, config.valid_tgt, config.valid_data, name="validation")
    if not train:
        raise DataError("no training files were given; expected --src FILE --tgt FILE, or --data FILE.tsv")
    return train, valid


def _contents(config: DataConfig, train: PairFiles, valid: PairFiles) -> dict[str, Any]:
    languages = {"src_lang", "tgt_lang"}
    return {
        "version": STORE_VERSION,
        "settings": config.model_dump(mode="json", exclude={*DataConfig.FILES, *languages, "batch_tokens"}),
        "train": train.fingerprint(),
        "valid": valid.fingerprint(),
    }


def _key(contents: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _open(folder: Path, key: str) -> Prepared | None:
    """What was prepared from the same contents, if it is there and whole."""
    try:
        about = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
        if about["key"] != key:
            return None
        src_tokenizer = load_tokenizer(folder / "src.model")
        joint = about["settings"]["joint_vocab"]
        tgt_tokenizer = src_tokenizer if joint else load_tokenizer(folder / "tgt.model")
        return Prepared(Corpus(folder / "train"), Corpus(folder / "valid"), src_tokenizer, tgt_tokenizer, key, about)
    except (OSError, EOFError, ValueError, LookupError, TypeError, ModelFolderError):
        return None


def _is_ours(folder: Path) -> bool:
    """Whether there is a prepared folder, which may be replaced."""
    if (folder / "prepared.json").is_file():
        return True
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: holds something else than prepared data, and nothing is overwritten; move it away")
    return False


def _build(
    config: DataConfig, train: PairFiles, valid: PairFiles, folder: Path, about: dict[str, Any], say: Say
) -> None:
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        with open(new / "dropped.tsv", "w", encoding="utf-8") as log:
            about |= _write_all(config, train, valid, new, log, folder / "dropped.tsv", say)
        (new / "prepared.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write_all(
    config: DataConfig, train: PairFiles, valid: PairFiles, folder: Path, log: TextIO, log_path: Path, say: Say
) -> dict[str, Any]:
    train_dropped, valid_dropped = Dropped(log), Dropped(log)
    if not any(_usable(example) for _, example in train):
        names = " and ".join(chain.from_iterable(train.names()))
        raise DataError(f"{names}: no sentence pair with text on both sides, expected a corpus to train on")
    train_examples, valid_examples = (train, valid) if valid else hold_out(train, config.valid_share)
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
        stores[name] = write_corpus(
            folder / name, examples, files.names(), src, tgt, config.max_length, dropped, _progress(name, say)
        )
        if dropped.counts and config.strict:
            raise DataError(f"the {name} corpus has pairs that would be dropped, and --strict was given: {dropped}")
        require_pairs(stores[name], "training" if name == "train" else "validation", dropped)
        if dropped.counts:
            say(f"Dropped from the {name} corpus: {dropped}; all are named in {log_path}.")
    if not valid:
        say(f"No validation files given: {len(stores['valid']):,} pairs are held out of training for that.")
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


def _progress(name: str, say: Say) -> Callable[[int], None]:
    """Says now and then how far a large corpus is."""

    def tell(done: int) -> None:
        if done % TOLD_EVERY == 0:
            say(f"Storing the {name} corpus: {done:,} pairs so far ...")

    return tell


def _train_tokenizers(config: DataConfig, examples: Iterable[tuple[int, Example]]) -> dict[str, SentencePiece]:
    def learn(sides: tuple[str, ...]) -> SentencePiece:
        texts = (getattr(example, side) for _, example in examples for side in sides)
        return SentencePiece.train(texts, config.vocab_size, config.character_coverage)

    if config.joint_vocab:
        return {"src": learn(("src", "tgt"))}
    return {"src": learn(("src",)), "tgt": learn(("tgt",))}


@dataclass(frozen=True)
class Part:
    """Some of the examples of a corpus; can be gone through more than once."""

    files: PairFiles
    chosen: NDArray[np.bool_]

    def __iter__(self) -> Iterator[tuple[int, Example]]:
        return compress(self.files, self.chosen)


def hold_out(files: PairFiles, share: float) -> tuple[Part, Part]:
    """Parts a corpus in two, the second with ``share`` of the usable pairs, chosen by a hash of the source.

    All pairs with one source fall on one side, so no validation source is trained on; the choice
    depends on the texts alone, not on their order. A source with so many pairs that it would be
    much of the second part stays in the first.
    """
    keys = np.fromiter((_source_key(example) for _, example in files), dtype=np.uint64)
    sources, counts = np.unique(keys[keys > 0], return_counts=True)
    if len(sources) < 2:
        raise DataError(
            f"{files.names()[0][0]}: one distinct source sentence is too little to train on and to hold some out; "
            f"give more, or validation files with --valid-src and --valid-tgt"
        )
    fewest = int(counts.min())
    wanted = max(fewest, min(MAX_HELD_OUT, round(share * int(counts.sum()))))
    light = counts <= max(fewest, wanted // 100)
    chosen = np.isin(keys, sources[light][np.cumsum(counts[light]) <= wanted])
    return Part(files, ~chosen), Part(files, chosen)


def _usable(example: Example) -> bool:
    return bool(normalize(example.src) and normalize(example.tgt))


def _source_key(example: Example) -> int:
    """A hash of the source of a usable pair; 0 for one that will be dropped."""
    if not _usable(example):
        return 0
    return int.from_bytes(hashlib.blake2b(normalize(example.src).encode(), digest_size=8).digest())
