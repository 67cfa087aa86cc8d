"""Lines, pairs of files, compression, and which reader a file gets."""

import bz2
import contextlib
import gzip
import io
import lzma
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.checks.chunks import Chunks
from seqloom.data.readers import (
    COMPRESSIONS,
    READERS,
    Example,
    Group,
    Options,
    PairFiles,
    named_languages,
    origin,
    read_both,
    read_lines,
    read_pairs,
)
from seqloom.data.readers import lines as lines_module
from seqloom.data.readers.lines import read_whole_lines
from seqloom.errors import DataError

BOM = b"\xef\xbb\xbf"


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(PACK.get(path.suffix.lower(), bytes)(content))
    return path


@pytest.fixture(params=["a.txt", "a.gz", "a.XZ", "a.bz2", "a.zst"])
def path(request, tmp_path) -> Path:
    return tmp_path / request.param


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\n\n\nb\n\n", ["a", "", "", "b", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\n\r\nb", ["a", "", "b"]),
        (b"a\rb\r\r\nc\r", ["a\rb\r", "c\r"]),
        (BOM + b"a\n" + BOM + b"b\n", ["a", "\ufeffb"]),
        (BOM + b"\r\n", [""]),
        (BOM, []),
        ("a\u2028b\x85c\x0cd\x0be\x1cf\u2029g\0h\n".encode(), ["a\u2028b\x85c\x0cd\x0be\x1cf\u2029g\0h"]),
    ],
)
def test_only_a_line_feed_ends_a_line(path, content, lines):
    assert list(read_lines(write(path, content))) == lines


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))), st.booleans())
def test_any_text_is_read_as_it_was_written(tmp_path_factory, lines, windows):
    path = tmp_path_factory.mktemp("any") / "a.txt"
    end = "\r\n" if windows else "\n"
    path.write_bytes(b"\xef\xbb\xbf" + "".join(line + end for line in lines).encode())
    assert list(read_lines(path)) == lines


OLD_MAC = (
    "its lines end in a carriage return alone, as on old Macs, expected a line feed; "
    r"convert the file first, for example with `tr '\r' '\n'`"
)


def one_by_one(content: bytes, limit: int) -> Iterator[str]:
    """The lines of a file with their ends, by its definition; at last what is wrong with one."""
    number, offset = 1, len(content) - len(content.removeprefix(BOM))
    for raw in io.BytesIO(content.removeprefix(BOM)):
        if len(raw.removesuffix(b"\n").removesuffix(b"\r")) > limit:
            yield f"{number}: the line is longer than {limit} bytes"
            return
        try:
            text = raw.decode()
            if b"\r" in content[:-1] and b"\n" not in content:
                yield f" {OLD_MAC}"
                return
            yield text
        except UnicodeDecodeError as error:
            yield f"{number}: byte {raw[error.start]:#04x} at offset {offset + error.start} is not valid"
            return
        number, offset = number + 1, offset + len(raw)


pieces = st.sampled_from([b"\n", b"\r\n", b"\r", b"a", "日".encode(), "é".encode(), b"\xe6", b"\xff", BOM])


@given(st.lists(pieces, max_size=41).map(b"".join), st.integers(1, 23), st.sampled_from([5, 1 << 24]))
def test_lines_do_not_depend_on_the_blocks_that_are_read(tmp_path_factory, content, size, limit):
    path = write(tmp_path_factory.mktemp("blocks") / "a.txt", content)
    expected = list(one_by_one(content, limit))
    for reader in (read_whole_lines, read_lines):
        lines: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lines_module, "BLOCK_BYTES", size)
            patch.setattr(lines_module, "MAX_LINE_BYTES", limit)
            try:
                for line in reader(path):
                    lines.append(line)  # noqa: PERF402 - those before an error count
            except DataError as error:
                lines.append(str(error).removeprefix(f"{path}:"))
        assert len(lines) == len(expected)
        for line, right in zip(lines, expected, strict=True):
            whole = reader is read_whole_lines or not right.endswith("\n")
            assert (
                line.startswith(right) if ": " in right else line == (right if whole else right[:-1].removesuffix("\r"))
            )


