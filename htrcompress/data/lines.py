"""What a dataset is here: lines of handwriting, each an image with its text, in named splits.

A `Line` does not hold pixels: it knows how to get them, so a dataset of a million lines opens at once.
Readers (`tsv.py`, `synthetic.py`, ...) make these; nothing downstream knows which reader did.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError
from htrcompress.image import load_grey


@dataclass(frozen=True)
class Line:
    """One line of handwriting.

    Attributes:
        id: unique in its dataset and stable from run to run, for example the image's relative path.
        text: the transcription, NFC with white space collapsed (see `charset.clean_text`).
        split: `train`, `valid`, `test` or another named split.
        image: where the pixels come from: a file, or a function that returns them.
        group: what errors are broken down by, if anything: a font, a hand, a page.
    """

    id: str
    text: str
    split: str
    image: Path | Callable[[], NDArray[np.uint8]]
    group: str = ""

    def pixels(self) -> NDArray[np.uint8]:
        """The grey image, uint8 (height, width), dark ink on light paper, at its own size."""
        return load_grey(self.image) if isinstance(self.image, Path) else self.image()


@dataclass(frozen=True)
class Dataset:
    """Lines in named splits, and what the reader left out and why.

    Attributes:
        name: what to call it in tables.
        format: the reader that opened it, such as `tsv` or `synthetic`.
        splits: split name to its lines, in the reader's order.
        dropped: reason to number of lines that the reader left out.
    """

    name: str
    format: str
    splits: dict[str, list[Line]]
    dropped: dict[str, int] = field(default_factory=dict)

    def split(self, name: str) -> list[Line]:
        """The lines of one split.

        Raises:
            HtrError: the dataset has no such split, or it is empty.
        """
        lines = self.splits.get(name)
        if not lines:
            have = ", ".join(f"{split} ({len(lines)})" for split, lines in self.splits.items() if lines) or "none"
            raise HtrError(f"dataset {self.name} has no lines in split '{name}'; it has: {have}")
        return lines

    def identity(self, name: str) -> str:
        """A short hash of a split's ids and texts: equal hashes mean the same lines in the same order."""
        digest = hashlib.sha256()
        for line in self.splits.get(name, []):
            digest.update(f"{line.id}\t{line.text}\n".encode())
        return digest.hexdigest()[:16]
