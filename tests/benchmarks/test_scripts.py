"""The smaller scripts of benchmarks/ on a minute model, and what the long ones reckon."""

import importlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A script by its name; its own modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module(request.param)
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def main(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> str:
    monkeypatch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
    script.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("script", ["tradeoff"], indirect=True)
def test_each_type_and_beam_is_a_point(
    script: ModuleType,
    toy_run: Path,
    toy_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = ("--src", toy_corpus / "valid.xx", "--ref", toy_corpus / "valid.yy", "--rounds", 1)
    points = json.loads(main(script, monkeypatch, capsys, toy_run, *files, "--beams", 1, 3, "--json"))
    assert [(each["variant"], each["beam"]) for each in points] == [("float32", 1), ("float32", 3)]
    assert points[1]["times"] == 1
    assert all(each["bleu"] > 50 and each["tokens_per_second"] for each in points)
    shown = main(script, monkeypatch, capsys, toy_run, *files, "--beams", 1)
    assert "|    2+1 | float32 |" in shown
    assert f"{points[0]['bleu']:.2f}" in shown
    assert "\nBLEU #:1|" in shown


@pytest.mark.parametrize("script", ["tradeoff"], indirect=True)
def test_only_translating_is_timed_and_not_its_first_time(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, given = [0.0], []

    class Paced:
        languages = "xx", "yy"

        def translate(self, sources: list[str], **options: object) -> list[SimpleNamespace]:
            clock[0] += 2 * len(sources)
            given.append(len(sources))
            return [SimpleNamespace(text=source) for source in sources]

        @property
        def setup(self) -> SimpleNamespace:
            def targets(texts: list[str]) -> list[list[int]]:
                clock[0] += 1000
                return [[5, 7, 3]] * len(texts)

            return SimpleNamespace(targets=targets)

    (tmp_path / "both").write_text("one two\n" * 67)
    monkeypatch.setattr(script, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(script, "of_run", lambda *about: [script.Point("a", "2+1", "float32", 1, Paced())])
    (point,) = script.measure([tmp_path], tmp_path / "both", tmp_path / "both", [1], 2, None)
    assert given == [64, 67, 67]
    assert point.tokens_per_second == [1.5, 1.5]


@pytest.mark.parametrize("script", ["invariance"], indirect=True)
def test_every_engine_is_asked(
    script: ModuleType,
    toy_run: Path,
    toy_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = main(script, monkeypatch, capsys, toy_run, toy_corpus / "valid.xx", "--beams", "2").splitlines()
    rows = [line.split(" | ") for line in shown if line.startswith(("| ctranslate2", "| torch"))]
    assert len(rows) == 3 * 4
    assert {row[3] for row in rows if row[0] != "| torch bfloat16"} == {"0"}


@pytest.mark.parametrize("script", ["soak"], indirect=True)
def test_time_is_cut_into_parts(script: ModuleType) -> None:
    seen = [script.Seen(float(second), 100 + second, 3 + (second == 7), 50 * second) for second in range(13)]
    rows = script.table(seen, 3, "lines/s").splitlines()[2:]
    assert rows == [
        "| 0 min | 102 MB | 104 MB | 3 | 50 |",
        "| 0 min | 106 MB | 108 MB | 3 to 4 | 50 |",
        "| 0 min | 110 MB | 112 MB | 3 | 50 |",
    ]


@pytest.mark.parametrize("script", ["soak"], indirect=True)
def test_the_last_whole_line_counts(script: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert script.tokens_in(log) == 0
    log.write_text('{"tokens": 3}\n{"tokens": 7}\n{"bleu": 1.0}\n{"tok', encoding="utf-8")
    assert script.tokens_in(log) == 7


@pytest.mark.parametrize("script", ["soak"], indirect=True)
def test_as_many_lines_are_translated_as_asked_for(
    script: ModuleType,
    toy_run: Path,
    toy_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ("--lines", "1500", "--rows", 1, "--beam", 1)
    shown = main(script, monkeypatch, capsys, "translate", toy_run, toy_corpus / "valid.xx", *given).splitlines()
    megabytes = float(shown[2].split(" | ")[1].removesuffix(" MB"))
    assert 0 < megabytes < 2000
    with pytest.raises(SystemExit):
        main(script, monkeypatch, capsys, "train", "--beam", 1)


@pytest.mark.parametrize("script", ["processes"], indirect=True)
def test_a_ring_sends_almost_all_twice(script: ModuleType) -> None:
    assert script.sent(1, 1_000) == 0
    assert script.sent(2, 1_000) == 4_000
    assert script.sent(5, 1_000) == 6_400


@pytest.mark.parametrize("script", ["memory"], indirect=True)
def test_what_is_calculated_again_is_not_kept(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = main(script, monkeypatch, capsys, "--presets", "tiny", "--vocab", 211, "--length", 7).splitlines()
    cells = [cell.strip() for cell in shown[-1].strip("|").split("|")]
    assert cells[0] == "`tiny`"
    assert int(cells[4].split()[0]) > 2 * int(cells[5].split()[0]) > 0


WAITS = """
import sys, time
try:
    print("begun", file=sys.stderr, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("script", ["equal_time"], indirect=True)
def test_a_system_is_interrupted_in_time_wherever_the_script_runs(script: ModuleType, tmp_path: Path) -> None:
    given = script.Setting(tmp_path, tmp_path, 1, 1, sys.executable)
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
    try:
        assert script.execute([sys.executable, "-c", WAITS], given, seconds=3) == "interrupted\n"
    finally:
        signal.signal(signal.SIGINT, ignored)
