"""Draws a line of text the way one writer writes it: the ink only, without the paper.

Two kinds of font serve as models of letter shapes: outline fonts made from real hands, whose glyphs are pasted
side by side and then warped, and stroke fonts, whose pen paths are warped and then drawn with a nib. A `Hand`
holds a writer's habits; what varies from letter to letter comes from the random generator of the line.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.synthetic.fonts import STEP, STROKE_FONTS, UNITS_PER_EM, advance, extent, glyph, is_file, pen_path

_WIDER = {"great-vibes": 1.5, "zeyada": 1.15}  # their letters are small for their long strokes, and so too narrow
_JOINED = {
    "hershey-script",
    "hershey-script-broad",
    "dancing-script",
    "great-vibes",
    "pacifico",
    "satisfy",
    "yellowtail",
}
_PAD = 14  # pixels around the text in which warped ink may still fall

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Hand:
    """A writer's habits.

    Attributes:
        slant: how far the top leans to the right, per unit of height, beyond the font's own slant.
        stretch: width of the letters relative to the font's.
        spacing: space added between letters, in ems.
        word_spacing: width of a space relative to the font's.
        pressure: thickness of the strokes, from -1 (thin) to 1 (thick).
        unsteadiness: how much size, thickness, lean and base line vary along a line; 1 is usual.
        slope: how far the line rises or falls, per unit of width.
        cut: which weight of the font is used, where it has several.
    """

    slant: float
    stretch: float
    spacing: float
    word_spacing: float
    pressure: float
    unsteadiness: float
    slope: float
    cut: int


@lru_cache(maxsize=4096)
def hand(font: str, seed: int) -> Hand:
    """The hand of the writer `seed` who learnt to write from `font`."""
    rng = np.random.default_rng([seed, 1])
    loosest = 0.02 if font in _JOINED or is_file(font) else 0.09
    return Hand(
        slant=float(np.clip(rng.normal(0.04, 0.13), -0.25, 0.38)),
        stretch=float(rng.uniform(0.82, 1.2)) * _WIDER.get(font, 1.0),
        spacing=float(rng.uniform(-0.02, loosest)),
        word_spacing=float(rng.uniform(0.9, 1.7)),
        pressure=float(rng.uniform(-1, 1)),
        unsteadiness=float(rng.uniform(0.5, 1.5)),
        slope=float(np.clip(rng.normal(0, 0.006), -0.015, 0.015)),
        cut=int(rng.integers(12)),
    )


@dataclass(frozen=True)
class _Curves:
    """What varies along a line, each float32 (width,): see `_curves`."""

    drift: Floats
    size: Floats
    slant: Floats
    bend: Floats
    pressure: Floats


def _wave(rng: np.random.Generator, width: int, period: float) -> Floats:
    """A smooth random curve, float32 (width,), of about unit amplitude."""
    position = np.arange(width, dtype=np.float32) / np.float32(period)
    left = position.astype(np.intp)
    knots = rng.standard_normal(int(width / period) + 2).astype(np.float32)
    part = position - left
    part = part * part * (3 - 2 * part)
    return np.clip(knots[left] + part * (knots[left + 1] - knots[left]), -2, 2)


def _curves(rng: np.random.Generator, style: Hand, width: int, em: float) -> _Curves:
    """Base line in pixels, size relative to 1, slant, bend of the stems in pixels, pressure of the pen.

    The periods are those of letters (below one em), of words (a few ems) and of the line.
    """
    loose = np.float32(style.unsteadiness)
    slope = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(style.slope * width)
    return _Curves(
        drift=np.clip(slope, -5, 5) + loose * (1.3 * _wave(rng, width, 5 * em) + 0.5 * _wave(rng, width, 0.6 * em)),
        size=1 + loose * (0.03 * _wave(rng, width, 2.5 * em) + 0.05 * _wave(rng, width, 0.45 * em)),
        slant=np.float32(style.slant) + loose * (0.03 * _wave(rng, width, 2 * em) + 0.03 * _wave(rng, width, 0.6 * em)),
        bend=loose * (0.03 * em * _wave(rng, width, 0.7 * em)),
        pressure=np.float32(style.pressure)
        + loose * (0.35 * _wave(rng, width, 3 * em) + 0.3 * _wave(rng, width, 0.8 * em)),
    )


def draw(text: str, font: str, style: Hand, height: float, rng: np.random.Generator) -> Floats:
    """The ink of a line, float32 (h, w) from 0 (none) to 1 (full), with no margins.

    Args:
        text: characters of `characters(font)`.
        font: a name in `STROKE_FONTS`, or of an outline font's package.
        style: the writer's hand.
        height: about how high the letters from the tallest ascender to the deepest descender are, in pixels.
        rng: where the variation within the line comes from.
    """
    stroked = font in STROKE_FONTS
    tops, bottoms = zip(*(extent(font, style.cut, char) for char in text), strict=True)
    top, bottom = extent(font, style.cut, "l")[0], extent(font, style.cut, "p")[1]
    own, usual = max(tops) + max(bottoms), max(top + bottom, 1.05)
    em = height / max(0.5 * own + 0.5 * usual, 0.95 * own)
    rows = round(em * max(tops) * 1.1) + _PAD, round(em * max(bottoms) * 1.1) + _PAD
    ink = (_draw_strokes if stroked else _draw_outlines)(text, font, style, em, rows, rng)
    inked = ink > 0.1
    ys, xs = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    return ink[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]


def _draw_outlines(
    text: str, font: str, style: Hand, em: float, rows: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Pastes glyphs at a size just above the wanted one, then warps and thins or thickens them in one go."""
    size = 6 * math.ceil(em / 6)
    shrink = em / size
    pens, pen = [], 0.0
    for char, following in zip(text, text[1:] + " ", strict=True):
        pens.append(round(pen))
        extra = style.word_spacing if char == " " else 1.0
        pen += advance(font, style.cut, size, char, following) * extra + style.spacing * size
    base, side = round(rows[0] / shrink), 2 * _PAD + size // 2
    canvas = np.zeros((base + round(rows[1] / shrink), math.ceil(pen) + 2 * side), np.uint8)
    for char, x in zip(text, pens, strict=True):
        mask, left, top = glyph(font, style.cut, size, char)
        y, x = base + top, side + x + left
        place = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
        np.maximum(place, mask, out=place)
    curves = _curves(rng, style, round(canvas.shape[1] * shrink * style.stretch), em)
    ink = _warp(canvas.astype(np.float32), base, rows, curves, style, shrink, float(rng.uniform(0, 6)))
    edge = np.clip(0.4 - 0.13 * curves.pressure, 0.22, 0.58)  # where ink starts: a lower edge makes thicker strokes
    return np.clip((ink * np.float32(1 / 255) - edge) * np.float32(2.4) + np.float32(0.5), 0, 1)


