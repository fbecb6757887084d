"""The one way from a picture to pixels: grey, dark on light, scaled to the model's height.

Scaling is an area filter written in integers, so that another language can repeat it exactly: output pixel
`i` of `n` covers the input interval [i·m/n, (i+1)·m/n), and its value is the exact mean over that area
rounded half up. The same filter serves training, evaluation, the runtimes and the C++ library.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from htrcompress.errors import HtrError

PAPER = 255
"""Grey value of white paper, which batches are padded with; the networks mask it."""
MAX_IMAGE_PIXELS = 100_000_000
"""Images with more pixels are refused before they are decoded."""
FORMATS = ("PNG", "JPEG", "JPEG2000", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""Formats that are read, whatever a file is called; others that Pillow knows may start programs."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".jp2", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".pbm")
"""How their files are called, which tells the images in a folder."""


def load_grey(path: Path) -> NDArray[np.uint8]:
    """Reads an image file as grey, uint8 (height, width); see `to_grey`.

    Raises:
        HtrError: the file is missing, unreadable, empty or larger than `MAX_IMAGE_PIXELS`.
    """
    try:
        if not path.is_file():
            raise HtrError(f"no image at {path}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size, which is checked below, and of odd metadata
            # Of a path, Pillow maps a plain TIFF into memory, and turns that wrongly.
            with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
                return to_grey(image, str(path))
    except HtrError:
        raise
    except UnidentifiedImageError:
        raise HtrError(f"{path} is not an image that can be read, or it is empty") from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise HtrError(f"cannot read the image {path}: {error}") from None


def to_grey(picture: NDArray[np.uint8] | Image.Image, name: str = "the image") -> NDArray[np.uint8]:
    """A picture as grey, uint8 (height, width); of 16 bits the upper eight, unless it holds 8-bit values.

    A picture whose EXIF data says so is turned. Transparent pixels become paper: the median of the opaque ones, or
    white where those are all ink.

    Args:
        picture: uint8 grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4), or a PIL image of any mode.
        name: what to call it in an error.

    Raises:
        HtrError: it is of another kind, larger than `MAX_IMAGE_PIXELS`, cannot be decoded, or holds values that are
            neither of 8 bits nor of 16.
    """
    if isinstance(picture, np.ndarray):
        colour = picture.ndim == 3 and picture.shape[2] in (3, 4)
        if picture.dtype != np.uint8 or not (colour or picture.ndim == 2):
            expected = "uint8 (h, w), (h, w, 3) or (h, w, 4)"
            raise HtrError(f"{name} is not a picture: expected {expected}, got {picture.dtype} {picture.shape}")
        if not colour or picture.size == 0:
            return picture[:, :, 0] if colour else picture
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        raise HtrError(f"{name} is no image but a {type(picture).__name__}")
    if picture.width * picture.height > MAX_IMAGE_PIXELS:
        raise HtrError(f"{name} has {picture.width}x{picture.height} pixels; the limit is {MAX_IMAGE_PIXELS}")
    try:
        if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # as a phone held upright writes it
            picture = ImageOps.exif_transpose(picture)
        return _decode(picture)
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise HtrError(f"cannot read the image {name}: {error}") from None


def _decode(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode[0] in "IF":  # 16-bit PNGs arrive as I;16, or as I in some versions
        return _upper_bits(np.asarray(image, np.float64))
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return _on_paper(np.asarray(Image.fromarray(rgba[:, :, :3]).convert("L")), rgba[:, :, 3])
    return np.array(image.convert("L"))


def _upper_bits(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Values of 8 or 16 bits as 8 bits. Paper is bright, so where it ends tells which; 12 bits have no such end."""
    low, high = values.min(initial=0), values.max(initial=0)
    if not (low >= 0 and (1 < high < 256 or 4096 <= high < 65536 or not high)):
        raise ValueError(f"its values are from {low:g} to {high:g}, which is neither 8 bits nor 16: convert it")
    return (values if high < 256 else values / 256).astype(np.uint8)


def _on_paper(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays a cut-out line on its own paper, so that the cut's edge is no stroke; ink alone is laid on white."""
    shown = grey[alpha > 127]
    paper = max(np.median(shown), shown.mean()) if shown.size else 255.0
    if paper < 128:  # darker than any paper: what is opaque is the ink
        paper = 255.0
    share = alpha / 255.0
    return np.floor(grey * share + paper * (1 - share) + 0.5).astype(np.uint8)


def scale(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resizes uint8 (h, w) to uint8 (height, width) with the integer area filter."""
    h, w = pixels.shape
    if (h, w) == (height, width):
        return pixels
    area = h * w
    # Sums end below 256 times the area; unsigned integers may wrap on the way there, and the smaller are the faster.
    unsigned = np.uint32 if 256 * area <= 2**32 else np.uint64
    rows = _area_sums(pixels, height, unsigned)
    sums = _area_sums(np.ascontiguousarray(rows.T), width, unsigned)
    return np.ascontiguousarray(((sums + unsigned(area // 2)) // unsigned(area)).astype(np.uint8).T)


def _area_sums(values: NDArray, n: int, unsigned: type[np.uint32 | np.uint64]) -> NDArray[np.unsignedinteger]:
    """Sums over n equal intervals of the rows, in units of 1/n of an input pixel: (m, w) to (n, w)."""
    m, w = values.shape
    edges = np.arange(n + 1, dtype=np.int64) * m
    whole, part = edges // n, (edges % n).astype(unsigned)
    total = np.zeros((m + 1, w), unsigned)
    np.cumsum(values, 0, dtype=unsigned, out=total[1:])
    reached = total.take(whole, 0) * unsigned(n)
    reached += values.take(np.minimum(whole, m - 1), 0) * part[:, None]
    return np.diff(reached, axis=0)


def resize_to_height(
    pixels: NDArray[np.uint8], height: int, max_width: int, name: str = "the image"
) -> NDArray[np.uint8]:
    """Scales a grey line, uint8 (h, w), to uint8 (height, round(w · height / h)), at least one pixel wide.

    Args:
        pixels: the line as loaded.
        height: the model's height in pixels.
        max_width: the widest result allowed, from the model's card.
        name: what to call the image in an error.

    Raises:
        HtrError: the array is not a grey image, has no pixels, or would be wider than `max_width`.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise HtrError(f"{name} is not a grey image: expected uint8 (height, width), got {pixels.dtype} {pixels.shape}")
    h, w = pixels.shape
    if h == 0 or w == 0:
        raise HtrError(f"{name} has no pixels: its size is {w}x{h}")
    width = max(1, (2 * w * height + h) // (2 * h))
    if width > max_width:
        raise HtrError(
            f"{name} is {width} pixels wide at height {height}; the model reads up to {max_width}: split the line"
        )
    return scale(pixels, height, width)


def pad(lines: Sequence[NDArray[np.uint8]], step: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Batches lines uint8 (H, w): uint8 (B, 1, H, W), W a multiple of `step`, and their widths int32 (B,)."""
    widths = np.array([line.shape[1] for line in lines], np.int32)
    pixels = np.full((len(lines), 1, lines[0].shape[0], -(-int(widths.max()) // step) * step), PAPER, np.uint8)
    for row, line in zip(pixels, lines, strict=True):
        row[0, :, : line.shape[1]] = line
    return pixels, widths
