"""TMX and XLIFF, also such that would do harm."""

import tracemalloc
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.readers import READERS, Example, Options, markup, named_languages, read_both
from seqloom.data.readers.markup import read_elements
from seqloom.errors import DataError

ZH_EN = Options("zh", "en")
KEEP = Options("zh", "en", "keep")

# What XML 1.0 can hold at all; a carriage return is read as a line feed.
text = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def tuv(language: str, segment: str) -> str:
    return f'<tuv xml:lang="{language}"><seg>{segment}</seg></tuv>'


def tmx(*units: str, header: str = "") -> str:
    """One unit a line, from line 3 on."""
    return "\n".join(['<?xml version="1.0"?>', f'<tmx version="1.4">{header}<body>', *units, "</body></tmx>"])


def unit(*variants: tuple[str, str]) -> str:
    return f"<tu>{''.join(tuv(*variant) for variant in variants)}</tu>"


def read(path: Path, content: str, options: Options = ZH_EN) -> list[Example]:
    return list(read_both(write(path, content), options))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.tmx"


# --- TMX ---


def test_tmx_units_know_the_line_they_begin_on(path):
    content = tmx(
        unit(("zh", "茶"), ("en", "tea")),
        "<tu>\n  <prop>x</prop>" + tuv("en", "rice\n&amp; <![CDATA[<fish>]]>") + "\n\n" + tuv("zh", "饭和鱼") + "</tu>",
        unit(("zh", "花"), ("en", "")),
        "<tu><note>nothing</note></tu>",
        "<!-- a --><tu><tuv xml:lang='zh'/>" + tuv("en", "a<!-- b -->b<?c d?>c") + "</tu>",
    )
    assert read(path, content) == [
        Example("茶", "tea", 3),
        Example("饭和鱼", "rice\n& <fish>", 4),
        Example("花", "", 9),
        Example("", "", 10, "no text in zh"),
        Example("", "", 11, "no text in zh"),
    ]


def test_lines_are_right_in_a_long_file(path):
    units = [f"<tu>\n<tuv xml:lang='zh'><seg>{n}</seg></tuv>\n{tuv('en', 'x')}</tu>" for n in range(30_011)]
    assert [example.line for example in read(path, tmx(*units))] == list(range(3, 3 + 3 * 30_011, 3))
    flat = [unit(("zh", str(n)), ("en", "x")) for n in range(70_001)]
    assert [example.line for example in read(path, tmx(*flat))] == list(range(3, 3 + 70_001))


@pytest.mark.parametrize(
    ("languages", "options"),
    [
        (("zh", "en"), ZH_EN),
        (("zh-CN", "en-US"), ZH_EN),
        (("ZH_cn", "EN"), Options("zh-CN", "en-GB")),
        (("zh", "en", "fr", "de"), ZH_EN),
        (("zh-TW", "en", "zh-CN"), Options("zh-TW", "en")),
        (("zh", "en", "zh-CN"), ZH_EN),  # the one that is written so
        (("zh", "en"), Options()),
        (("zh", "en"), Options(src_lang="zh-Hans")),
    ],
)
def test_tmx_languages_are_found_by_their_codes(path, languages, options):
    variants = [(language, f"in {language}") for language in languages]
    expected = [Example(f"in {languages[0]}", f"in {languages[1]}", 3)]
    assert read(path, tmx(unit(*variants)), options) == expected
    assert read(path, tmx(unit(*variants)).replace("xml:lang", "lang"), options) == expected  # TMX 1.1
    if all(options.languages):  # in whatever order they stand
        assert read(path, tmx(unit(*reversed(variants))), options) == expected


@pytest.mark.parametrize("header", ["", "<header srclang='*all*'/>"])
def test_tmx_languages_without_a_source_are_in_the_order_of_the_first_unit(path, header):
    write(path, tmx(unit(("en", "tea"), ("zh-CN", "茶")), unit(("zh-CN", "饭"), ("en", "rice")), header=header))
    assert named_languages(path, Options()) == ("en", "zh-CN")
    assert named_languages(path, Options(tgt_lang="en")) == ("zh-CN", "en")


def test_tmx_names_its_source(path):
    write(path, tmx(unit(("en-US", "tea"), ("zh-CN", "茶")), header='<header srclang="zh"/>'))
    assert named_languages(path, Options()) == ("zh-CN", "en-US")


