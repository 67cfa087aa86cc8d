"""Lines that nobody thought of when a translator was made: one line out for each in, with every engine."""

import io
import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from seqloom.cli import main
from seqloom.config import DecodingConfig
from seqloom.decoding.lengths import ROOM, STEP
from seqloom.export.ctranslate2_engine import CTranslate2Engine
from seqloom.pipeline.evaluation import evaluate
from seqloom.pipeline.guard import LADDER
from seqloom.pipeline.translator import Translator, load
from seqloom.tasks.torch_engine import TorchEngine

ENGINES = ("ctranslate2", "torch")

SHORT = 500
"""Characters of the lines that are tried in ways that take longer."""

MOST_PER_TOKEN = 5
"""Times the median, that a token of an answer may take."""


def _text(about: dict[str, Any]) -> str:
    return str(about.get("before", "") + about["text"] * about.get("times", 1) + about.get("after", ""))


ABOUT = [
    json.loads(line)
    for line in (Path(__file__).parent / "nasty_lines.jsonl").read_text(encoding="utf-8").split("\n")
    if line
]
LINES = {about["name"]: _text(about) for about in ABOUT}
SAME = {about["name"]: about["same"] for about in ABOUT if "same" in about}
"""Lines that are another one, spelt otherwise."""


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def translator(toy_run: Path, engine: str) -> Translator:
    return load(toy_run, engine=engine)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def translations(translator: Translator) -> dict[str, str]:
    return dict(zip(LINES, (each.text for each in translator.translate(list(LINES.values()))), strict=True))


def test_the_lines_are_many_and_have_names() -> None:
    assert len(ABOUT) == len(LINES) >= 150
    assert len(SAME) >= 10
    assert all(LINES[name] != LINES[other] for name, other in SAME.items())
    assert not any("\n" in line for line in LINES.values())


def test_one_line_for_each(translations: dict[str, str]) -> None:
    assert all(len(text.splitlines()) <= 1 for text in translations.values())
    blank = {name for name, line in LINES.items() if not line.strip()}
    assert len(blank) > 10
    assert {translations[name] for name in blank} == {""}


def test_two_spellings_of_a_text_are_one_text(translations: dict[str, str]) -> None:
    assert {name for name, other in SAME.items() if translations[name] != translations[other]} == set()


@pytest.mark.parametrize("guard", ["retry", "flag", "off"])
def test_through_the_command(
    toy_run: Path,
    engine: str,
    guard: str,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    chosen = [line for line in LINES.values() if len(line) < SHORT]
    monkeypatch.setattr("seqloom.training.process.arrange", lambda threads: None)  # this process has other tests
    monkeypatch.setattr("sys.argv", ["seqloom", "translate", str(toy_run), "--engine", engine, "--guard", guard])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("".join(f"{line}\n" for line in chosen).encode())))
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfdbinary.readouterr()
    assert not ended.value.code, err
    assert out.decode().count("\n") == len(chosen)


def test_evaluate_scores_them_all(translator: Translator, tmp_path: Path) -> None:
    chosen = [line for line in LINES.values() if len(line) < SHORT]
    (tmp_path / "src").write_bytes("".join(f"{line}\n" for line in chosen).encode())
    (tmp_path / "ref").write_bytes("".join(f"{line.strip() or '.'}\n" for line in chosen).encode())
    report = evaluate(translator, tmp_path / "src", tmp_path / "ref", bootstrap=0)
    assert len(report.translations) == len(chosen)
    assert 0 <= report.as_dict()["bleu"] <= 100


Said = list[tuple[DecodingConfig, list[int]]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """The settings of each search that any engine makes, and the tokens of the longest answer to each source."""
    searches: Said = []

    def counted(search: Any) -> Any:
        def counting(engine: Any, sources: Any, decoding: DecodingConfig, *given: Any, **options: Any) -> Any:
            found = search(engine, sources, decoding, *given, **options)
            searches.append((decoding, [max(len(answer.tokens) for answer in answers) + 1 for answers in found]))
            return found

        return counting

    for kind in (CTranslate2Engine, TorchEngine):
        monkeypatch.setattr(kind, "search", counted(kind.search))
    return searches


def test_no_search_goes_on_for_ever(translator: Translator, said: Said) -> None:
    short = [line for line in LINES.values() if len(line) < SHORT]
    segments = sum(each.segments for each in translator.translate(short))
    (asked, first), *rungs = said
    assert asked.max_length_ratio == translator.guard.ratio.most
    assert max(first) <= asked.max_length_ratio * (translator.limit + 1) + ROOM + STEP
    assert len(first) <= segments
    assert 0 < len(rungs) <= len(LADDER)
    for decoding, tokens in rungs:
        # What runs on is a part of what was searched for, and has an end in sight.
        assert len(tokens) < len(first)
        assert decoding.max_length_ratio == translator.guard.ratio.high
        assert max(tokens) <= decoding.max_length_ratio * (translator.limit + 1) + ROOM + STEP


def test_the_usual_end_of_a_search_gives_way_to_one_that_is_asked_for(translator: Translator, said: Said) -> None:
    for ratio in (0, 1.5):
        translator.translate(["1 2"], guard="off", max_length_ratio=ratio)
    assert [decoding.max_length_ratio for decoding, _ in said] == [0, 1.5]


@pytest.mark.slow
def test_no_token_takes_long(translator: Translator, engine: str, said: Said) -> None:
    """The tokens of all searches for a line count, those that the guard makes among them."""
    seconds = {}
    for name, line in LINES.items():
        best = float("inf")
        for _ in range(3):  # the machine that runs the tests has other work
            said.clear()
            start = time.process_time()
            found = translator.translate([line])[0]
            best = min(best, time.process_time() - start)
        # What was found once may stand in it a thousand times.
        length = len(translator.setup.tgt_tokenizer.encode([found.text])[0]) + found.segments
        by_torch = engine != "torch" and not {"copy", "too_short"}.isdisjoint(found.caught)
        if said and not by_torch:  # where all is by torch, they are looked at as well
            seconds[name] = best / max(sum(sum(tokens) for _, tokens in said), length)
    median = statistics.median(seconds.values())
    slowest = max(seconds, key=lambda name: seconds[name])
    assert seconds[slowest] < MOST_PER_TOKEN * median, slowest
