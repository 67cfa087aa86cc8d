"""Every kind of classifier on three public sets: accuracy and F1 on test texts that chose nothing.

    python benchmarks/classification.py OUT [--sets mr trec chnsenticorp] [--kinds bag convolutional recurrent]
                                        [--seeds 1] [--threads 1] [--test]

The settings below were chosen by accuracy on the validation texts, with seed 1. The test texts are looked at with
--test alone, once settings are final. Runs are kept in the folder OUT, and not made twice. It prints the table of
docs/results.md.

Data: cls_en_mr, cls_en_trec and cls_zh_chnsenticorp from ``$SEQLOOM_DATA`` (default ../shared/data).
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from contest import DATA
from rich.console import Console

from seqloom.pipeline.predictor import open_predictor
from seqloom.training.log import LineDisplay
from seqloom.training.session import train_session

SETS = {"mr": "cls_en_mr", "trec": "cls_en_trec", "chnsenticorp": "cls_zh_chnsenticorp"}

SMALL: dict[str, Any] = {"model.d_model": 64, "model.hidden_size": 64, "model.word_dropout": 0.2}

COUNTED: dict[str, Any] = {
    "model.bag_start": "naive_bayes",
    "model.buckets": 1 << 20,
    "model.bag_dropout": 0.1,
    "model.word_dropout": 0.2,
    "training.ema": 0.99,
}

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "mr": {
        "bag": {
            **COUNTED,
            "data.tokenizer": "bpe",
            "data.vocab_size": 8000,
            "training.weight_decay": 0.3,
            "training.steps": 600,
        },
        "convolutional": {
            **COUNTED,
            "model.d_model": 64,
            "model.filters": 50,
            "model.wide": "apart",
            "training.steps": 800,
        },
        "recurrent": {
            **SMALL,
            **COUNTED,
            "model.wide": "apart",
            "training.learning_rate": 3e-3,
            "training.weight_decay": 0.3,
            "training.steps": 800,
        },
    },
    "trec": {
        "bag": {"training.steps": 1000},
        "convolutional": {
            "data.lowercase": True,
            "model.d_model": 100,
            "model.widths": [2, 3, 4],
            "model.word_dropout": 0.1,
            "training.weight_decay": 0.3,
            "training.ema": 0.99,
            "training.steps": 800,
        },
        "recurrent": {
            **SMALL,
            "model.wide": "together",
            "model.bag_dropout": 0.5,
            "model.word_dropout": 0.1,
            "training.weight_decay": 0.1,
            "training.ema": 0.99,
            "training.steps": 700,
        },
    },
    "chnsenticorp": {
        "bag": {**COUNTED, "data.batch_tokens": 4096, "training.weight_decay": 0.1, "training.steps": 400},
        "convolutional": {
            **COUNTED,
            "data.tokenizer": "characters",
            "data.batch_tokens": 4096,
            "model.d_model": 64,
            "model.widths": [2, 3, 4],
            "model.wide": "together",
            "training.learning_rate": 3e-3,
            "training.weight_decay": 0.1,
            "training.steps": 400,
        },
        "recurrent": {
            **SMALL,
            **COUNTED,
            "data.batch_tokens": 4096,
            "model.wide": "together",
            "training.weight_decay": 0.1,
            "training.steps": 400,
        },
    },
}


def flags(name: str, kind: str, seed: int) -> dict[str, Any]:
    """The settings of one training."""
    return {
        "data.data": str(DATA / SETS[name] / "train.tsv.gz"),
        "data.valid_data": str(DATA / SETS[name] / "valid.tsv.gz"),
        "data.label_until": ":" if name == "trec" else "",
        "model.kind": kind,
        "training.seed": seed,
        "training.workers": 1,
        **SETTINGS[name][kind],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--kinds", nargs="+", choices=SETTINGS["mr"], default=list(SETTINGS["mr"]))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    head = "set", "kind", "seed", "validation accuracy", "test accuracy", "macro F1", "seconds"
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name in options.sets:
        for kind in options.kinds:
            for seed in options.seeds:
                print(row(options.out / f"{name}-{kind}-{seed}", name, kind, seed, options.test), flush=True)


def row(folder: Path, name: str, kind: str, seed: int, test: bool) -> str:
    begun = time.perf_counter()
    display = LineDisplay(Console(quiet=True))
    summary = train_session(folder, "classify_text", flags=flags(name, kind, seed), display=display)
    seconds = time.perf_counter() - begun
    valid = summary["scores"]["valid"]["accuracy"]
    found = "-", "-"
    if test:
        report = open_predictor(folder).test([DATA / SETS[name] / "test.tsv.gz"])
        low, high = report.confidence["accuracy"]
        found = f"{report.accuracy:.1f} [{low:.1f}, {high:.1f}]", f"{report.f1:.1f}"
    return f"| {name} | `{kind}` | {seed} | {valid:.1f} | {' | '.join(found)} | {seconds:.0f} |"


if __name__ == "__main__":
    main()
