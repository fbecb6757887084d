"""`StoredImage`: the image of a line that a table of a dataset holds as the bytes of an image file."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError
from htrcompress.image_files import read_grey, size_of


class ImageTable(Protocol):
    """A file with images in it, which can be pickled."""

    @property
    def path(self) -> Path:
        """The file."""

    def image(self, *place: Any) -> bytes | None:
        """The bytes of the image at a place; None where there is none."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A function that gives the pixels of one image of a table, decoded when they are asked for.

    Attributes:
        table: the file that holds it.
        place: where, as `table.image` takes it.
        name: what errors call it.
    """

    table: ImageTable
    place: tuple[Any, ...]
    name: str

    def __call__(self) -> NDArray[np.uint8]:
        return read_grey(self._file(), self.name)

    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the header."""
        return size_of(self._file(), self.name)

    def _file(self) -> BytesIO:
        data = self.table.image(*self.place)
        if not isinstance(data, bytes) or not data:
            raise HtrError(f"{self.name} in {self.table.path} has no image")
        return BytesIO(data)
