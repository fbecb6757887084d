"""Draws CER against lines per second of our models and the peers: `python tools/plot.py peers.json --out plot.svg`.

The result is one of `benchmarks/peers.py`. The drawing stands alone, light or dark as its reader's system is.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.page.axis import axis
from benchmarks.page.svg import Plot, Point
from benchmarks.peer_rows import PeerRow, Peers
from benchmarks.results import read
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

OURS, THEIRS = 0, 1
STYLE = """
:root { --ink: #1b1b1f; --faint: #60606a; --rule: #d9d9df; --c0: #0b62a8; --c1: #c4420a; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ec; --faint: #a2a2ad; --rule: #3a3a42; --c0: #6fb4f0; --c1: #ff9a6b; --paper: #16161a; }
}
text { font: 10.5px system-ui, sans-serif; fill: var(--ink); }
.mark { fill: var(--faint); font-size: 10px; } .middle { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: var(--rule); stroke-width: .6; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); }
.dot { fill: var(--c); stroke: var(--paper); stroke-width: .8; } .span { stroke: var(--c); opacity: .55; }
"""


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
    result = read(options.result, Peers)
    speed = f"files, batch {result.settings['batch']}"
    points = [point for row in result.rows if (point := _point(row, speed))]
    if not points:
        raise HtrError(f"{options.result} has no recogniser with an error rate and a speed from files")
    heights = [bound for point in points for bound in (point.span or (point.y,))]
    text = "CER against lines per second. " + "; ".join(point.title for point in points)
    x = axis("lines per second, from image files", [point.x for point in points], log=True)
    svg = Plot(x, axis("CER %", heights, zero=True), text, points).svg()
    opening, _, rest = svg.partition(">")
    opening = opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')
    write_atomic(options.out, f"{opening}><style>{STYLE}</style>{rest}".encode())
    return Drawing(options.out, len(points))


def _point(row: PeerRow, speed: str) -> Point | None:
    """A recogniser's place; None where it has no error rate or was not timed."""
    if row.cer is None or row.interval is None or speed not in row.speeds:
        return None
    label = row.name.removesuffix(".onnx").removesuffix("/model")
    lines, (low, high) = row.speeds[speed].median, row.interval
    title = f"{label} ({row.kind}): CER {100 * row.cer:.1f} %, {lines:,.0f} lines/s"
    colour = OURS if row.ours else THEIRS
    return Point(lines, 100 * row.cer, title, colour, colour, (100 * low, 100 * high), label)


if __name__ == "__main__":
    run_command(draw, positional="result")
