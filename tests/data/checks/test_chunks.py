"""Chunks of pairs, whatever is wrong with their files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.checks import chunks as chunks_module
from seqloom.data.checks.chunks import Chunks, Shift, place
from seqloom.data.readers import Group, read_pairs
from seqloom.errors import DataError


def write(folder: Path, src: bytes, tgt: bytes) -> Group:
    paths = folder / "a.src", folder / "a.tgt"
    for path, content in zip(paths, (src, tgt), strict=True):
        path.write_bytes(content)
    return Group(paths)


def pairs_of(chunks: Chunks) -> list[tuple[str, str]]:
    return [pair for chunk in chunks for pair in zip(chunk.src, chunk.tgt, strict=True)]


@given(
    st.lists(st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\n")) for _ in "st"]), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_pairs_are_read_as_a_training_reads_them(tmp_path_factory, pairs, end, bom):
    folder = tmp_path_factory.mktemp("chunks")
    files = ["".join(pair[side] + end for pair in pairs).encode() for side in (0, 1)]
    group = write(folder, b"\xef\xbb\xbf" * bom + files[0], files[1])
    chunks = Chunks([group])
    expected = [(example.src, example.tgt) for example in read_pairs(*group.paths)]
    assert pairs_of(chunks) == expected
    assert chunks.pairs == len(expected)
    assert [facts.lines for facts in chunks.facts[0]] == [len(expected)] * 2
    assert chunks.facts[0][0].bom is (bom or files[0].startswith(b"\xef\xbb\xbf"))


def test_chunks_follow_one_another(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks_module, "CHUNK", 3)
    groups = [write(tmp_path, b"".join(b"%d\n" % n for n in range(7)), b"x\n" * 7)] * 2
    chunks = Chunks(groups)
    assert [(chunk.group, chunk.start, len(chunk.src)) for chunk in chunks] == [
        (0, 0, 3), (0, 3, 3), (0, 6, 1), (1, 7, 3), (1, 10, 3), (1, 13, 1),
    ]  # fmt: skip


def test_a_chunk_of_long_texts_has_fewer_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks_module, "MOST_CHARACTERS", 100)
    group = write(tmp_path, b"x" * 60 + b"\n" + b"y\n" * 9, b"z" * 60 + b"\n" + b"y\n" * 9)
    assert [len(chunk.src) for chunk in Chunks([group])] == [1, 9]


@pytest.mark.parametrize(("src", "tgt", "counts"), [(5, 3, [5, 3]), (3, 5, [3, 5]), (0, 2, [0, 2]), (3, 4, [3, 4])])
def test_unequal_files_are_read_as_far_as_both_go(tmp_path, src, tgt, counts):
    chunks = Chunks([write(tmp_path, b"s\n" * src, b"t\n" * tgt)])
    assert len(pairs_of(chunks)) == min(counts)
    assert [facts.lines for facts in chunks.facts[0]] == counts


def test_a_last_line_without_its_end_counts(tmp_path):
    chunks = Chunks([write(tmp_path, b"a\nb", b"c\nd")])
    assert pairs_of(chunks) == [("a", "c"), ("b", "d")]
    assert chunks.facts[0][0].lines == 2


def test_bytes_that_are_not_utf8_are_named_and_read_on(tmp_path):
    chunks = Chunks([write(tmp_path, b"a\n\xff\xfe\nc\n", "é\nü\nß\n".encode())])
    (chunk,) = chunks
    assert chunk.invalid == [1]
    assert chunk.src == ["a", "\ufffd\ufffd", "c"]
    assert chunk.tgt == ["é", "ü", "ß"]


def test_odd_line_ends_are_counted(tmp_path):
    chunks = Chunks([write(tmp_path, b"a\nb\r\nc\n", b"d\r\ne\r\nf\n")])
    assert pairs_of(chunks) == [("a", "d"), ("b", "e"), ("c", "f")]
    assert [facts.odd_ends for facts in chunks.facts[0]] == [(1, 2), (1, 3)]


def test_a_line_longer_than_any_sentence_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks_module, "MAX_LINE_BYTES", 100_000)
    group = write(tmp_path, b"a\n" + b"x" * 200_001 + b"\n", b"b\nc\n")
    with pytest.raises(
        DataError, match=r"a\.src:2: the line is longer than 100,000 bytes, expected a sentence; put each"
    ):
        pairs_of(Chunks([group]))


@given(
    st.integers(20, 60), st.lists(st.tuples(st.integers(0, 59), st.booleans()), max_size=3, unique_by=lambda x: x[0])
)
def test_lines_out_of_step_are_paired_anew(tmp_path_factory, size, deleted):
    """However lines were deleted: with the true shifts, exactly the true pairs come back.

    A shift is that of a line with a partner, and begins with the lines before it that have none.
    """
    src = [n for n in range(size) if (n, True) not in deleted]
    tgt = [n for n in range(size) if (n, False) not in deleted]
    shifts, before = [], 0
    for row in range(len(tgt)):
        partnered = next((number for number in tgt[row:] if number in src), None)
        shift = before if partnered is None else src.index(partnered) - tgt.index(partnered)
        if shift != before:
            shifts.append(Shift(row + 1, shift))
            before = shift
    folder = tmp_path_factory.mktemp("anew")
    group = write(folder, *("".join(f"{n}\n" for n in side).encode() for side in (src, tgt)))
    found = pairs_of(Chunks([group], {0: shifts} if shifts else {}))
    assert {(a, b) for a, b in found if a == b} == {(str(n), str(n)) for n in src if n in tgt}
    orphans = [n for n in tgt if n not in src]
    assert len([1 for a, b in found if a != b]) <= len(orphans)


def test_the_margin_is_left_out_and_places_tell_both_lines(tmp_path):
    lines = [f"{n}" for n in range(1, 101)]
    group = write(tmp_path, "\n".join(lines).encode(), "\n".join(n for n in lines if n != "50").encode())
    chunks = Chunks([group], {0: [Shift(50, 1)]}, margin=5)
    found = pairs_of(chunks)
    assert found == [(n, n) for n in lines if not 45 <= int(n) <= 55]
    (chunk,) = chunks
    assert chunks.where(chunk, 60) == f"{tmp_path}/a.src:72 and {tmp_path}/a.tgt:71"
    assert place(Group((tmp_path / "b.tsv",)), (7, 7)) == f"{tmp_path}/b.tsv:7"
