"""The whole check, on small corpora in which one thing is wrong and on real ones with planted faults."""

import gzip
import importlib
import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqloom.data.checks import chunks as chunks_module
from seqloom.data.checks import doctor as doctor_module
from seqloom.data.checks.diagnosis import Diagnosis
from seqloom.data.checks.doctor import check
from seqloom.data.checks.findings import Severity
from seqloom.data.checks.lines import letters_of
from seqloom.data.checks.overlap import held_against
from seqloom.data.checks.report import as_dict
from seqloom.data.readers import Group, Options
from tests.data.checks.corpora import Pair, sentences, write

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

PAIRS = sentences(600)


def checked(folder: Path, pairs: list[Pair], *against: str, **options: Any) -> Diagnosis:
    return check(
        [Group(write(folder, pairs))], held_against([folder / name for name in against]), processes=1, **options
    )


def severities(diagnosis: Diagnosis) -> dict[str, Severity]:
    return {finding.kind: finding.severity for finding in diagnosis.findings}


def test_a_clean_corpus_is_clean(tmp_path):
    diagnosis = checked(tmp_path, PAIRS, declared=("de", "en"))
    assert diagnosis.worst is Severity.NOTE
    assert diagnosis.flagged == 0
    assert diagnosis.pairs == len(PAIRS)
    assert diagnosis.languages == [("de", "en")]
    assert set(severities(diagnosis)) <= {"many_sources", "many_targets"}


ROWS = sorted(random.Random(7).sample(range(len(PAIRS)), 12))
FRENCH = "Une vieille dame achète du pain au marché tous les matins, et son voisin lui dit bonjour en souriant."


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


