"""Cuts lines out of a page: levelled along the baseline, at one scale for the page, without their neighbours.

The page is turned by the slope of the line's baseline, and each column is moved so that the baseline, however bent, is
level. The window above and below it is the same for all lines of a page, so that letters have one size, and is widened
for lines that need more. What is outside of the line's polygon becomes paper, but never a band along the baseline,
since some polygons are thinner than the letters in them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from htrcompress.errors import HtrError
from htrcompress.pages.frame import Frame, spacing
from htrcompress.pages.page import PageLine

ABOVE, BELOW = 1.0, 0.55
"""The most that the window of a page reaches above and below a baseline, in distances between lines."""
PERCENTILE = 75
"""Of the heights of the polygons of a page: what its window is made from."""
WIDER = 1.3
"""How much larger the window of one line may be than its page's."""
MARGIN = 0.05
"""How much paper is left before and behind a line, as a share of the window's height."""
GROWN = 0.035
"""How far outside of the polygon pixels are kept, as a share of the window's height."""
CORE_ABOVE, CORE_BELOW = 0.6, 0.3
"""The band along the baseline that is always kept, as shares of the page's window above and below it."""
LARGEST = 2048.0
"""The most that a window reaches above or below a baseline, in pixels, whatever polygons there are."""
MAX_CROP_PIXELS = 1 << 24
_SOFT = [min(255, 4 * value) for value in range(256)]
"""Blurred masks are raised by this, so that all is kept that is inside, and half of the blur outside."""


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
        frame: the geometry of the line.
        left: where the crop begins, along the line.
        above: how far above the baseline it begins.
    """

    pixels: NDArray[np.uint8]
    frame: Frame
    left: float
    above: float

    def to_page(self, x: float, y: float) -> tuple[float, float]:
        """Where a place in the crop is on the page, both in pixels."""
        [place] = self.frame.to_page(np.array([[x + self.left, y - self.above]]))
        return float(place[0]), float(place[1])


def measure(lines: Sequence[PageLine]) -> Geometry:
    """The window for the lines of a page: what three quarters of them need, but not into the next line."""
    frames, reaches = [], []
    for line in lines:
        frame = Frame.of(line)
        if reach := frame.reach():
            reaches.append(reach)
        frames.append(replace(frame, outline=frame.outline[:0].copy()))  # outlines may be large
    distance = spacing(frames)
    if reaches:
        above, below = np.percentile(np.array(reaches), PERCENTILE, axis=0).tolist()
    else:
        above, below = (0.7 * distance, 0.35 * distance) if distance else (48.0, 24.0)
    if distance:
        most = (ABOVE, BELOW) if above >= below else (BELOW, ABOVE)  # letters may hang from their baseline
        above, below = min(above, most[0] * distance), min(below, most[1] * distance)
    return Geometry(min(max(above, 4.0), LARGEST), min(max(below, 2.0), LARGEST))


def cut(page: NDArray[np.uint8], line: PageLine, geometry: Geometry) -> Crop:
    """Cuts a line out of a page.

    Args:
        page: the page's image, uint8 (height, width).
        line: a line with a baseline or a polygon.
        geometry: of the page's lines.

    Raises:
        HtrError: the line has neither, is outside of the page, or is larger than any line.
    """
    frame, left, above, width, height = _place(line, geometry)
    window = _window(page, frame, left, width, above, height)
    if window is None:
        raise HtrError(f"line {line.id} is outside of its page's image")
    if len(frame.outline):
        paper = Image.new("L", window.size, _paper(window))
        window = Image.composite(window, paper, _mask(frame, left, width, above, height, geometry))
    return Crop(np.array(window), frame, left, above)


def size_of(line: PageLine, geometry: Geometry) -> tuple[int, int]:
    """Width and height in pixels of what `cut` gives, and with the same errors but for lines outside of the page."""
    return _place(line, geometry)[3:]


def _place(line: PageLine, geometry: Geometry) -> tuple[Frame, float, float, int, int]:
    """The frame of a line, where its window begins along it and above it, and the window's width and height."""
    frame = Frame.of(line)
    reach = frame.reach() or (0.0, 0.0)
    above = min(max(geometry.above, reach[0]), WIDER * geometry.above)
    below = min(max(geometry.below, reach[1]), WIDER * geometry.below)
    margin = MARGIN * (above + below)
    left, right = frame.extent()
    left -= margin
    width, height = max(1, math.ceil(right + margin - left)), max(1, round(above + below))
    if width * height > MAX_CROP_PIXELS:
        raise HtrError(f"line {line.id} is {width}x{height} pixels large; the limit is {MAX_CROP_PIXELS}")
    return frame, left, above, width, height


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


def _window(
    page: NDArray[np.uint8], frame: Frame, left: float, width: int, above: float, height: int
) -> Image.Image | None:
    """The window of a line, in which its baseline is level; None if it is outside of the page."""
    columns = frame.stations(left, width)
    top = np.stack([left + columns, np.full(len(columns), -above)], 1)
    corners = np.concatenate([frame.to_page(top), frame.to_page(top + np.array([0, height]))], 1)
    low = np.maximum(np.floor(corners.reshape(-1, 2).min(axis=0)).astype(int) - 2, 0)
    high = np.maximum(np.ceil(corners.reshape(-1, 2).max(axis=0)).astype(int) + 3, 0)
    part = page[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return None
    quads = (corners - np.tile(low, 2)).tolist()
    mesh = [
        ((start, 0, end, height), (*one, *two[2:], *two[:2]))
        for (start, end), (one, two) in zip(pairwise(columns.tolist()), pairwise(quads), strict=True)
    ]
    image = Image.fromarray(np.ascontiguousarray(part))
    size, fill = (width, height), _paper(image)
    return image.transform(size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR, fillcolor=fill)


def _paper(image: Image.Image) -> int:
    """The grey of the paper: the median of what is lighter than Otsu's threshold between ink and paper."""
    counts = np.array(image.histogram(), np.float64)
    weight, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * weight / weight[-1] - sums) ** 2 / (weight * (weight[-1] - weight))
    threshold = int(np.nanargmax(between)) if np.isfinite(between).any() else -1  # one grey alone is paper
    light = np.cumsum(np.where(np.arange(256) > threshold, counts, 0))
    return int(np.searchsorted(light, light[-1] / 2))


def _mask(frame: Frame, left: float, width: int, above: float, height: int, geometry: Geometry) -> Image.Image:
    """What of a window is kept: 255 inside of the polygon and along the baseline, 0 outside, with a soft edge.

    Drawn at half the size, which the soft edge hides.
    """
    mask = Image.new("L", (width // 2 + 1, height // 2 + 1), 0)
    draw = ImageDraw.Draw(mask)
    draw.polygon(((frame.outline + np.array([-left, above])) / 2).ravel().tolist(), fill=255)
    start, end = float(frame.u[0] - left) / 2, float(frame.u[-1] - left) / 2
    core = (CORE_ABOVE, CORE_BELOW) if geometry.above >= geometry.below else (CORE_BELOW, CORE_ABOVE)
    band = above - core[0] * geometry.above, above + core[1] * geometry.below
    draw.rectangle((start, band[0] / 2, end, band[1] / 2), fill=255)
    soft = mask.filter(ImageFilter.BoxBlur(max(1.0, 0.75 * GROWN * height))).point(_SOFT)
    return soft.resize((width, height), Image.Resampling.BILINEAR, (0, 0, width / 2, height / 2))
