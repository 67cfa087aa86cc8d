"""A cleaned corpus: nothing is changed in place, nothing is lost without a word, and what is left is clean."""

import json
from collections import Counter
from pathlib import Path

import pytest

from seqloom.data.checks.doctor import check
from seqloom.data.checks.findings import Severity
from seqloom.data.checks.fix import LOG, write_fixed
from seqloom.data.readers import Group, Options
from seqloom.errors import DataError, UserError
from tests.data.checks.corpora import Pair, sentences, write


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def dropped(folder: Path) -> dict[str, str]:
    """Why each ``file:line`` was left out; none is named twice."""
    found: dict[str, str] = {}
    for row in lines_of(folder / LOG):
        where, _, reason = row.partition("\t")
        for place in where.split(" and "):
            assert place not in found
            found[place] = reason
    return found


def damaged() -> list[Pair]:
    pairs = sentences(1500)
    for row in range(0, 1500, 60):
        pairs[row] = pairs[row][::-1]
    for row in range(7, 1500, 90):
        pairs[row] = pairs[row - 1]
    pairs[50] = ("", "alone")
    return pairs


def test_what_is_left_is_clean_and_the_rest_is_named(tmp_path):
    pairs = damaged()
    src, tgt = write(tmp_path, pairs)
    before = src.read_bytes(), tgt.read_bytes()
    diagnosis = check([Group((src, tgt))], processes=1)
    assert diagnosis.worst is Severity.PROBLEM
    fixed = write_fixed(diagnosis, tmp_path / "clean")
    assert (src.read_bytes(), tgt.read_bytes()) == before
    left = lines_of(tmp_path / "clean" / "train.de"), lines_of(tmp_path / "clean" / "train.en")
    assert len(left[0]) == len(left[1]) == fixed.kept
    named = dropped(tmp_path / "clean")
    for side, path in enumerate((src, tgt)):
        gone = {int(place.rpartition(":")[2]) - 1 for place in named if place.startswith(f"{path}:")}
        assert left[side] == [pair[side] for row, pair in enumerate(pairs) if row not in gone]
    assert named[f"{src}:51"] == "one side empty"
    assert named[f"{src}:61"] == "source and target in each other's place"
    assert named[f"{tgt}:8"] == "the same as a pair before"
    assert f"{fixed.kept:,} pairs written to {tmp_path}/clean. Left out: 25 source and target in each other's" in str(
        fixed
    )
    again = check([Group((tmp_path / "clean" / "train.de", tmp_path / "clean" / "train.en"))], processes=1)
    assert again.worst is Severity.NOTE
    assert not [each for each in again.findings if each.kind not in ("many_targets", "many_sources")]


def test_lines_out_of_step_are_paired_anew(tmp_path):
    """Two lines are missing in different files: every pair but those near by comes back as it was."""
    pairs = sentences(6000)
    src, tgt = write(tmp_path, pairs)
    for path, lost in ((tgt, 2000), (src, 4000)):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:lost] + lines[lost + 1 :]), encoding="utf-8")
    diagnosis = check([Group((src, tgt))], processes=1)
    assert [each.shift for each in diagnosis.misalignments][:1] == [1]
    fixed = write_fixed(diagnosis, tmp_path / "clean")
    left = list(zip(*(lines_of(tmp_path / "clean" / name) for name in ("train.de", "train.en")), strict=True))
    assert set(left) <= set(pairs)
    assert fixed.kept == len(left) > 5800
    named = dropped(tmp_path / "clean")
    for side, path in enumerate((src, tgt)):
        gone = {int(place.rpartition(":")[2]) - 1 for place in named if place.startswith(f"{path}:")}
        assert [pair[side] for pair in left] == [text for row, text in enumerate(lines_of(path)) if row not in gone]
    assert Counter(named.values())["lines without a sure partner on the other side"] >= 2 * 39


def test_a_file_of_both_sides_becomes_jsonl_and_no_name_is_taken_twice(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        tsv = "".join("\t".join(pair) + "\n" for pair in damaged())
        (tmp_path / folder / "pairs.tsv").write_text(tsv, encoding="utf-8")
    groups = [Group((tmp_path / folder / "pairs.tsv",), Options("de", "en")) for folder in ("a", "b")]
    fixed = write_fixed(check(groups, processes=1), tmp_path / "clean")
    assert {path.name for path in (tmp_path / "clean").iterdir()} == {"pairs.jsonl", "2-pairs.jsonl", LOG}
    records = [json.loads(line) for line in lines_of(tmp_path / "clean" / "pairs.jsonl")]
    assert len(records) == fixed.kept
    assert {"src": damaged()[1][0], "tgt": damaged()[1][1]} in records
    assert lines_of(tmp_path / "clean" / "2-pairs.jsonl") == []  # all of it was in the first


def test_nothing_is_overwritten(tmp_path):
    diagnosis = check([Group(write(tmp_path, sentences(50)))], processes=1)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("", encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    for name in ("there", "file"):
        with pytest.raises(UserError, match=f"{name}: is there already, and nothing is overwritten; give a new folder"):
            write_fixed(diagnosis, tmp_path / name)
    (tmp_path / "clean.new").mkdir()
    (tmp_path / "clean.new" / "mine").write_text("", encoding="utf-8")
    write_fixed(diagnosis, tmp_path / "clean")
    assert (tmp_path / "clean.new" / "mine").is_file()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    diagnosis = check([Group(write(tmp_path, sentences(50)))], processes=1)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"file/clean: cannot be written \(.*\); give another folder for --fix"):
        write_fixed(diagnosis, tmp_path / "file" / "clean")


def test_a_clean_corpus_stays_as_it_is(tmp_path):
    src, tgt = write(tmp_path, sentences(200))
    (tmp_path / "clean").mkdir()
    fixed = write_fixed(check([Group((src, tgt))], processes=1), tmp_path / "clean")
    assert (tmp_path / "clean" / "train.de").read_bytes() == src.read_bytes()
    assert (tmp_path / "clean" / "train.en").read_bytes() == tgt.read_bytes()
    assert (tmp_path / "clean" / LOG).read_bytes() == b""
    assert str(fixed) == f"200 pairs written to {tmp_path}/clean."


def test_a_file_of_both_sides_that_is_out_of_step_is_not_written(tmp_path):
    """Nobody but its owner can tell which sides belong together."""
    pairs = sentences(4000)
    slipped = [*(tgt for _, tgt in pairs[:2000]), *(tgt for _, tgt in pairs[2001:]), pairs[2000][1]]
    rows = "".join(f"{src}\t{tgt}\n" for (src, _), tgt in zip(pairs, slipped, strict=True))
    (tmp_path / "pairs.tsv").write_text(rows, encoding="utf-8")
    diagnosis = check([Group((tmp_path / "pairs.tsv",), Options("de", "en"))], processes=1)
    assert [each.shift for each in diagnosis.misalignments][:1] == [1]
    with pytest.raises(
        UserError, match=r"pairs\.tsv:(19[89]\d|20[01]\d): from here on the two sides of the file are out"
    ):
        write_fixed(diagnosis, tmp_path / "clean")
    assert not (tmp_path / "clean").exists()
