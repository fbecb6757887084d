"""The geometry of one line: its baseline, levelled, and its outline around that.

Coordinates on the page are x and y; those of a line are u along it, and v downwards across it, in the same pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError
from htrcompress.pages.page import PageLine

STEP = 16
"""Pixels between the places where a bent baseline or the edge of an outline is followed."""
_MOST_STEPS = 4096
_MOST_POINTS = 1 << 18
"""Of an outline that is followed."""
_STEEP = math.radians(35)
Points = NDArray[np.float64]
"""Points, float64 (n, 2)."""


@dataclass(frozen=True)
class Frame:
    """The page turned by the slope of a line.

    Attributes:
        cos, sin: of that slope.
        u: places along the line, rising, at even steps, float64 (n,).
        v: the baseline's height at these.
        outline: u and the height below the baseline of points all along the polygon, (n, 2); empty if there is none.
    """

    cos: float
    sin: float
    u: NDArray[np.float64]
    v: NDArray[np.float64]
    outline: Points

    @classmethod
    def of(cls, line: PageLine) -> "Frame":
        """The frame of a line, from its baseline or else from its polygon.

        Raises:
            HtrError: it has neither.
        """
        polygon = _dense(np.array(line.polygon, np.float64)) if len(line.polygon) >= 3 else np.zeros((0, 2))
        if len(line.baseline) >= 2:
            baseline = np.array(line.baseline, np.float64)
        elif len(polygon):
            baseline = _guessed(polygon)
        else:
            raise HtrError(f"line {line.id} has neither a baseline nor a polygon")
        angle = _angle(baseline)
        if abs(angle) > _STEEP and _short(baseline, polygon):
            angle, baseline = 0.0, np.stack([baseline[:, 0], np.full(len(baseline), baseline[:, 1].max())], 1)
        frame = cls._along(baseline, angle, polygon)
        usual = abs(angle) < _STEEP and baseline[0, 0] < baseline[-1, 0]  # others may be Arabic, or upside down
        if not usual and len(frame.outline) and frame.outline[:, 1].mean() > 0:
            frame = cls._along(baseline, angle + math.pi, polygon)
        return frame

    @classmethod
    def _along(cls, baseline: Points, angle: float, polygon: Points) -> "Frame":
        cos, sin = math.cos(angle), math.sin(angle)
        u, v = _smoothed(*_turned(baseline, cos, sin))
        outline = cls(cos, sin, u, v, polygon).levelled(polygon)
        if len(outline) and (outline[:, 0].max() <= u[0] or outline[:, 0].min() >= u[-1]):
            outline = outline[:0]  # of another place: it says nothing about the line
        return cls(cos, sin, u, v, outline)

    def levelled(self, points: Points) -> Points:
        """Points on the page as u and their height below the baseline."""
        u, v = _turned(points, self.cos, self.sin)
        return np.stack([u, v - np.interp(u, self.u, self.v)], 1)

    def to_page(self, points: Points) -> Points:
        """The reverse of `levelled`."""
        u, v = points[:, 0], points[:, 1] + np.interp(points[:, 0], self.u, self.v)
        return np.stack([u * self.cos - v * self.sin, u * self.sin + v * self.cos], 1)

    def extent(self) -> tuple[float, float]:
        """From where to where, in u, the line reaches."""
        ends = np.concatenate([self.u[[0, -1]], self.outline[:, 0]])
        return float(ends.min()), float(ends.max())

    def reach(self) -> tuple[float, float] | None:
        """How far the polygon reaches above and below the baseline; None if there is none."""
        if not len(self.outline):
            return None
        heights = self.outline[:, 1]
        return max(0.0, -float(heights.min())), max(0.0, float(heights.max()))

    def stations(self, left: float, width: int) -> NDArray[np.int64]:
        """The columns from 0 to `width`, of which the first is at u `left`, between which the baseline is straight."""
        chord = np.interp(self.u, self.u[[0, -1]], self.v[[0, -1]])
        if np.abs(chord - self.v).max() > 0.25:
            return np.append(np.arange(0, width, STEP), width)
        ends = np.round(self.u[[0, -1]] - left).astype(np.int64)
        return np.unique(np.clip([0, *ends, width], 0, width))


def spacing(frames: Sequence[Frame]) -> float:
    """The usual distance from a baseline to the next below it, in pixels; 0 if there is none."""
    if len(frames) < 2:
        return 0.0
    ends = np.array([frame.to_page(np.array([[frame.u[0], 0.0], [frame.u[-1], 0.0]])) for frame in frames])
    middles = ends.mean(axis=1)
    half = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) / 2
    found = []
    for number in range(0, len(frames), math.ceil(len(frames) / 500)):  # enough to know what is usual
        frame = frames[number]
        u, v = frame.levelled(middles).T
        above = max(4.0, 0.01 * (frame.u[-1] - frame.u[0]))
        beside = (u + half > frame.u[0]) & (u - half < frame.u[-1]) & (v > above)
        if beside.any():
            found.append(float(v[beside].min()))
    return float(np.median(found)) if found else 0.0


def _turned(points: Points, cos: float, sin: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """u and v of points on the page."""
    x, y = points[:, 0], points[:, 1]
    return x * cos + y * sin, y * cos - x * sin


def _angle(points: Points) -> float:
    """The direction of a baseline in radians; one that runs to the left counts as if it ran to the right."""
    dx, dy = points[-1] - points[0]
    if abs(dx) >= abs(dy) and dx < 0:
        dx, dy = -dx, -dy
    rough = math.atan2(dy, dx)
    u, v = _turned(points, math.cos(rough), math.sin(rough))
    u, v = u - u.mean(), v - v.mean()
    spread = float(u @ u)
    return rough + (math.atan(float(u @ v) / spread) if spread > 0 else 0.0)


def _short(baseline: Points, polygon: Points) -> bool:
    """Whether a baseline is so short that its slope says nothing, as under a single figure."""
    height = float(np.ptp(polygon[:, 1])) if len(polygon) else STEP
    width = float(np.ptp(polygon[:, 0])) if len(polygon) else STEP
    return math.dist(baseline[0], baseline[-1]) < min(height, 4 * width) / 2


def _smoothed(u: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A baseline as heights v at even steps of u, without corners."""
    order = np.argsort(u, kind="stable")
    u, v = u[order], v[order]
    count = max(2, min(_MOST_STEPS, round((u[-1] - u[0]) / STEP) + 1))
    grid = np.linspace(u[0], u[-1], count)
    heights = np.interp(grid, u, v)
    if count > 4:
        heights = np.convolve(np.pad(heights, 2, "edge"), np.array([1, 2, 3, 2, 1]) / 9, "valid")
    return grid, heights


