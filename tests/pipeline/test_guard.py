"""The guard's ladder on answers that are given, and on a real model."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from seqloom.config import DecodingConfig
from seqloom.data.lengths import GENERIC, LengthRatio
from seqloom.decoding.ranking import Ranking
from seqloom.errors import ModelFolderError, UserError
from seqloom.pipeline import guard as guard_module
from seqloom.pipeline.engines import WithTorch
from seqloom.pipeline.guard import LADDER, Guard, Guarded, Searched
from seqloom.pipeline.translator import Translator, load
from seqloom.tasks.answers import Answer, translate
from seqloom.tasks.folder import read_config
from seqloom.tasks.setup import TranslatorSetup

RATIO = LengthRatio(0.8, 1.0, 1.25)


def answer(*texts: str, source: str, finished: bool = True) -> Answer:
    """One of ``texts``, best first, a word being a token."""
    lengths = [len(text.split()) for text in texts]
    scores = [-0.1 * rank for rank in range(len(texts))]
    return Answer(list(texts), scores, [finished] * len(texts), lengths, len(source.split()))


class Script(Searched):
    """A search whose answers are written down: one for the first, one for each rung."""

    def __init__(
        self, sources: Sequence[str], first: Sequence[str], rungs: Callable[[dict[str, Any]], Sequence[str]]
    ) -> None:
        self.first = [answer(text, source=source) for text, source in zip(first, sources, strict=True)]
        self.rungs = rungs
        self.tried: list[tuple[list[int], dict[str, Any]]] = []
        self.sources, self.n_best = sources, 1
        self.setup = cast(TranslatorSetup, SimpleNamespace(languages=("en", "de")))

    def search(self) -> list[Answer]:
        return self.first

    def again(self, rows: Sequence[int], settings: dict[str, Any]) -> list[Answer]:
        self.tried.append((list(rows), settings))
        return [answer(*self.rungs(settings), source=self.sources[row]) for row in rows]

    def rate(self, rows: Sequence[int], texts: Sequence[str]) -> list[float]:
        assert len(rows) == len(texts)
        return [-len(text) / 100 for text in texts]


def test_what_is_right_is_never_touched() -> None:
    script = Script(["a dog", "", "2 cats"], ["ein Hund", "", "zwei Katzen"], lambda settings: ["never asked"])
    guard = Guard(RATIO)
    assert guard.watch(script) == [Guarded(first) for first in script.first]
    assert script.tried == []
    assert guard.seconds["checking"] > 0


def test_off_does_not_look_and_flag_does_not_try() -> None:
    script = Script(["a salad"], ["Salat Salat Salat Salat"], lambda settings: ["ein Salat"])
    guard = Guard(RATIO)
    assert guard.watch(script, "off") == [Guarded(script.first[0])]
    assert guard.seconds == {"checking": 0, "retrying": 0}
    assert guard.watch(script, "flag") == [Guarded(script.first[0], ("loop",), ("loop",))]
    assert script.tried == []


def test_of_the_candidates_that_pass_the_most_probable_is_taken() -> None:
    candidates = ["Salat Salat Salat", "ein Salat mit allem", "ein Salat", ""]
    script = Script(["a fork", "a salad"], ["eine Gabel", "Salat Salat Salat Salat"], lambda settings: candidates)
    first, second = Guard(RATIO).watch(script)
    assert first == Guarded(script.first[0])
    assert second.caught == ("loop",)
    assert second.flags == ()
    assert second.answer.texts == ["ein Salat"]
    assert second.answer.scores == [-0.09]
    assert second.answer.lengths == [2]
    assert script.tried == [([1], {})]  # one rung was enough


def test_with_n_best_the_first_answers_come_after_those_that_pass() -> None:
    script = Script(
        ["a salad"], ["Salat Salat Salat"], lambda settings: ["der Salat", "ein Salat", "Salat Salat Salat"]
    )
    script.n_best = 4
    script.first = [answer("Salat Salat Salat", "der Salat", "x", source="a salad")]
    (found,) = Guard(RATIO).watch(script)
    assert found.answer.texts == ["der Salat", "ein Salat", "Salat Salat Salat", "x"]
    assert len({len(column) for column in (found.answer.texts, found.answer.scores, found.answer.finished)}) == 1


@pytest.mark.parametrize(
    ("source", "first", "needs"),
    [
        ("a salad", "Salat Salat Salat", "repetition_penalty"),
        ("a very big green salad with many red tomatoes", "Salat", "min_length_ratio"),
        ("the number 4711", "die Nummer 4117", "repetition_penalty"),
        ("the dog runs over the grass", "the dog runs over the grass", "diversity"),
    ],
)
def test_rungs_are_climbed_until_one_helps(source: str, first: str, needs: str) -> None:
    right = "ein sehr großer grüner Salat und die Nummer 4711" if len(source) > 20 else "der Salat 4711"
    script = Script([source], [first], lambda settings: [right] if needs in settings else [first])
    (found,) = Guard(RATIO).watch(script)
    assert found.caught
    assert found.flags == ()
    assert found.answer.texts == [right]
    asked = [settings for _, settings in script.tried]
    assert asked[0] == {}
    assert needs in asked[-1]
    assert all(needs not in settings for settings in asked[:-1])


def test_where_nothing_passes_the_first_answer_stays_and_is_flagged() -> None:
    script = Script(["the number 4711"], ["Salat Salat Salat"], lambda settings: ["Nummer 4117", "die Nummer", ""])
    (found,) = Guard(RATIO).watch(script)
    assert found == Guarded(script.first[0], ("loop", "numbers"), ("loop", "numbers"))
    assert len(script.tried) == sum(bool(rung.faults & {"loop", "numbers"}) for rung in LADDER) == 3
    assert Guard(RATIO).watch(script)[0].answer is script.first[0]


def test_only_what_is_left_climbs_on() -> None:
    mended = {"salads": "die Salate", "tomatoes": "Tomaten Tomaten Tomaten"}
    script = Script(["salads", "tomatoes"], ["Salat Salat Salat", "Tomate Tomate Tomate"], lambda settings: ["x"])

    def again(rows: Any, settings: Any) -> list[Answer]:
        script.tried.append((list(rows), settings))
        return [answer(mended[script.sources[row]], source=script.sources[row]) for row in rows]

    script.again = again  # type: ignore[method-assign]
    found = Guard(RATIO).watch(script)
    assert [each.flags for each in found] == [(), ("loop",)]
    assert [rows for rows, _ in script.tried] == [[0, 1], [1]]


def test_a_number_must_come_back_as_it_was() -> None:
    """Of many candidates, some would pass by a chance that one answer does not have."""
    script = Script(["417 dogs"], ["714 Hunde"], lambda settings: ["4, die 17 Hunde", "vierhundert Hunde"])
    assert Guard(RATIO).watch(script)[0].flags == ("numbers",)
    script = Script(["417 dogs"], ["714 Hunde"], lambda settings: ["4, die 17 Hunde", "417 Hunde"])
    assert Guard(RATIO).watch(script)[0].answer.texts == ["417 Hunde"]


def test_an_answer_that_was_cut_is_caught() -> None:
    script = Script(["a dog"], ["ein Hund"], lambda settings: ["ein Hund"])
    script.first = [answer("ein Hund", source="a dog", finished=False)]
    (found,) = Guard(RATIO).watch(script)
    assert (found.caught, found.flags) == (("cut",), ())


# --- a real model ---


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return load(toy_run)


@pytest.fixture(scope="module")
def sources(toy_corpus: Path) -> list[str]:
    return (toy_corpus / "valid.xx").read_text(encoding="utf-8").splitlines()


HOSTILE = [
    "",
    "?!",
    "🙂🙂",
    "8" * 40,
    "9 " * 40,
    "购物 购物",
    "word " * 60,
    "1 2 3 4",
    "<pad></s>",
    "x" * 500,
    "7 7 7 7 7 7",
]


def test_the_guard_leaves_what_it_does_not_flag(translator: Translator, sources: list[str]) -> None:
    texts = [*sources, *HOSTILE]
    off, flagged, retried = (translator.translate(texts, guard=mode) for mode in ("off", "flag", "retry"))
    assert any(result.caught for result in retried)
    for plain, marked, tried in zip(off, flagged, retried, strict=True):
        assert (plain.text, plain.alternatives) == (marked.text, marked.alternatives)
        assert marked.flags == marked.caught == tried.caught
        assert tried.retried == bool(tried.caught)
        assert not plain.flags
        assert not marked.retried
        if not tried.caught or (tried.flags and tried.segments == 1):
            assert tried.text == plain.text
        assert tried.flags == () or set(tried.flags) <= set(tried.caught)


def test_guarded_answers_do_not_depend_on_their_neighbours(translator: Translator, sources: list[str]) -> None:
    texts = [*HOSTILE, *sources[:5]]
    together = translator.translate(texts)
    alone = [translator.translate([text])[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert (one.text, one.flags, one.caught) == (other.text, other.flags, other.caught)


def test_what_was_mended_has_the_models_own_score(
    translator: Translator, sources: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {result.text for result in translator.translate(sources, guard="off")}
    monkeypatch.setattr(guard_module, "faults_of", lambda source, text, *rest: ("loop",) if text in first else ())
    for source, result in zip(sources, translator.translate(sources, n_best=2), strict=True):
        assert result.text not in first
        assert (result.flags, result.caught, result.retried) == ((), ("loop",), True)
        (scored,) = translator.score([source], [result.text])
        assert result.score == pytest.approx(scored.mean, abs=1e-4)
        assert result.alternatives[0] == (result.text, result.score)
        assert len(result.alternatives) == 2


def test_settings_that_were_asked_for_hold_in_a_retry(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spy(setup: Any, engine: Any, tokens: Any, decoding: Any, n_best: int, batch_tokens: int, prefixes: Any) -> Any:
        asked.append((setup.src_tokenizer.decode(tokens), decoding, n_best, prefixes))
        return translate(setup, engine, tokens, decoding, n_best, batch_tokens, prefixes)

    monkeypatch.setattr(guard_module, "translate", spy)
    monkeypatch.setattr(guard_module, "faults_of", lambda source, *rest: ("loop",) if "9" in source else ())
    translator.translate(["1 2", "9 9"], prefixes=["ein", "nov"], length_penalty=0.7, beam=3, max_length=17)
    (_, first, _, _), *rungs = asked
    assert first.beam == 3
    assert len(rungs) == sum("loop" in rung.faults for rung in LADDER)
    for inputs, decoding, n_best, prefixes in rungs:
        assert inputs == ["9 9"]
        assert prefixes == ["nov"]
        assert (decoding.length_penalty, decoding.max_length) == (0.7, 17)
        assert decoding.beam == n_best == 8  # twice the wider of 3 and the model's own
        assert decoding.max_length_ratio > 0
    settings = [(each.repetition_penalty, each.min_length_ratio) for _, each, _, _ in rungs]
    assert len(set(settings)) == len(settings)


def test_the_score_of_a_candidate_is_that_of_the_search(translator: Translator, sources: list[str]) -> None:
    settings = translator.setup.decoding.model_copy(update={"length_penalty": 0.6, "length_formula": "gnmt"})
    tokens = translator.setup.src_tokenizer.encode(sources[:3])
    searched = Searched(translator.setup, translator.engine, sources[:3], tokens, None, settings, 2, 4096)
    answers = searched.search()
    rated = searched.rate([2, 0], [answers[2].texts[1], answers[0].texts[0]])
    assert rated == pytest.approx([answers[2].scores[1], answers[0].scores[0]], abs=1e-4)
    assert rated != pytest.approx([Ranking().score(score, 5) for score in rated])


def test_faults_of_a_long_text_are_those_of_its_parts(translator: Translator, sources: list[str]) -> None:
    good, bad = f"{sources[0]}.", "9 9 8 8 9 9 8 8."
    (whole,) = translator.translate([" ".join([good, bad, good] * 3)], guard="flag")
    parts = translator.translate([good, bad], guard="flag")
    assert whole.segments > 3
    assert set(whole.flags) == {name for part in parts for name in part.flags}


def test_lengths_are_judged_by_what_the_model_was_trained_on(
    translator: Translator, toy_run: Path, tmp_path: Path
) -> None:
    assert translator.guard.ratio == LengthRatio(*read_config(toy_run)["length_ratio"]) != GENERIC
    config = tmp_path / "model" / "config.json"
    shutil.copytree(toy_run / "model", config.parent)
    stored = json.loads(config.read_text(encoding="utf-8"))
    del stored["length_ratio"]
    config.write_text(json.dumps(stored), encoding="utf-8")
    assert load(tmp_path / "model").guard.ratio == GENERIC  # a model of an older program
    config.write_text(json.dumps({**stored, "length_ratio": [2, 1, 3]}), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"config\.json: .*length_ratio.* is missing or wrong"):
        load(tmp_path / "model")


def test_a_way_to_guard_that_does_not_exist(translator: Translator) -> None:
    with pytest.raises(UserError, match=r"^guard='on' is no way to guard, expected off, flag or retry$"):
        translator.translate(["1 2"], guard="on")  # type: ignore[arg-type]


def test_what_was_asked_for_stands_where_it_is_the_stronger(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[DecodingConfig] = []

    def record(setup: Any, engine: Any, tokens: Any, decoding: DecodingConfig, *rest: Any) -> list[Answer]:
        searches.append(decoding)
        return [answer("x", source="y")]

    monkeypatch.setattr("seqloom.pipeline.guard.translate", record)
    translator = load(toy_run, engine="torch")
    decoding = DecodingConfig(beam=3, repetition_penalty=1.3)
    searched = Searched(translator.setup, translator.engine, ["y"], [[7]], None, decoding, 1, 4096)
    for asked in (1.2, 1.5):
        searched.again([0], {"repetition_penalty": asked})
    assert [each.repetition_penalty for each in searches] == [1.3, 1.5]
    assert {each.beam for each in searches} == {2 * max(3, translator.setup.decoding.beam)}


def test_what_is_said_quietly_is_said_again_aloud() -> None:
    said: list[str] = []
    engine = WithTorch(SimpleNamespace(), object, said.append)  # type: ignore[arg-type]
    engine.quiet()._for("diverse search")
    assert said == []
    engine._for("diverse search")
    engine._for("diverse search")
    assert len(said) == 1
