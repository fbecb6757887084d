"""From a picture's file to the pixels that a model reads, as htrcompress makes them; embed.py uses it.

numpy and pillow are all that it needs. The project's tests hold it equal to htrcompress on pictures of every mode.
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

WHITE = 255
FORMATS = ("PNG", "JPEG", "JPEG2000", "WEBP", "TIFF", "BMP", "GIF", "PPM")  # others may start programs
MAX_PIXELS = 100_000_000  # larger pictures are refused before they are decoded


def area_sums(values: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """(m, k) to (n, k): sums over n equal intervals of the first axis, in units of 1/n of an input row."""
    whole, part = np.divmod(np.arange(n + 1) * len(values), n)
    none = np.zeros_like(values[:1], np.int64)
    before = np.concatenate((none, np.cumsum(values, 0, dtype=np.int64)))
    following = np.concatenate((values, none))
    return np.diff(n * before[whole] + part[:, None] * following[whole], axis=0)


def scale(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resizes uint8 (h, w) to uint8 (height, width): the exact mean over each pixel's area, rounded half up."""
    area = pixels.size
    sums = area_sums(area_sums(pixels, height).T, width).T
    return ((2 * sums + area) // (2 * area)).astype(np.uint8)


def to_grey(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture of any mode as uint8 (h, w); what is transparent becomes its paper."""
    if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # as a phone held upright writes it
        picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] in "IF":  # 16-bit PNGs arrive as I;16, or as I in some versions of Pillow
        values = np.asarray(picture, np.float64)
        low, high = values.min(initial=0), values.max(initial=0)
        if not (low >= 0 and (1 < high < 256 or 4096 <= high < 65536 or not high)):
            raise ValueError(f"its values are from {low:g} to {high:g}, which is neither 8 bits nor 16: convert it")
        return (values if high < 256 else values / 256).astype(np.uint8)
    if not picture.has_transparency_data:
        return np.array(picture.convert("L"))
    picture = picture.convert("RGBA")
    grey, alpha = np.asarray(picture.convert("RGB").convert("L")), np.asarray(picture)[:, :, 3]
    shown = grey[alpha > 127]
    paper = max(np.median(shown), shown.mean()) if shown.size else WHITE
    if paper < 128:  # darker than any paper: what is opaque is the ink
        paper = WHITE
    return np.floor(grey * (alpha / 255) + paper * (1 - alpha / 255) + 0.5).astype(np.uint8)


def load_line(path: str, height: int, max_width: int) -> NDArray[np.uint8]:
    """A picture of dark ink on light paper as uint8 (height, width in proportion)."""
    if not Path(path).is_file():
        raise ValueError(f"no image at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size, which is checked below, and of odd metadata
            # Of a path, Pillow maps a plain TIFF into memory, and turns that wrongly.
            with open(path, "rb") as file, Image.open(file, formats=FORMATS) as picture:
                w, h = picture.size
                if w * h > MAX_PIXELS:
                    raise ValueError(f"it has {w}x{h} pixels; the limit is {MAX_PIXELS}")
                pixels = to_grey(picture)
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ValueError(f"cannot read the image {path}: {error}") from None
    h, w = pixels.shape  # which a turn has swapped
    width = max(1, (2 * w * height + h) // (2 * h))
    if width > max_width:
        raise ValueError(f"{path} is {width} pixels wide at height {height}; the model reads up to {max_width}")
    return scale(pixels, height, width)
