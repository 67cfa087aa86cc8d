import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.config import DataConfig
from seqloom.data import corpus as corpus_module
from seqloom.data import hold_out as hold_out_module
from seqloom.data import prepare as prepare_module
from seqloom.data.corpus import Corpus
from seqloom.data.hold_out import MAX_HELD_OUT, hold_out
from seqloom.data.prepare import Prepared, prepare_pairs
from seqloom.data.readers import Example, Options, PairFiles
from seqloom.data.tokenizers import SentencePiece, normalize
from seqloom.errors import DataError

Pairs = Sequence[tuple[str, str]]

PAIRS = [(f"we buy {i} books", f"wir kaufen {i} Bücher") for i in range(211)]


def write(folder: Path, pairs: Pairs, name: str = "train") -> tuple[str, str]:
    paths = folder / f"{name}.src", folder / f"{name}.tgt"
    for side, path in enumerate(paths):
        path.write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8", newline="")
    return str(paths[0]), str(paths[1])


class House:
    """A folder with a corpus, and all that is said while it is prepared."""

    def __init__(self, folder: Path) -> None:
        self.place = folder
        self.folder = folder / "run" / "data"
        self.said: list[str] = []

    def prepare(self, train: Pairs = PAIRS, valid: Pairs | None = None, **settings: Any) -> Prepared:
        settings = {"vocab_size": 307, "max_length": 61, "src_lang": "en", "tgt_lang": "de"} | settings
        settings["src"], settings["tgt"] = write(self.place, train)
        if valid is not None:
            settings["valid_src"], settings["valid_tgt"] = write(self.place, valid, "valid")
        return self.again(**settings)

    def again(self, **settings: Any) -> Prepared:
        self.said.clear()
        return prepare_pairs(DataConfig(**settings), self.folder, self.said.append)

    def built(self) -> set[tuple[int, int]]:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert len(files) > 10
        return {(path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path)


def texts(prepared: Prepared, corpus: Corpus) -> list[tuple[str, str]]:
    return [
        (
            prepared.src_tokenizer.decode([corpus.src[i].tolist()])[0],
            prepared.tgt_tokenizer.decode([corpus.tgt[i].tolist()])[0],
        )
        for i in range(len(corpus))
    ]


VALID = PAIRS[:11]
TRAIN = PAIRS[11:]


@pytest.mark.parametrize("joint", [True, False])
def test_what_is_prepared_is_the_text(house, joint):
    prepared = house.prepare(TRAIN, VALID, joint_vocab=joint)
    assert texts(prepared, prepared.train) == TRAIN
    assert texts(prepared, prepared.valid) == VALID
    assert (prepared.src_tokenizer is prepared.tgt_tokenizer) == joint
    assert (house.folder / "tgt.model").exists() == (not joint)
    assert prepared.about["train_pairs"] == len(TRAIN)
    assert prepared.about["valid_pairs"] == len(VALID)
    assert prepared.about["train_tokens"] == [prepared.train.src.tokens.size, prepared.train.tgt.tokens.size]
    assert prepared.about["longest_source"] == prepared.train.src.lengths.max()
    assert prepared.about["held_out"] is False
    assert prepared.about["dropped"] == {"train": {}, "valid": {}}
    assert (house.folder / "dropped.tsv").read_text() == ""
    sizes = [tokenizer.vocab_size for tokenizer in (prepared.src_tokenizer, prepared.tgt_tokenizer)]
    pieces = str(sizes[0]) if joint else f"{sizes[0]} + {sizes[1]}"
    assert house.said == [
        "Learning the vocabulary ...",
        f"200 pairs to train on, 11 to validate with, {pieces} pieces.",
    ]
    assert prepared.train.where(6) == f"{house.place / 'train.src'}:7 and {house.place / 'train.tgt'}:7"


def test_separate_vocabularies_know_their_side_only(house):
    prepared = house.prepare(TRAIN, VALID, joint_vocab=False)
    src, tgt = (
        set(tokenizer.pieces(range(tokenizer.vocab_size)))
        for tokenizer in (prepared.src_tokenizer, prepared.tgt_tokenizer)
    )
    assert "▁buy" in src - tgt
    assert "▁kaufen" in tgt - src


def test_the_same_again_is_opened_and_not_built(house):
    first = house.prepare(TRAIN, VALID)
    before = house.built()
    second = house.prepare(TRAIN, VALID)
    assert house.built() == before
    assert house.said == []
    assert second.key == first.key
    assert second.about == first.about
    assert texts(second, second.train) == TRAIN


CHANGES: dict[str, dict[str, Any]] = {
    "a source": {"train": [("we sell 1 book", TRAIN[0][1]), *TRAIN[1:]]},
    "a target": {"train": [(TRAIN[0][0], "nichts"), *TRAIN[1:]]},
    "the order": {"train": [*TRAIN[1:], TRAIN[0]]},
    "a pair more": {"train": [*TRAIN, ("more", "mehr")]},
    "a validation target": {"valid": [(VALID[0][0], "nichts"), *VALID[1:]]},
    "no validation": {"valid": None},
    "vocab_size": {"vocab_size": 305},
    "max_length": {"max_length": 53},
    "joint_vocab": {"joint_vocab": False},
    "character_coverage": {"character_coverage": 0.97},
    "strict": {"strict": True},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(house, change):
    given: dict[str, Any] = {"train": TRAIN, "valid": VALID}
    first = house.prepare(**given)
    given |= CHANGES[change]
    second = house.prepare(**given)
    assert house.said[0] == "The prepared data is damaged, or is of other files or settings: preparing it again."
    assert second.key != first.key
    if given["valid"] is not None:
        assert texts(second, second.train) == given["train"]
        assert texts(second, second.valid) == given["valid"]
    assert [path.name for path in house.folder.parent.iterdir()] == ["data"]


def test_the_share_held_out_is_a_setting_too(house):
    assert house.prepare(valid_share=0.1).key != house.prepare(valid_share=0.2).key


@pytest.mark.parametrize(
    "setting", [{"batch_tokens": 1009}, {"src_lang": "xx"}, {"tgt_lang": "yy"}, {"weights": [2]}, {"domains": "a"}]
)
def test_what_does_not_change_the_data_does_not_change_the_key(house, setting):
    first = house.prepare(TRAIN, VALID)
    before = house.built()
    assert house.prepare(TRAIN, VALID, **setting).key == first.key
    assert house.built() == before


def test_the_same_content_elsewhere_has_the_same_key(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = House(tmp_path / "one"), House(tmp_path / "two")
    assert one.prepare(TRAIN, VALID).key == two.prepare(TRAIN, VALID).key
    for path in one.folder.rglob("*"):
        if path.is_file() and path.name != "corpus.json":  # which holds the names of the files
            assert path.read_bytes() == (two.folder / path.relative_to(one.folder)).read_bytes(), path


def test_a_build_cut_short_is_not_taken_for_a_whole_one(house, monkeypatch):
    class PowerCut(BaseException):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "require_pairs", fail)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # nothing is tidied up by a power cut
        with pytest.raises(PowerCut):
            house.prepare(TRAIN, VALID)
    left = house.folder.with_name("data.new")
    assert (left / "train" / "src.bin").is_file()
    assert not house.folder.exists()
    prepared = house.prepare(TRAIN, VALID)
    assert texts(prepared, prepared.train) == TRAIN
    assert not left.exists()


def test_a_failed_build_leaves_nothing_and_keeps_what_was_there(house):
    first = house.prepare(TRAIN, VALID)
    before = house.built()
    with pytest.raises(DataError):
        house.prepare(TRAIN, [("", "nothing")])
    assert house.built() == before
    assert [path.name for path in house.folder.parent.iterdir()] == ["data"]
    assert house.prepare(TRAIN, VALID).key == first.key
    assert house.said == []


@pytest.mark.parametrize("name", ["train/src.bin", "valid/line.npy", "src.model", "prepared.json", "train/corpus.json"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
def test_what_is_damaged_is_built_again(house, name, damage):
    house.prepare(TRAIN, VALID)
    path = house.folder / name
    content = path.read_bytes()
    if damage == "gone" and name != "prepared.json":  # without that the folder is not known to be ours
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    prepared = house.prepare(TRAIN, VALID)
    assert house.said[0].startswith("The prepared data is damaged")
    assert texts(prepared, prepared.train) == TRAIN
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["train/src.bin", "train/tgt.bin", "valid/tgt.bin"])
@pytest.mark.parametrize("mapped_bytes", [0, 1 << 27])
def test_tokens_beyond_the_vocabulary_are_built_again(house, monkeypatch, name, mapped_bytes):
    monkeypatch.setattr(corpus_module, "MAPPED_BYTES", mapped_bytes)
    monkeypatch.setattr(corpus_module, "READ_AT_ONCE", 7)
    prepared = house.prepare(TRAIN, VALID)
    path = house.folder / name
    content = path.read_bytes()
    tokens = np.frombuffer(content, "<u2").copy()
    tokens[-1] = prepared.src_tokenizer.vocab_size - 1
    path.write_bytes(tokens.tobytes())
    house.prepare(TRAIN, VALID)
    assert house.said == []
    tokens[-1] += 1
    path.write_bytes(tokens.tobytes())
    prepared = house.prepare(TRAIN, VALID)
    assert house.said[0].startswith("The prepared data is damaged")
    assert path.read_bytes() == content


@pytest.mark.parametrize("joint_vocab", [True, False])
def test_another_tokenizer_of_the_same_size_is_noticed(house, joint_vocab):
    prepared = house.prepare(TRAIN, VALID, joint_vocab=joint_vocab)
    path = house.folder / ("src.model" if joint_vocab else "tgt.model")
    content = path.read_bytes()
    size = prepared.tgt_tokenizer.vocab_size
    other = SentencePiece.train([text[::-1] for pair in PAIRS for text in pair], size, kind="bpe")
    assert other.vocab_size == size
    assert other.to_bytes() != content
    path.write_bytes(other.to_bytes())
    house.prepare(TRAIN, VALID, joint_vocab=joint_vocab)
    assert house.said[0].startswith("The prepared data is damaged")
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", ["[]", "{}", '"key"', "null"])
def test_a_prepared_json_of_another_kind_is_built_again(house, content):
    house.prepare(TRAIN, VALID)
    (house.folder / "prepared.json").write_text(content)
    assert len(house.prepare(TRAIN, VALID).train) == len(TRAIN)


def test_a_folder_of_the_users_is_never_replaced(house):
    house.folder.mkdir(parents=True)
    (house.folder / "precious.txt").write_text("mine")
    with pytest.raises(DataError) as error:
        house.prepare(TRAIN, VALID)
    assert str(error.value) == (
        f"{house.folder}: holds something else than prepared data, and nothing is overwritten; move it away"
    )
    assert (house.folder / "precious.txt").read_text() == "mine"


def test_an_empty_folder_may_be_filled(house):
    house.folder.mkdir(parents=True)
    assert len(house.prepare(TRAIN, VALID).train) == len(TRAIN)


BAD = [("", "leer"), ("too long " * 61, "zu lang"), ("empty", " \u3000")]


def test_bad_pairs_are_dropped_pairwise_shown_and_named(house):
    prepared = house.prepare([*TRAIN[:2], *BAD, *TRAIN[2:]], [BAD[0], *VALID])
    assert texts(prepared, prepared.train) == TRAIN
    assert texts(prepared, prepared.valid) == VALID
    place = house.place
    assert (house.folder / "dropped.tsv").read_text(encoding="utf-8").splitlines() == [
        f"{place / 'train.src'}:3 and {place / 'train.tgt'}:3\tan empty source",
        f"{place / 'train.src'}:4 and {place / 'train.tgt'}:4\ta source of 61 tokens or more",
        f"{place / 'train.src'}:5 and {place / 'train.tgt'}:5\tan empty target",
        f"{place / 'valid.src'}:1 and {place / 'valid.tgt'}:1\tan empty source",
    ]
    assert prepared.about["dropped"] == {
        "train": {"an empty source": 1, "a source of 61 tokens or more": 1, "an empty target": 1},
        "valid": {"an empty source": 1},
    }
    train, valid = (said for said in house.said if said.startswith("Dropped"))
    assert train == (
        f"Dropped from the train corpus: 1 with an empty source (the first: {place / 'train.src'}:3 and "
        f"{place / 'train.tgt'}:3); 1 with a source of 61 tokens or more (the first: {place / 'train.src'}:4 and "
        f"{place / 'train.tgt'}:4); 1 with an empty target (the first: {place / 'train.src'}:5 and "
        f"{place / 'train.tgt'}:5); all are named in {house.folder / 'dropped.tsv'}."
    )
    assert valid.startswith("Dropped from the valid corpus: 1 with an empty source (the first: ")


@pytest.mark.parametrize("part", ["train", "valid"])
def test_strict_refuses_what_would_be_dropped(house, part):
    given = {"train": TRAIN, "valid": VALID}
    given[part] = [*given[part], BAD[2]]
    with pytest.raises(DataError) as error:
        house.prepare(**given, strict=True)
    line = len(given[part])
    where = f"{house.place / f'{part}.src'}:{line} and {house.place / f'{part}.tgt'}:{line}"
    assert str(error.value) == (
        f"the {part} corpus has pairs that would be dropped, and --strict was given: "
        f"1 with an empty target (the first: {where})"
    )
    assert not house.folder.exists()
    assert len(house.prepare(TRAIN, VALID, strict=True).train) == len(TRAIN)


@pytest.mark.parametrize(
    "pairs", [[], [("", "")], [("a", ""), ("", "b"), ("\u2581", "c")]], ids=["no", "empty", "half"]
)
@pytest.mark.parametrize("valid", [None, VALID], ids=["held out", "given"])
def test_an_empty_corpus_is_an_error(house, pairs, valid):
    with pytest.raises(DataError) as error:
        house.prepare(pairs, valid)
    assert str(error.value) == (
        f"{house.place / 'train.src'} and {house.place / 'train.tgt'}: no sentence pair with text on both sides, "
        f"expected a corpus to train on"
    )


@pytest.mark.parametrize("pairs", [[], [("a", "")]])
def test_an_empty_validation_set_is_an_error(house, pairs):
    with pytest.raises(DataError) as error:
        house.prepare(TRAIN, pairs)
    names = f"{house.place / 'valid.src'} and {house.place / 'valid.tgt'}"
    assert str(error.value).startswith(f"{names}: no usable sentence pair")
    assert str(error.value).endswith("expected a validation corpus")


def test_a_corpus_of_over_long_pairs_is_an_error(house):
    with pytest.raises(DataError, match=r"train\.tgt: no usable sentence pair \(1 with a source of 61 tokens or more"):
        house.prepare([("ab " * 211, "x")], VALID)


def test_no_files_are_an_error(house):
    with pytest.raises(DataError) as error:
        house.again()
    assert str(error.value) == "no training files were given; expected --src FILE --tgt FILE, or --data FILE"


def test_tsv_and_pairs_of_files_make_one_corpus(house):
    src, tgt = write(house.place, TRAIN[:7])
    tsv = house.place / "more.tsv"
    tsv.write_text("".join(f"{s}\t{t}\n" for s, t in TRAIN[7:]), encoding="utf-8")
    valid_src, valid_tgt = write(house.place, VALID, "valid")
    prepared = house.again(
        src=src, tgt=tgt, data=str(tsv), valid_src=valid_src, valid_tgt=valid_tgt, vocab_size=307, max_length=61
    )
    assert texts(prepared, prepared.train) == TRAIN
    assert prepared.train.where(0) == f"{src}:1 and {tgt}:1"
    assert prepared.train.where(7) == f"{tsv}:1"


def parts(folder: Path, pairs: Pairs, share: float) -> tuple[list[Example], list[Example]]:
    src, tgt = write(folder, pairs)
    train, valid = hold_out(PairFiles([src], [tgt]), share)
    first = [example for _, example in train], [example for _, example in valid]
    assert first == ([example for _, example in train], [example for _, example in valid])  # a second time the same
    return first


def sides(examples: list[Example]) -> list[tuple[str, str]]:
    return [(example.src, example.tgt) for example in examples]


def test_a_share_is_held_out_and_said_so(house):
    prepared = house.prepare(PAIRS, valid_share=0.1)
    assert len(prepared.valid) == round(0.1 * len(PAIRS)) == 21
    assert sorted(texts(prepared, prepared.train) + texts(prepared, prepared.valid)) == sorted(PAIRS)
    assert "No validation files given: 21 pairs are held out of training for that." in house.said
    assert prepared.about["held_out"] is True
    line = PAIRS.index(texts(prepared, prepared.valid)[0]) + 1
    place = house.place
    assert prepared.valid.where(0) == f"{place / 'train.src'}:{line} and {place / 'train.tgt'}:{line}"


@pytest.mark.parametrize(("count", "share", "held_out"), [(2, 0.01, 1), (101, 0.01, 1), (499, 0.05, 25), (7, 0.49, 3)])
def test_how_many_are_held_out(tmp_path, count, share, held_out):
    train, valid = parts(tmp_path, [(f"s{i}", f"t{i}") for i in range(count)], share)
    assert (len(train), len(valid)) == (count - held_out, held_out)


def test_no_more_than_so_many_are_held_out(tmp_path, monkeypatch):
    assert MAX_HELD_OUT == 2_000
    monkeypatch.setattr(hold_out_module, "MAX_HELD_OUT", 23)
    assert len(parts(tmp_path, PAIRS, 0.4)[1]) == 23


def test_the_choice_does_not_depend_on_the_order(tmp_path):
    one, two = parts(tmp_path, PAIRS, 0.1), parts(tmp_path, PAIRS[::-1], 0.1)
    assert sides(one[1]) == sides(two[1])[::-1]
    assert sides(one[0]) == sides(two[0])[::-1]


def test_no_source_is_on_both_sides_however_it_is_written(tmp_path):
    # 97 sources with five targets each, in various spellings of the same text.
    spellings = ["caf\u00e9 {} x", "cafe\u0301 {} x", " caf\u00e9  {} x ", "caf\u00e9\u3000{} x", "caf\u00e9 {}\u2581x"]
    pairs = [(spelling.format(i), f"t{i}.{n}") for n, spelling in enumerate(spellings) for i in range(97)]
    train, valid = parts(tmp_path, pairs, 0.2)
    assert len(train) + len(valid) == 485
    assert len(valid) == 95  # the share is of pairs: 97, in fives
    trained, held_out = ({example.tgt.split(".")[0] for example in part} for part in (train, valid))
    assert not trained & held_out


def test_a_very_frequent_source_stays_in_training(tmp_path):
    for number in range(11):  # whatever its hash
        pairs = [(f"s{i}", f"t{i}") for i in range(499)] + [(f"yes {number}", f"t{i}") for i in range(499)]
        train, valid = parts(tmp_path, pairs, 0.1)
        assert len(valid) == 100
        assert not [example for example in valid if example.src.startswith("yes")]
        assert len(train) == 898


def test_sources_that_are_all_frequent_are_held_out_whole(tmp_path):
    train, valid = parts(tmp_path, [(source, f"t{i}") for i in range(7) for source in "abc"], 0.01)
    assert (len(train), len(valid)) == (14, 7)
    assert len({example.src for example in valid}) == 1


@given(st.text(st.one_of(st.characters(), st.sampled_from(" \u3000\u2581\xa0\u2028"))))
def test_there_is_text_where_normalizing_leaves_some(text):
    assert hold_out_module._has_text(text) == bool(normalize(text))


def test_progress_is_told_of_reading_and_of_storing(house, monkeypatch):
    for module in (hold_out_module, prepare_module):
        monkeypatch.setattr(module, "TOLD_EVERY", 50)
    monkeypatch.setattr(corpus_module, "CHUNK", 10)
    house.prepare()
    assert [said for said in house.said if "so far" in said] == [
        *(f"Reading the corpus: {n} pairs so far ..." for n in (50, 100, 150, 200)),
        *(f"Storing the train corpus: {n} pairs so far ..." for n in (50, 100, 150, 200)),
    ]


def test_unusable_pairs_are_no_candidates(tmp_path):
    pairs = [("", "t"), ("s", " "), ("\u3000", "\u3000")] * 31 + [("a", "b"), ("c", "d")]
    train, valid = parts(tmp_path, pairs, 0.3)
    assert len(valid) == 1
    assert valid[0].src in "ac"
    assert len(train) == 94


def test_one_source_alone_cannot_be_parted(tmp_path):
    src, tgt = write(tmp_path, [("a", "b"), (" a", "c"), ("", "d")])
    with pytest.raises(DataError) as error:
        hold_out(PairFiles([src], [tgt]), 0.1)
    assert str(error.value) == (
        f"{src}: one distinct source is too little to train on and to hold some out; "
        f"give more, or validation files with --valid-src and --valid-tgt"
    )


def test_what_was_prepared_is_described_in_json(house):
    prepared = house.prepare(TRAIN, VALID)
    about = json.loads((house.folder / "prepared.json").read_text(encoding="utf-8"))
    assert about == prepared.about
    assert about["settings"]["vocab_size"] == 307
    assert not {"src", "tgt_lang", "valid_data", "batch_tokens"} & set(about["settings"])
    assert len(about["train"][0]) == 2


# --- formats, languages, weights, directions ---

XLIFF = """<xliff version="1.2"><file source-language="en" target-language="de"><body>
{}
</body></file></xliff>"""


def xliff(pairs: Pairs, state: str = "final") -> str:
    return XLIFF.format(
        "\n".join(
            f"<trans-unit><source>{src}</source><target state='{state}'>{tgt}</target></trans-unit>"
            for src, tgt in pairs
        )
    )


def test_units_that_are_left_out_are_counted_and_named(house):
    path = house.place / "a.xlf"
    path.write_text(xliff(TRAIN).replace("final", "new", 3), encoding="utf-8")
    valid_src, valid_tgt = write(house.place, VALID, "valid")
    prepared = house.again(data=str(path), valid_src=valid_src, valid_tgt=valid_tgt, vocab_size=307, max_length=61)
    assert texts(prepared, prepared.train) == TRAIN[3:]
    assert prepared.about["dropped"]["train"] == {"a target in state new": 3}
    assert (house.folder / "dropped.tsv").read_text(encoding="utf-8").splitlines() == [
        f"{path}:{line}\ta target in state new" for line in (2, 3, 4)
    ]
    assert f"Dropped from the train corpus: 3 with a target in state new (the first: {path}:2);" in house.said[3]


def test_a_vocabulary_is_not_learnt_from_what_is_left_out(house):
    path = house.place / "a.xlf"
    path.write_text(xliff([*[("qqqq", "qqqq")] * 400, *TRAIN]).replace("final", "new", 400), encoding="utf-8")
    prepared = house.again(data=str(path), vocab_size=307, max_length=61)
    assert not [piece for piece in prepared.src_tokenizer.pieces(range(300)) if "q" in piece]


def test_languages_that_were_found_are_stored_and_not_looked_for_again(house, monkeypatch):
    path = house.place / "a.xlf"
    path.write_text(xliff(TRAIN), encoding="utf-8")
    settings = {"data": str(path), "vocab_size": 307, "max_length": 61}
    first = house.again(**settings)
    assert first.languages == ("en", "de")
    assert first.about["languages"] == ["en", "de"]
    assert house.said[:2] == [
        f"Source language: en (named by {path}); give --src-lang to set it.",
        f"Target language: de (named by {path}); give --tgt-lang to set it.",
    ]
    monkeypatch.setattr(prepare_module, "languages_of", None)
    assert house.again(**settings).languages == ("en", "de")
    assert house.said == []


def test_languages_choose_what_is_read_of_a_file_that_names_them(house):
    path = house.place / "a.xlf"
    path.write_text(xliff(TRAIN), encoding="utf-8")
    settings = {"data": str(path), "vocab_size": 307, "max_length": 61}
    first = house.again(**settings)
    turned = house.again(**settings, src_lang="de")
    assert turned.key != first.key
    assert turned.languages == ("de", "en")
    assert {pair[::-1] for pair in texts(turned, turned.train)} <= set(TRAIN)


def several(house: House, **settings: Any) -> Prepared:
    """Two training files of 101 and 99 pairs, with validation files."""
    (house.place / "a").mkdir(exist_ok=True)
    one, two = write(house.place / "a", TRAIN[:101]), write(house.place, TRAIN[101:])
    valid_src, valid_tgt = write(house.place, VALID, "valid")
    given = {"vocab_size": 307, "max_length": 61, "src_lang": "en", "tgt_lang": "de"}
    files = {"src": (one[0], two[0]), "tgt": (one[1], two[1]), "valid_src": valid_src, "valid_tgt": valid_tgt}
    return house.again(**given, **(files | settings))


def test_pairs_are_told_by_file_and_by_domain(house):
    prepared = several(house)
    names = [" and ".join(group) for group in prepared.train.groups]
    assert house.said[-2:] == [f"  {names[0]}: 101 pairs", f"  {names[1]}: 99 pairs"]
    assert prepared.domains == {names[0]: 101, names[1]: 99}
    assert prepared.weights == (1, 1)
    shutil.rmtree(house.folder)
    prepared = several(house, domains=["news", "chat"], weights=[2, 0.5])
    assert house.said[-2:] == [
        "  news: 101 pairs, each 2 times in a pass",
        "  chat: 99 pairs, each 0.5 times in a pass",
    ]
    assert prepared.domains == {"news": 101, "chat": 99}
    assert prepared.weights == (2, 0.5)
    shutil.rmtree(house.folder)
    assert several(house, domains=["all", "all"]).domains == {"all": 200}
    assert house.said[-1] == "  all: 200 pairs"


def test_weights_and_domains_may_change_without_preparing_again(house):
    first = several(house)
    before = house.built()
    second = several(house, weights=[0, 3], domains=["news", "chat"])
    assert house.built() == before
    assert second.key == first.key
    assert (second.weights, second.domains) == ((0, 3), {"news": 101, "chat": 99})
    names = " and ".join(first.train.groups[0])
    assert house.said == [f"Weight 0: no pair of {names} is trained on."]


def tagged(prepared: Prepared, corpus: Corpus) -> list[tuple[str, str, str]]:
    """(tag, source, target) of each pair."""
    tags = [prepared.src_tokenizer.pieces(corpus.src[i][:1].tolist())[0] for i in range(len(corpus))]
    return [(tag, *pair) for tag, pair in zip(tags, texts(prepared, corpus), strict=True)]


def test_both_directions_are_learnt_with_a_tag_each(house):
    prepared = house.prepare(TRAIN, VALID, both_directions=True)
    for corpus, pairs in ((prepared.train, TRAIN), (prepared.valid, VALID)):
        assert tagged(prepared, corpus) == [
            *(("<2de>", src, tgt) for src, tgt in pairs),
            *(("<2en>", tgt, src) for src, tgt in pairs),
        ]
    assert list(map(str, prepared.directions)) == list(map(str, prepared.valid_directions)) == ["en-de", "de-en"]
    assert prepared.train.where(0) == f"{house.place / 'train.src'}:1 and {house.place / 'train.tgt'}:1"
    assert prepared.train.where(200) == f"{house.place / 'train.tgt'}:1 and {house.place / 'train.src'}:1"
    assert prepared.about["train_pairs"] == 400
    longest = max(prepared.train.src.lengths)
    assert prepared.about["longest_source"] == longest - 1  # without its tag
    name = f"{house.place / 'train.src'} and {house.place / 'train.tgt'}"
    turned = f"{house.place / 'train.tgt'} and {house.place / 'train.src'}"
    assert house.said[-2:] == [f"  {name} en-de: 200 pairs", f"  {name} de-en: 200 pairs"]
    assert turned not in house.said[-1]
    again = house.prepare(TRAIN, VALID, both_directions=True)
    assert tagged(again, again.valid) == tagged(prepared, prepared.valid)
    # The vocabulary is the one of a single direction, and the tags.
    tokenizer = prepared.src_tokenizer
    shutil.rmtree(house.folder)
    single = house.prepare(TRAIN, VALID).src_tokenizer
    pieces = single.pieces(range(single.vocab_size))
    assert tokenizer.pieces(range(tokenizer.vocab_size)) == [*pieces, "<2de>", "<2en>"]


def test_each_file_has_the_tag_of_its_direction(house):
    prepared = several(house, directions=["en-de", "en-fr"], valid_directions="en-fr")
    assert [tag for tag, _, _ in tagged(prepared, prepared.train)] == ["<2de>"] * 101 + ["<2fr>"] * 99
    assert [tag for tag, _, _ in tagged(prepared, prepared.valid)] == ["<2fr>"] * 11
    assert prepared.languages == ("en", "de")


def test_a_tag_spelt_in_a_text_is_text(house):
    prepared = house.prepare([("<2de> we buy books", "<2en> Bücher"), *TRAIN], VALID, both_directions=True)
    assert tagged(prepared, prepared.train)[0] == ("<2de>", "<2de> we buy books", "<2en> Bücher")
    assert list(prepared.train.src[0]).count(prepared.src_tokenizer.id_of("<2de>")) == 1


def test_the_directions_and_their_languages_change_the_key(house):
    keys = {
        house.prepare(TRAIN, VALID).key,
        house.prepare(TRAIN, VALID, both_directions=True).key,
        house.prepare(TRAIN, VALID, both_directions=True, tgt_lang="fr").key,
        house.prepare(TRAIN, VALID, directions=["en-de"], valid_directions=["en-de"]).key,
    }
    assert len(keys) == 4


def test_a_tokenizer_that_has_the_tags_is_left_as_it_is(house):
    first = house.prepare(TRAIN, VALID, both_directions=True)
    file = house.place / "own.model"
    file.write_bytes(first.src_tokenizer.to_bytes())
    second = house.prepare(TRAIN, VALID, both_directions=True, tokenizer_file=str(file))
    assert second.src_tokenizer.to_bytes() == first.src_tokenizer.to_bytes()
    third = several(house, directions=["en-de", "de-fr"], valid_directions="en-de", tokenizer_file=str(file))
    assert third.src_tokenizer.pieces(third.src_tokenizer.tags) == ["<2de>", "<2en>", "<2fr>"]


def test_nothing_held_out_is_trained_on_in_the_other_direction(tmp_path):
    # Chains: s1-t1, s2-t1, s2-t2, s3-t2 and so on, of seven pairs each.
    pairs = [(f"s{i}.{(n + 1) // 2}", f"t{i}.{n // 2}") for i in range(97) for n in range(7)]
    src, tgt = write(tmp_path, pairs)
    files = PairFiles([src], [tgt]).reading([Options()], both_directions=True)
    train, valid = hold_out(files, 0.1, several_directions=True)
    trained, held_out = ({text for _, example in part for text in example[:2]} for part in (train, valid))
    assert not trained & held_out
    assert 100 < sum(1 for _ in valid) <= 136  # of 1,358 readings, in fourteens
    groups = [group for group, _ in valid]
    assert groups.count(0) == groups.count(1)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=24))
def test_linked_pairs_are_those_that_a_search_would_find(rows):
    keys = hold_out_module._linked(np.array(rows, np.uint64).reshape(-1, 2)).tolist()
    parts: list[set[int]] = []
    for row in rows:
        touched = [part for part in parts if part & set(row)]
        parts = [part for part in parts if part not in touched] + [set(row).union(*touched)]
    assert keys == [min(next(part for part in parts if row[0] in part)) for row in rows]
