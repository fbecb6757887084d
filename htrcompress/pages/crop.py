"""Cuts lines out of a page: levelled along the baseline, at one scale for the page, without their neighbours.

The page is turned by the slope of the line's baseline, and each column is moved so that the baseline, however bent, is
level. The window above and below it is the same for all lines of a page, so that letters have one size, and is widened
for lines that need more. What is outside of the line's polygon becomes paper, but never a band along the baseline,
since some polygons are thinner than the letters in them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from htrcompress.errors import HtrError
from htrcompress.pages.page import PageLine

ABOVE, BELOW = 1.0, 0.55
"""The most that the window of a page reaches above and below a baseline, in distances between lines."""
PERCENTILE = 75
"""Of the heights of the polygons of a page: what its window is made from."""
WIDER = 1.3
"""How much larger the window of one line may be than its page's."""
GROWN = 0.035
"""How far outside of the polygon pixels are kept, as a share of the window's height."""
CORE_ABOVE, CORE_BELOW = 0.55, 0.3
"""The band along the baseline that is always kept, as shares of the window above and below it."""
STEP = 16
"""Pixels between the places where a bent baseline is followed."""
MAX_CROP_PIXELS = 1 << 24


@dataclass(frozen=True)
class Geometry:
    """The window of a page's lines, in pixels above and below their baselines."""

    above: float
    below: float


@dataclass(frozen=True)
class Crop:
    """A line cut out of a page.

    Attributes:
        pixels: uint8 (height, width), dark ink on light paper.
    """

    pixels: NDArray[np.uint8]
    _frame: "_Frame"
    _left: float
    _above: float

    def to_page(self, x: float, y: float) -> tuple[float, float]:
        """Where a place in the crop is on the page, both in pixels."""
        return self._frame.to_page(x + self._left, y - self._above)


def measure(lines: Sequence[PageLine]) -> Geometry:
    """The window for the lines of a page: what three quarters of them need, but not into the next line."""
    frames = [_Frame.of(line) for line in lines]
    reaches = [reach for line, frame in zip(lines, frames, strict=True) if (reach := _reach(line, frame))]
    spacing = _spacing(frames)
    if reaches:
        above, below = np.percentile(np.array(reaches), PERCENTILE, axis=0)
    elif spacing:
        above, below = 0.7 * spacing, 0.35 * spacing
    else:
        above, below = 48.0, 24.0
    if spacing:
        above, below = min(above, ABOVE * spacing), min(below, BELOW * spacing)
    return Geometry(max(float(above), 4.0), max(float(below), 2.0))


def cut(page: NDArray[np.uint8], line: PageLine, geometry: Geometry) -> Crop:
    """Cuts a line out of a page.

    Args:
        page: the page's image, uint8 (height, width).
        line: a line with a baseline or a polygon.
        geometry: of the page's lines.

    Raises:
        HtrError: the line has neither, or is larger than any line.
    """
    frame = _Frame.of(line)
    reach = _reach(line, frame) or (geometry.above, geometry.below)
    above = min(max(geometry.above, reach[0]), WIDER * geometry.above)
    below = min(max(geometry.below, reach[1]), WIDER * geometry.below)
    left, right = frame.extent(line)
    width, height = max(1, round(right - left)), max(1, round(above + below))
    if width * height > MAX_CROP_PIXELS:
        raise HtrError(f"line {line.id} is {width}x{height} pixels large; the limit is {MAX_CROP_PIXELS}")
    levelled = _levelled(page, frame, left, width, above, height)
    paper = _paper(np.asarray(levelled))
    mask = _mask(line, frame, left, width, above, height, geometry)
    levelled = Image.composite(levelled, Image.new("L", levelled.size, paper), mask) if mask else levelled
    return Crop(np.array(levelled), frame, left, above)


