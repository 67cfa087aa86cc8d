"""Every reader, fed with damaged files: pairs or one sentence, never anything else."""

import itertools
from pathlib import Path

import pytest
from hypothesis import strategies as st

from seqloom.data.readers import COMPRESSIONS, Options, named_languages, read_both, read_lines
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
SEEDS = [(ending, content) for ending, content in ONE_PAIR.items()] + [(".tmx", TMX), (".po", PO), (".xlf", XLIFF)]
SEEDS += [(".csv", 'src,tgt\n"a ""b""\nc",d\n'), (".jsonl", '{"translation": {"zh": "a", "en": null}}\n')]


def read_all(path: Path) -> None:
    """Reads a file in every way that there is."""
    for options in (Options("zh", "en"), Options(), Options("zh", "en", "keep")):
        for read in (named_languages, lambda *given: list(itertools.islice(read_both(*given), MOST_PAIRS))):
            try:
                read(path, options)
            except DataError as error:
                require_sentence(error)


@fuzz(st.sampled_from(SEEDS), EDITS)
def check_formats(folder: Path, seed: tuple[str, str], edits: list) -> None:
    path = folder / f"a{seed[0]}"
    path.write_bytes(edited((seed[1] + "\n").encode(), edits))
    read_all(path)


@fuzz(st.sampled_from(sorted(COMPRESSIONS)), st.binary(max_size=300), EDITS)
def check_compressions(folder: Path, ending: str, content: bytes, edits: list) -> None:
    path = folder / f"a{ending}"
    path.write_bytes(edited(PACK[ending](b"one\ntwo\n" * 50 + content), edits))
    try:
        for _ in itertools.islice(read_lines(path), MOST_PAIRS):
            pass
    except DataError as error:
        require_sentence(error)


def test_formats(tmp_path):
    check_formats(tmp_path)


def test_compressions(tmp_path):
    check_compressions(tmp_path)


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
