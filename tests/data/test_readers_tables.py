"""CSV, JSONL and Parquet."""

import contextlib
import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.readers import Example, Options, named_languages, read_both
from seqloom.errors import DataError

ZH_EN = Options("zh", "en")
PAIR = ("我爱茶", "I love tea")

text = st.text(st.characters(exclude_categories=["Cs"]))


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8", newline="")
    return path


def pairs(path: Path, options: Options = Options()) -> list[tuple[str, str]]:  # noqa: B008 - frozen
    return [(example.src, example.tgt) for example in read_both(path, options)]


# --- CSV ---


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("src,tgt\n我爱茶,I love tea\n", Options()),
        ("tgt,src\r\nI love tea,我爱茶\r\n", Options()),
        (" Source ,id,Target\n我爱茶,7,I love tea\n", Options()),
        ("id,en,note,zh-CN\n1,I love tea,,我爱茶\n", ZH_EN),
        ("zh_CN,en_US\n我爱茶,I love tea", ZH_EN),
        ("zh,en\n我爱茶,I love tea", Options()),
        ("en,zh\nI love tea,我爱茶", Options(src_lang="zh")),
        ("klingon,en\n我爱茶,I love tea", Options("klingon", "en")),
        ("我爱茶,I love tea\n", ZH_EN),
        ('"我爱茶","I love tea"', Options()),
        ("\ufeff我爱茶,I love tea\n", Options()),
        ("\ufeffsrc;tgt\n我爱茶;I love tea\n", Options()),
        ("src\ttgt\n我爱茶\tI love tea\n", Options()),
    ],
)
def test_csv_columns(tmp_path, content, options):
    assert pairs(write(tmp_path / "a.csv", content), options) == [PAIR]


def test_csv_rows_know_the_line_they_begin_on(tmp_path):
    content = 'src,tgt\na,b\n"one\ntwo","say ""yes"",\r\nor no"\n\nc,d\n'
    assert list(read_both(write(tmp_path / "a.csv", content))) == [
        Example("a", "b", 2),
        Example("one\ntwo", 'say "yes",\r\nor no', 3),
        Example("", "", 6),
        Example("c", "d", 7),
    ]


def test_an_empty_csv_has_no_pairs(tmp_path):
    assert pairs(write(tmp_path / "a.csv", "")) == []