def _warp(
    source: Floats, base: int, rows: tuple[int, int], curves: _Curves, style: Hand, shrink: float, phase: float
) -> Floats:
    """Looks up for every output pixel, bilinearly, where on the source (h, w) it comes from."""
    height, width = source.shape
    y = np.arange(-rows[0], rows[1], dtype=np.float32)[:, None]
    x = np.arange(len(curves.drift), dtype=np.float32)
    v = (y - curves.drift) * (1 / (curves.size * np.float32(shrink)))
    bend = np.sin(y * np.float32(4 / rows[0]) + np.float32(phase)) * curves.bend
    u = v * curves.slant + (x / np.float32(shrink * style.stretch) + bend)
    np.clip(u, 0, width - 2, out=u)
    v += base
    np.clip(v, 0, height - 2, out=v)
    left, above = u.astype(np.int32), v.astype(np.int32)
    u -= left
    v -= above
    index = above * width + left
    flat = source.ravel()
    upper, lower = flat[index], flat[index + width]
    upper += u * (flat[index + 1] - upper)
    lower += u * (flat[index + width + 1] - lower)
    upper += v * (lower - upper)
    return upper


def _draw_strokes(
    text: str, font: str, style: Hand, em: float, rows: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Lays out the pen paths with joins between letters, warps the points and draws each with a round nib."""
    unit, pen, parts = em / UNITS_PER_EM, 0.0, []
    leave: tuple[float, float] | None = None
    for char in text:
        path = pen_path(font, char)
        parts.append(path.points + np.array([pen, 0, 0], np.float32))
        joins = font in _JOINED and char.islower()
        entry = (pen + path.entry[0], path.entry[1])
        if joins and leave and (gap := math.dist(leave, entry)) < 9 and entry[0] > leave[0] - 1:
            join = np.linspace((*leave, 0.3), (*entry, 0.3), 2 + round(gap / STEP), dtype=np.float32)
            parts.append(join)
        leave = (pen + path.leave[0], path.leave[1]) if joins else None
        pen += path.advance * (style.word_spacing if char == " " else 1.0) + style.spacing * UNITS_PER_EM
    x, y, steepness = np.concatenate(parts).T
    slant_room = (abs(style.slant) + 0.1) * max(rows)
    x = x * np.float32(unit * style.stretch) + np.float32(2 * _PAD + slant_room)
    width = math.ceil(float(x.max()) + 2 * _PAD + slant_room)
    curves = _curves(rng, style, width, em)
    column = x.astype(np.intp)
    y = y * np.float32(unit) * curves.size[column]
    bend = np.sin(y * np.float32(4 / rows[0]) + np.float32(rng.uniform(0, 6))) * curves.bend[column]
    x = x - curves.slant[column] * y + bend
    y = y + rows[0] + curves.drift[column]
    radius = (0.027 * em + 0.28 * curves.pressure[column]) * (0.72 + 0.5 * steepness)
    return _nib(x, y, np.clip(radius, 0.55, 2.4).astype(np.float32), (sum(rows), width))


def _nib(x: Floats, y: Floats, radius: Floats, shape: tuple[int, int]) -> Floats:
    """Draws a disc with a soft edge at every point, all float32 (n,), on a canvas of `shape`."""
    reach = math.ceil(float(radius.max()) + 0.5)
    steps = np.arange(-reach, reach + 1)
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    across = (steps - (x - column)[:, None]).astype(np.float32) ** 2
    down = (steps - (y - row)[:, None]).astype(np.float32) ** 2
    ink = np.clip((radius + np.float32(0.5))[:, None, None] - np.sqrt(down[:, :, None] + across[:, None, :]), 0, 1)
    index = (row[:, None] + steps)[:, :, None] * shape[1] + (column[:, None] + steps)[:, None, :]
    canvas = np.zeros(shape[0] * shape[1], np.float32)
    np.maximum.at(canvas, index.ravel(), ink.ravel())
    return canvas.reshape(shape)
