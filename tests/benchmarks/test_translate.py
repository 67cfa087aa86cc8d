"""benchmarks/translate.py on a minute model; of the peers Hugging Face's library is at hand, and JoeyNMT is not."""

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from seqloom.config import DecodingConfig
from seqloom.decoding.lengths import length_bounds
from seqloom.pipeline.translator import load
from seqloom.training.log import LineDisplay
from seqloom.training.session import train_session

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def translate():
    """The script; its own modules are forgotten afterwards."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("translate")
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def booth(translate):
    """The contestants' side."""
    return importlib.import_module("contestants.booth")


@pytest.fixture(scope="module")
def run(toy_settings, tmp_path_factory):
    """A run of a model that Marian can be."""
    folder = tmp_path_factory.mktemp("post-norm") / "run"
    settings = {**toy_settings, "model.norm": "post", "training.steps": 120, "training.validate_every": 120}
    train_session(folder, "translate", flags=settings, display=LineDisplay(Console(quiet=True)))
    return folder


def main(translate, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["translate.py", *map(str, arguments)])
    translate.main()
    return capsys.readouterr().out


def test_all_who_come_say_the_same(translate, run, toy_corpus, tmp_path, monkeypatch, capsys):
    lines = (toy_corpus / "valid.xx").read_text().splitlines()
    lines[3:5] = ["", " ".join("9" * 41)]  # nothing, and more than the model is given whole
    (tmp_path / "src").write_text("\n".join(lines) + "\n")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    contestants = ["seqloom-float32", "seqloom-int8", "seqloom-torch", "ctranslate2-float32-workers"]
    contestants += ["ctranslate2-int8-threads", "huggingface", "joeynmt"]
    files = "--src", tmp_path / "src", "--ref", toy_corpus / "valid.yy", "--sentences", 13
    sizes = "--beams", 1, 3, "--batches", 1, 5, "--rounds", 2, "--threads", 1
    options = *sizes, "--peers", sys.executable, "--contestants", *contestants, "--json"
    found = json.loads(main(translate, monkeypatch, capsys, run, *files, *options))

    assert found["missed"] == {"joeynmt": "ModuleNotFoundError: No module named 'joeynmt'"}
    assert (found["about"]["sentences"], found["about"]["left_out"]) == (13, 2)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert list(found["programs"]) == contestants[:-1]
    for program in found["programs"].values():
        assert 0 < program["start_up"] < 600
        assert program["peak_memory"] > 2**20
    assert [(cell["beam"], cell["batch"]) for cell in found["cells"]] == [(1, 1), (1, 5), (3, 1), (3, 5)]
    for cell in found["cells"]:
        each = cell["contestants"]
        assert list(each) == contestants[:-1]
        for name in ("seqloom-float32", "ctranslate2-float32-workers", "huggingface"):
            assert each[name]["differ"] == 0
            assert each[name]["bleu"] == each["seqloom-torch"]["bleu"] > 0
        assert each["seqloom-int8"]["bleu"] == each["ctranslate2-int8-threads"]["bleu"]
        for figures in each.values():
            assert len(figures["tokens_per_second"]) == len(figures["sentences_per_second"]) == 2
            assert all(t > 2 * s > 0 for t, s in zip(*list(figures.values())[:2], strict=True))
            assert ("median_ms" in figures) == (cell["batch"] == 1)
            assert figures["signature"].startswith("#:1|")


def test_the_texts_are_those_of_the_whole_product(translate, run, toy_corpus, tmp_path, monkeypatch, capsys):
    figures, held = translate.figures, {}

    def seen(turns, *others):
        held.update(turns)
        return figures(turns, *others)

    monkeypatch.setattr(translate, "figures", seen)
    arguments = "--src", toy_corpus / "valid.xx", "--beams", 3, "--batches", 7, "--rounds", 1, "--threads", 1
    shown = main(translate, monkeypatch, capsys, run, *arguments, "--contestants", "seqloom-guarded", "huggingface")
    (turn,) = held[3, 7]["seqloom-guarded"]
    shutil.copytree(run / "model", tmp_path / "model")
    texts = (toy_corpus / "valid.xx").read_text().splitlines()
    expected = load(tmp_path / "model", engine="torch").translate(texts, beam=3)
    assert turn["translations"] == [translation.text for translation in expected]
    assert "| beam 3, batch 7 " in shown
    assert "BLEU: " not in shown
    missed = "give --peers the Python of an environment made from benchmarks/requirements.txt"
    assert shown.endswith(f"- huggingface: missed: {missed}\n")


