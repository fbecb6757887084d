"""`Line` and `Dataset`: lines of handwriting, each an image with its text, in named splits.

A `Line` does not hold pixels but knows how to get them, so a dataset of a million lines opens in seconds. Readers
(`readers/tsv.py`, ...) make these; nothing downstream knows which reader did.
"""

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError
from htrcompress.image import load_grey


@dataclass(frozen=True, slots=True)
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
        changed: what the reader changed in texts, and how often.
    """

    name: str
    format: str
    splits: dict[str, list[Line]]
    dropped: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

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

    def limited(self, name: str, count: int | None, seed: int) -> "Dataset":
        """The dataset with at most `count` lines of one split, drawn by the seed and kept in their order.

        A smaller count draws a part of what a larger one draws.
        """
        lines = self.split(name)
        if count is None or count >= len(lines):
            return self
        drawn = random.Random(f"lines/{seed}").sample(range(len(lines)), len(lines))[:count]
        return replace(self, splits={**self.splits, name: [lines[i] for i in sorted(drawn)]})

    def trained_on(self, name: str) -> int:
        """How many lines of a split have an image that the training split has too."""

        def source(line: Line) -> str:
            return os.path.normpath(line.image) if isinstance(line.image, Path) else line.id

        known = {source(line) for line in self.splits.get("train", ())}
        return 0 if name == "train" else sum(source(line) in known for line in self.splits[name])

    def identity(self, name: str) -> str:
        """A short hash of a split's ids and texts: equal hashes mean the same lines in the same order.

        The ids of joined datasets count without the folders' names, which may change.
        """
        digest = hashlib.sha256()
        for line in self.splits.get(name, []):
            known = line.id.partition("/")[2] if "+" in self.format else line.id
            digest.update(f"{known}\t{line.text}\n".encode(errors="surrogateescape"))  # a file's name may not be UTF-8
        return digest.hexdigest()[:16]
