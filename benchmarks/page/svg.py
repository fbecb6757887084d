"""Plots as SVG inside a page: points, lines with intervals, and steps; colours come from the page's style sheet.

A plot is 360 units wide and grows with its column, so its letters stay readable on a telephone. Every series has a
shape as well as a colour, and every point a title that browsers show and screen readers speak.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from benchmarks.page.axis import Axis, shown

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 40
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "plus", "down")
LETTER, LETTER_HEIGHT = 6.5, 12
"""Room for a letter of a label."""
COLOURS = 8
"""How many colours the style sheet has: classes c0, c1, ..."""


@dataclass(frozen=True)
class Point:
    """A mark in a plot.

    Attributes:
        x, y: values.
        title: what it is, with its values.
        colour, shape: numbers of the style sheet's colours and of `SHAPES`.
        span: the interval of `y`, drawn as a thin line.
        label: what is written beside it; moved down where it would cover another.
        hollow: whether only the outline is drawn.
    """

    x: float
    y: float
    title: str
    colour: int = 0
    shape: int = 0
    span: tuple[float, float] | None = None
    label: str = ""
    hollow: bool = False


@dataclass(frozen=True)
class Line:
    """A series of points that are joined."""

    points: Sequence[Point]
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class Plot:
    """What one plot shows.

    Attributes:
        x, y: its axes.
        text: what it shows, in a sentence, for those who do not see it.
        points, lines: the marks.
        labels: values of x to what is written there, in the place of round values.
    """

    x: Axis
    y: Axis
    text: str
    points: Sequence[Point] = ()
    lines: Sequence[Line] = ()
    labels: dict[float, str] = field(default_factory=dict)

    def svg(self) -> str:
        """The plot as an element of a page."""
        parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.text)}">']
        parts += self._grid()
        for line in self.lines:
            places = " ".join(f"{self._x(p.x):.1f},{self._y(p.y):.1f}" for p in line.points)
            dashed = " dashed" if line.dashed else ""
            parts.append(f'<polyline class="line c{line.colour % COLOURS}{dashed}" points="{places}"/>')
        for line in self.lines:
            parts += [] if line.dashed else [self._mark(point) for point in line.points]
        parts += [self._mark(point) for point in self.points]
        parts += self._labels()
        return "".join([*parts, "</svg>"])

    def _x(self, value: float) -> float:
        return LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return TOP + (1 - self.y.place(value)) * (HEIGHT - TOP - BOTTOM)

    def _grid(self) -> list[str]:
        parts, floor = [], HEIGHT - BOTTOM
        for value in self.y.marks():
            y = self._y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="mark end" x="{LEFT - 5}" y="{y + 3.5:.1f}">{shown(value)}</text>')
        labels = self.labels or {value: shown(value) for value in self.x.marks()}
        for value, label in labels.items():
            x = self._x(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor}"/>')
            parts.append(f'<text class="mark middle" x="{x:.1f}" y="{floor + 14}">{escape(label)}</text>')
        middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
        parts.append(f'<text class="name middle" x="{middle}" y="{HEIGHT - 8}">{escape(self.x.name)}</text>')
        turned = f'transform="translate(11 {TOP + (HEIGHT - TOP - BOTTOM) / 2}) rotate(-90)"'
        return [*parts, f'<text class="name middle" {turned}>{escape(self.y.name)}</text>']

    def _mark(self, point: Point) -> str:
        x, y = self._x(point.x), self._y(point.y)
        span = ""
        if point.span:
            low, high = (min(max(self._y(bound), TOP), HEIGHT - BOTTOM) for bound in point.span)
            span = f'<line class="span" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        shape = mark(x, y, point.shape)
        hollow = " hollow" if point.hollow else ""
        return f'<g class="c{point.colour % COLOURS}{hollow}"><title>{escape(point.title)}</title>{span}{shape}</g>'

    def _labels(self) -> list[str]:
        """The words beside points, from the top down, none over another."""
        parts: list[str] = []
        taken: list[tuple[float, float, float]] = []
        for point in sorted((p for p in self.points if p.label), key=lambda p: -p.y):
            x, y, width = self._x(point.x), self._y(point.y) + 3.5, LETTER * len(point.label)
            ends_here = x > LEFT + 0.6 * (WIDTH - LEFT - RIGHT)
            x, anchor = (x - 8, "end") if ends_here else (x + 8, "start")
            left = x - width if ends_here else x
            while any(
                abs(y - other) < LETTER_HEIGHT and left < end and begin < left + width for other, begin, end in taken
            ):
                y += 1
            taken.append((y, left, left + width))
            parts.append(f'<text class="{anchor}" x="{x:.1f}" y="{y:.1f}">{escape(point.label)}</text>')
        return parts


def mark(x: float, y: float, shape: int) -> str:
    """One of `SHAPES` at a place; as large in area as the others."""
    name, r = SHAPES[shape % len(SHAPES)], 4.2
    outlines = {
        "square": f"M{x - r * 0.88:.1f} {y - r * 0.88:.1f}h{r * 1.76:.1f}v{r * 1.76:.1f}h{-r * 1.76:.1f}z",
        "triangle": f"M{x:.1f} {y - r * 1.2:.1f}l{r * 1.15:.1f} {r * 2:.1f}h{-r * 2.3:.1f}z",
        "down": f"M{x:.1f} {y + r * 1.2:.1f}l{r * 1.15:.1f} {-r * 2:.1f}h{-r * 2.3:.1f}z",
        "diamond": f"M{x:.1f} {y - r * 1.25:.1f}l{r * 1.25:.1f} {r * 1.25:.1f}l{-r * 1.25:.1f} {r * 1.25:.1f}"
        f"l{-r * 1.25:.1f} {-r * 1.25:.1f}z",
        "cross": f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}M{x + r:.1f} {y - r:.1f}l{-2 * r:.1f} {2 * r:.1f}",
        "plus": f"M{x - r * 1.2:.1f} {y:.1f}h{r * 2.4:.1f}M{x:.1f} {y - r * 1.2:.1f}v{r * 2.4:.1f}",
    }
    if name == "circle":
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    stroked = " stroked" if name in ("cross", "plus") else ""
    return f'<path class="dot{stroked}" d="{outlines[name]}"/>'
