"""Does a sentence's translation depend on its neighbours? Counts the sentences where it does.

    python benchmarks/invariance.py RUN FILE [--beams 1,4]

Translates FILE by every engine and type that the model is exported in, and by torch with the weights in bfloat16 as
well, which no other command does; in its own order, shuffled, in random subsets, in small batches and one sentence at
a time. Counts the translations that differ from the first, and gives the largest difference of a score.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from seqloom.data.readers import read_lines
from seqloom.pipeline.engines import Running, open_each
from seqloom.pipeline.translator import Translation, Translator
from seqloom.tasks.engine import Engine
from seqloom.tasks.folder import read_model
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import TorchEngine

SUBSETS = 7


def engines(run: Path) -> Iterator[tuple[str, TranslatorSetup, Engine]]:
    """All that a model can be run with here."""
    for name, setup, engine in open_each(run, Running(say=lambda text: print(text, file=sys.stderr))):
        yield name, setup, engine
        if isinstance(engine, TorchEngine):
            engine.model.bfloat16()
            yield "torch bfloat16", setup, engine


def ways(translator: Translator, texts: list[str], beam: int) -> Iterator[tuple[str, list[Translation]]]:
    """The translations of ``texts`` in their order, made in several."""
    draw = random.Random(1)
    order = draw.sample(range(len(texts)), len(texts))
    shuffled = translator.translate([texts[i] for i in order], beam=beam)
    yield "shuffled", [result for _, result in sorted(zip(order, shuffled, strict=True), key=lambda pair: pair[0])]
    group = [draw.randrange(SUBSETS) for _ in texts]
    parts = [
        iter(translator.translate([text for text, of in zip(texts, group, strict=True) if of == subset], beam=beam))
        for subset in range(SUBSETS)
    ]
    yield "in random subsets", [next(parts[of]) for of in group]
    yield "in small batches", translator.translate(texts, beam=beam, batch_tokens=397)
    yield "one at a time", [translator.translate([text], beam=beam)[0] for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--beams", default="1,4")
    options = parser.parse_args()
    texts = list(read_lines(options.file))
    folder = read_model(options.run, weights=False)
    print(f"{len(texts):,} sentences\n\n| engine | beam | | differ | scores, at most |\n|---|---|---|---|---|")
    for name, setup, engine in engines(options.run):
        translator = Translator(folder, setup, engine)
        for beam in map(int, options.beams.split(",")):
            expected = translator.translate(texts, beam=beam)
            for way, results in ways(translator, texts, beam):
                changed = sum(a.text != b.text for a, b in zip(expected, results, strict=True))
                apart = max(abs(a.score - b.score) for a, b in zip(expected, results, strict=True))
                print(f"| {name} | {beam} | {way} | {changed:,} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