Change = Callable[[Pair], Pair]
FAULTS: dict[str, Change] = {
    "swapped_sides": lambda pair: pair[::-1],
    "wrong_language": lambda pair: (pair[0], next(src for src, _ in PAIRS if not words(src) & words(pair[0]))),
    "wrong_script": lambda pair: (pair[0], "Старик продаёт старые часы на рынке каждый день"),
    "copied": lambda pair: (pair[0], pair[0]),
    "mojibake": lambda pair: (f"{pair[0]} Schöne Grüße".encode().decode("latin-1"), pair[1]),
    "replacement_characters": lambda pair: (pair[0], pair[1].replace("a", "\ufffd")),
    "control_characters": lambda pair: (f"\x07{pair[0]}", pair[1]),
    "line_separators": lambda pair: (pair[0], f"{pair[1]}\u2028"),
    "one_sided": lambda pair: (pair[0], " \u3000"),
    "length_ratio": lambda pair: (pair[0], " ".join([pair[1]] * 6)),
    "markup": lambda pair: (f"<b>{pair[0]}</b>", pair[1]),
    "placeholders": lambda pair: (f"{pair[0]} %s", pair[1]),
    "urls": lambda pair: (f"{pair[0]} https://example.org/a", pair[1]),
    "duplicates": lambda pair: PAIRS[0],
    "near_duplicates": lambda pair: (f"{PAIRS[0][0].upper()} !", PAIRS[0][1].lower()),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_two_in_a_hundred_are_found_and_no_others(tmp_path, kind):
    pairs = [FAULTS[kind](pair) if row in ROWS else pair for row, pair in enumerate(PAIRS)]
    if kind == "near_duplicates":  # each in a way of its own
        pairs = [
            (f"{src}{'!?.;'[row % 4] * (row % 13)}", tgt) if row in ROWS else (src, tgt)
            for row, (src, tgt) in enumerate(pairs)
        ]
    diagnosis = checked(tmp_path, pairs)
    assert severities(diagnosis)[kind] is Severity.PROBLEM
    assert diagnosis.rows[kind].tolist() == ROWS
    (finding,) = [each for each in diagnosis.findings if each.kind == kind]
    assert (finding.count, round(finding.share, 4)) == (12, 0.02)
    assert 0 < len(finding.examples) <= 5
    shown = {int(example.where.rpartition(":")[2]) - 1 for example in finding.examples}
    assert shown <= set(ROWS)
    assert {each.kind for each in diagnosis.of(Severity.PROBLEM, Severity.FATAL)} == {kind}


def test_a_third_that_is_swapped_does_not_pass_for_what_is_usual(tmp_path):
    pairs = [pair[::-1] if row % 3 == 0 else pair for row, pair in enumerate(PAIRS)]
    assert checked(tmp_path, pairs).rows["swapped_sides"].tolist() == list(range(0, 600, 3))


def test_two_sides_in_one_language_are_not_taken_for_swapped(tmp_path):
    others = sentences(600, seed=3)
    pairs = [(src, other) for (src, _), (other, _) in zip(PAIRS, others, strict=True)]
    assert not {"swapped_sides", "wrong_language"} & set(severities(checked(tmp_path, pairs)))


def test_numbers_that_do_not_match_are_noted(tmp_path):
    pairs = [(src, f"{tgt} Call 8357688.") if row in ROWS else (src, tgt) for row, (src, tgt) in enumerate(PAIRS)]
    diagnosis = checked(tmp_path, pairs)
    assert diagnosis.rows["numbers"].tolist() == ROWS
    assert severities(diagnosis)["numbers"] is Severity.NOTE


def test_a_block_in_another_language_is_found_to_the_line(tmp_path):
    pairs = sentences(2000)
    french = [f"{FRENCH} C'est le numéro {row}." for row in range(689, 912)]
    pairs[689:912] = [(src, tgt) for (src, _), tgt in zip(pairs[689:912], french, strict=True)]
    diagnosis = checked(tmp_path, pairs)
    assert severities(diagnosis)["wrong_language_block"] is Severity.PROBLEM
    assert diagnosis.rows["wrong_language_block"].tolist() == list(range(689, 912))


def test_greetings_may_be_said_again_and_again(tmp_path):
    (tmp_path / "test.en").write_text("Good day!\n" * 9, encoding="utf-8")
    pairs = [("Guten Tag!", "Good day!") if row in ROWS else pair for row, pair in enumerate(PAIRS)]
    diagnosis = checked(tmp_path, pairs, "test.en")
    assert diagnosis.rows["duplicates"].tolist() == ROWS[1:]
    assert severities(diagnosis)["duplicates"] is severities(diagnosis)["overlap"] is Severity.NOTE


def test_a_leaked_test_set_is_found(tmp_path):
    held = sentences(200, seed=99)
    (tmp_path / "test.de").write_text("".join(f"{src.upper()}\n" for src, _ in held), encoding="utf-8")
    (tmp_path / "clean.en").write_text("Nothing of this is anywhere.\n", encoding="utf-8")
    leaked = [row for row in ROWS if row < 200]
    pairs = [held[row] if row in leaked else pair for row, pair in enumerate(PAIRS)]
    diagnosis = checked(tmp_path, pairs, "test.de", "clean.en")
    (finding,) = [each for each in diagnosis.findings if each.kind == "overlap"]
    assert finding.message == f"{len(leaked)} of 200 lines of {tmp_path}/test.de are in the corpus"
    assert (finding.severity, finding.count) == (Severity.PROBLEM, len(leaked))
    assert diagnosis.rows["overlap"].tolist() == leaked
    assert f"the source is {tmp_path}/test.de:{leaked[0] + 1}" in [example.why for example in finding.examples]


def test_files_of_different_lengths_are_checked_as_far_as_they_go(tmp_path):
    src, tgt = write(tmp_path, PAIRS)
    with open(tgt, "a", encoding="utf-8") as file:
        file.write("one more\n" * 2)
    diagnosis = check([Group((src, tgt))], processes=1)
    assert diagnosis.pairs == 600
    (finding,) = diagnosis.of(Severity.FATAL)
    assert finding.message.startswith(f"{src} has 600 lines and {tgt} has 602; what both have was checked")


def test_a_deleted_line_is_found_and_the_rest_checked_in_step(tmp_path):
    pairs = sentences(4000)
    for row in (100, 3000, 3700):
        pairs[row] = pairs[row][::-1]
    src, tgt = write(tmp_path, pairs)
    lines = tgt.read_text(encoding="utf-8").splitlines(keepends=True)
    tgt.write_text("".join(lines[:2000] + lines[2001:]), encoding="utf-8")
    diagnosis = check([Group((src, tgt))], processes=1)
    (found,) = diagnosis.misalignments
    assert abs(found.line - 2001) <= 20
    assert found.shift == 1
    assert {each.kind for each in diagnosis.of(Severity.FATAL)} == {"line_counts", "misalignment"}
    report = as_dict(diagnosis)
    assert report["misalignment"] == {"line": found.line, "shift": 1}
    (swapped,) = [each for each in diagnosis.findings if each.kind == "swapped_sides"]
    assert {example.where for example in swapped.examples} == {
        f"{src}:{row + 1} and {tgt}:{row + 1 - (row > 2000)}" for row in (100, 3000, 3700)
    }
    assert "length_ratio" not in severities(diagnosis)  # which lines out of step would be full of


def test_languages_that_are_not_those_said(tmp_path):
    group = [Group(write(tmp_path, PAIRS))]
    (turned,) = check(group, declared=("en", "de"), processes=1).of(Severity.FATAL)
    assert turned.kind == "swapped_sides"
    assert "the source is in de and the target in en, the other way round than said" in turned.message
    (other,) = check(group, declared=("de", "fr"), processes=1).of(Severity.PROBLEM)
    assert other.message.endswith("the target seems to be in en and not in fr")
    assert check(group, declared=("de-AT", "en_GB"), processes=1).worst is Severity.NOTE
    assert check(group, declared=("xx", "yy"), processes=1).worst is Severity.NOTE


def test_bytes_that_are_not_utf8_are_fatal_and_named(tmp_path):
    src, tgt = write(tmp_path, PAIRS)
    lines = src.read_bytes().splitlines(keepends=True)
    lines[6] = "übel\n".encode("latin-1")
    src.write_bytes(b"".join(lines))
    (finding,) = check([Group((src, tgt))], processes=1).of(Severity.FATAL)
    assert finding.kind == "invalid_utf8"
    assert finding.examples[0].where == f"{src}:7 and {tgt}:7"
    assert "iconv" in finding.advice


def test_texts_of_any_length_are_looked_at_in_little_time(tmp_path):
    """Each would take hours if a pattern went back over it again and again."""
    long = ["a" * 1_000_000 + ": 1", "<b " * 300_000, "{{a" * 300_000, "%1" * 400_000, "1,1" * 300_000, "é" * 1_000_000]
    pairs = [*PAIRS[:50], *((text, f"{text}@") for text in long), ("x\0y", "\ud800")]
    src, tgt = tmp_path / "l.src", tmp_path / "l.tgt"
    for side, path in enumerate((src, tgt)):
        path.write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8", errors="replace")
    diagnosis = check([Group((src, tgt))], processes=1)
    assert diagnosis.seconds < 120
    assert diagnosis.rows["long"].tolist() == list(range(50, 56))
    assert all(len(example.src) < 300 for finding in diagnosis.findings for example in finding.examples)


@pytest.mark.parametrize("pairs", [[], [("", "")], [("a", ""), ("", "b")]])
def test_a_corpus_without_a_pair_is_fatal(tmp_path, pairs):
    diagnosis = checked(tmp_path, pairs)
    assert severities(diagnosis)["no_pairs"] is Severity.FATAL
    assert json.dumps(as_dict(diagnosis))


def test_every_format_is_checked(tmp_path):
    pairs = [pair[::-1] if row in ROWS else pair for row, pair in enumerate(PAIRS)]
    plain = checked(tmp_path, pairs)
    tsv = "".join("\t".join(pair) + "\n" for pair in pairs)
    jsonl = "".join(json.dumps({"de": src, "en": tgt}) + "\n" for src, tgt in pairs)
    for name, text in (("c.tsv", tsv), ("c.jsonl", jsonl)):
        with gzip.open(tmp_path / f"{name}.gz", "wt", encoding="utf-8") as file:
            file.write(text)
        found = check([Group((tmp_path / f"{name}.gz",), Options("de", "en"))], processes=1)
        assert {kind: rows.tolist() for kind, rows in found.rows.items()} == {
            kind: rows.tolist() for kind, rows in plain.rows.items()
        }
        (swapped,) = found.of(Severity.PROBLEM)
        assert swapped.examples[0].where.startswith(f"{tmp_path / name}.gz:")


def test_processes_and_chunks_change_nothing(tmp_path, monkeypatch):
    """The same findings by two processes as by one."""
    for module in (chunks_module, doctor_module):
        monkeypatch.setattr(module, "CHUNK", 211)
    monkeypatch.setattr(doctor_module, "HEAD", 211)
    pairs = [pair[::-1] if row % 97 == 0 else pair for row, pair in enumerate(sentences(3 * 211 + 7))]
    group = [Group(write(tmp_path, pairs))]
    told: list[int] = []
    one, two = (check(group, processes=n, progress=told.append) for n in (1, 2))
    reports = [as_dict(each) | {"seconds": 0} for each in (one, two)]
    assert reports[0] == reports[1]
    assert told == [211, 422, 633, 640] * 2


@pytest.fixture
def planting(monkeypatch):
    """The script that plants faults."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("check")
    del sys.modules["check"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zh_en", "de_en"])
def test_nothing_is_wrong_with_real_corpora(planting, shared_data, name):
    told = planting.examine_set(shared_data / name, "none", None)
    assert (told["verdict"], told["serious"], told["flagged"], told["drifts"]["told"]) == ("note", [], 0, [])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zh_en", "de_en"])
def test_everything_planted_in_real_corpora_is_found(planting, shared_data, name):
    told = planting.examine_set(shared_data / name, "all", None)
    assert told["drifts"]["right"], told["drifts"]
    for kind, scores in told["kinds"].items():
        assert scores["severity"] == "problem", kind
        assert scores["recall"] > 0.95, kind
        assert kind == "overlap" or scores["precision"] > 0.95, kind


def test_what_a_format_leaves_out_is_no_fault_of_its_sides(tmp_path):
    entries = [
        f'msgid "{src}\\n"\nmsgstr "{tgt}\\n"\n' if row not in ROWS else f'msgid "{src}"\nmsgstr ""\n'
        for row, (src, tgt) in enumerate(PAIRS)
    ]
    (tmp_path / "t.po").write_text("\n".join(entries), encoding="utf-8")
    diagnosis = check([Group((tmp_path / "t.po",), Options("de", "en"))], processes=1)
    assert diagnosis.rows["left_out"].tolist() == ROWS
    assert {"one_sided", "empty", "line_separators"}.isdisjoint(severities(diagnosis))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Store at -5 °C", "Store at 5 °C", False),
        ("1.5 A", "15 A", False),
        ("1,000 dogs", "1000 dogs", True),
        ("ข่าว", "ขาว", False),
        ("काम", "कम", False),
        ("Well-known: a DOG!", "well known a dog", True),
        ("snake_case", "Snake case", True),
    ],
)
def test_what_makes_texts_the_same(one, other, same):
    assert (letters_of(one) == letters_of(other)) == same


def test_of_a_text_that_is_dropped_no_copy_is_dropped_with_it(tmp_path):
    pairs = [(f"{src}\u2028", tgt) if row == 3 else (src, tgt) for row, (src, tgt) in enumerate([*PAIRS, PAIRS[3]])]
    diagnosis = checked(tmp_path, pairs)
    assert diagnosis.rows["line_separators"].tolist() == [3]
    assert "near_duplicates" not in diagnosis.rows or not len(diagnosis.rows["near_duplicates"])


def test_a_region_does_not_hide_another_language(tmp_path):
    diagnosis = checked(tmp_path, PAIRS, declared=("de-AT", "zh-CN"))
    assert "other_language" in severities(diagnosis)


def test_a_test_set_the_other_way_round_is_found(tmp_path):
    rows = "".join(f"{tgt}\t{src}\n" for src, tgt in PAIRS[:7])
    (tmp_path / "test.tsv").write_text(rows, encoding="utf-8")
    found = set(checked(tmp_path, PAIRS, "test.tsv").rows["overlap"].tolist())
    assert set(range(7)) <= found