@pytest.mark.parametrize(
    ("content", "line", "offset", "byte"),
    [
        (b"good\nb\xffd\n", 2, 6, "0xff"),
        (b"\xc3\n", 1, 0, "0xc3"),
        ("你好\n我爱".encode() + "购".encode()[:2] + b"\nx\n", 2, 13, "0xe8"),
        (BOM + b"ab\x80\n", 1, 5, "0x80"),
        (BOM + b"a\r\n\r\nab\xf0\x9f\x98", 3, 10, "0xf0"),
        (b"a\nsurrogate \xed\xa0\x80\n", 2, 12, "0xed"),
        ("GBK\n".encode("gbk") + "中文".encode("gbk"), 2, 4, "0xd6"),
    ],
)
def test_invalid_utf8_stops_with_file_line_and_byte_offset(path, content, line, offset, byte):
    assert content[offset] == int(byte, 16)
    with pytest.raises(DataError) as error:
        list(read_lines(write(path, content)))
    assert str(error.value) == (
        f"{path}:{line}: byte {byte} at offset {offset} is not valid UTF-8; "
        f"convert the file first, for example with `iconv -f GB18030 -t UTF-8`"
    )


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_known_by_its_byte_order_mark(path, encoding):
    with pytest.raises(DataError, match=r":1: byte 0xf[ef] at offset 0 is not valid UTF-8; .* `iconv -f UTF-16 -t"):
        list(read_lines(write(path, "\ufeffein\nzwei\n".encode(encoding))))


def test_lines_before_invalid_utf8_are_handed_out(path):
    lines = read_lines(write(path, b"one\ntwo\n\xff\n"))
    assert [next(lines), next(lines)] == ["one", "two"]