@given(st.lists(st.tuples(text, text)), st.sampled_from(["\n", "\r\n"]))
def test_csv_comes_back_as_it_was_written(tmp_path_factory, rows, end):
    path = tmp_path_factory.mktemp("any") / "a.csv"
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("src", "tgt"), *rows])
    assert pairs(write(path, out.getvalue())) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\nc,d,e\n", ":2: 3 columns, expected 2 as in the first line"),
        ("src,tgt,id\n1,2\n", ":2: 2 columns, expected 3 as in the first line"),
        (
            "a,b,c\n",
            ":1: the columns are 'a', 'b', 'c'; expected source and target alone, or a first line that names them src "
            "and tgt, or by their languages",
        ),
        ("alone\n", ":1: the columns are 'alone'; expected source and target alone, or a first line that names them"),
        ("source,translation\n", ":1: the columns are 'source', 'translation'; expected source and target alone, or a"),
        ("\na,b\n", ":1: the columns are empty; expected source and target alone, or a first line that names them"),
        (
            'a,b\nc,"d\ne\n',
            ":2: the row that begins here is not CSV (unexpected end of data); a field that holds quotes, separators "
            "or line ends must stand in double quotes, and quotes in it be doubled",
        ),
        (
            'a\tb\n"c"d\te\n',
            r""":2: the row that begins here is not CSV ('\t' expected after '"'); a field that holds""",
        ),
        ('a,b\n"c"d,e\n', """:2: the row that begins here is not CSV (',' expected after '"'); a field that holds"""),
        (
            f"a,b\n{'c' * 200_000},d\n",
            ":2: the row that begins here is not CSV (field larger than field limit (131072))",
        ),
    ],
)
def test_csv_that_is_wrong(tmp_path, content, message):
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(DataError) as error:
        pairs(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_csv_of_another_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("src,tgt\n我爱茶,I love tea\n".encode("gb18030"))
    with pytest.raises(DataError, match=r"a\.csv:2: byte 0xce at offset 8 is not valid UTF-8; convert the file first"):
        pairs(path)


@pytest.mark.parametrize(
    ("content", "languages"),
    [
        ("zh,en\n1,2\n", ("zh", "en")),
        ("en_US,id7,zh-CN\n1,,2\n", ("en_US", "zh-CN")),
        ("src,tgt\n1,2\n", ("", "")),
        ("ok,no\n1,2\n", ("", "")),  # no code and one
        ("我,I\n", ("", "")),
        ("de,en,fr\n", ("", "")),
        ("", ("", "")),
    ],
)
def test_languages_that_csv_names(tmp_path, content, languages):
    assert named_languages(write(tmp_path / "a.csv", content), Options()) == languages


# --- JSONL ---


@pytest.mark.parametrize(
    ("record", "options"),
    [
        ({"src": PAIR[0], "tgt": PAIR[1]}, Options()),
        ({"id": 7, "target": PAIR[1], "source": PAIR[0]}, ZH_EN),
        ({"translation": {"zh": PAIR[0], "en": PAIR[1]}}, Options()),
        ({"translation": {"en": PAIR[1], "zh": PAIR[0]}, "id": 7}, ZH_EN),
        ({"translation": {"en": PAIR[1], "fr": "J'aime le thé", "zh-CN": PAIR[0]}}, ZH_EN),
        ({"translation": {"xx": PAIR[0], "yy": PAIR[1]}}, Options("xx", "yy")),
        ({"zh": PAIR[0], "en": PAIR[1], "id": "7"}, ZH_EN),
    ],
)
def test_jsonl_keys(tmp_path, record, options):
    for ascii_only in (True, False):
        line = json.dumps(record, ensure_ascii=ascii_only)
        assert pairs(write(tmp_path / "a.jsonl", f"{line}\n"), options) == [PAIR]


def test_jsonl_lines_may_be_empty_and_of_several_shapes(tmp_path):
    content = '{"src": "a", "tgt": "b"}\n\n{"translation": {"de": "c", "en": "d"}}\r\n{"src": "e", "tgt": null}'
    assert list(read_both(write(tmp_path / "a.jsonl", content), Options("de", "en"))) == [
        Example("a", "b", 1),
        Example("", "", 2),
        Example("c", "d", 3),
        Example("e", "", 4),
    ]


def test_an_empty_key_of_jsonl_is_no_side(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"": "x", "src": "a", "tgt": "b"}\n')
    assert pairs(path, Options("de", "en")) == [("a", "b")]


@given(st.lists(st.tuples(text, text)), st.booleans())
def test_jsonl_comes_back_as_it_was_written(tmp_path_factory, rows, ascii_only):
    lines = [json.dumps({"translation": {"en": t, "zh": s}}, ensure_ascii=ascii_only) for s, t in rows]
    path = write(tmp_path_factory.mktemp("any") / "a.jsonl", "".join(line + "\n" for line in lines))
    assert pairs(path, ZH_EN) == rows


EXPECTED = 'expected an object such as {"src": "...", "tgt": "..."} on each line'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("我爱茶\tI love tea", f":2: is not JSON (Expecting value: line 1 column 1 (char 0)); {EXPECTED}"),
        ('{"src": "a", "tgt": ', f":2: is not JSON (Expecting value: line 1 column 21 (char 20)); {EXPECTED}"),
        ("[" * 100_000, ":2: is not JSON (maximum recursion depth exceeded"),
        ("[" + "9" * 5000 + "]", ":2: is not JSON (Exceeds the limit (4300 digits) for integer string conversion"),
        (
            '["a", "b"]',
            ':2: is no object but ["a", "b"], expected one such as {"src": "...", "tgt": "..."} on each line',
        ),
        (
            '{"translation": "a"}',
            ':2: is no object but {"translation": "a"}, expected one such as {"src": "...", "tgt": "..."} on each line',
        ),
        (
            '{"text": "a"}',
            ":2: has 'text', expected src and tgt, source and target, or the codes of two languages",
        ),
        ("{}", ":2: has nothing, expected src and tgt, source and target, or the codes of two languages"),
        ('{"src": "a", "tgt": 7}', ":2: 'tgt' is 7, expected a text in quotes"),
        (
            '{"src": "\\ud83d", "tgt": "b"}',
            ":2: 'src' has half of a surrogate pair, which is no character; write it again as UTF-8",
        ),
    ],
)
def test_jsonl_that_is_wrong(tmp_path, line, message):
    path = write(tmp_path / "a.jsonl", f'{{"src": "a", "tgt": "b"}}\n{line}\n')
    with pytest.raises(DataError) as error:
        pairs(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_jsonl_without_the_languages_that_are_wanted(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"translation": {"de": "a", "fr": "b"}}\n')
    with pytest.raises(DataError) as error:
        pairs(path, ZH_EN)
    assert str(error.value) == f"{path}:1: has 'de', 'fr', expected src and tgt, source and target, or zh and en"


@pytest.mark.parametrize(
    ("content", "options", "languages"),
    [
        ('\n{"translation": {"zh": "a", "en": "b"}}\n', Options(), ("zh", "en")),
        ('{"translation": {"zh": "a", "en": "b"}}\n', Options(tgt_lang="zh"), ("en", "zh")),
        ('{"translation": {"zh": "a", "en": "b", "fr": "c"}}\n', Options(), ("", "")),
        ('{"src": "a", "tgt": "b"}\n', Options(), ("", "")),
        ("\n", Options(), ("", "")),
    ],
)
def test_languages_that_jsonl_names(tmp_path, content, options, languages):
    assert named_languages(write(tmp_path / "a.jsonl", content), options) == languages


# --- Parquet ---


@pytest.fixture
def write_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet  # type: ignore[import-untyped]

    def write_table(columns: dict[str, Any], **options: Any) -> Path:
        parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet", **options)
        return tmp_path / "a.parquet"

    return write_table


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"src": [PAIR[0]], "tgt": [PAIR[1]]}, Options()),
        ({"id": [7], "en": [PAIR[1]], "zh-CN": [PAIR[0]]}, ZH_EN),
        ({"id": [7], "en": [PAIR[1]], "zh": [PAIR[0]]}, Options(src_lang="zh")),
        ({"translation": [{"zh": PAIR[0], "fr": "x", "en": PAIR[1]}]}, ZH_EN),
        ({"translation": [{"zh": PAIR[0], "en": PAIR[1]}], "id": [7]}, Options()),
        ({"src": [PAIR[0]], "tgt": [PAIR[1]], "translation": ["one more"]}, Options()),
    ],
)
def test_parquet_columns(write_parquet, columns, options):
    assert pairs(write_parquet(columns), options) == [PAIR]


