"""From whatever a caller hands over to a line as the network reads it: grey, dark on light, of the model's height."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from htrcompress.errors import HtrError
from htrcompress.grey import to_grey
from htrcompress.image import PAPER, resize_to_height
from htrcompress.image_files import load_grey, read_grey

Pixels = NDArray[np.uint8]
Bytes = bytes | bytearray | memoryview
Picture = str | os.PathLike[str] | Bytes | BinaryIO | Pixels | Image.Image | Callable[[], Pixels]
"""A path; an image file's bytes; a binary file object; uint8 grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4); a PIL image;
or a function that gives an array, which is called in another thread."""
Invert = Literal["never", "auto", "always"]
"""Which pictures are turned into their negatives: light ink on dark paper is what networks are not trained on."""
LIGHT_INK = "it looks like light ink on dark paper, which reads as nonsense: read it with invert 'auto'"
NO_LINE = (
    "it has the shape of a page or of a turned line, not of one upright line of writing: lines are cut out of their "
    "page first, or read by way of its PAGE or ALTO file"
)
PAGE_HEIGHT, LINE_SHAPE = 400, 2
"""A picture of at least so many pixels in height and less than so many times its height in width is hardly a line."""

SAMPLE_STEP = 3
"""Every third row and column tells ink from paper."""
DARK_SHARE = 0.6
"""Of a line with light ink, at least this share is darker than the middle between ink and paper."""
MIN_CONTRAST = 40


@dataclass(frozen=True)
class PreparedLine:
    """A picture that is ready for the network.

    Attributes:
        pixels: uint8 (height, w).
        hint: what the caller should know about it; empty if nothing.
        width: of the picture before it was scaled; 0 if it is not known.
    """

    pixels: Pixels
    hint: str = ""
    width: int = 0


def prepare(
    picture: Picture, number: int, height: int, max_width: int, invert: Invert = "never"
) -> PreparedLine | HtrError:
    """Decodes and scales a picture; the error where that cannot be done.

    Args:
        picture: see `Picture`.
        number: its place among those that are read, counted from 1, to name it by.
        height: the model's height in pixels.
        max_width: the widest line that the model reads.
        invert: which pictures are turned into their negatives.
    """
    name = _path(picture) if isinstance(picture, str | os.PathLike) else f"image {number}"
    try:
        grey = _grey(picture, name)
        if invert == "always":
            grey = PAPER - grey
        pixels, width = resize_to_height(grey, height, max_width, name), grey.shape[1]
        shape = "" if is_line_shaped(grey) else NO_LINE
        if invert == "always" or not is_light_on_dark(pixels):
            return PreparedLine(pixels, shape, width)
        if invert == "never":
            return PreparedLine(pixels, shape or LIGHT_INK, width)
        return PreparedLine(resize_to_height(PAPER - grey, height, max_width, name), shape, width)
    except HtrError as error:
        return error
    except MemoryError:
        return HtrError(f"{name} needs more memory than there is: read a smaller picture of it")
    except Exception as error:  # a caller's function or file object
        return HtrError(f"cannot read {name}: {type(error).__name__}: {error}")


def is_line_shaped(grey: Pixels) -> bool:
    """Whether a picture, uint8 (h, w), may be one line; a page and a line that stands on its end are not."""
    height, width = grey.shape
    return height < PAGE_HEIGHT or width >= LINE_SHAPE * height


def is_light_on_dark(pixels: Pixels) -> bool:
    """Whether a line, uint8 (h, w), shows light ink on dark paper.

    Paper covers most of a line, and of its first and last rows too. A line is called light on dark only if both say so
    clearly, since a wrong yes would cost a line that reads well.
    """
    sample = pixels[::SAMPLE_STEP, ::SAMPLE_STEP]
    rank = sample.size // 50  # a few pixels may be dirt
    values = np.partition(sample, (rank, sample.size - 1 - rank), axis=None)
    low, high = int(values[rank]), int(values[-1 - rank])
    if high - low < MIN_CONTRAST:
        return False
    middle = (low + high) / 2
    edge = pixels[[0, -1], ::SAMPLE_STEP]
    return bool((sample < middle).mean() > DARK_SHARE and (edge < middle).mean() > DARK_SHARE)


def _grey(picture: Picture, name: str) -> Pixels:
    if isinstance(picture, str | os.PathLike):
        return load_grey(Path(_path(picture)))
    if isinstance(picture, bytes | bytearray | memoryview):
        return read_grey(io.BytesIO(picture), name)
    if callable(picture):
        picture = picture()
    elif hasattr(picture, "read") and not isinstance(picture, Image.Image):
        return read_grey(io.BytesIO(picture.read()), name)
    return to_grey(picture, name)


def _path(path: str | os.PathLike[str]) -> str:
    return os.fsdecode(os.fspath(path))
