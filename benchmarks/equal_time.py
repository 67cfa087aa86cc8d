"""Translation quality within the same time: Seqloom and its peers on Multi30k, English to German.

    python -m venv PEERS && PEERS/bin/pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/equal_time.py OUT --peers PEERS/bin/python [--minutes 10 20 40] [--threads 2]
                                    [--systems seqloom marian joeynmt] [--json]

One after the other, each alone on the machine, trains from raw text for the minutes and then translates
test_2016_flickr, which takes as long as it takes:

seqloom   ``seqloom train --budget``, with no setting but files and languages; beam 4
marian    Hugging Face's MarianMTModel in a careful loop, ``contestants/marian_translator.py``; beam 4
joeynmt   its own ``python -m joeynmt train`` with the recipe of its IWSLT model (``iwslt14_deen_sp.yaml``)
          in the small, as below, interrupted when the time is over; its best checkpoint by greedy validation
          BLEU; beam 5

The peers are given a SentencePiece model that was trained before their time began. Scores are sacreBLEU's,
with 95 % confidence intervals. Runs are kept in the folder OUT and not made twice.

Data: ``$SEQLOOM_DATA`` (default ../shared/data).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import sentencepiece
from contest import DATA, SCRIPTS, end_gently, machine

from seqloom.data.readers import read_lines
from seqloom.metrics.translation import score_translations

FILES = {
    f"{name}.{language}": DATA / f"multi30k/{file}.{language}.gz"
    for name, file in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr"))
    for language in ("en", "de")
}
PIECES = 8000


@dataclass(frozen=True)
class Setting:
    """What a system is given."""

    data: Path
    """``{train,valid,test}.{en,de}``, ``pieces.model`` and ``pieces.txt``, a piece a line."""
    folder: Path
    """Its own, and empty."""
    minutes: float
    threads: int
    peers: str
    """Python of the peers' environment."""


def seqloom(given: Setting) -> str:
    run, data = str(given.folder / "run"), given.data
    command = [sys.executable, "-m", "seqloom", "train", run, "--src-lang", "en", "--tgt-lang", "de"]
    for option, name in (
        ("src", "train.en"),
        ("tgt", "train.de"),
        ("valid-src", "valid.en"),
        ("valid-tgt", "valid.de"),
    ):
        command += [f"--{option}", str(data / name)]
    command += ["--budget", f"{given.minutes:g}m", "--threads", str(given.threads)]
    execute(command, given)
    return execute([sys.executable, "-m", "seqloom", "translate", run, "--beam", "4"], given, data / "test.en")


def marian(given: Setting) -> str:
    command = [given.peers, str(SCRIPTS / "marian_translator.py"), str(given.data), str(given.minutes)]
    return execute([*command, str(given.threads)], given, given.data / "test.en")


def joeynmt(given: Setting) -> str:
    config = given.folder / "config.yaml"
    recipe = joeynmt_recipe(given)
    config.write_text(json.dumps(recipe, indent=1))  # JSON is YAML
    execute([given.peers, "-m", "joeynmt", "train", str(config), "--skip-test"], given, seconds=60 * given.minutes)
    recipe["testing"]["beam_size"] = 5
    config.write_text(json.dumps(recipe, indent=1))
    return execute([given.peers, "-m", "joeynmt", "translate", str(config)], given, given.data / "test.en")


SYSTEMS: dict[str, Callable[[Setting], str]] = {"seqloom": seqloom, "marian": marian, "joeynmt": joeynmt}
"""Trains for the time, and returns the translations of the test set."""


def joeynmt_recipe(given: Setting) -> dict[str, Any]:
    """``iwslt14_deen_sp.yaml`` for a processor: 3 layers of width 256 and not 6 of 512, batches of 2,048 tokens
    and not 8,192, a warm-up and validations for the updates that there is time for, and case kept."""

    def side(language: str) -> dict[str, Any]:
        return {
            "lang": language,
            "max_length": 512,
            "lowercase": False,
            "normalize": False,
            "level": "bpe",
            "voc_limit": PIECES,
            "voc_min_freq": 1,
            "voc_file": str(given.data / "pieces.txt"),
            "tokenizer_type": "sentencepiece",
            "tokenizer_cfg": {"model_file": str(given.data / "pieces.model"), "model_type": "unigram"},
        }

    stack = {
        "type": "transformer",
        "num_layers": 3,
        "num_heads": 8,
        "embeddings": {"embedding_dim": 256, "scale": True, "dropout": 0.0},
        "hidden_size": 256,
        "ff_size": 1024,
        "dropout": 0.1,
        "layer_norm": "post",
    }
    rhythm = max(1, round(given.minutes))
    return {
        "name": "multi30k_ende_sp",
        "joeynmt_version": "2.3.0",
        "model_dir": str(given.folder / "model"),
        "use_cuda": False,
        "random_seed": 42,
        "data": {
            "train": str(given.data / "train"),
            "dev": str(given.data / "valid"),
            "dataset_type": "plain",
            "src": side("en"),
            "trg": side("de"),
        },
        "testing": {
            "n_best": 1,
            "beam_size": 1,  # validations by beam search would take up a third of its time
            "beam_alpha": 1.0,
            "batch_size": 1024,
            "batch_type": "token",
            "max_output_length": 100,
            "eval_metrics": ["bleu"],
            "sacrebleu_cfg": {"tokenize": "13a"},
        },
        "training": {
            "optimizer": "adam",
            "normalization": "tokens",
            "adam_betas": [0.9, 0.999],
            "scheduling": "warmupinversesquareroot",
            "learning_rate_warmup": 10 * rhythm,
            "learning_rate": 0.001,
            "learning_rate_min": 0.0,
            "weight_decay": 0.0,
            "label_smoothing": 0.1,
            "loss": "crossentropy",
            "batch_size": 2048,
            "batch_type": "token",
            "batch_multiplier": 1,
            "early_stopping_metric": "bleu",
            "epochs": 1000,
            "validation_freq": 20 * rhythm,
            "logging_freq": 5 * rhythm,
            "shuffle": True,
            "print_valid_sents": [0, 1, 2, 3],
            "keep_best_ckpts": 5,
        },
        "model": {
            "initializer": "xavier_normal",
            "bias_initializer": "zeros",
            "init_gain": 1.0,
            "embed_initializer": "xavier_normal",
            "embed_init_gain": 1.0,
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": stack,
            "decoder": stack,
        },
    }