def test_every_text_of_a_unit_makes_a_pair(path):
    content = tmx(unit(("zh", "茶"), ("en", "tea"), ("zh", "茶叶"), ("en", "some tea")))
    assert [(example.src, example.tgt) for example in read(path, content)] == [
        ("茶", "tea"),
        ("茶", "some tea"),
        ("茶叶", "tea"),
        ("茶叶", "some tea"),
    ]


def test_tmx_in_another_encoding_that_it_declares(path):
    content = tmx(unit(("zh", "茶"), ("en", "tea")))
    for encoding in ("utf-16", "gb18030"):
        write(path, content.replace('"1.0"', f'"1.0" encoding="{encoding}"'), encoding)
        assert list(read_both(path, ZH_EN)) == [Example("茶", "tea", 3)]


def test_tmx_with_a_namespace_and_a_document_type(path):
    content = tmx(unit(("zh", "茶"), ("en", "tea"))).replace("<tmx ", '<tmx xmlns="http://www.lisa.org/tmx14" ')
    content = content.replace("?>", '?><!DOCTYPE tmx SYSTEM "tmx14.dtd">')
    assert read(path, content) == [Example("茶", "tea", 3)]


@given(st.lists(st.tuples(text, text), min_size=1))
def test_tmx_comes_back_as_it_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "a.tmx"
    content = tmx(*(unit(("zh", escape(src)), ("en", escape(tgt))) for src, tgt in rows))
    assert [(example.src, example.tgt) for example in read(path, content)] == rows


INLINE = [
    ('<bpt i="1">&lt;b&gt;</bpt>茶<ept i="1">&lt;/b&gt;</ept>', "茶", "<b>茶</b>"),
    ('a<ph x="1"/>b', "ab", 'a<ph x="1"/>b'),
    ('a<ph x="1">{0}<sub>c</sub></ph>b', "ab", "a{0}cb"),
    ('a<x id="1" ctype="lb"/>b', "a b", 'a<x id="1" ctype="lb"/>b'),
    ('a<ph id="1" type="fmt" subType="xlf:lb"/>b', "a b", 'a<ph id="1" type="fmt" subType="xlf:lb"/>b'),
    ('<hi type="term">a</hi> b', "a b", "a b"),
    ('<g id="1">a <g id="2">b</g></g>', "a b", '<g id="1">a <g id="2">b</g></g>'),
    ('<pc id="1">a</pc><mrk id="m1">b</mrk>', "ab", '<pc id="1">a</pc>b'),
    ('1 &lt; <g id="&quot;">2</g>', "1 < 2", "1 < <g id='\"'>2</g>"),
    ("a<it pos='begin'>x</it>b<ut>y</ut>", "ab", "axby"),
]


@pytest.mark.parametrize(("segment", "stripped", "kept"), INLINE)
def test_inline_tags_are_kept_or_stripped_on_both_sides_alike(path, segment, stripped, kept):
    for one, other in ((segment, segment), (segment, "plain")):
        for variants in ((("zh", one), ("en", other)), (("zh", other), ("en", one))):
            for options, expected in ((ZH_EN, stripped), (KEEP, kept)):
                src, tgt = (expected if side == segment else side for _, side in variants)
                assert read(path, tmx(unit(*variants)), options) == [Example(src, tgt, 3)]


# --- TMX that is wrong, or that would do harm ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ":1: is not well-formed XML (no element found); correct it there or export it again"),
        ("我爱茶\tI love tea\n", ":1: is not well-formed XML (Start tag expected, '<' not found); correct it there"),
        (
            tmx("<tu><tuv xml:lang='zh'><seg>a</tuv></tu>"),
            ":3: is not well-formed XML (Opening and ending tag mismatch: seg line 3 and tuv); correct it there or",
        ),
        (
            tmx(unit(("zh", "a"), ("en", "b")), "<tu>"),
            ":5: is not well-formed XML (Opening and ending tag mismatch: tu",
        ),
        (
            tmx(unit(("zh", "a"), ("en", "b"))).removesuffix("</body></tmx>"),
            ":4: is not well-formed XML (Premature end of data in tag",
        ),
        (tmx(unit(("zh", "a & b"), ("en", "b"))), ":3: is not well-formed XML (xmlParseEntityRef: no name)"),
        (tmx(unit(("zh", "a&nbsp;b"), ("en", "b"))), ":3: is not well-formed XML (Entity 'nbsp' not defined)"),
        ("<html><body><p>a</p></body></html>", ": its outermost element is <html>, expected <tmx>"),
        (tmx(unit(("de", "a"), ("fr", "b"))), ": no unit has a text in both zh and en; the languages are de, fr"),
        (
            tmx(unit(("zh-CN", "a"), ("zh-TW", "b"), ("en", "c"))),
            ":3: zh may be zh-CN or zh-TW here; say which is meant",
        ),
    ],
)
def test_tmx_that_is_wrong(path, content, message):
    with pytest.raises(DataError) as error:
        read(path, content)
    assert str(error.value).startswith(f"{path}{message}")


