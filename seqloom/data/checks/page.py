"""What the doctor found as one page for a browser: nothing is loaded, nothing runs, every text is escaped."""

import html
from collections.abc import Callable, Iterator, Sequence
from datetime import date

import numpy as np

from seqloom.data.checks.characters import SCRIPTS
from seqloom.data.checks.diagnosis import Diagnosis
from seqloom.data.checks.findings import KINDS, VERDICTS, Example, Finding, Severity, visible

Said = Callable[[str], str]
"""A text as it is put into the page."""

STYLE = """
:root { --ink: #1f2328; --dim: #656d76; --line: #d8dee4; --back: #fff; --card: #f6f8fa;
  --fatal: #b42318; --problem: #b45309; --note: #4b6584; --good: #1a7f37; --src: #2f6fb5; --tgt: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9aa4af; --line: #30363d; --back: #0d1117;
  --card: #161b22; --fatal: #ff7b72; --problem: #e3a04f; --note: #8fb0d3; --good: #56d364; --src: #6cb0f5;
  --tgt: #f0a06a; } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; color: var(--ink);
  background: var(--back);
  max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.5rem; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
.verdict { border-left: .4rem solid; padding: .7rem 1rem; background: var(--card); border-radius: .3rem;
  margin: 1rem 0 }
.fatal { color: var(--fatal) } .problem { color: var(--problem) } .note { color: var(--note) }
  .clean { color: var(--good) }
.verdict p { margin: .2rem 0; color: var(--ink) } .verdict strong { font-size: 1.1rem }
.wide { overflow-x: auto }
.dim { color: var(--dim); font-size: .9rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top } th { font-weight: 600; color: var(--dim);
  font-size: .85rem }
.what { overflow-wrap: anywhere } .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.pill { display: inline-block; min-width: 4.6rem; text-align: center; border: 1px solid; border-radius: 1rem;
  font-size: .78rem;
  padding: 0 .5rem; text-transform: uppercase; letter-spacing: .03em }
section.finding { border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem; margin: .8rem 0 }
section.finding h3 { margin: 0 0 .3rem; font-size: 1rem; overflow-wrap: anywhere }
.example { background: var(--card); border-radius: .3rem; padding: .5rem .7rem; margin: .5rem 0;
  overflow-wrap: anywhere }
.example .where { font-family: ui-monospace, monospace; font-size: .78rem; color: var(--dim) }
.example p { margin: .15rem 0; padding-left: .6rem; border-left: 3px solid }
  .example p.src { border-color: var(--src) }
.example p.tgt { border-color: var(--tgt) } .example p span { color: var(--ink) }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem }
figure { margin: 0; border: 1px solid var(--line); border-radius: .4rem; padding: .7rem }
figcaption { font-size: .85rem; color: var(--dim); margin-bottom: .4rem }
svg { display: block; width: 100%; height: auto } svg text { font-size: 11px; fill: var(--dim) }
figure.wide svg { min-width: 46rem }
svg .src { fill: var(--src) } svg .tgt { fill: var(--tgt) } svg .axis { stroke: var(--line) }
svg .fatal { fill: var(--fatal) } svg .problem { fill: var(--problem) } svg .note { fill: var(--note) }
""".strip()

BINS = 100
"""Parts of a corpus that the chart of places tells apart."""

