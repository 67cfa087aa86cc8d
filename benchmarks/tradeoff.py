"""Quality against speed: several models, in every type that is proven for them, at several beams, as table and plot.

    python benchmarks/tradeoff.py RUN [RUN ...] --src FILE --ref FILE [--beams 1 2 4] [--rounds 3] [--threads 2]
                                  [--plot FILE.svg] [--json]

Each RUN translates the sentences by CTranslate2 in float32 and in all that ``seqloom export --quantize`` and
``--shortlist`` have accepted for it, from text to text and without the guard, with the workers and threads that the
probe has found. All translate a few sentences first, which does not count, and then take turns; a figure is the
median over the rounds, and ``times`` is to the first RUN in float32 with the last of the beams. The plot needs
matplotlib: pip install 'seqloom[look]'
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from contest import machine, markdown, spread

from seqloom.data.readers import read_pairs
from seqloom.errors import SeqloomError
from seqloom.export.ctranslate2_engine import CTranslate2Engine
from seqloom.export.store import VARIANTS, find_export
from seqloom.metrics.translation import score_translations
from seqloom.pipeline.engines import read_translator
from seqloom.pipeline.probe import choose
from seqloom.pipeline.translator import Translator
from seqloom.tasks.setup import TranslatorSetup

WARM_UP = 64
"""Sentences that are translated before the rounds, which does not count."""


@dataclass
class Point:
    """One model in one type at one beam."""

    name: str
    layers: str
    variant: str
    beam: int
    translator: Translator = field(repr=False)
    tokens_per_second: list[float] = field(default_factory=list)
    """Of the target, ends counted, in each round."""
    bleu: float = 0.0
    chrf: float = 0.0
    signature: str = ""

    def translate(self, sources: Sequence[str]) -> list[str]:
        return [each.text for each in self.translator.translate(sources, guard="off", beam=self.beam)]

    def take_turn(self, sources: Sequence[str]) -> list[str]:
        """The same, and writes down how fast that was."""
        begun = time.perf_counter()
        texts = self.translate(sources)
        seconds = time.perf_counter() - begun
        self.tokens_per_second.append(sum(map(len, self.translator.setup.targets(texts))) / seconds)
        return texts

    @property
    def speed(self) -> float:
        return statistics.median(self.tokens_per_second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--src", type=Path, required=True)
    parser.add_argument("--ref", type=Path, required=True)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        points = measure(options.runs, options.src, options.ref, options.beams, options.rounds, options.threads)
    except SeqloomError as error:
        sys.exit(f"error: {error}")
    first = next(each for each in points if each.variant == "float32" and each.beam == options.beams[-1])
    if options.plot:
        draw(points, first, options.plot)
    if options.json:
        print(json.dumps([_plain(each) | {"times": each.speed / first.speed} for each in points]))
    else:
        print(f"{date.today()}, {machine()}, {options.src.name}")
        print("\n".join(table(points, first)))


def measure(
    runs: Sequence[Path], src: Path, ref: Path, beams: Sequence[int], rounds: int, threads: int | None
) -> list[Point]:
    """All points, measured in turns."""
    pairs = list(read_pairs(src, ref))
    sources, references = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    points = [point for run in runs for point in of_run(run, beams, threads)]
    for point in points:
        point.translate(sources[:WARM_UP])
    for turn in range(rounds):
        for point in points:
            texts = point.take_turn(sources)
            if turn == 0:
                scores = score_translations(texts, references, point.translator.languages[1], ("bleu", "chrf"))
                point.bleu, point.chrf = scores["bleu"].value, scores["chrf"].value
                point.signature = scores["bleu"].signature
    return points


def of_run(run: Path, beams: Sequence[int], threads: int | None) -> Iterator[Point]:
    """A point for each type and beam."""
    folder = read_translator(run, weights=False)
    setup = TranslatorSetup.from_folder(folder)
    exports = [found for variant in VARIANTS if (found := find_export(folder, variant)[0]) and found.proven]
    if not exports or exports[0].variant != "float32":
        sys.exit(f"error: {run} is not exported; seqloom export {run} does that")
    layers = f"{setup.model.num_encoder_layers}+{setup.model.num_decoder_layers}"
    for export in exports:
        engine = CTranslate2Engine(export, setup, choose(exports[:1], setup, threads).shape, scores=False)
        for beam in beams:
            yield Point(run.name, layers, export.variant, beam, Translator(folder, setup, engine))


def table(points: Sequence[Point], first: Point) -> Iterator[str]:
    """As Markdown, the fastest last."""
    rows = [["model", "layers", "type", "beam", "BLEU", "chrF++", "tokens/s", "times"]]
    rows += [
        [
            *(p.name, p.layers, p.variant, str(p.beam), f"{p.bleu:.2f}", f"{p.chrf:.2f}"),
            *(spread(p.tokens_per_second), f"{p.speed / first.speed:.2f}"),
        ]
        for p in sorted(points, key=lambda each: each.speed)
    ]
    yield from markdown(rows)
    yield f"\nBLEU {first.signature}"


def draw(points: Sequence[Point], first: Point, path: Path) -> None:
    """Speed to the right, BLEU up; one colour a model, one mark a type."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "seqloom"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    names = list(dict.fromkeys(each.name for each in points))
    marks = dict(zip(dict.fromkeys(each.variant for each in points), "osD^vP", strict=False))
    for name in names:
        for variant, mark in marks.items():
            line = [each for each in points if (each.name, each.variant) == (name, variant)]
            if not line:
                continue
            label = f"{line[0].layers} layers, {variant}"
            xs, ys = [each.speed / first.speed for each in line], [each.bleu for each in line]
            axes.plot(xs, ys, marker=mark, color=f"C{names.index(name)}", alpha=0.8, label=label)
            for each, x in zip(line, xs, strict=True):
                axes.annotate(f"{each.beam}", (x, each.bleu), textcoords="offset points", xytext=(5, 4), fontsize=7)
    axes.axvline(2.5, color="grey", linewidth=0.8, linestyle=":")
    axes.axhline(first.bleu - 0.3, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"speed, times that of {first.layers} layers in float32 with beam {first.beam}")
    axes.set_ylabel("BLEU")
    axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def _plain(point: Point) -> dict[str, object]:
    about = {name: value for name, value in vars(point).items() if name != "translator"}
    return about | {"speed": point.speed}


if __name__ == "__main__":
    main()
