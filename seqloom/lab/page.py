"""A page of the lab: a question, what was measured as table and plot, and a verdict in two languages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from seqloom.errors import UserError
from seqloom.files import write_text
from seqloom.machine import cores, processor


class Text(NamedTuple):
    """The same in both languages."""

    en: str
    zh: str


@dataclass(frozen=True)
class Table:
    """What was measured; the first column names the rows."""

    head: tuple[str, ...]
    rows: Sequence[Sequence[str | float]]

    def lines(self) -> list[str]:
        """As Markdown."""
        cells = [[each if isinstance(each, str) else number(each) for each in row] for row in self.rows]
        return ["| " + " | ".join(row) + " |" for row in (self.head, ["---"] * len(self.head), *cells)]


@dataclass(frozen=True)
class Plot:
    """Lines over one axis."""

    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    """By name, places and values."""
    log_x: bool = False
    log_y: bool = False
    share: bool = False
    """Values between nothing and all: the axis shows both ends, so that small differences look small."""
    intervals: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    """By the name of a line, the lower and the upper ends of its values."""


@dataclass(frozen=True)
class Page:
    """What an experiment found."""

    name: str
    title: Text
    question: Text
    done: Text
    """What was measured, and how; whoever doubts it could do it again by that."""
    verdict: Text
    """Two sentences, of what was measured and not of what was to be expected."""
    tables: list[Table]
    plots: list[Plot] = field(default_factory=list)
    sources: tuple[str, ...] = ()
    """The papers whose claims these are."""


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or 0.001 <= abs(value) < 100_000:
        return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
    return f"{value:.1e}"


def write_page(page: Page, folder: Path, command: str, seconds: float) -> Path:
    """Writes ``NAME.md`` and its picture into ``folder``; what an earlier call has written there is replaced.

    Args:
        page: what was found.
        folder: is made if it is not there.
        command: what makes this page.
        seconds: that it took.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = []
    if page.plots:
        draw(page.plots, folder / f"{page.name}.svg")
        picture = [f"![{page.title.en}]({page.name}.svg)", ""]
    tables = [line for table in page.tables for line in (*table.lines(), "")]
    made = f"`{command}`, {date.today()}, {cores()} x {processor()}, {seconds:,.0f} s"
    lines = [
        f"# {page.title.en}",
        "",
        f"**{page.title.zh}**",
        "",
        page.question.en,
        "",
        page.question.zh,
        "",
        f"> **Verdict.** {page.verdict.en}",
        ">",
        f"> **结论。** {page.verdict.zh}",
        "",
        *picture,
        *tables,
        "## What was done",
        "",
        page.done.en,
        "",
        page.done.zh,
        "",
        *(f"- {source}" for source in page.sources),
        "",
        made,
    ]
    path = folder / f"{page.name}.md"
    write_text(path, "\n".join(lines) + "\n")
    return path


def draw(plots: Sequence[Plot], path: Path) -> None:
    """The plots side by side, as SVG.

    Raises:
        UserError: if matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise UserError("plots need matplotlib; pip install 'seqloom[look]'") from None
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "seqloom"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(plots), figsize=(5 * len(plots), 3.6), layout="constrained", squeeze=False)
    for plot, each in zip(plots, axes[0], strict=True):
        _draw(plot, each)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _draw(plot: Plot, axes: Any) -> None:
    for name, (places, values) in plot.lines.items():
        (line,) = axes.plot(places, values, marker="o", markersize=4, label=name)
        if name in plot.intervals:
            axes.fill_between(places, *plot.intervals[name], color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    if plot.log_x:
        axes.set_xscale("log", base=2)
        places = sorted({place for line, _ in plot.lines.values() for place in line})
        axes.set_xticks(places, [f"{place:,g}" for place in places])
        axes.set_xticks([], minor=True)
    if plot.log_y:
        axes.set_yscale("log")
    if plot.share:
        axes.set_ylim(-0.04, 1.04)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
