"""PO catalogues."""

from pathlib import Path

import polib  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.readers import Example, Options, named_languages, po, read_both
from seqloom.errors import DataError

EN_ZH = Options("en", "zh")

HEADER = """# Translators of 茶
msgid ""
msgstr ""
"Project-Id-Version: tea 1.0\\n"
"Language: zh_CN\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

"""


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "zh.po"


def read(path: Path, content: str, options: Options = EN_ZH) -> list[Example]:
    return list(read_both(write(path, content), options))


def test_what_is_not_translated_is_left_out(path):
    content = f"""{HEADER}#: src/tea.c:7
#. for the menu
msgid "tea"
msgstr "茶"

msgctxt "colour"
msgid "green"
msgstr "绿"
#, fuzzy
#| msgid "rises"
msgid "rice"
msgstr "米"

msgid "fish"
msgstr ""

msgid "Two \\"lines\\"\\n"
"of one text"
msgstr ""
"两行\\t“文字”"

#~ msgid "flower"
#~ msgstr "花"
"""
    assert read(path, content) == [
        Example("tea", "茶", 9),
        Example("green", "绿", 14),
        Example("rice", "米", 17, "a fuzzy translation"),
        Example("fish", "", 22, "no translation"),
        Example('Two "lines"\nof one text', "两行\t“文字”", 25),
        Example("flower", "花", 30, "an obsolete translation"),
    ]


PLURAL = """msgid "one file"
msgid_plural "%d files"
"""


@pytest.mark.parametrize(
    ("forms", "expected"),
    [
        (["%d 个文件"], [("%d files", "%d 个文件", "")]),
        (["eine Datei", "%d Dateien"], [("one file", "eine Datei", ""), ("%d files", "%d Dateien", "")]),
        (
            ["%d файл", "%d файла", "%d файлов"],
            [("one file", "%d файл", ""), ("%d files", "%d файлов", "")],
        ),
        (
            ["eine Datei", ""],
            [("one file", "eine Datei", "no translation"), ("%d files", "", "no translation")],
        ),
        ([""], [("%d files", "", "no translation")]),
    ],
)
def test_plurals(path, forms, expected):
    content = PLURAL + "".join(f'msgstr[{n}] "{form}"\n' for n, form in enumerate(forms))
    assert read(path, content) == [Example(src, tgt, 1, left_out) for src, tgt, left_out in expected]


@pytest.mark.parametrize(
    ("said", "forms", "one", "many"),
    [
        ("nplurals=2; plural=(n != 1);", "ab", "a", "b"),
        ("nplurals=2; plural=n>1;", "ab", "a", "b"),
        ("nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n != 0 ? 1 : 2);", "abc", "a", "b"),  # Latvian
        (
            "nplurals=6; plural=(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5);",
            "abcdef",
            "b",
            "f",
        ),  # Arabic
        ("nplurals=4; plural=(n%100==1 ? 1 : n%100==2 ? 2 : n%100==3 || n%100==4 ? 3 : 0);", "abcd", "b", "a"),
        ("nplurals=1; plural=0;", "ab", "a", "b"),  # which is not so
        ("nplurals=9; plural=n;", "ab", "a", "b"),
        ("nplurals=2; plural=n/(n-1);", "ab", "a", "b"),
        ("nplurals=2; plural=" + "(" * 400 + "n" + ")" * 400 + ";", "ab", "a", "b"),
        ("nplurals=2; plural=__import__('os');", "ab", "a", "b"),
        ("", "abc", "a", "c"),
    ],
)
def test_plurals_by_the_header(path, said, forms, one, many):
    header = HEADER.replace("Plural-Forms: nplurals=1; plural=0;", f"Plural-Forms: {said}")
    content = header + PLURAL + "".join(f'msgstr[{n}] "{form}"\n' for n, form in enumerate(forms))
    assert [(src, tgt) for src, tgt, *_ in read(path, content)] == [("one file", one), ("%d files", many)]


def test_characters_that_end_lines_elsewhere_are_text(path):
    assert read(path, 'msgid "a\u2028b\x85c\x0cd"\nmsgstr "e\x1cf"\n') == [Example("a\u2028b\x85c\x0cd", "e\x1cf", 1)]