def execute(command: Sequence[str], given: Setting, stdin: Path | None = None, seconds: float | None = None) -> str:
    """Standard output of a command; one that is still at work after ``seconds`` is interrupted.

    Raises:
        SystemExit: if it fails.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(given.threads)}
    log = given.folder / "log.txt"
    with open(stdin or os.devnull) as entered, log.open("a") as told:
        process = subprocess.Popen(
            command,
            stdin=entered,
            stdout=subprocess.PIPE,
            stderr=told,
            env=environment,
            text=True,
            preexec_fn=hear_interrupts,
        )
        try:
            said = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            said = process.communicate()[0]
        except KeyboardInterrupt:
            process.kill()
            raise
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with status {process.returncode}; see {log}")
    return said


def hear_interrupts() -> None:
    """In a child: a shell in whose background this script runs has had them ignored, and so would the child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def write_data(folder: Path) -> None:
    """The texts as plain files, and the peers' pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in FILES.items():
        (folder / name).write_text("".join(f"{line}\n" for line in read_lines(file)), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=[str(folder / "train.en"), str(folder / "train.de")],
        model_prefix=str(folder / "pieces"),
        vocab_size=PIECES,
        model_type="unigram",
        character_coverage=1.0,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(str(folder / "pieces.model"))
    learnt = [pieces.id_to_piece(number) for number in range(len(pieces)) if not pieces.is_control(number)]
    (folder / "pieces.txt").write_text("".join(f"{piece}\n" for piece in learnt), encoding="utf-8")


def result_of(system: str, given: Setting) -> dict[str, Any]:
    """Scores of a system, from its folder if they are there."""
    kept = given.folder / "result.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    if given.folder.exists():
        raise SystemExit(f"{given.folder}: was not finished; remove it to make this run again")
    given.folder.mkdir(parents=True)
    begun = time.perf_counter()
    translated = SYSTEMS[system](given)
    seconds = time.perf_counter() - begun
    (given.folder / "test.de").write_text(translated, encoding="utf-8")
    references = list(read_lines(given.data / "test.de"))
    answers = translated.splitlines()
    if len(answers) != len(references):
        raise SystemExit(f"{given.folder / 'test.de'}: {len(answers)} translations of {len(references)} sentences")
    scores = score_translations(answers, references, "de", ("bleu", "chrf"), bootstrap=1000)
    found = {name: asdict(score) for name, score in scores.items()}
    found |= {"seconds_in_all": seconds, "system": system, "minutes": given.minutes, "date": str(date.today())}
    kept.write_text(json.dumps(found, indent=1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--peers", metavar="PYTHON", default="", help="of the peers' environment")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 20, 40])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    end_gently()
    data = options.out / "data"
    if not (data / "pieces.txt").exists():
        write_data(data)
    results: dict[float, dict[str, dict[str, Any]]] = {minutes: {} for minutes in options.minutes}
    for minutes in options.minutes:
        for system in options.systems:
            folder = options.out / f"{system}-{minutes:g}m"
            given = Setting(data.resolve(), folder.resolve(), minutes, options.threads, options.peers)
            results[minutes][system] = result_of(system, given)
            print(
                f"{system}, {minutes:g} minutes: BLEU {results[minutes][system]['bleu']['value']:.1f}", file=sys.stderr
            )
    if options.json:
        print(json.dumps(results))
        return
    print(f"{date.today()}, {machine()}, threads: {options.threads}; BLEU [95 % confidence], chrF++\n")
    print("\n".join(table(results, options.systems)))


def table(results: Mapping[float, Mapping[str, Mapping[str, Any]]], systems: Sequence[str]) -> list[str]:
    """Rows of Markdown."""
    rows = [f"| minutes | {' | '.join(systems)} |", f"|---|{'---|' * len(systems)}"]
    for minutes, found in results.items():
        scores = [(found[system]["bleu"], found[system]["chrf"]) for system in systems]
        cells = [f"{b['value']:.1f} [{b['low']:.1f}, {b['high']:.1f}], {c['value']:.1f}" for b, c in scores]
        rows.append(f"| {minutes:g} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    main()
