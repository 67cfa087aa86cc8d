"""From the files of a config to a tokenizer and stores, once, keyed by content.

The prepared folder holds ``train/`` and ``valid/`` (stores), the tokenizers, ``dropped.tsv`` (every
pair left out, with its place and the reason) and ``prepared.json``. It is built beside its place
and renamed when whole, so what is there is complete.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from seqloom.config import DataConfig
from seqloom.data.checks.quick import refuse_unfit
from seqloom.data.corpus import Corpus, Dropped, require_pairs, write_corpus
from seqloom.data.corpus_files import CorpusFiles, has_tags, languages_of, open_files
from seqloom.data.hold_out import TOLD_EVERY, Say, hold_out, usable
from seqloom.data.languages import Direction
from seqloom.data.lengths import LengthRatio
from seqloom.data.prepared_folder import digest, is_ours, key_of, making, read_about, write_about
from seqloom.data.readers import LANGUAGES, Example, PairFiles, format_of
from seqloom.data.tokenizers import (
    MAX_FILE_BYTES,
    SPACE,
    TOKENIZERS,
    Tokenizer,
    load_tokenizer,
    normalize,
    open_tokenizer,
)
from seqloom.errors import DataError, ModelFolderError
from seqloom.files import read_bytes

STORE_VERSION = 1
MOST_COUNTED = 1 << 48
"""Pairs and tokens that there may be."""

SUMMARY = "train_pairs", "valid_pairs", "train_tokens", "dropped", "held_out"
"""What a prepared.json tells and a model's config.json repeats."""


@dataclass(frozen=True)
class Prepared:
    """All that a training needs of its data."""

    train: Corpus
    valid: Corpus
    src_tokenizer: Tokenizer
    tgt_tokenizer: Tokenizer
    key: str
    """Changes with the files, the settings and the version of the store."""
    about: dict[str, Any]
    languages: tuple[str, str]
    """Source and target; of the first direction where there are several."""
    directions: tuple[Direction, ...]
    """Of each group of ``train``; empty where there is but one, which has no tag."""
    valid_directions: tuple[Direction, ...]
    """Likewise of ``valid``."""
    weights: tuple[float, ...]
    """How often a pass over ``train`` sees the pairs of each group."""
    domains: dict[str, int]
    """Pairs to train on by domain; by file where domains were not named."""

    @property
    def summary(self) -> dict[str, Any]:
        """What a model's config.json repeats."""
        return {**{key: self.about[key] for key in SUMMARY}, "domains": self.domains}


def data_key(config: DataConfig) -> str:
    """A digest of the files and settings that a prepared folder is built from."""
    return key_of(_contents(config, open_files(config)))


def training_pairs(config: DataConfig) -> PairFiles:
    """The files to train on, each read once, to look at before they are prepared."""
    once = config.model_copy(update={"both_directions": False})
    return open_files(once, languages_of(config, lambda _: None)).train


def prepare_pairs(config: DataConfig, folder: Path, say: Say) -> Prepared:
    """Builds the prepared folder, or opens it if it was built from the same files and settings.

    Raises:
        DataError: for anything in the files that should not be trained on.
    """
    contents = _contents(config, open_files(config))
    key = key_of(contents)
    prepared = _open(config, folder, key)
    if prepared is None:
        if is_ours(folder):
            say("The prepared data is damaged, or is of other files or settings: preparing it again.")
        languages = languages_of(config, say)
        if config.check:
            _refuse_unfit(config, languages, say)
        about = {"key": key, **contents, "languages": list(languages)}
        _build(config, open_files(config, languages), folder, about, say)
        prepared = _open(config, folder, key)
        assert prepared is not None
    unseen = [name for name, weight in zip(prepared.train.groups, prepared.weights, strict=True) if not weight]
    if unseen:
        names = ", ".join(" and ".join(name) for name in unseen)
        say(f"Weight 0: no pair of {names} is trained on.")
    return prepared


def _refuse_unfit(config: DataConfig, languages: tuple[str, str], say: Say) -> None:
    """Raises DataError if the quick part of the corpus doctor finds something fatal in the training files."""
    groups = [group for group in open_files(config, languages).train.groups if not group.turned]
    given = [Direction.parse(text) for text in config.directions]
    refuse_unfit(groups, given or [Direction(config.src_lang, config.tgt_lang)] * len(groups), say)