def cut_box(page: NDArray[np.uint8], left: float, top: float, right: float, bottom: float) -> NDArray[np.uint8]:
    """What is in a rectangle of a page, which may reach beyond its edges: uint8 (height, width), a copy.

    Raises:
        HtrError: nothing of it is on the page.
    """
    height, width = page.shape
    rows = slice(max(0, math.floor(top)), min(height, math.ceil(bottom)))
    columns = slice(max(0, math.floor(left)), min(width, math.ceil(right)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise HtrError(f"the box {left:g},{top:g} to {right:g},{bottom:g} is outside of the page's {width}x{height}")
    return page[rows, columns].copy()


class _Frame:
    """The page turned by the slope of a line: u runs along the line, and v downwards across it."""

    def __init__(self, baseline: NDArray[np.float64], angle: float):
        self.cos, self.sin = math.cos(angle), math.sin(angle)
        u, v = self.turned(baseline)
        order = np.argsort(u, kind="stable")
        self.u, self.v = _smoothed(u[order], v[order])

    @classmethod
    def of(cls, line: PageLine) -> "_Frame":
        """The frame of a line, from its baseline or else from its polygon.

        Raises:
            HtrError: it has neither.
        """
        if len(line.baseline) >= 2:
            points = np.array(line.baseline, np.float64)
        elif len(line.polygon) >= 3:
            points = _guessed(np.array(line.polygon, np.float64))
        else:
            raise HtrError(f"line {line.id} has neither a baseline nor a polygon")
        return cls(points, _angle(points))

    def turned(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """u and v of points (n, 2) on the page."""
        x, y = points[:, 0], points[:, 1]
        return x * self.cos + y * self.sin, y * self.cos - x * self.sin

    def levelled(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """u, and the height below the baseline, of points (n, 2) on the page."""
        u, v = self.turned(points)
        return u, v - np.interp(u, self.u, self.v)

    def to_page(self, u: float, height: float) -> tuple[float, float]:
        """The point on the page at u, that far below the baseline."""
        v = float(np.interp(u, self.u, self.v)) + height
        return u * self.cos - v * self.sin, u * self.sin + v * self.cos

    def extent(self, line: PageLine) -> tuple[float, float]:
        """From where to where the line reaches along its baseline."""
        u = self.turned(np.array(line.points(), np.float64))[0]
        return float(u.min()), float(u.max())


def _angle(points: NDArray[np.float64]) -> float:
    """The direction of a baseline in radians. One that runs to the left was drawn backwards, so that it is turned."""
    dx, dy = points[-1] - points[0]
    if abs(dx) >= abs(dy) and dx < 0:
        dx, dy = -dx, -dy
    rough = math.atan2(dy, dx)
    cos, sin = math.cos(rough), math.sin(rough)
    u, v = points[:, 0] * cos + points[:, 1] * sin, points[:, 1] * cos - points[:, 0] * sin
    u, v = u - u.mean(), v - v.mean()
    spread = float(u @ u)
    return rough + (math.atan(float(u @ v) / spread) if spread > 0 else 0.0)


def _smoothed(u: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A baseline as heights v at even steps of u, without corners."""
    count = max(2, min(4096, round((u[-1] - u[0]) / STEP) + 1))
    grid = np.linspace(u[0], u[-1], count)
    heights = np.interp(grid, u, v)
    if count > 4:
        padded = np.concatenate([heights[:1], heights[:1], heights, heights[-1:], heights[-1:]])
        heights = np.convolve(padded, np.array([1, 2, 3, 2, 1]) / 9, "valid")
    return grid, heights


def _guessed(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """A baseline for a line that has only a polygon: a quarter of its height above its lower edge."""
    along = 0 if np.ptp(polygon[:, 0]) >= np.ptp(polygon[:, 1]) else 1
    dense = _dense(polygon)
    low, high = dense[:, along].min(), dense[:, along].max()
    bins = np.linspace(low, high, max(3, min(64, round((high - low) / 64))))
    where = np.digitize(dense[:, along], bins[1:-1])
    points = []
    for part in range(len(bins) - 1):
        across = dense[where == part, 1 - along]
        if len(across):
            points.append(((bins[part] + bins[part + 1]) / 2, across.max() - np.ptp(across) / 4))
    middle = np.array(points)
    return middle if along == 0 else middle[:, ::-1]


def _dense(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline of a polygon as points that are at most STEP apart (or a thousandth of a very long edge)."""
    parts = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        count = max(1, min(1000, math.ceil(math.dist(start, end) / STEP)))
        parts.append(start + (end - start) * (np.arange(count) / count)[:, None])
    return np.concatenate(parts)


def _reach(line: PageLine, frame: _Frame) -> tuple[float, float] | None:
    """How far a line's polygon reaches above and below its baseline; None if it has none."""
    if len(line.polygon) < 3:
        return None
    height = frame.levelled(_dense(np.array(line.polygon, np.float64)))[1]
    return max(0.0, -float(height.min())), max(0.0, float(height.max()))


def _spacing(frames: Sequence[_Frame]) -> float:
    """The usual distance from a baseline to the next below it; 0 if there is none."""
    if len(frames) < 2:
        return 0.0
    ends = np.array([[frame.to_page(frame.u[0], 0), frame.to_page(frame.u[-1], 0)] for frame in frames])
    middles = ends.mean(axis=1)
    found = []
    for number, frame in enumerate(frames):
        u, v = frame.levelled(middles)
        length = frame.u[-1] - frame.u[0]
        half = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) / 2
        beside = (u + half > frame.u[0]) & (u - half < frame.u[-1]) & (v > max(4.0, 0.01 * length))
        beside[number] = False
        if beside.any():
            found.append(float(v[beside].min()))
    return float(np.median(found)) if found else 0.0


def _levelled(
    page: NDArray[np.uint8], frame: _Frame, left: float, width: int, above: float, height: int
) -> Image.Image:
    """The window of a line, in which its baseline is level."""
    edges = [*range(0, width, STEP), width]
    corners = [(*frame.to_page(left + x, -above), *frame.to_page(left + x, height - above)) for x in edges]
    flat = np.array(corners).reshape(-1, 2)
    low = np.maximum(np.floor(flat.min(axis=0)).astype(int) - 2, 0)
    high = np.maximum(np.ceil(flat.max(axis=0)).astype(int) + 3, 0)
    part = page[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        raise HtrError("a line is outside of its page's image")
    quads = np.array(corners) - np.tile(low, 2)
    mesh = [
        ((start, 0, end, height), (*one, *two[2:], *two[:2]))
        for (start, end), (one, two) in zip(pairwise(edges), pairwise(quads.tolist()), strict=True)
    ]
    return Image.fromarray(np.ascontiguousarray(part)).transform(
        (width, height), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR, fillcolor=_paper(part)
    )


def _paper(pixels: NDArray[np.uint8]) -> int:
    """The grey of the paper: the median of what is lighter than Otsu's threshold between ink and paper."""
    counts = np.bincount(pixels.ravel(), minlength=256).astype(np.float64)
    weight, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * weight / total - sums) ** 2 / (weight * (total - weight))
    threshold = int(np.nanargmax(between)) if np.isfinite(between).any() else -1
    light = counts.copy()
    light[: threshold + 1] = 0
    return int(np.searchsorted(np.cumsum(light), light.sum() / 2)) if light.any() else 255


def _mask(
    line: PageLine, frame: _Frame, left: float, width: int, above: float, height: int, geometry: Geometry
) -> Image.Image | None:
    """What of a window is kept: 255 inside, 0 outside, with a soft edge; None if the line has no polygon."""
    if len(line.polygon) < 3:
        return None
    mask = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(mask)
    grown = max(1, round(GROWN * height))
    u, v = frame.levelled(_dense(np.array(line.polygon, np.float64)))
    outline = list(zip((u - left).tolist(), (v + above).tolist(), strict=True))
    draw.polygon(outline, fill=255)
    draw.line([*outline, outline[0]], fill=255, width=2 * grown + 1, joint="curve")
    start, end = float(frame.u[0]) - left, float(frame.u[-1]) - left
    core = (start, above - CORE_ABOVE * geometry.above, end, above + CORE_BELOW * geometry.below)
    draw.rectangle((core[0] - grown, core[1] - grown, core[2] + grown, core[3] + grown), fill=255)
    return mask.filter(ImageFilter.BoxBlur(max(1, grown // 2)))
