"""The contest of benchmarks/train.py, on a toy corpus; the peers have environments of their own and stay away."""

import dataclasses
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from seqloom.models.kinds import build
from seqloom.training.products import flops, recorded

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZES = {"d_model": 22, "d_ff": 34, "num_heads": 2, "num_layers": 2}


@pytest.fixture
def module(monkeypatch):
    """Modules of benchmarks/ and of benchmarks/contestants/ by their names, as the scripts see one another."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "contestants")
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def terms(module, tmp_path):
    """Terms with one batch of 5 pairs without padding, 7 and 11 tokens, and one with."""
    generator = torch.Generator().manual_seed(1)
    src, targets = (torch.randint(4, 37, (5, length), generator=generator) for length in (7, 11))
    src[:, -1] = targets[:, -1] = 3
    padded = targets.clone()
    padded[0, -3:] = torch.tensor([3, 0, 0])
    first, second = (
        {"src0": src.numpy(), "targets0": targets.numpy()},
        {"src1": src.numpy(), "targets1": padded.numpy()},
    )
    np.savez(tmp_path / "batches.npz", allow_pickle=False, **first, **second)
    special = {"pad": 0, "unk": 1, "bos": 2, "eos": 3}
    return module("stage").Terms(
        str(tmp_path / "batches.npz"), vocab_size=37, **special, **SIZES, threads=1, precision="float32"
    )


def test_batches_are_read_as_the_decoder_needs_them(module, terms):
    whole, padded = module("stage").read_batches(terms)
    assert (whole.num_sources, whole.num_targets) == (35, 55)
    assert (padded.num_sources, padded.num_targets) == (35, 53)
    assert padded.tgt[0].tolist() == [2, *padded.targets[0, :8].tolist(), 0, 0]
    assert padded.tgt[1].tolist() == [2, *padded.targets[1, :10].tolist()]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch's word on its own pre-norm layers
def test_flops_are_those_that_torch_counts(module, terms):
    stage = module("stage")
    batch, _ = stage.read_batches(terms)
    for script in ("plain", "products"):
        contestant = module(script).prepare(terms)
        with FlopCounterMode(display=False) as counter:
            contestant.update(batch)
        assert counter.get_total_flops() == stage.flops(terms, batch)


def test_flops_of_a_recurrent_model_are_those_that_ours_makes(module, terms):
    """But for first states, which want no gradient of their own."""
    stage = module("stage")
    recurrent = dataclasses.replace(terms, kind="recurrent", d_model=128, dropout=0.0)
    batch, _ = stage.read_batches(recurrent)
    model = build(module("ours").recurrent(recurrent), recurrent.vocab_size, recurrent.vocab_size)
    real = torch.arange(batch.num_targets)
    made = recorded(lambda: model.loss(batch.src, batch.tgt, batch.targets, None, real).backward())
    assert flops(made) == pytest.approx(stage.flops(recurrent, batch), rel=0.03)


def test_the_bound_is_of_real_tokens(module, terms):
    stage = module("stage")
    whole, padded = stage.read_batches(terms)
    width, inner, layers = terms.d_model, terms.d_ff, terms.num_layers
    for_a_target = layers * (6 * width**2 + 2 * width * inner) + width * terms.vocab_size
    assert stage.flops(terms, whole) - stage.flops(terms, padded) == 2 * 6 * for_a_target


def test_seqloom_and_the_plain_loop_train_in_turns(module, toy_corpus):
    contest = module("contest")
    data = toy_corpus / "train.xx", toy_corpus / "train.yy"
    with contest.Contest({**SIZES, "vocab_size": 400}, threads=1, rounds=2, steps=1, data=data) as held:
        players = {}
        for name in ("ours", "plain"):
            players[name] = contest.Player(contest.SCRIPTS / f"{name}.py", sys.executable, held.terms("float32"))
        missed: dict[str, str] = {}
        rounds = list(held.turns(players, missed))
        for player in players.values():
            player.close()
    assert not missed
    assert players["ours"].about["parameters"] == pytest.approx(players["plain"].about["parameters"], rel=0.05)
    for turns in rounds:
        assert turns["ours"]["tokens"] == turns["plain"]["tokens"] > 0
        assert turns["ours"]["loss"] == pytest.approx(turns["plain"]["loss"], rel=0.2)
        assert all(turn["seconds"] > 0 and turn["peak_memory"] > 2**20 for turn in turns.values())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise SystemExit(7)", "ended with status 7"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL, perhaps for want of memory"),
    ],
)
def test_why_one_is_missed(module, terms, tmp_path, text, reason):
    contest = module("contest")
    script = tmp_path / "script.py"
    script.write_text(text)
    with pytest.raises(contest.MissedError, match=f"^{reason}$"):
        contest.Player(script, sys.executable, terms)
    with pytest.raises(contest.MissedError, match=r"nobody: No such file or directory$"):
        contest.Player(script, tmp_path / "nobody", terms)


def test_one_that_gives_up_does_not_stop_the_others(module, terms, tmp_path):
    contest = module("contest")
    ready = "import json, sys\nprint('a toolkit greets')\nprint(json.dumps({}), flush=True)\n"
    answer = "for line in sys.stdin:\n    print(json.dumps({'batches': json.loads(line)['batches']}), flush=True)\n"
    scripts = {"stays": ready + answer, "leaves": ready + "sys.stdin.readline()\nsys.exit('had enough')\n"}
    players = {}
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        players[name] = contest.Player(tmp_path / name, sys.executable, terms)
    held = contest.Contest.__new__(contest.Contest)
    missed: dict[str, str] = {}
    held.rounds, held.steps = 2, 3
    assert list(held.turns(players, missed)) == [{"stays": {"batches": [1, 2, 3]}}, {"stays": {"batches": [4, 5, 6]}}]
    assert missed == {"leaves": "had enough"}
    players["stays"].close()


def test_figures_are_taken_within_each_round(module):
    train = module("train")

    def turns(*seconds):
        same = {"tokens": 60, "flops": 1e9, "peak_memory": 2**20}
        return [{"seconds": s, "waited": max(0, s - 3), "loss": 5 / s, **same} for s in seconds]

    told = {"remark": "as it is", "torch": "2.6", "parameters": 3}
    taken = {"seqloom, bfloat16": turns(1, 2), "marian, bfloat16": turns(3, 4), "products, bfloat16": turns(0.5, 1.5)}
    found = {name: train.figures(name, taken) | told for name in taken}
    assert found["marian, bfloat16"]["behind_ours"] == [3, 2]
    assert found["seqloom, bfloat16"]["of_the_bound"] == [0.5, 0.75]
    assert "behind_ours" not in found["seqloom, bfloat16"] | found["products, bfloat16"]
    rows = [re.split(r" *\| *", row)[1:-1] for row in train.table(found)]
    assert rows[3][:5] == ["marian, bfloat16", "18 (15 to 20)", "2.50 (2.00 to 3.00)", "27%", "1 MiB"]
    assert rows[4][1] == "80 (40 to 120)"
    assert {len(row) for row in rows} == {7}
    assert list(train.remarks(found, {"eole, float32": "stayed away"})) == [
        "seqloom, bfloat16: as it is; PyTorch 2.6",
        "marian, bfloat16: as it is; stood in line for a processor 14% of the time; PyTorch 2.6",
        "products, bfloat16: as it is; 1 GFLOP/s; PyTorch 2.6",
        "eole, float32: missed: stayed away",
    ]


def test_without_an_environment_the_peers_are_missed(module):
    train = module("train")
    contest = module("contest").Contest.__new__(module("contest").Contest)
    contest.rounds, contest.steps = 0, 0
    contestants, missed = train.hold(contest, [("marian", "float32")], None)
    assert not contestants
    assert missed["marian, float32"].startswith("give --peers the Python of an environment made from benchmarks/req")


def test_a_commit_that_is_not_there_is_named(module, tmp_path):
    with pytest.raises(SystemExit, match=r"^no-such-commit: "):
        module("against").unpack("no-such-commit", tmp_path)