def test_one_text_is_not_both_sides(path):
    with pytest.raises(DataError) as error:
        read(path, tmx(unit(("zh", "a"), ("en", "b"))), Options("zh-CN", "zh-TW"))
    assert str(error.value) == f"{path}:3: zh-CN and zh-TW are both zh here, expected two languages"


def test_tmx_of_many_languages_asks_which_are_meant(path):
    write(path, tmx(unit(("zh", "a"), ("en", "b")), unit(("zh", "a"), ("fr", "b"))))
    for options in (Options(), Options(src_lang="zh"), Options(tgt_lang="de")):
        with pytest.raises(DataError) as error:
            named_languages(path, options)
        assert str(error.value) == (
            f"{path}: has texts in zh, en, fr; say with --src-lang and --tgt-lang which two of them are meant"
        )
    assert [example.left_out for example in read_both(path, ZH_EN)] == ["", "no text in en"]


def with_document_type(declarations: str, segment: str, attribute: str = "") -> str:
    content = tmx(f"<tu {attribute}>{tuv('zh', segment)}{tuv('en', 'b')}</tu>")
    return content.replace("?>", f"?><!DOCTYPE tmx [{declarations}]>")


LAUGHS = '<!ENTITY l0 "ha">' + "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_document_type(LAUGHS, "&l9;"), "is not well-formed XML (Maximum entity amplification factor exceeded"),
        (
            with_document_type(LAUGHS, "a", 'x="&l9;"'),
            "is not well-formed XML (Maximum entity amplification factor exceeded",
        ),
        (
            with_document_type('<!ENTITY e "a">', "&e;"),
            "has the entity &e;, which is not looked up; expected the character itself",
        ),
        (with_document_type('<!ENTITY e SYSTEM "SECRET">', "a &e; b"), "has the entity &e;, which is not looked up"),
        (with_document_type('<!ENTITY e SYSTEM "SECRET">', "a", 'x="&e;"'), "is not well-formed XML (Attribute refere"),
        (tmx(unit(("zh", "<hi>" * 301 + "</hi>" * 301))), "is not well-formed XML (Excessive depth in document"),
        (tmx(unit(("zh", "a" * 10_100_000))), "is not well-formed XML (Resource limit exceeded: Text node too long"),
    ],
    ids=["laughs", "laughs in an attribute", "internal", "external", "external in an attribute", "deep", "long"],
)
def test_harmful_tmx_is_refused(path, tmp_path, content, message):
    secret = write(tmp_path / "secret", "the secret")
    tracemalloc.start()
    with pytest.raises(DataError) as error:
        read(path, content.replace("SECRET", secret.as_uri()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(error.value).startswith(f"{path}:")
    assert message in str(error.value)
    assert "the secret" not in str(error.value)
    assert peak < 50 << 20


def test_what_a_document_type_points_to_is_not_read(path, tmp_path):
    declarations = write(tmp_path / "more.dtd", '<!ENTITY e "the secret">').as_uri()
    for start in (
        f'<!DOCTYPE tmx SYSTEM "{declarations}">',
        f'<!DOCTYPE tmx [<!ENTITY % p SYSTEM "{declarations}"> %p;]>',
    ):
        write(path, tmx(unit(("zh", "&e;"), ("en", "b"))).replace("?>", f"?>{start}"))
        with pytest.raises(DataError, match=r"a\.tmx:3: has the entity &e;, which is not looked up"):
            list(read_both(path, ZH_EN))


def test_nothing_is_lost_where_the_parser_starts_anew(path, monkeypatch):
    """After an unknown entity lxml takes what comes next for another document."""
    first = b"<tmx><tu><note>&nbsp;</note></tu></tmx>"
    path.write_bytes(first.ljust(markup.CHUNK_BYTES) + tmx(unit(("zh", "a"), ("en", "b"))).encode())
    with pytest.raises(DataError, match=r"a\.tmx:1: is not well-formed XML \(Entity 'nbsp' not defined\)"):
        list(read_both(path, ZH_EN))


@pytest.mark.parametrize("root", ["tmx", "xliff"])
def test_what_was_read_of_a_large_file_is_dropped(path, root):
    one = f"<group>{unit(('zh', '茶'), ('en', 'tea')).replace('tu>', 'unit>')}</group>"
    write(path, f"<{root}><file>{one * 20_011}</file></{root}>")
    most = count = 0
    for count, element in enumerate(read_elements(path, root, ["unit"]), start=1):
        if count % 1009 == 0:
            most = max(most, sum(1 for _ in element.getroottree().iter()))
    assert count == 20_011
    assert most < 6 * markup.CHUNK_BYTES / len(one) + 10  # what was parsed at once, of six elements each


def test_a_unit_that_never_ends_does_not_fill_the_memory(path, monkeypatch):
    monkeypatch.setattr(markup, "MAX_UNIT_BYTES", 1 << 18)
    content = tmx(*[unit(("zh", "a"), ("en", "b"))] * 10_000)
    assert len(read(path, content)) == 10_000
    with pytest.raises(DataError, match=r"a\.tmx: more than 262,144 bytes in one unit, expected a sentence$"):
        read(path, tmx("<tu>" + "<prop>x</prop>" * 30_000 + "</tu>"))


# --- XLIFF ---


def xliff1(*units: str, languages: str = 'source-language="zh" target-language="en"', state: str = "") -> str:
    """XLIFF 1.2, one unit a line from line 3 on."""
    start = f'<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file {languages}><body><group>'
    return "\n".join(['<?xml version="1.0"?>', start, *units, "</group></body></file></xliff>"])


def xliff2(*units: str, languages: str = 'srcLang="zh" trgLang="en"') -> str:
    start = (
        f'<xliff version="2.0" xmlns="urn:oasis:names:tc:xliff:document:2.0" {languages}><file id="1"><group id="1">'
    )
    return "\n".join(['<?xml version="1.0"?>', start, *units, "</group></file></xliff>"])


def unit1(source: str, target: str, attributes: str = "") -> str:
    return f"<trans-unit><source>{source}</source><target {attributes}>{target}</target></trans-unit>"


def unit2(source: str, target: str, attributes: str = "") -> str:
    return f"<unit><segment {attributes}><source>{source}</source><target>{target}</target></segment></unit>"


VERSIONS = pytest.mark.parametrize(("document", "one"), [(xliff1, unit1), (xliff2, unit2)], ids=["1.2", "2.0"])


def test_every_ending_of_xliff_is_read_alike():
    assert READERS[".xlf"] is READERS[".xliff"]


@VERSIONS
def test_xliff_leaves_out_what_is_not_translated(tmp_path, document, one):
    content = document(
        one("茶", "tea"),
        one("饭", ""),
        one("鱼", " ").replace("<target > </target>", "").replace("<target> </target>", ""),
        one("花", "flower", 'state="needs-review-translation"'),
        one("草", "grass", 'state="new"'),
        one("树", "tree", 'state="initial"'),
        one("书", "book", 'state="translated"'),
        one("米", "rice", 'state="final"'),
    )
    assert read(tmp_path / "a.xlf", content) == [
        Example("茶", "tea", 3),
        Example("饭", "", 4, "no target"),
        Example("鱼", "", 5, "no target"),
        Example("花", "flower", 6, "a target in state needs-review-translation"),
        Example("草", "grass", 7, "a target in state new"),
        Example("树", "tree", 8, "a target in state initial"),
        Example("书", "book", 9),
        Example("米", "rice", 10),
    ]


def test_other_translations_of_a_unit_are_not_taken_for_its_own(tmp_path):
    other = "<alt-trans><source>x</source><target>y</target></alt-trans>"
    content = xliff1(f"<trans-unit>{other}<source>茶</source><target>tea</target></trans-unit>", unit1("饭", "rice"))
    assert [(example.src, example.tgt) for example in read(tmp_path / "a.xlf", content)] == [
        ("茶", "tea"),
        ("饭", "rice"),
    ]


def test_xliff_segments_are_pairs_of_their_own(tmp_path):
    path = tmp_path / "a.xlf"
    marked = "<mrk mtype='seg' mid='1'>{}</mrk> <mrk mtype='seg' mid='2'>{}</mrk>"
    whole = "<trans-unit><source>茶。饭。</source><seg-source>{}</seg-source>\n<target>{}</target></trans-unit>"
    content = xliff1(
        whole.format(marked.format("茶。", "饭<x id='1'/>。"), marked.format("Tea.", "Rice.")),
        whole.format(marked.format("茶。", "饭。"), "Tea and rice."),
    )
    assert read(path, content) == [
        Example("茶。", "Tea.", 3),
        Example("饭。", "Rice.", 3),
        Example("茶。饭。", "Tea and rice.", 5),
    ]
    segment = "<segment><source>{}</source><target>{}</target></segment>"
    ignorable = "<ignorable><source> </source></ignorable>"
    content = xliff2(f"<unit>{segment.format('茶', 'tea')}{ignorable}\n{segment.format('饭', 'rice')}</unit>")
    assert read(path, content) == [Example("茶", "tea", 3), Example("饭", "rice", 4)]


@VERSIONS
@pytest.mark.parametrize(("segment", "stripped", "kept"), INLINE)
def test_inline_tags_of_xliff(tmp_path, document, one, segment, stripped, kept):
    content = document(one(segment, "plain"), one("plain", segment))
    for options, expected in ((ZH_EN, stripped), (KEEP, kept)):
        examples = read(tmp_path / "a.xlf", content, options)
        assert [example[:2] for example in examples] == [(expected, "plain"), ("plain", expected)]


@VERSIONS
def test_xliff_is_turned_to_the_languages_that_are_wanted(tmp_path, document, one):
    path = tmp_path / "a.xlf"
    content = document(one("茶", "tea"), one("饭", ""))
    assert read(path, content, Options("en-US", "zh-CN")) == [
        Example("tea", "茶", 3),
        Example("", "饭", 4, "no target"),
    ]
    assert named_languages(path, Options()) == ("zh", "en")
    assert named_languages(path, Options(tgt_lang="zh")) == ("en", "zh")
    with pytest.raises(DataError) as error:
        read(path, content, Options("de", "en"))
    assert str(error.value) == (
        f"{path}: is in zh-en, expected de-en; correct --src-lang and --tgt-lang, or leave the file out"
    )


def test_xliff_that_does_not_name_its_target(tmp_path):
    path = tmp_path / "a.xlf"
    content = xliff1(unit1("茶", "tea"), languages='source-language="zh"')
    assert read(path, content) == [Example("茶", "tea", 3)]
    assert read(path, content, Options("en", "zh")) == [Example("tea", "茶", 3)]
    assert named_languages(path, Options()) == ("zh", "")


def test_xliff_of_several_languages(tmp_path):
    path = tmp_path / "a.xlf"
    second = '</group></body></file><file source-language="zh" target-language="fr"><body><group>'
    content = xliff1(unit1("茶", "tea"), second, unit1("茶", "thé"))
    with pytest.raises(DataError) as error:
        read(path, content, Options())
    assert str(error.value) == f"{path}: is in zh-en, zh-fr; say with --src-lang and --tgt-lang which is meant"
    assert read(path, content, Options("zh", "fr")) == [
        Example("茶", "tea", 3, "the languages zh-en"),
        Example("茶", "thé", 5),
    ]


@VERSIONS
def test_xliff_without_any_target(tmp_path, document, one):
    path = tmp_path / "a.xlf"
    with pytest.raises(DataError) as error:
        read(path, document(*[one("茶", "")] * 1009))
    assert str(error.value) == f"{path}: has 1,009 segments and not one target; export it again with its translations"


def test_xliff_that_is_wrong(tmp_path):
    path = tmp_path / "a.xliff"
    with pytest.raises(DataError, match=r"a\.xliff:4: is not well-formed XML \(Opening and ending tag mismatch"):
        read(path, xliff1(unit1("茶", "tea"), "<trans-unit><source>茶</trans-unit>"))
    with pytest.raises(DataError, match=r"a\.xliff: its outermost element is <tmx>, expected <xliff>"):
        read(path, tmx(unit(("zh", "茶"), ("en", "tea"))))
    with pytest.raises(DataError, match=r"a\.xliff:3: has the entity &e;, which is not looked up"):
        read(path, xliff1(unit1("&e;", "tea")).replace("?>", '?><!DOCTYPE xliff [<!ENTITY e "a">]>'))
