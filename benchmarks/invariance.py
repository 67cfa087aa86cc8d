"""Does a sentence's translation depend on its neighbours? Counts the sentences where it does.

    python benchmarks/invariance.py RUN FILE [--beam 4] [--engine auto]

Translates FILE in its own order, shuffled, in small batches and one sentence at a time, and counts
the translations that differ from the first and the largest difference of a score.
"""

import argparse
import random
from pathlib import Path

import seqloom
from seqloom.data.readers import read_lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args()
    translator = seqloom.load(options.run, engine=options.engine)
    texts = list(read_lines(options.file))
    expected = translator.translate(texts, beam=options.beam)
    order = random.Random(1).sample(range(len(texts)), len(texts))
    shuffled = translator.translate([texts[i] for i in order], beam=options.beam)
    ways = {
        "shuffled": [result for _, result in sorted(zip(order, shuffled, strict=True), key=lambda pair: pair[0])],
        "batches of 397 tokens": translator.translate(texts, beam=options.beam, batch_tokens=397),
        "7 at a time": [
            result
            for start in range(0, len(texts), 7)
            for result in translator.translate(texts[start : start + 7], beam=options.beam)
        ],
        "one at a time": [translator.translate([text], beam=options.beam)[0] for text in texts],
    }
    for way, results in ways.items():
        changed = sum(a.text != b.text for a, b in zip(expected, results, strict=True))
        apart = max(abs(a.score - b.score) for a, b in zip(expected, results, strict=True))
        print(f"{way:<24}{changed} of {len(texts):,} translations differ, scores by {apart:.1e} at most")


if __name__ == "__main__":
    main()