def test_parquet_types_and_missing_values(write_parquet):
    import pyarrow

    for kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int8(), pyarrow.string())):
        column = pyarrow.array(["a", None, "c"]).cast(kind)
        assert list(read_both(write_parquet({"src": column, "tgt": ["x", "y", None]}))) == [
            Example("a", "x", 1),
            Example("", "y", 2),
            Example("c", "", 3),
        ]
    nested = [{"zh": "a", "en": "b"}, None, {"zh": None, "en": "c"}]
    assert pairs(write_parquet({"translation": nested})) == [("a", "b"), ("", ""), ("", "c")]


def test_parquet_rows_are_counted_through_all_row_groups(write_parquet):
    texts = [str(number) for number in range(10_007)]
    found = list(read_both(write_parquet({"src": texts, "tgt": texts}, row_group_size=3001)))
    assert [(example.src, example.line) for example in found] == [(text, int(text) + 1) for text in texts]


def test_parquet_that_is_wrong(write_parquet, tmp_path):
    path = write_parquet({"a": ["x"], "b": ["y"]})
    with pytest.raises(DataError) as error:
        pairs(path, ZH_EN)
    assert str(error.value) == f"{path}: has 'a', 'b', expected src and tgt, source and target, or zh and en"
    with pytest.raises(DataError) as error:
        pairs(write_parquet({"src": ["x"], "tgt": [7]}))
    assert str(error.value) == f"{path}: the column 'tgt' holds int64, expected text"
    path.write_bytes(b"src\ttgt\n")
    with pytest.raises(DataError, match=r"a\.parquet: is not Parquet, or damaged \(.+\); copy the file again$"):
        pairs(path)


def test_parquet_that_is_damaged_inside(write_parquet):
    texts = [f"{number * 7919} of many" for number in range(5003)]
    path = write_parquet({"src": texts, "tgt": texts}, row_group_size=1009, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet row \d+: the data from here on is damaged \((?s:.+)\)$"):
        pairs(path)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5))
def test_parquet_with_any_damage_is_read_or_reported(tmp_path_factory, edits):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"src": ["a", "b"], "tgt": ["c", "d"]}), out)
    content = bytearray(out.getvalue())
    for place, byte in edits:
        content[place % len(content)] = byte
    path = tmp_path_factory.mktemp("any") / "a.parquet"
    path.write_bytes(content)
    with contextlib.suppress(DataError):  # and no other
        pairs(path)


def test_without_pyarrow_the_command_that_installs_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(tmp_path / "a.parquet", "")
    with pytest.raises(DataError) as error:
        pairs(path)
    assert str(error.value) == (
        f"{path}: Parquet is read by pyarrow, which is not installed; `pip install 'seqloom[parquet]'` adds it"
    )


@pytest.mark.parametrize(
    ("columns", "languages"),
    [
        ({"zh": ["a"], "en": ["b"], "id_": [1]}, ("zh", "en")),
        ({"translation": [{"zh": "a", "en": "b"}]}, ("zh", "en")),
        ({"src": ["a"], "tgt": ["b"]}, ("", "")),
    ],
)
def test_languages_that_parquet_names(write_parquet, columns, languages):
    assert named_languages(write_parquet(columns), Options()) == languages
