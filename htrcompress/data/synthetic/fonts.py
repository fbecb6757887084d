"""The fonts that synthetic handwriting is modelled on: outlines of real hands, and Hershey's pen strokes.

Outline fonts give pictures of characters (`glyph`, `advance`), stroke fonts give the path of a pen (`pen_path`).
Their packages are optional; everything is cached, since a few hundred shapes make all the lines.
"""

import importlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from htrcompress.data.synthetic.sentences import CHARSET
from htrcompress.errors import missing_extra

STROKE_FONTS = {"hershey-script": "scripts", "hershey-script-broad": "scriptc", "hershey-print": "rowmans"}
"""Stroke fonts, and what Hershey's collection calls them; every other name is an outline font: a package or a file."""

UNITS_PER_EM = 30.0
"""Units of the stroke fonts to the em, so that both kinds of font come out alike."""

STEP = 0.55
"""Units from one point of a pen path to the next: less than a pixel."""

_NARROWER = {"hershey-print": 0.82}  # draughtsmen's letters are wider than what people write
_BASE_LINE = 9.0  # Hershey's y of the base line; y grows downwards
_RIM = 2  # pixels around an outline glyph into which its blur spreads


@lru_cache
def characters(font: str) -> frozenset[str]:
    """The characters of `CHARSET` that a font has.

    Raises:
        HtrError: the font's package is not installed.
    """
    if font in STROKE_FONTS:
        return frozenset(CHARSET) & frozenset(_hershey(font))
    missing = glyph(font, 0, 48, "\uffff")[0].tobytes()  # a code point that no font has: the glyph for missing ones
    return frozenset(char for char in CHARSET if char == " " or glyph(font, 0, 48, char)[0].tobytes() != missing)


@lru_cache(maxsize=8192)
def extent(font: str, cut: int, char: str) -> tuple[float, float]:
    """How far a character reaches above and below the base line, in ems."""
    if font in STROKE_FONTS:
        ys = pen_path(font, char).points[:, 1]
        return (float(-ys.min()) / UNITS_PER_EM, float(ys.max()) / UNITS_PER_EM) if len(ys) else (0.0, 0.0)
    mask, _, top = glyph(font, cut, 48, char)
    return -(top + _RIM) / 48, (top + mask.shape[0] - _RIM) / 48


def _package(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise missing_extra(package, "synthetic") from None


def is_file(font: str) -> bool:
    """Whether a font's name is the path of an outline font's file, and not the name of a package."""
    return font.endswith((".ttf", ".otf", ".woff"))


@lru_cache
def _outline_files(font: str) -> list[Path]:
    """The files of an outline font, one or more for each weight."""
    if is_file(font):
        return [Path(font)]
    folder = _package("fontpkg_" + font.replace("-", "_"), f"fontpkg-{font}").ROOT / "files"
    return sorted(Path(folder).glob("*.ttf"))


@lru_cache(maxsize=512)
def _face(font: str, cut: int, size: int) -> ImageFont.FreeTypeFont:
    files = _outline_files(font)
    # The basic layout: the same on every machine, whether or not a text shaping library is there.
    face = ImageFont.truetype(str(files[cut % len(files)]), size, layout_engine=ImageFont.Layout.BASIC)
    if "[wght]" in files[cut % len(files)].name:
        face.set_variation_by_axes([400 + 100 * (cut % 4)])
    return face


@lru_cache(maxsize=16384)
def glyph(font: str, cut: int, size: int, char: str) -> tuple[NDArray[np.uint8], int, int]:
    """A character's picture, uint8 (h, w), and where its left and top edges are from the pen on the base line.

    It is slightly blurred, with a rim for that, so that a different threshold for ink makes it thinner or thicker.
    """
    face = _face(font, cut, size)
    left, top, right, bottom = (int(edge) for edge in face.getbbox(char, anchor="ls"))
    image = Image.new("L", (right - left + 2 * _RIM, bottom - top + 2 * _RIM))
    ImageDraw.Draw(image).text((_RIM - left, _RIM - top), char, fill=255, font=face, anchor="ls")
    return np.array(image.filter(ImageFilter.GaussianBlur(0.7))), left - _RIM, top - _RIM


@lru_cache(maxsize=65536)
def advance(font: str, cut: int, size: int, char: str, following: str) -> float:
    """From one character's pen position to the next one's, with kerning."""
    face = _face(font, cut, size)
    return face.getlength(char + following) - face.getlength(following)


@dataclass(frozen=True)
class PenPath:
    """A character as a pen draws it: points (n, 3) of x, y and how steeply the pen moves, 0 to 1, in Hershey units.

    `entry` and `leave` are where a joined hand connects to the letter before and to the next one.
    """

    points: NDArray[np.float32]
    advance: float
    entry: tuple[float, float]
    leave: tuple[float, float]


@lru_cache
def _hershey(font: str) -> dict[str, Any]:
    fonts = _package("HersheyFonts", "Hershey-Fonts").HersheyFonts()
    fonts.load_default_font(STROKE_FONTS[font])
    return dict(fonts.all_glyphs)


def _walk(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points (n, 3) at even steps along a smoothed polyline (m, 2), with the steepness at each."""
    for _ in range(2):  # Chaikin's corner cutting; the two ends stay
        a, b = corners[:-1], corners[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
        corners = np.concatenate([corners[:1], cut, corners[-1:]])
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0, along[-1], max(2, math.ceil(along[-1] / STEP)))
    x, y = (np.interp(at, along, corners[:, axis]) for axis in (0, 1))
    steepness = np.abs(np.gradient(y)) / np.maximum(np.hypot(np.gradient(x), np.gradient(y)), 1e-6)
    return np.stack([x, y, steepness], axis=1).astype(np.float32)


@lru_cache(maxsize=1024)
def pen_path(font: str, char: str) -> PenPath:
    """The path of the pen for a character of a stroke font; a space has no points."""
    shape = _hershey(font)[char]
    narrow = _NARROWER.get(font, 1.0) * (0.6 if char == "-" else 1.0)  # Hershey's hyphen is as long as a dash
    strokes = [
        np.array([((x - shape.left_offset) * narrow, y - _BASE_LINE) for x, y in stroke], np.float32)
        for stroke in shape.strokes
        if stroke
    ]
    ends = [(float(x), float(y)) for stroke in strokes for x, y in (stroke[0], stroke[-1])] or [(0.0, 0.0)]
    points = np.concatenate([_walk(stroke) for stroke in strokes]) if strokes else np.zeros((0, 3), np.float32)
    return PenPath(points, shape.char_width * narrow, min(ends), max(ends))