def test_every_compression_is_tested():
    assert PACK.keys() == COMPRESSIONS.keys()


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("damage", ["cut", "cut by a byte", "flipped", "other data"])
def test_damaged_data_is_named(tmp_path, ending, damage):
    packed = bytearray(PACK[ending](b"".join(b"line %d of many\n" % (i * 7919) for i in range(997))))
    if ending == ".zst":  # with a checksum, as the command writes it
        packed = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(bytes(zstandard.decompress(packed))))
    if damage == "cut":
        packed = packed[: len(packed) * 2 // 3]
    elif damage == "cut by a byte":
        packed = packed[:-1]
    elif damage == "flipped":
        packed[-6 if ending == ".gz" else -1 if ending == ".zst" else len(packed) // 2] ^= 0xFF
    else:
        packed = bytearray(b"plain text\n")
    path = tmp_path / f"a{ending}"
    path.write_bytes(packed)
    name = COMPRESSIONS[ending][0]
    with pytest.raises(
        DataError, match=rf"^{re.escape(str(path))}: the {name} data is damaged or cut off \(.+\); copy the file again$"
    ):
        list(read_lines(path))


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_packed_parts_one_after_another_are_one_file(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"".join(PACK[ending](part) for part in (b"one\nt", b"", b"wo\n" * 31, b"three")))
    assert list(read_lines(path)) == ["one", "two", *["wo"] * 30, "three"]


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_little_packed_data_does_not_fill_the_memory(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 1 << 16)
    path = write(tmp_path / f"a{ending}", b"b" * (1 << 27))
    tracemalloc.start()
    with pytest.raises(DataError, match="longer than 65,536 bytes"):
        list(read_lines(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


def test_a_python_without_a_compression_says_so(tmp_path, monkeypatch):
    path = write(tmp_path / "a.xz", b"x\n")
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(DataError) as error:
        list(read_lines(path))
    assert str(error.value) == f"{path}: this Python was built without xz; unpack the file first"


def test_missing_file(tmp_path):
    path = tmp_path / "nothing.de"
    with pytest.raises(DataError) as error:
        list(read_lines(path))
    assert str(error.value) == f"{path}: no such file; check the spelling and the folder"


def test_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(DataError) as error:
        list(read_lines(tmp_path))
    assert str(error.value) == f"{tmp_path}: is a folder, expected a text file"


def test_file_under_a_file_cannot_be_read(tmp_path):
    path = write(tmp_path / "a.txt", b"x") / "b"
    with pytest.raises(DataError, match=r"a\.txt.b: (cannot be read \(Not a directory\)|no such file)"):
        list(read_lines(path))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_longest_line_is_read_and_a_longer_one_named(path, monkeypatch, end):
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 101)
    assert list(read_lines(write(path, b"a\n" + b"b" * 101 + end))) == ["a", "b" * 101]
    with pytest.raises(DataError, match=r":2: the line is longer than 101 bytes, expected a sentence; put each"):
        list(read_lines(write(path, b"a\n" + b"b" * 102 + end)))


def test_lines_of_an_old_mac_are_no_single_line(path):
    for content in (b"one\rtwo\r", b"one\rtwo", BOM + b"one\rtwo\rthree"):
        with pytest.raises(DataError) as error:
            list(read_lines(write(path, content)))
        assert str(error.value) == f"{path}: {OLD_MAC}"
        with pytest.raises(DataError, match="as on old Macs"):
            list(Chunks([Group((path, path))]))
    for content in (b"one\r", b"one\rtwo\n", b"\r\n", b"\r"):
        assert len(list(read_lines(write(path, content)))) == 1


def test_an_endless_line_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 1 << 16)
    path = write(tmp_path / "a.gz", b"b" * (1 << 24))
    tracemalloc.start()
    with pytest.raises(DataError, match="longer than 65,536 bytes"):
        list(read_lines(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_pairs_know_their_line(tmp_path):
    src, tgt = (
        write(tmp_path / "a.zh", "一\r\n\r\n三".encode()),
        write(tmp_path / "a.en.gz", BOM + b"one\ntwo\nthree\n"),
    )
    assert list(read_pairs(src, tgt)) == [Example("一", "one", 1), Example("", "two", 2), Example("三", "three", 3)]


@pytest.mark.parametrize(("num_src", "num_tgt"), [(3, 1009), (1009, 3), (0, 1), (1, 0), (4, 5)])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_unequal_files_stop_with_both_counts(tmp_path, num_src, num_tgt, ending):
    src = write(tmp_path / f"a.src{ending}", b"x\n" * num_src)
    tgt = write(tmp_path / f"a.tgt{ending}", b"y\n" * num_tgt)
    with pytest.raises(DataError) as error:
        list(read_pairs(src, tgt))
    assert str(error.value).startswith(f"{src} has {num_src:,} lines and {tgt} has {num_tgt:,}; ")


def test_a_missing_last_line_end_counts_as_a_line(tmp_path):
    src, tgt = write(tmp_path / "a", b"1\n2\n3"), write(tmp_path / "b", b"1\n2\n3\n")
    assert len(list(read_pairs(src, tgt))) == 3


def test_tsv(tmp_path):
    path = write(tmp_path / "a.tsv", "一\tone\r\n\n \t\n\t\n三\t three \n".encode())
    assert list(read_both(path)) == [
        Example("一", "one", 1),
        Example("", "", 2),
        Example("", "", 3),
        Example("", "", 4),
        Example("三", " three ", 5),
    ]


@pytest.mark.parametrize(("line", "fields"), [("alone", 1), ("a\tb\tc", 3), ("a\tb\tc\td\t", 5)])
def test_tsv_with_a_wrong_number_of_fields_names_the_line(tmp_path, line, fields):
    path = write(tmp_path / "a.tsv", f"a\tb\n{line}\n".encode())
    with pytest.raises(DataError) as error:
        list(read_both(path))
    assert str(error.value) == f"{path}:2: {fields} tab-separated fields, expected 2: source, tab, target"


ONE_PAIR = {
    ".tsv": "我\tI",
    ".txt": "我\tI",
    ".csv": "我,I",
    ".jsonl": '{"src": "我", "tgt": "I"}',
    ".tmx": '<tmx><tu><tuv xml:lang="zh"><seg>我</seg></tuv><tuv xml:lang="en"><seg>I</seg></tuv></tu></tmx>',
    ".po": 'msgid "我"\nmsgstr "I"',
    ".xlf": '<xliff><file source-language="zh" target-language="en"><trans-unit>'
    "<source>我</source><target>I</target></trans-unit></file></xliff>",
    ".xliff": '<xliff srcLang="zh" trgLang="en"><unit><segment>'
    "<source>我</source><target>I</target></segment></unit></xliff>",
}


@pytest.mark.parametrize("ending", READERS.keys() - {".parquet"})
@pytest.mark.parametrize("packed", ["", ".gz", ".GZ", ".xz", ".bz2", ".zst"])
def test_format_is_told_by_the_name(tmp_path, ending, packed):
    for name in (f"a.b{ending}{packed}", f"a.b{ending.upper()}{packed}"):
        path = write(tmp_path / name, ONE_PAIR[ending].encode())
        assert list(read_both(path)) == [Example("我", "I", 1)]


@given(
    st.sampled_from(sorted(READERS.keys() - {".parquet"})),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_a_file_with_any_damage_is_read_or_reported(tmp_path_factory, ending, edits):
    content = (ONE_PAIR[ending] + "\n").encode() * (1 if "<" in ONE_PAIR[ending] else 3)
    for place, new, length in edits:
        at = place % len(content)
        content = content[:at] + new + content[at + length :] or b"\n"
    path = write(tmp_path_factory.mktemp("any") / f"a{ending}", content)
    for options in (Options("zh", "en"), Options()):
        for read in (named_languages, lambda *given: list(read_both(*given))):
            with contextlib.suppress(DataError):  # and no other
                read(path, options)


@pytest.mark.parametrize("name", ["a.doc", "a.gz", "tsv", "a.tsv.zip"])
def test_unknown_format_lists_the_known(tmp_path, name):
    path = write(tmp_path / name, b"")
    for read in (read_both, lambda path: PairFiles(data=[str(path)])):
        with pytest.raises(DataError) as error:
            read(path)
        assert str(error.value) == (
            f"{path}: no format is known by this name; expected one that ends in .tsv, .txt, .csv, .jsonl, .parquet, "
            f".tmx, .po, .xlf, .xliff, and .gz, .xz, .bz2, .zst behind that if it is compressed"
        )


def test_parquet_is_not_looked_for_in_compressed_files(tmp_path):
    with pytest.raises(DataError, match=r"a\.parquet\.gz: is Parquet in a compressed file, expected Parquet itself"):
        read_both(write(tmp_path / "a.parquet.gz", b""))


def test_where_an_example_stands():
    assert origin(["a.zh", "a.en"], 7) == "a.zh:7 and a.en:7"
    assert origin(["a.tmx.gz"], 7) == "a.tmx.gz:7"
    assert origin(["a.Parquet"], 7) == "a.Parquet row 7"


def test_what_a_file_does_not_name_is_what_is_given(tmp_path):
    path = write(tmp_path / "a.tsv", b"x\ty\n")
    assert named_languages(path, Options(src_lang="zh")) == ("zh", "")


def test_a_corpus_in_both_directions_is_read_twice(tmp_path):
    a, b = write(tmp_path / "a.zh", "一\n二\n".encode()), write(tmp_path / "a.en", b"1\n2\n")
    c = write(tmp_path / "c.tsv", "三\t3\n".encode())
    files = PairFiles([str(a)], [str(b)], [str(c)]).reading([Options()] * 2, both_directions=True)
    assert [(group, example.src, example.tgt) for group, example in files] == [
        (0, "一", "1"),
        (0, "二", "2"),
        (1, "三", "3"),
        (2, "1", "一"),
        (2, "2", "二"),
        (3, "3", "三"),
    ]
    assert files.names() == [[str(a), str(b)], [str(c)], [str(b), str(a)], [str(c)]]


def test_every_example_of_several_files_knows_its_place(tmp_path):
    a, b = write(tmp_path / "a.zh", b"1\n2\n"), write(tmp_path / "a.en", b"1\n2\n")
    c, d = write(tmp_path / "c.zh.gz", b"3\n"), write(tmp_path / "c.en", b"3\n")
    e = write(tmp_path / "e.tsv", b"4\t4\n5\t5\n")
    files = PairFiles([str(a), str(c)], [str(b), str(d)], [str(e)])
    names = files.names()
    assert [(example.src, origin(names[group], example.line)) for group, example in files] == [
        ("1", f"{a}:1 and {b}:1"),
        ("2", f"{a}:2 and {b}:2"),
        ("3", f"{c}:1 and {d}:1"),
        ("4", f"{e}:1"),
        ("5", f"{e}:2"),
    ]
    assert [example.src for _, example in files] == list("12345")  # a second time the same


def test_no_files_are_false(tmp_path):
    assert not PairFiles()
    assert PairFiles(data=[str(write(tmp_path / "a.tsv", b""))])


def test_files_that_do_not_pair_up(tmp_path):
    path = str(write(tmp_path / "a", b"x\n"))
    with pytest.raises(DataError) as error:
        PairFiles([path], [], name="validation")
    assert str(error.value) == ("1 source and 0 target files for validation, expected as many of one as of the other")


def test_a_missing_file_is_found_before_anything_is_read(tmp_path):
    path = str(write(tmp_path / "a", b"x\n"))
    with pytest.raises(DataError, match=r"b: no such file; check the spelling and the folder$"):
        PairFiles([path], [str(tmp_path / "b")])


@pytest.mark.parametrize("spelling", ["same", "dots", "symlink", "hardlink"])
def test_source_and_target_may_not_be_one_file(tmp_path, spelling):
    src = write(tmp_path / "a", b"x\n")
    (tmp_path / "sub").mkdir()
    tgt = {"same": src, "dots": tmp_path / "sub" / ".." / "a"}.get(spelling, tmp_path / "b")
    try:
        if spelling == "symlink":
            tgt.symlink_to(src)
        elif spelling == "hardlink":
            tgt.hardlink_to(src)
    except OSError:
        pytest.skip(f"no {spelling} on this system")
    with pytest.raises(DataError) as error:
        PairFiles([str(src)], [str(tgt)])
    assert str(error.value) == (f"{src}: source and target are the same file, expected a sentence and its translation")


def test_a_device_is_refused_since_files_are_read_more_than_once():
    if not Path("/dev/null").is_char_device():
        pytest.skip("no device files on this system")
    with pytest.raises(DataError, match=r"^/dev/null: is read more than once, so a regular file is expected"):
        PairFiles(data=["/dev/null"])


def test_fingerprint_follows_content_and_not_names(tmp_path):
    def fingerprint(src: bytes, tgt: bytes, name: str) -> list[list[str]]:
        a, b = write(tmp_path / f"{name}.src", src), write(tmp_path / f"{name}.tgt", tgt)
        return PairFiles([str(a)], [str(b)]).fingerprint()

    one = fingerprint(b"x\n", b"y\n", "one")
    assert one == fingerprint(b"x\n", b"y\n", "two")
    assert one != fingerprint(b"x\n", b"z\n", "three")
    assert one != fingerprint(b"y\n", b"x\n", "four")