def test_outputs_are_bounded_as_the_peers_are(translate, booth, run, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS / "contestants")
    ours = importlib.import_module("contestants.seqloom_translator")
    given = {}

    class Spy:
        def translate(self, texts, guard, **decoding):
            given.update(decoding)
            return []

    terms = booth.Terms("nowhere", 1.0, 53, threads=1)
    ours.translating(Spy(), terms, 3)(["a"])
    setup = translate.TranslatorSetup.from_folder(translate.read_translator(run))
    decoding = setup.bounded(DecodingConfig(**given))
    assert {length_bounds(read, decoding) for read in (1, 31)} == {(53, 0)}


def test_another_model_than_marian_is_without_hugging_face(translate, toy_run, tmp_path, monkeypatch):
    _, missed = translate.convert(toy_run, tmp_path, threads=1)
    assert missed == {"huggingface": "Marian has no model.norm = 'pre'"}
    assert {path.name for path in (tmp_path / "model").glob("ctranslate2-*")} == {
        "ctranslate2-float32",
        "ctranslate2-int8",
    }
    monkeypatch.setattr(translate, "supported_types", lambda: {"float32"})
    _, missed = translate.convert(toy_run, tmp_path / "again", threads=1)
    assert missed["seqloom-int8"] == missed["ctranslate2-int8-workers"] == "this processor does not calculate in int8"


def test_mistakes_are_told(translate, run, toy_corpus, tmp_path, monkeypatch, capsys):
    setup = translate.TranslatorSetup.from_folder(translate.read_translator(run))
    empty, short = tmp_path / "empty", tmp_path / "short"
    empty.write_text("\n\n")
    short.write_text("one\n")
    with pytest.raises(SystemExit, match=r"empty: no sentence of 1 to \d+ tokens$"):
        translate.read_texts(setup, empty, None, 5)
    with pytest.raises(SystemExit, match=r"short: 1 references for the 2 sentences of .*empty$"):
        translate.read_texts(setup, empty, short, 5)
    with pytest.raises(SystemExit, match=r"test_2016_flickr.xx.gz: no such file; give --src, and --ref for BLEU$"):
        main(translate, monkeypatch, capsys, run)
    with pytest.raises(SystemExit, match=r"nowhere"):
        main(translate, monkeypatch, capsys, tmp_path / "nowhere")
    with pytest.raises(SystemExit):
        main(translate, monkeypatch, capsys, run, "--ref", short)
    assert "--ref needs --src" in capsys.readouterr().err
    monkeypatch.setattr(translate, "missing_parts", lambda model: "model.positions = 'alibi'")
    with pytest.raises(SystemExit, match=r"run: CTranslate2 does not know model.positions = 'alibi'$"):
        translate.convert(run, tmp_path, 1)


def test_ratios_are_taken_within_each_round(translate):
    speeds = {
        "seqloom-float32": [30, 20],
        "seqloom-int8": [80, 80],
        "ctranslate2-float32-threads": [10, 40],
        "ctranslate2-float32-workers": [20, 50],
        "ctranslate2-int8-workers": [40, 160],
        "huggingface": [5, 2],
    }
    assert translate.ratios("seqloom-float32", speeds) == {"of_huggingface": [6, 10], "of_ctranslate2": [1.5, 0.4]}
    assert translate.ratios("seqloom-int8", speeds) == {"of_huggingface": [16, 40], "of_ctranslate2": [2, 0.5]}
    assert translate.ratios("ctranslate2-float32-workers", speeds) == {"of_huggingface": [4, 25]}
    assert translate.ratios("huggingface", speeds) == {"of_ctranslate2": [0.25, 0.04]}
    assert translate.ratios("seqloom-torch", {"seqloom-torch": [1]}) == {}