def _contents(config: DataConfig, files: CorpusFiles) -> dict[str, Any]:
    excluded = {*DataConfig.FILES, "batch_tokens", "subword_dropout", "weights", "domains", "check"}
    paths = [group.paths[0] for group in files.train.groups + files.valid.groups if len(group.paths) == 1]
    if not has_tags(config) and not any(format_of(path) in LANGUAGES for path in paths):
        excluded |= {"src_lang", "tgt_lang"}  # nothing is chosen by them
    return {
        "version": STORE_VERSION,
        "settings": config.model_dump(mode="json", exclude=excluded),
        "train": files.train.fingerprint(),
        "valid": files.valid.fingerprint(),
        "tokenizers": [digest(open_tokenizer(Path(file)).to_bytes()) for file in config.tokenizer_file],
    }


def _open(config: DataConfig, folder: Path, key: str) -> Prepared | None:
    """What was prepared from the same contents, if it is there and whole."""
    try:
        about = read_about(folder, key)
        if about is None or not _is_whole(about):
            return None
        names = ["src"] if config.joint_vocab else ["src", "tgt"]
        contents = [read_bytes(folder / f"{name}.model", MAX_FILE_BYTES) for name in names]
        if [digest(content) for content in contents] != about["vocabularies"]:
            return None
        tokenizers = [load_tokenizer(content) for content in contents]
        src_tokenizer, tgt_tokenizer = tokenizers[0], tokenizers[-1]
        vocab_sizes = src_tokenizer.vocab_size, tgt_tokenizer.vocab_size
        src_lang, tgt_lang = map(str, about["languages"])
        if not config.directions:
            src_lang, tgt_lang = config.src_lang or src_lang, config.tgt_lang or tgt_lang
        files = open_files(config, (src_lang, tgt_lang))
        train = Corpus(folder / "train", vocab_sizes)
        pairs = np.bincount(train.group, minlength=len(files.domains)).tolist()
        domains: Counter[str] = Counter()
        for domain, count in zip(files.domains, pairs, strict=True):
            domains[domain] += count
        return Prepared(
            train,
            Corpus(folder / "valid", vocab_sizes),
            src_tokenizer,
            tgt_tokenizer,
            key,
            about,
            (src_lang, tgt_lang),
            files.directions,
            files.valid_directions,
            files.weights,
            dict(domains),
        )
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ModelFolderError):
        return None


def _is_whole(about: dict[str, Any]) -> bool:
    """Whether a prepared.json tells all that a training takes from it."""
    counts = about["longest_source"], about["train_pairs"], about["valid_pairs"]
    LengthRatio.read(about["length_ratio"])
    known = {"train_tokens", "dropped", "held_out"} <= about.keys()
    return known and all(type(count) is int and 0 <= count < MOST_COUNTED for count in counts)


def _build(config: DataConfig, files: CorpusFiles, folder: Path, about: dict[str, Any], say: Say) -> None:
    with making(folder) as new:
        with open(new / "dropped.tsv", "w", encoding="utf-8") as log:
            about |= _write_all(config, files, new, log, folder / "dropped.tsv", say)
        write_about(new, about)


