"""What every training begins with."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.config import DataConfig
from seqloom.data.checks.quick import STRETCH, refuse_unfit, sample
from seqloom.data.prepare import prepare_pairs
from seqloom.data.readers import Group
from seqloom.errors import DataError
from tests.data.checks.corpora import Pair, sentences, write


def refuse(folder: Path, pairs: list[Pair], languages: tuple[str, str] = ("de", "en")) -> list[str]:
    said: list[str] = []
    refuse_unfit([Group(write(folder, pairs))], [languages], said.append)
    return said


def test_a_clean_corpus_is_let_through_in_silence(tmp_path):
    assert refuse(tmp_path, sentences(900)) == []


def test_a_few_faults_are_no_reason_to_refuse(tmp_path):
    pairs = sentences(900)
    pairs[:300] = [pair[::-1] for pair in pairs[:300]]
    assert refuse(tmp_path, pairs) == []


def test_sides_out_of_step_are_refused_with_the_line(tmp_path):
    pairs = sentences(2000)
    shifted = [(src, tgt) for (src, _), (_, tgt) in zip(pairs[:-1], [*pairs[:1200], *pairs[1201:]], strict=True)]
    with pytest.raises(DataError) as refused:
        refuse(tmp_path, shifted)
    said = str(refused.value)
    line = int(said.removeprefix(f"{tmp_path}/train.en:").partition(":")[0])
    assert abs(line - 1201) <= 20
    assert ": from here on the target lacks 1 line, so source and target are out of step; find the line with" in said
    assert said.endswith("or to train on it all the same, set data.check to false")


def test_a_drift_between_what_is_looked_at_is_placed(tmp_path, monkeypatch):
    monkeypatch.setattr("seqloom.data.checks.quick.sample", lambda group: sample(group, 4 * STRETCH))
    pairs = sentences(16_000)
    shifted = [(src, tgt) for (src, _), (_, tgt) in zip(pairs[:-1], [*pairs[:6500], *pairs[6501:]], strict=True)]
    with pytest.raises(
        DataError, match=r"train\.en:80\d\d: from at most 3,000 lines before here on the target lacks 1 l"
    ):
        refuse(tmp_path, shifted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pair: (pair[0], pair[0]), "100% of the pairs have this: the target is the source itself; look at them"),
        (lambda pair: (f"ü{pair[0]}".encode().decode("latin-1"), pair[1]), "100% of the pairs have this: text decoded"),
        (lambda pair: (f"\ufffd{pair[0]}", pair[1]), "100% of the pairs have this: U+FFFD or question marks"),
        (lambda pair: pair[::-1], "the source is in en and the target in de, the other way round than said; exchange"),
    ],
)
def test_what_is_wrong_with_most_pairs_is_refused(tmp_path, change, message):
    with pytest.raises(DataError) as refused:
        refuse(tmp_path, [change(pair) for pair in sentences(300)])
    assert str(refused.value).startswith(f"{tmp_path}/train.de and {tmp_path}/train.en: {message}")


def test_unrelated_sides_are_told_but_not_refused(tmp_path):
    src, tgt = sentences(3000), sentences(3000, seed=2)
    said = refuse(tmp_path, [(one, other) for (one, _), (_, other) in zip(src, tgt, strict=True)])
    assert len(said) == 1
    assert "the sides seem to be no translations of one another" in said[0]


@given(st.integers(0, 300), st.integers(1, 20))
def test_stretches_are_from_all_over(tmp_path_factory, size, most):
    folder = tmp_path_factory.mktemp("sample")
    group = Group(write(folder, [(f"{n}", f"{n}") for n in range(size)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqloom.data.checks.quick.STRETCH", 5)
        stretches = sample(group, 5 * most)
    rows = [start + n for start, stretch in stretches for n in range(len(stretch))]
    assert [int(example.src) for _, stretch in stretches for example in stretch] == rows
    assert len(stretches) <= most
    if size <= 5 * most:
        assert rows == list(range(size))
    elif most > 1:
        assert size - rows[-1] <= 5 * -(-2 * size // (5 * most)) + 5


def test_a_training_refuses_unless_told_otherwise(tmp_path):
    pairs = [(src, src) for src, _ in sentences(300)]
    src, tgt = map(str, write(tmp_path, pairs))
    settings = {"src": [src], "tgt": [tgt], "src_lang": "de", "tgt_lang": "en", "vocab_size": 307}
    with pytest.raises(DataError, match="the target is the source itself"):
        prepare_pairs(DataConfig(**settings), tmp_path / "data", lambda text: None)
    assert not (tmp_path / "data").exists()
    said: list[str] = []
    prepared = prepare_pairs(DataConfig(**settings, check=False), tmp_path / "data", said.append)
    assert len(prepared.train) + len(prepared.valid) == 300
    again = prepare_pairs(DataConfig(**settings), tmp_path / "data", said.append)
    assert again.key == prepared.key  # what is prepared does not depend on it, and is not looked over again