def test_what_is_told_and_shown(translate, run):
    setup = translate.TranslatorSetup.from_folder(translate.read_translator(run))

    def turn(seconds, *translations):
        return {"seconds": sum(seconds), "latencies": seconds, "translations": list(translations)}

    turns = {
        (1, 1): {
            "seqloom-torch": [turn([1.0, 3.0], "ein.", "zwo."), turn([1.0, 1.0], "ein.", "zwo.")],
            "huggingface": [turn([4.0, 8.0], "ein.", "zwo."), turn([3.0, 3.0], "ein.", "nul.")],
        }
    }
    told = translate.figures(turns, setup, ["ein.", "zwo.", "dri."])
    ours, theirs = told[1, 1].values()
    tokens = sum(map(len, setup.targets(["ein.", "zwo."])))
    assert ours["tokens_per_second"] == [tokens / 4, tokens / 2]
    assert ours["sentences_per_second"] == [0.5, 1]
    assert (ours["median_ms"], ours["p95_ms"]) == ([2000, 1000], [3000, 1000])
    assert "differ" not in ours
    assert theirs["differ"] == 1
    about = {"huggingface": {"start_up": 1.234, "peak_memory": 3 << 20, "remark": "as it is"}}
    rows = [re.split(r" *\| *", row)[1:-1] for row in translate.tables(told, about)]
    assert rows[3][0] == "huggingface"
    assert rows[3][2:5] == ["0.2 (0.2 to 0.3)", "4,500.0 (3,000.0 to 6,000.0)", "5,500.0 (3,000.0 to 8,000.0)"]
    assert rows[3][-1] == "1"
    assert rows[-1] == ["huggingface", "1.23", "3 MiB"]
    held = translate.Held(turns, about, {"joeynmt": "stayed away"})
    *_, remark, missed = translate.remarks(held, told)
    assert (remark, missed) == ("huggingface: as it is", "joeynmt: missed: stayed away")


def test_the_slowest_twentieth(translate):
    assert translate.p95(list(range(1, 21))) == 19
    assert translate.p95(list(range(101, 0, -1))) == 96
    assert translate.p95([7]) == 7


def test_another_one_is_first_in_each_round(translate):
    asked = []

    class Fake:
        def __init__(self, name):
            self.name = name

        def turn(self, question):
            if self.name == "b" and question == "3":
                raise translate.MissedError("tired")
            asked.append(self.name + question)
            return {"said": question}

    missed = {"d": "never came"}
    players = {name: Fake(name) for name in "abcd"}
    answers = list(translate.take_turns(players, missed, [["1", "2"], ["3", "4"], ["5"]]))
    assert " ".join(asked) == "a1 b1 c1 a2 b2 c2 c3 a3 c4 a4 a5 c5"
    assert answers[1] == [{"c": {"said": "3"}, "a": {"said": "3"}}, {"c": {"said": "4"}, "a": {"said": "4"}}]
    assert missed == {"d": "never came", "b": "tired"}


@given(st.lists(st.text("ab", max_size=7), max_size=23), st.integers(1, 9))
def test_batches_are_of_like_length_and_answers_in_order(booth, items, batch):
    batches = []

    def shout(some):
        batches.append(list(map(len, some)))
        return [each.upper() for each in some]

    assert booth.in_batches(shout, items, batch, len) == [each.upper() for each in items]
    lengths = [length for each in batches for length in each]
    assert lengths == sorted(lengths, reverse=True)
    assert all(len(each) == batch for each in batches[:-1])
    assert all(1 <= len(each) <= batch for each in batches)


def test_rows_are_filled_up(booth):
    assert booth.padded([[5, 3], [7, 8, 9, 3], [3]], 0) == [[5, 3, 0, 0], [7, 8, 9, 3], [3, 0, 0, 0]]
