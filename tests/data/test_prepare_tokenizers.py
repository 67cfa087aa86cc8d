"""Which tokenizers the settings lead to."""

from pathlib import Path
from typing import Any

import pytest

from seqloom.config import DataConfig, Section, load_config
from seqloom.data.prepare import Prepared, data_key, prepare_pairs
from seqloom.data.tokenizers import TOKENIZERS, SentencePiece, Words
from seqloom.errors import ConfigError, DataError


class Config(Section):
    data: DataConfig = DataConfig()


def config_of(toy_settings: dict[str, Any], **data: Any) -> DataConfig:
    flags = toy_settings | {f"data.{key}": value for key, value in data.items()}
    return load_config(Config, flags={key: value for key, value in flags.items() if key.startswith("data.")}).data


def prepare(toy_settings: dict[str, Any], folder: Path, **data: Any) -> Prepared:
    return prepare_pairs(config_of(toy_settings, **data), folder, lambda said: None)


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_by_its_name(toy_settings, tmp_path, name, joint):
    first = prepare(toy_settings, tmp_path / "data", tokenizer=name, joint_vocab=joint)
    again = prepare(toy_settings, tmp_path / "data", tokenizer=name, joint_vocab=joint)
    for prepared in (first, again):
        assert isinstance(prepared.src_tokenizer, Words if name == "words" else SentencePiece)
        assert (prepared.tgt_tokenizer is prepared.src_tokenizer) == joint
        assert prepared.src_tokenizer.decode([prepared.train.src[3].tolist()])[0].replace(" ", "").isdigit()
        assert prepared.tgt_tokenizer.decode([prepared.train.tgt[3].tolist()])[0].endswith(".")
    assert again.tgt_tokenizer.to_bytes() == first.tgt_tokenizer.to_bytes()


def test_own_files_for_one_or_two_vocabularies(toy_settings, tmp_path):
    digits, words = tmp_path / "digits.model", tmp_path / "words.model"
    digits.write_bytes(SentencePiece.train(["1 2 3 4 5 6 7 8 9 0"] * 9, 301).to_bytes())
    words.write_bytes(Words.train(["ein nul ."] * 2, 301).to_bytes())
    joint = prepare(toy_settings, tmp_path / "one", tokenizer_file=str(digits))
    assert joint.src_tokenizer is joint.tgt_tokenizer
    assert joint.src_tokenizer.to_bytes() == digits.read_bytes()
    two = prepare(toy_settings, tmp_path / "two", tokenizer_file=[str(digits), str(words)])
    assert two.src_tokenizer.to_bytes() == digits.read_bytes()
    assert two.tgt_tokenizer.to_bytes() == words.read_bytes()


def test_another_own_file_means_other_data(toy_settings, tmp_path):
    path = tmp_path / "my.model"
    keys = set()
    for text in ("1 2 3", "4 5 6"):
        path.write_bytes(SentencePiece.train([text], 301).to_bytes())
        keys |= {data_key(config_of(toy_settings, tokenizer_file=str(path), batch_tokens=n)) for n in (97, 101)}
    assert len(keys) == 2


def test_an_own_file_is_looked_at_before_the_corpus_is_read(toy_settings, tmp_path):
    (tmp_path / "my.model").write_text("<unk>\t0\n")
    with pytest.raises(DataError, match=r"my\.model: is not a SentencePiece model; data\.tokenizer_file takes"):
        prepare(toy_settings, tmp_path / "data", tokenizer_file=str(tmp_path / "my.model"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"tokenizer_file": ["a", "b"], "joint_vocab": True},
            r"\[data\] tokenizer_file: 2 given, expected 1 with joint_vocab = true$",
        ),
        (
            {"tokenizer_file": "a", "joint_vocab": False},
            r"tokenizer_file: 1 given, expected 2 with joint_vocab = false$",
        ),
        ({"tokenizer_file": ["a", "b", "c"]}, r"tokenizer_file: 3 given, expected 2 with joint_vocab = false$"),
        (
            {"tokenizer": "words", "subword_dropout": 0.1},
            r'subword_dropout cuts words anew in each pass, which tokenizer = "words" cannot; set it to 0',
        ),
    ],
)
def test_settings_that_do_not_go_together(toy_settings, data, message):
    with pytest.raises(ConfigError, match=message):
        config_of(toy_settings, **data)


def test_terms_are_added_once(toy_settings, tmp_path):
    terms = ["zwo dri", " Kubernetes", "Kubernetes"]
    first = prepare(toy_settings, tmp_path / "first", terms=terms)
    plain = prepare(toy_settings, tmp_path / "plain")
    assert first.src_tokenizer.vocab_size == plain.src_tokenizer.vocab_size + 2
    file = str(tmp_path / "first" / "src.model")
    again = prepare(toy_settings, tmp_path / "again", terms=terms, tokenizer_file=file)
    assert again.src_tokenizer.to_bytes() == first.src_tokenizer.to_bytes()


def test_dropout_is_part_of_the_training_and_not_of_the_data(toy_settings):
    assert data_key(config_of(toy_settings, subword_dropout=0.1)) == data_key(config_of(toy_settings))
