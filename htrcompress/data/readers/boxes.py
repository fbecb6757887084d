"""`Box`: a line that is a rectangle on the image of its page, for formats that have no more than that."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.image_files import size_of
from htrcompress.pages.crop import cut_box
from htrcompress.pages.fields import FURTHEST, number
from htrcompress.pages.images import Scan


@dataclass(frozen=True)
class Box:
    """A function that gives the pixels of a rectangle; the page is decoded once for its lines.

    Attributes:
        page: the page's image.
        left: in pixels, as `top`, `right` and `bottom` are; what is beyond the page's edges is left out.
    """

    page: Path
    left: float
    top: float
    right: float
    bottom: float

    def size(self) -> tuple[int, int]:
        """Width and height, from the header of the page's image; 0 where nothing of the box is on the page."""
        width, height = _size(self.page)
        wide = min(width, math.ceil(self.right)) - max(0, math.floor(self.left))
        high = min(height, math.ceil(self.bottom)) - max(0, math.floor(self.top))
        return max(wide, 0), max(high, 0)

    def __call__(self) -> NDArray[np.uint8]:
        return cut_box(Scan(self.page, 0, 0).pixels(), self.left, self.top, self.right, self.bottom)


def whole(value: str | None) -> int | None:
    """A whole number of pixels as a file states it; None where there is none, or none that a page has."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() and abs(found) <= FURTHEST else None


@lru_cache(maxsize=64)
def _size(page: Path) -> tuple[int, int]:
    with open(page, "rb") as file:
        return size_of(file, str(page))
