"""Corpora made to fill the memory, the disk or a day: each ends soon, with one sentence."""

import bz2
import lzma
import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from seqloom.data.corpus import _load
from seqloom.data.languages import Direction
from seqloom.data.readers import (
    COMPRESSIONS,
    Options,
    PairFiles,
    markup,
    parquet,
    po,
    read_both,
    read_lines,
    tmx,
)
from seqloom.data.readers import compression as compression_module
from seqloom.data.readers import delimited as delimited_module
from seqloom.errors import ConfigError, DataError
from tests.data.test_readers import PACK

ZH_EN = Options("zh", "en")


def refused(path: Path, options: Options = ZH_EN) -> str:
    """What is said of a file, after its name."""
    tracemalloc.start()
    begun = time.monotonic()
    with pytest.raises(DataError) as error:
        for _ in read_both(path, options):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - begun < 30
    assert peak < 200 << 20
    said = str(error.value)
    assert len(said) < 1000
    assert said.isprintable()
    assert said.startswith(str(path))
    return said.removeprefix(str(path))


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_a_bomb_of_lines(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(compression_module, "FREE_BYTES", 1 << 18)
    monkeypatch.setattr(compression_module, "MAX_EXPANSION", 20)
    path = tmp_path / f"a.tsv{ending}"
    path.write_bytes(PACK[ending](b"a\tb\n" * (1 << 18)))
    assert refused(path).startswith(": each of its bytes becomes more than 20 when it is unpacked, expected text")


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_a_small_file_may_repeat_itself(tmp_path, ending):
    path = tmp_path / f"a.tsv{ending}"
    path.write_bytes(PACK[ending](b"a\tb\n" * (1 << 18)))
    assert sum(1 for _ in read_both(path)) == 1 << 18


@pytest.mark.parametrize(("ending", "pack"), [(".bz2", bz2.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize("rest", [b"garbage", b"BZh9", b"\0\0\0\0garbage"])
def test_what_follows_a_stream_is_not_left_out(tmp_path, ending, pack, rest):
    path = tmp_path / f"a.tsv{ending}"
    path.write_bytes(pack(b"a\tb\n") + rest)
    assert "data is damaged or cut off" in refused(path)


def test_padding_between_streams_of_xz(tmp_path):
    path = tmp_path / "a.tsv.xz"
    path.write_bytes(lzma.compress(b"a\tb\n") + bytes(4096) + lzma.compress(b"c\td\n") + bytes(8))
    assert [example.src for example in read_both(path)] == ["a", "c"]


def test_a_dictionary_of_xz_that_would_fill_the_memory(tmp_path):
    path = tmp_path / "a.tsv.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    path.write_bytes(lzma.compress(b"a\tb\n", format=lzma.FORMAT_XZ, filters=filters))
    assert "Memory usage limit exceeded" in refused(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tsv")
    with pytest.raises(DataError, match=r"a\.tsv: is a named pipe, which may never end, expected a file"):
        list(read_lines(tmp_path / "a.tsv"))
    with pytest.raises(DataError, match="is read more than once, so a regular file is expected and not a pipe"):
        PairFiles(data=[str(tmp_path / "a.tsv")])


def test_a_pipe_of_the_shell_is_read(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"a\nb\n")
    os.close(writing)
    assert list(read_lines(Path(f"/dev/fd/{reading}"))) == ["a", "b"]
    os.close(reading)


def test_a_name_that_no_file_has():
    with pytest.raises(DataError, match=r"a\\x00b: cannot be read"):
        list(read_lines(Path("a\0b")))


def test_a_row_of_csv_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited_module, "MAX_LINE_BYTES", 1 << 12)
    path = tmp_path / "a.csv"
    path.write_bytes(b"src,tgt\na,b\n" + b'"\n",' * (1 << 16))
    assert refused(path).startswith(":3: the row that begins here is longer than 4,096 characters; a quotation mark")
    path.write_bytes(b"src,tgt\n" + b'"a\nb",c\n' * (1 << 12))
    assert len(list(read_both(path))) == 1 << 12


@pytest.mark.parametrize("count", [3, 100_000])
def test_columns_without_number_make_a_short_message(tmp_path, count):
    names = [f"c{n}\x1b[31m" for n in range(count)]
    for name, content in {
        "a.csv": ",".join(names),
        "a.jsonl": "{" + ",".join(f'"c{n}": 1' for n in range(count)) + "}",
        "b.tsv": "\t".join(names),
    }.items():
        (tmp_path / name).write_text(content + "\n", encoding="utf-8")
        said = refused(tmp_path / name)
        assert count == 3 or name == "b.tsv" or "and 99,990 more" in said


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"src":' * 100_000, '{"src": 1' + "0" * 10_000 + "}", '{"src": 1e999}']
)
def test_json_that_is_not_a_pair(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(f"{line}\n")
    assert refused(tmp_path / "a.jsonl").startswith(":1: ")


def document(units: str, prolog: str = "") -> str:
    return f'<?xml version="1.0"?>{prolog}<tmx version="1.4"><header/><body>{units}</body></tmx>'


def variant(language: str, text: str = "a") -> str:
    return f'<tuv xml:lang="{language}"><seg>{text}</seg></tuv>'


def test_a_unit_of_many_texts(tmp_path, monkeypatch):
    path = tmp_path / "a.tmx"
    path.write_text(document(f"<tu>{variant('zh') * 200}{variant('en') * 201}</tu>"))
    assert refused(path) == (
        ":1: the unit has 200 texts in zh and 201 in en, which are more than 10,000 pairs; expected a few texts a unit"
    )
    monkeypatch.setattr(tmx, "MAX_PAIRS", 200 * 201)
    assert len(list(read_both(path, ZH_EN))) == 200 * 201


def test_languages_without_number(tmp_path, monkeypatch):
    monkeypatch.setattr(markup, "MAX_NAMED", 101)
    path = tmp_path / "a.tmx"
    path.write_text(document("".join(f"<tu>{variant('zh')}{variant(f'en-{n}')}</tu>" for n in range(102))))
    assert refused(path).startswith(": names more than 101 languages, such as en-1")
    path = tmp_path / "a.xlf"
    unit = "<unit><segment><source>a</source><target>b</target></segment></unit>"
    path.write_text(
        "<xliff>"
        + "".join(
            f'<file source-language="zh" target-language="x{n}">{unit}</file>'.replace("unit>", "trans-unit>")
            .replace("<segment>", "")
            .replace("</segment>", "")
            for n in range(102)
        )
        + "</xliff>"
    )
    assert refused(path).startswith(": names more than 101 languages")


def test_a_default_for_every_attribute(tmp_path):
    """An attribute of a megabyte that each of many elements would have."""
    path = tmp_path / "a.tmx"
    prolog = f'<!DOCTYPE tmx [<!ATTLIST x a CDATA "{"A" * 1_000_000}">]>'
    path.write_text(document("<x/>" * 100_000 + f"<tu>{variant('zh')}{variant('en')}</tu>", prolog))
    assert "is not well-formed XML (Maximum entity amplification factor exceeded" in refused(path)


def test_a_state_that_is_made_up_is_not_remembered(tmp_path):
    path = tmp_path / "a.xlf"
    units = "".join(
        f'<trans-unit><source>a</source><target state="needs-{n}">b</target></trans-unit>' for n in ("l10n", 1, 2)
    )
    path.write_text(f'<xliff><file source-language="zh" target-language="en">{units}</file></xliff>')
    assert [example.left_out.rpartition(" ")[2] for example in read_both(path, ZH_EN)] == ["needs-l10n"] + [
        "needs-..."
    ] * 2


@pytest.mark.parametrize("line", ['"more"\n', "# more\n", "\n"])
def test_a_message_of_a_catalogue_that_never_ends(tmp_path, monkeypatch, line):
    monkeypatch.setattr(po, "MAX_MESSAGE_LINES", 101)
    path = tmp_path / "a.po"
    path.write_text('msgid "a"\nmsgstr ""\n' + line * 102)
    assert refused(path).startswith(":103: the message here has more than 101 lines, expected the messages")
    path.write_text('msgid "a"\nmsgstr "b"\n\n' * 300)
    assert len(list(read_both(path, ZH_EN))) == 300


def test_messages_without_number(tmp_path, monkeypatch):
    monkeypatch.setattr(po, "MAX_MESSAGES", 101)
    path = tmp_path / "a.po"
    path.write_text("".join(f'msgid "{n}"\nmsgstr "b"\n' for n in range(102)))
    assert (
        refused(path) == ": has more than 101 messages, expected the messages of a program; cut it into several files"
    )


def written(path: Path, columns: dict, **options: object) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path, **options)
    return path


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_parquet_file_that_becomes_a_thousand_times_as_large(tmp_path, monkeypatch, dictionary):
    monkeypatch.setattr(parquet, "FREE_BYTES", 1 << 20)
    columns = {"zh": ["a" * 4_000_000] * (64 if dictionary else 2), "en": ["b"] * (64 if dictionary else 2)}
    path = written(tmp_path / "a.parquet", columns, compression="zstd", use_dictionary=dictionary)
    assert refused(path).startswith(": each of its bytes becomes more than 200 when it is unpacked, expected text")


@pytest.mark.parametrize("name", ["definition_levels", "repetition_levels", "array_bytes"])
def test_a_footer_that_pyarrow_ends_the_process_over(name):
    """Found by fuzzing: to ask for the size of a single column aborted."""
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=r"the data from here on is damaged|holds int32, expected text"):
        list(read_both(Path(__file__).parent / "crashing" / f"{name}.parquet", ZH_EN))


def test_a_text_that_is_no_sentence_in_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_LINE_BYTES", 101)
    path = written(tmp_path / "a.parquet", {"zh": ["a", "a" * 102], "en": ["b", "b"]})
    assert refused(path) == " row 1: the text here or soon after is longer than 101 bytes, expected a sentence"


def test_rows_of_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "FREE_BYTES", 1 << 16)
    monkeypatch.setattr(parquet, "MAX_EXPANSION", 1)
    path = written(tmp_path / "a.parquet", {"zh": [""] * 200_000, "en": [""] * 200_000})
    assert "each of its bytes becomes more than 1" in refused(path)


def test_a_direction_is_read_in_no_time():
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="is no direction"):
        Direction.parse("a" + "_A" * 5_000 + "!")
    assert time.monotonic() - begun < 5
    assert Direction.parse("pt_BR-zh_Hant_TW") == ("pt_BR", "zh_Hant_TW")


@pytest.mark.parametrize("name", ["a.tmx", "a.xlf", "a.po", "a.csv", "a.jsonl", "a.tsv"])
def test_null_bytes(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0" * 1000 + b"\n")
    refused(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"}", b"["),
        (b"(7,)", b"(((("),
        (b"<i8", b"|O8"),
        (b"(7,)", b"(9,)"),
        (b"7", b"-"),
        (b"descr", b"__x__"),
        (b" \n", b"\n "),  # which numpy mends, with a warning about Python 2
    ],
)
def test_a_store_whose_arrays_are_none(tmp_path, old, new):
    """What is not whole is made again, whatever its header says; objects are never made of it."""
    path = tmp_path / "a.npy"
    np.save(path, np.arange(7))
    assert _load(path, "<i8").tolist() == list(range(7))
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises((ValueError, OSError, EOFError, LookupError, TypeError)):
        _load(path, "<i8")
