"""Every reader, fed with damaged files: pairs or one sentence, never anything else."""

import itertools
from pathlib import Path

import pytest
from hypothesis import strategies as st

from seqloom.data.readers import COMPRESSIONS, READERS, Options, named_languages, read_both, read_lines, read_pairs
from seqloom.errors import DataError
from tests.data.test_readers import ONE_PAIR, PACK
from tests.fuzz.fuzzing import EDITS, edited, fuzz, require_sentence

MOST_PAIRS = 20_000

TMX = """<?xml version="1.0"?><!DOCTYPE tmx [<!ENTITY e "x"><!ATTLIST seg a CDATA "b">]>
<tmx version="1.4"><header srclang="zh"/><body><tu><tuv xml:lang="zh"><seg>a<bpt i="1">&lt;b&gt;</bpt>&e;</seg></tuv>
<tuv xml:lang="en"><seg>b</seg></tuv></tu></body></tmx>"""
PO = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Language: en\\n"

#, fuzzy
#| msgid "old"
msgid "one"
msgid_plural "many"
msgstr[0] "eins"
msgstr[1] "viele"

#~ msgid "gone"
#~ msgstr "weg"
"""
XLIFF = """<xliff version="2.0" srcLang="zh" trgLang="en"><file id="f"><unit id="1"><segment state="initial">
<source>a<pc id="1">b</pc></source><target>c<x/></target></segment></unit></file></xliff>"""
SEEDS = {
    ".tsv": [ONE_PAIR[".tsv"]],
    ".csv": [ONE_PAIR[".csv"], 'src,tgt\n"a ""b""\nc",d\n'],
    ".jsonl": [ONE_PAIR[".jsonl"], '{"translation": {"zh": "a", "en": null}}\n'],
    ".tmx": [ONE_PAIR[".tmx"], TMX],
    ".po": [ONE_PAIR[".po"], PO],
    ".xliff": [ONE_PAIR[".xlf"], ONE_PAIR[".xliff"], XLIFF],
}
"""Whole files by one of the endings of each reader; Parquet has a test of its own."""


def read_all(path: Path) -> None:
    """Reads a file in every way that there is."""
    for options in (Options("zh", "en"), Options(), Options("zh", "en", "keep")):
        for read in (named_languages, lambda *given: list(itertools.islice(read_both(*given), MOST_PAIRS))):
            try:
                read(path, options)
            except DataError as error:
                require_sentence(error)


@pytest.mark.parametrize("ending", SEEDS)
def test_formats(tmp_path: Path, ending: str) -> None:
    @fuzz(st.sampled_from(SEEDS[ending]), EDITS)
    def check(seed: str, edits: list) -> None:
        path = tmp_path / f"a{ending}"
        path.write_bytes(edited((seed + "\n").encode(), edits))
        read_all(path)

    check()


def test_every_reader_has_a_test() -> None:
    assert {READERS[ending] for ending in [*SEEDS, ".parquet"]} == set(READERS.values())


def test_two_files(tmp_path: Path) -> None:
    src, tgt = tmp_path / "a.zh", tmp_path / "a.en"
    whole = "一\n\n二\u2028三\r\n".encode() * 5

    @fuzz(EDITS, EDITS, st.booleans())
    def check(src_edits: list, tgt_edits: list, both: bool) -> None:
        src.write_bytes(edited(whole, src_edits))
        tgt.write_bytes(edited(whole, tgt_edits) if both else src.read_bytes())
        try:
            list(itertools.islice(read_pairs(src, tgt), MOST_PAIRS))
        except DataError as error:
            require_sentence(error)

    check()


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_compressions(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"

    @fuzz(st.binary(max_size=300), EDITS)
    def check(content: bytes, edits: list) -> None:
        path.write_bytes(edited(PACK[ending](b"one\ntwo\n" * 50 + content), edits))
        try:
            for _ in itertools.islice(read_lines(path), MOST_PAIRS):
                pass
        except DataError as error:
            require_sentence(error)

    check()


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    seeds = []
    for compression, dictionary in itertools.product(["none", "snappy", "zstd"], [True, False]):
        path = tmp_path / "seed.parquet"
        table = {"zh": ["我", "我", None] * 30, "en": ["I", "me", "x" * 40] * 30}
        parquet.write_table(pyarrow.table(table), path, compression=compression, use_dictionary=dictionary)
        seeds.append(path.read_bytes())

    @fuzz(st.sampled_from(seeds), EDITS)
    def check(seed: bytes, edits: list) -> None:
        path = tmp_path / "a.parquet"
        path.write_bytes(edited(seed, edits))
        read_all(path)

    check()
