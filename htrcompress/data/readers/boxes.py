"""`Box`: a line that is a rectangle on the image of its page, for formats that have no more than that."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.pages.crop import cut_box
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

    def __call__(self) -> NDArray[np.uint8]:
        return cut_box(Scan(self.page, 0, 0).pixels(), self.left, self.top, self.right, self.bottom)