LEAST_SHOWN = 0.0005
"""Share of a side's letters from which a script is drawn."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def as_page(diagnosis: Diagnosis) -> str:
    """The whole page."""

    def said(text: str) -> str:
        return html.escape(visible(text), quote=True)

    title = "Is this corpus all right?"
    names = "".join(
        f"<div>{said(' and '.join(group))}"
        + (f" <span class='dim'>({said(src or '?')}, {said(tgt or '?')})</span>" if src or tgt else "")
        + "</div>"
        for group, (src, tgt) in zip(diagnosis.names, diagnosis.languages, strict=True)
    )
    worst = "clean" if diagnosis.worst is Severity.NOTE else str(diagnosis.worst)
    count, pairs = diagnosis.flagged, diagnosis.pairs
    flagged = f"; {count:,} ({count / pairs:.2%}) have something fatal or a problem" if count else ""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        f"<h1>{title}</h1>{names}",
        f'<div class="verdict {worst}"><strong>{VERDICTS[diagnosis.worst]}</strong>',
        f"<p>{pairs:,} {'pair' if pairs == 1 else 'pairs'}{flagged}.</p>",
        f"<p class='dim'>Checked by Seqloom on {date.today().isoformat()} in {diagnosis.seconds:.1f} s.</p></div>",
        "<h2>What was found</h2>",
        *_table(diagnosis.findings, said),
        "<h2>Where it is</h2>",
        *_places(diagnosis, said),
        "<h2>What the corpus is like</h2>",
        '<div class="charts">',
        *_charts(diagnosis, said),
        "</div>",
        "<h2>Examples</h2>",
        *(part for finding in diagnosis.findings for part in _finding(finding, said)),
        "</body></html>",
    ]
    return "\n".join(parts)


def _table(findings: Sequence[Finding], said: Said) -> Iterator[str]:
    if not findings:
        yield "<p>Nothing at all.</p>"
        return
    numbers = "".join(f"<th class='number'>{name}</th>" for name in ("count", "share"))
    yield f"<div class='wide'><table><thead><tr><th>severity, kind</th><th>what</th>{numbers}</tr></thead><tbody>"
    for finding in findings:
        yield (
            f"<tr><td><span class='pill {finding.severity}'>{finding.severity}</span>"
            f"<div class='dim'>{said(finding.kind).replace('_', '_<wbr/>')}</div></td>"
            f"<td class='what'>{said(finding.message)}</td><td class='number'>{finding.count:,}</td>"
            f"<td class='number'>{finding.share:.2%}</td></tr>"
        )
    yield "</tbody></table></div>"


def _places(diagnosis: Diagnosis, said: Said) -> Iterator[str]:
    """A strip for each finding: the darker, the more of the pairs there have it."""
    strips = [(f.kind, f.severity, diagnosis.rows[f.kind]) for f in diagnosis.findings if f.kind in diagnosis.rows]
    strips = list({kind: (kind, severity, rows) for kind, severity, rows in strips}.values())
    height = 20 * (len(strips) + bool(diagnosis.misalignments)) + 24
    if not diagnosis.pairs or height == 24:
        yield "<p class='dim'>No pair is in question.</p>"
        return
    width, left = 900, 190
    step = (width - left) / BINS
    yield "<figure class='wide'>"
    yield "<figcaption>from the first pair, on the left, to the last; dark is where many are</figcaption>"
    yield f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="where the findings are">'
    y = 0
    if diagnosis.misalignments:
        yield f'<text x="0" y="{y + 14}">misalignment</text>'
        for each in diagnosis.misalignments:
            start = left + (width - left) * min(1.0, (each.start + each.line - 1) / diagnosis.pairs)
            end = left + (width - left) * min(
                1.0, (each.start + each.until if each.until else diagnosis.pairs) / diagnosis.pairs
            )
            yield (
                f'<rect class="fatal" x="{start:.1f}" y="{y + 3}" width="{max(2.0, end - start):.1f}" height="14" '
                f'opacity="0.75"><title>{said(str(each))}</title></rect>'
            )
        y += 20
    for kind, severity, rows in strips:
        counts = np.histogram(rows, bins=BINS, range=(0, diagnosis.pairs))[0]
        strongest = int(counts.max())
        yield f'<text x="0" y="{y + 14}">{said(kind)}</text>'
        yield f'<rect x="{left}" y="{y + 3}" width="{width - left}" height="14" fill="none" class="axis"/>'
        for place in np.flatnonzero(counts).tolist():
            dark = 0.15 + 0.85 * counts[place] / strongest
            yield (
                f'<rect class="{severity}" x="{left + place * step:.1f}" y="{y + 3}" width="{step:.2f}" height="14" '
                f'opacity="{dark:.2f}"><title>{int(counts[place]):,}</title></rect>'
            )
        y += 20
    yield f'<text x="{left}" y="{y + 14}">1</text>'
    yield f'<text x="{width}" y="{y + 14}" text-anchor="end">{diagnosis.pairs:,}</text></svg></figure>'


def _charts(diagnosis: Diagnosis, said: Said) -> Iterator[str]:
    statistics = diagnosis.statistics
    yield "<figure><figcaption>characters of a text (left bars: source, right bars: target)</figcaption>"
    last = int(np.flatnonzero(statistics.lengths.sum(axis=0)).max(initial=0)) + 1
    names = [f"{2 ** (n / 2):.0f}" if n % 2 == 0 else "" for n in range(last)]
    yield from _bars([side[:last].tolist() for side in statistics.lengths], ["src", "tgt"], names)
    yield "</figure><figure><figcaption>target length / source length: spreads away from the usual ratio</figcaption>"
    names = [str((n - 20) // 2) if n % 4 == 0 and 0 < n < 40 else "" for n in range(41)]
    yield from _bars([statistics.ratios.tolist()], ["tgt"], names)
    yield "</figure><figure><figcaption>letters by script (upper bars: source, lower bars: target)</figcaption>"
    yield from _scripts(diagnosis, said)
    yield "</figure>"


def _bars(series: Sequence[Sequence[int]], classes: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    width, height, bottom = 400, 150, 18
    highest = max(1, *(max(side, default=0) for side in series))
    step = width / max(1, len(names))
    wide = step * 0.84 / len(series)
    yield f'<svg viewBox="0 0 {width} {height + bottom}" role="img">'
    for number, (side, name) in enumerate(zip(series, classes, strict=True)):
        for place, count in enumerate(side):
            if count:
                tall = max(1.0, height * count / highest)
                x = place * step + step * 0.08 + number * wide
                yield (
                    f'<rect class="{name}" x="{x:.1f}" y="{height - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
                    f"<title>{count:,}</title></rect>"
                )
    yield f'<line class="axis" x1="0" x2="{width}" y1="{height}" y2="{height}"/>'
    for place, label in enumerate(names):
        if label:
            yield f'<text x="{(place + 0.5) * step:.1f}" y="{height + 14}" text-anchor="middle">{label}</text>'
    yield "</svg>"


def _scripts(diagnosis: Diagnosis, said: Said) -> Iterator[str]:
    weights = diagnosis.statistics.scripts
    shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    used = [(n, name) for n, name in enumerate(SCRIPTS, start=1) if shares[:, n].max() >= LEAST_SHOWN]
    width, left, right = 400, 80, 60
    yield f'<svg viewBox="0 0 {width} {34 * max(1, len(used))}" role="img">'
    for row, (number, name) in enumerate(used):
        yield f'<text x="0" y="{34 * row + 20}">{said(name)}</text>'
        for side, css in enumerate(("src", "tgt")):
            share = float(shares[side, number])
            y = 34 * row + 5 + 12 * side
            long = (width - left - right) * share
            yield f'<rect class="{css}" x="{left}" y="{y}" width="{max(1.0 * (share > 0), long):.1f}" height="10"/>'
            yield f'<text x="{left + long + 4:.1f}" y="{y + 9}">{share:.2%}</text>'
    yield "</svg>"


def _finding(finding: Finding, said: Said) -> Iterator[str]:
    pill = f'<span class="pill {finding.severity}">{finding.severity}</span>'
    yield f'<section class="finding"><h3>{pill} {said(finding.message)}</h3>'
    dropped = " --fix leaves such pairs out." if KINDS[finding.kind].dropped else ""
    yield f'<div class="dim">{said(finding.advice)}{dropped}</div>'
    yield from (_example(example, said) for example in finding.examples)
    yield "</section>"


def _example(example: Example, said: Said) -> str:
    why = f" — {said(example.why)}" if example.why else ""
    return (
        f'<div class="example"><div class="where">{said(example.where)}{why}</div>'
        f'<p class="src" dir="auto"><span>{said(example.src)}</span></p>'
        f'<p class="tgt" dir="auto"><span>{said(example.tgt)}</span></p></div>'
    )