def _write_all(
    config: DataConfig, files: CorpusFiles, folder: Path, log: TextIO, log_path: Path, say: Say
) -> dict[str, Any]:
    train, valid = files.train, files.valid
    train_dropped, valid_dropped = Dropped(log), Dropped(log)
    if not any(usable(example) for _, example in train):
        names = " and ".join(chain.from_iterable(train.names()))
        raise DataError(f"{names}: no sentence pair with text on both sides, expected a corpus to train on")
    train_examples, valid_examples = (
        (train, valid) if valid else hold_out(train, config.valid_share, has_tags(config), say)
    )
    say("Learning the vocabulary ...")
    tokenizers = _train_tokenizers(config, train_examples, {n for n, group in enumerate(train.groups) if group.turned})
    tokenizers = {name: _with_terms(tokenizer, config.terms) for name, tokenizer in tokenizers.items()}
    tokenizers["src"] = _with_tags(tokenizers["src"], files.directions)
    for name, tokenizer in tokenizers.items():
        (folder / f"{name}.model").write_bytes(tokenizer.to_bytes())
    src, tgt = tokenizers["src"], tokenizers.get("tgt", tokenizers["src"])
    stores = {}
    for name, corpus, examples, dropped, directions in (
        ("train", train, train_examples, train_dropped, files.directions),
        ("valid", valid or train, valid_examples, valid_dropped, files.valid_directions),
    ):
        stores[name] = write_corpus(
            folder / name,
            examples,
            corpus.names(),
            src,
            tgt,
            config.max_length,
            dropped,
            _progress(name, say),
            [src.id_of(direction.tag) for direction in directions],
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
    if len(files.domains) > 1:
        for line in _domain_lines(files, stores["train"].group):
            say(line)
    return {
        "vocabularies": [digest(tokenizer.to_bytes()) for tokenizer in tokenizers.values()],
        "train_pairs": len(stores["train"]),
        "valid_pairs": len(stores["valid"]),
        "train_tokens": [stores["train"].src.tokens.size, stores["train"].tgt.tokens.size],
        "longest_source": int(stores["train"].src.lengths.max()) - has_tags(config),
        "length_ratio": list(LengthRatio.of(stores["train"].src.lengths, stores["train"].tgt.lengths)),
        "dropped": {"train": dict(train_dropped.counts), "valid": dict(valid_dropped.counts)},
        "held_out": not valid,
    }


def _progress(name: str, say: Say) -> Callable[[int], None]:
    """Says now and then how far a large corpus is."""

    def tell(done: int) -> None:
        if done % TOLD_EVERY == 0:
            say(f"Storing the {name} corpus: {done:,} pairs so far ...")

    return tell


def _train_tokenizers(
    config: DataConfig, examples: Iterable[tuple[int, Example]], turned: Set[int]
) -> dict[str, Tokenizer]:
    """One tokenizer for both sides, as "src", or two; the user's own where there are files of them.

    Nothing is learnt from the groups ``turned``, whose texts are in others as well.
    """

    def learn(sides: tuple[str, ...]) -> Tokenizer:
        texts = (
            getattr(example, side)
            for group, example in examples
            if group not in turned and not example.left_out
            for side in sides
        )
        return TOKENIZERS[config.tokenizer](texts, config.vocab_size, config.character_coverage)

    sides = {"src": ("src", "tgt")} if config.joint_vocab else {"src": ("src",), "tgt": ("tgt",)}
    if config.tokenizer_file:
        return {name: open_tokenizer(Path(file)) for name, file in zip(sides, config.tokenizer_file, strict=True)}
    return {name: learn(learnt_from) for name, learnt_from in sides.items()}


def _with_terms(tokenizer: Tokenizer, terms: Sequence[str]) -> Tokenizer:
    """The tokenizer with the user's terms as tokens, of which it may have some already."""
    known = {piece.replace(SPACE, " ") for piece in tokenizer.pieces(range(tokenizer.vocab_size))}
    new = [term for term in dict.fromkeys(map(normalize, terms)) if term not in known]
    return tokenizer.appended(new, control=False) if new else tokenizer


def _with_tags(tokenizer: Tokenizer, directions: Sequence[Direction]) -> Tokenizer:
    """The tokenizer with a tag for each target language, of which it may have some already."""
    known = tokenizer.pieces(tokenizer.tags)
    new = [tag for tag in dict.fromkeys(direction.tag for direction in directions) if tag not in known]
    return tokenizer.appended(new, control=True) if new else tokenizer


def _domain_lines(files: CorpusFiles, group: NDArray[np.int32]) -> Iterator[str]:
    """How many pairs are of which domain and direction."""
    pairs: Counter[tuple[str, str]] = Counter()
    counts = np.bincount(group, minlength=len(files.domains)).tolist()
    for number, (domain, weight, count) in enumerate(zip(files.domains, files.weights, counts, strict=True)):
        direction = f" {files.directions[number]}" if files.directions else ""
        pairs[domain + direction, "" if weight == 1 else f", each {weight:g} times in a pass"] += count
    for (name, seen), total in pairs.items():
        yield f"  {name}: {total:,} pairs{seen}"