@pytest.mark.parametrize("content", ["", HEADER, "# a comment\n", "\ufeff" + HEADER])
def test_a_catalogue_without_messages(path, content):
    assert read(path, content) == []


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.lists(st.tuples(texts, texts), unique_by=lambda pair: pair[0]))
def test_po_comes_back_as_it_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "zh.po"
    entries = (f'msgid "{polib.escape(src)}"\nmsgstr "{polib.escape(tgt)}"\n\n' for src, tgt in rows)
    assert [(example.src, example.tgt) for example in read(path, HEADER + "".join(entries))] == rows


def test_the_header_says_which_side_is_which(path):
    content = HEADER + 'msgid "tea"\nmsgstr "茶"\n'
    for options in (EN_ZH, Options(), Options("en"), Options("en", "zh-CN")):
        assert [example[:2] for example in read(path, content, options)] == [("tea", "茶")]
    for options in (Options("zh", "en"), Options("zh")):
        assert [example[:2] for example in read(path, content, options)] == [("茶", "tea")]
    assert named_languages(path, Options()) == ("", "zh_CN")
    assert named_languages(path, Options(src_lang="zh")) == ("zh", "")
    for language in ("", "LANGUAGE of the team", "Simplified Chinese"):
        for options in (EN_ZH, Options("zh", "en")):
            named = content.replace("zh_CN", language)
            assert [example[:2] for example in read(path, named, options)] == [("tea", "茶")]
        assert named_languages(path, Options()) == ("", "")


def test_a_catalogue_in_another_language(path):
    with pytest.raises(DataError) as error:
        read(path, HEADER.replace("zh_CN", "de"))
    assert str(error.value) == (
        f"{path}: is a translation into de by its header, expected en or zh; correct its Language or leave the file out"
    )


@pytest.mark.parametrize("charset", ["GB18030", "iso-8859-1", "UTF-16"])
def test_a_catalogue_in_another_encoding(path, charset):
    content = HEADER.replace("UTF-8", charset) + 'msgid "tea"\nmsgstr "茶"\n'
    write(path, content, "gb18030")
    with pytest.raises(DataError) as error:
        list(read_both(path))
    assert str(error.value) == (
        f"{path}: is in {charset} by its header, expected UTF-8; convert it first with `msgconv -t UTF-8`"
    )


@pytest.mark.parametrize("charset", ["utf-8", "ASCII", "CHARSET", "UTF8"])
def test_what_is_called_so_is_utf8(path, charset):
    content = HEADER.replace("UTF-8", charset) + 'msgid "tea"\nmsgstr "茶"\n'
    assert [example[:2] for example in read(path, content)] == [("tea", "茶")]
    write(path, content, "gb18030")
    with pytest.raises(DataError, match=r"zh\.po:1: byte 0xb2 at offset 17 is not valid UTF-8; convert the file first"):
        list(read_both(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("我爱茶\tI love tea\n", ":1: is not PO (syntax error); correct it there"),
        ('msgid "tea"\nmsgid "rice"\n', ":2: is not PO (syntax error); correct it there"),
        ('\nmsgid "te"a"\nmsgstr "茶"\n', ":2: is not PO (unescaped double quote found); correct it there"),
        (f'#| msg{"x" * 999} "tea"\n', f":1: is not PO (unknown keyword msg{'x' * 181}...); correct it there"),
        ('msgid "tea"\nmsgstr[x] "茶"\n', ":2: is not PO (syntax error); correct it there"),
    ],
)
def test_po_that_is_wrong(path, content, message):
    with pytest.raises(DataError) as error:
        read(path, content)
    assert str(error.value) == f"{path}{message}"


def test_a_catalogue_too_large_to_hold(path, monkeypatch):
    monkeypatch.setattr(po, "MAX_CHARACTERS", 101)
    with pytest.raises(
        DataError, match=r"zh\.po: has more than 101 characters, expected the messages of a program; cut"
    ):
        read(path, HEADER)
