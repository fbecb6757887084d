"""Draws CER against lines per second of our models and the peers: `python tools/plot.py peers.json --out plot.svg`.

The result is one of `benchmarks/peers.py`; each corpus has a panel, on the same axes. The drawing stands alone, light
or dark as its reader's system is. `tools/figures.py` draws `docs/pareto.svg` from the committed result.
"""

import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks.page.axis import axis
from benchmarks.page.svg import HEIGHT, WIDTH, Plot, Point
from benchmarks.peer_rows import PeerRow, Peers
from benchmarks.results import read
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

OURS, THEIRS = 0, 1
TOP, FOOT = 24, 22
"""Room for the panels' titles and for what the marks mean."""
STYLE = """
:root { --ink: #1b1b1f; --faint: #60606a; --rule: #d9d9df; --c0: #0b62a8; --c1: #c4420a; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ec; --faint: #a2a2ad; --rule: #3a3a42; --c0: #6fb4f0; --c1: #ff9a6b; --paper: #16161a; }
}
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.title { font-weight: 600; font-size: 14px; }
.mark { fill: var(--faint); font-size: 11px; } .middle { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: var(--rule); stroke-width: .6; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); }
.dot { fill: var(--c); stroke: var(--paper); stroke-width: .8; } .span { stroke: var(--c); opacity: .55; }
.hollow .dot { fill: var(--paper); stroke: var(--c); stroke-width: 1.8; }
"""
KEY = (
    "Round: htrcompress. Square: others. Filled: trained on other lines of this corpus. Hollow: not. "
    "Lower and further right is better."
)


@dataclass(frozen=True)
class DrawOptions:
    """Draws CER against lines per second of our models and the peers."""

    result: Path | None = None
    """What `benchmarks/peers.py` wrote."""
    out: Path = Path("pareto.svg")
    """The drawing."""


@dataclass(frozen=True)
class Drawing:
    """A drawing that was written, and how many recognisers it shows."""

    path: Path
    points: int

    def __rich__(self) -> str:
        return f"written: {self.path}, {self.points} recognisers"


def draw(options: DrawOptions) -> Drawing:
    """Draws CER against lines per second, from image files in batches.

    Raises:
        HtrError: the result cannot be read, or no recogniser of it has an error rate and a speed.
    """
    if options.result is None:
        raise HtrError("name a result of benchmarks/peers.py, such as benchmarks/results/peers.json")
    svg, count = drawing(read(options.result, Peers), str(options.result))
    write_atomic(options.out, svg.encode())
    return Drawing(options.out, count)


def drawing(result: Peers, where: str) -> tuple[str, int]:
    """The drawing of a result, and how many marks it has.

    Raises:
        HtrError: see `draw`; `where` names the result.
    """
    speed = f"files, batch {result.settings['batch']}"
    panels = {
        f"{corpus.name}/{corpus.split}": [point for row in corpus.rows if (point := _point(row, speed))]
        for corpus in result.corpora
    }
    points = [point for panel in panels.values() for point in panel]
    if not points:
        raise HtrError(f"{where} has no recogniser with an error rate and a speed from files")
    x = axis("lines per second, from image files", [point.x for point in points], log=True)
    y = axis("CER %", [bound for point in points for bound in (point.span or (point.y,))], log=True)
    parts, texts = [], []
    for number, (title, panel) in enumerate((title, panel) for title, panel in panels.items() if panel):
        left = number * WIDTH
        texts.append(f"{title}: " + "; ".join(point.title for point in panel))
        inner = Plot(x, y, texts[-1], panel).svg()
        inner = inner.replace("<svg", f'<svg x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}"', 1)
        middle = left + WIDTH / 2 + 18
        parts += [f'<text class="title middle" x="{middle:g}" y="16">{escape(title)}</text>', inner]
    width, height = len(texts) * WIDTH, TOP + HEIGHT + FOOT
    lines = textwrap.wrap(KEY, width // 6)
    for number, line in enumerate(lines):
        parts.append(f'<text class="mark" x="12" y="{TOP + HEIGHT + 14 + 15 * number}">{escape(line)}</text>')
    height += 15 * (len(lines) - 1)
    text = escape("CER against lines per second. " + " ".join(texts))
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{text}">'
    return f"{opening}<style>{STYLE}</style>{''.join(parts)}</svg>\n", len(points)


def _point(row: PeerRow, speed: str) -> Point | None:
    """A recogniser's place; None where it has no error rate or was not timed."""
    if row.cer is None or row.interval is None or speed not in row.speeds:
        return None
    lines, (low, high) = row.speeds[speed].median, row.interval
    title = f"{row.name} ({row.kind}): CER {100 * row.cer:.1f} %, {lines:,.0f} lines/s"
    colour = OURS if row.ours else THEIRS
    span = 100 * low, 100 * high
    label = row.name.removesuffix(" INT8")  # short, so that few labels meet; the title has it
    return Point(lines, 100 * row.cer, title, colour, colour, span, label, row.kind != "trained")


if __name__ == "__main__":
    run_command(draw, positional="result")