def _guessed(outline: Points) -> Points:
    """A baseline for a line that has only a polygon: a smooth curve, a quarter of its height above its lower edge."""
    x, y = outline[:, 0], outline[:, 1]
    edges = np.linspace(x.min(), x.max(), max(2, min(64, round(np.ptp(x) / 64) + 1)))
    part = np.digitize(x, edges[1:-1])
    inside = [y[part == number] for number in range(len(edges) - 1)]
    lower = np.array([across.max() for across in inside])
    height = float(np.median([np.ptp(across) for across in inside]))
    middles = (edges[1:] + edges[:-1]) / 2
    degree = min(len(middles) - 1, 2 if np.ptp(x) > 15 * height else 1)  # letters below the line are no bend of it
    curve = np.polynomial.Polynomial.fit(middles, lower, degree) if degree else lambda _: lower[0]
    along = np.linspace(x.min(), x.max(), len(edges))
    return np.array([(float(u), float(curve(u)) - height / 4) for u in along])


def _dense(polygon: Points) -> Points:
    """Points all along the outline of a polygon, at most STEP apart, or a 256th of a long edge; fewer of very many."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    most = min(256, max(1, _MOST_POINTS // len(polygon)))
    counts = np.clip(np.ceil(np.hypot(edges[:, 0], edges[:, 1]) / STEP), 1, most).astype(np.int64)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    share = place / np.repeat(counts, counts)
    return np.repeat(polygon, counts, axis=0) + np.repeat(edges, counts, axis=0) * share[:, None]
