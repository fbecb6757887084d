"""`Line` and `Dataset`: lines of handwriting, each an image with its text, in named splits.

A `Line` does not hold pixels but knows how to get them, so a dataset of a million lines opens in seconds. Readers
(`readers/tsv.py`, ...) make these; nothing downstream knows which reader did. A split is a sequence of lines: a list,
or `LazyLines`, which hold no object for a line.
"""

import hashlib
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.lazy import Lazy, chosen
from htrcompress.errors import HtrError
from htrcompress.image_files import load_grey


@dataclass(frozen=True, slots=True)
class Line:
    """One line of handwriting.

    Attributes:
        id: unique in its dataset and stable from run to run, for example the image's relative path.
        text: the transcription, NFC with white space collapsed (see `charset.clean_text`).
        split: `train`, `valid`, `test` or another named split.
        image: where the pixels come from: a file, or a function that returns them. Such a function may have a method
            `size()` that tells the width and height without decoding anything.
        group: what errors are broken down by, if anything: a font, a hand, a page.
        page: the page that the line stands on, if that is known; a split by page keeps its lines together.
        origin: equal for lines that show the same image; empty where the image's file or the id tells that.
    """

    id: str
    text: str
    split: str
    image: Path | Callable[[], NDArray[np.uint8]]
    group: str = ""
    page: str = ""
    origin: str = ""

    def pixels(self) -> NDArray[np.uint8]:
        """The grey image, uint8 (height, width), dark ink on light paper, at its own size; it may be read-only."""
        return load_grey(self.image) if isinstance(self.image, Path) else self.image()

    @property
    def source(self) -> str:
        """What is equal for lines of a dataset that show the same image."""
        return self.origin or (os.path.normpath(self.image) if isinstance(self.image, Path) else self.id)


class LazyLines(Lazy[Line]):
    """Lines that are made when they are asked for."""

    def sources(self) -> Iterable[object]:
        """The source of every line (`Line.source`)."""
        return (line.source for line in self)

    @property
    def known_hash(self) -> str | None:
        """The hash of these lines (`Dataset.identity`), where it was stored with them."""
        return None

    def require_height(self, height: int) -> None:
        """Refuses a model's height that the images would have to be enlarged to, where they are stored smaller.

        Raises:
            HtrError: they are.
        """


class NamedLines(LazyLines):
    """The lines of one dataset among several, named after it and grouped by it."""

    def __init__(self, lines: Sequence[Line], name: str):
        super().__init__(self._line, range(len(lines)))
        self.lines, self.name = lines, name

    def _line(self, place: int) -> Line:
        line = self.lines[place]
        page, origin = (f"{self.name}/{of}" if of else "" for of in (line.page, line.origin))
        return replace(line, id=f"{self.name}/{line.id}", group=self.name, page=page, origin=origin)

    def chosen(self, indices: Sequence[int]) -> "NamedLines":
        """See `Lazy.chosen`."""
        return NamedLines(chosen(self.lines, indices), self.name)

    def require_height(self, height: int) -> None:
        """See `LazyLines.require_height`."""
        require_height(self.lines, height)


class JoinedLines(LazyLines):
    """The lines of several sequences, one after the other."""

    def __init__(self, parts: Sequence[Sequence[Line]]):
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])
        super().__init__(self._line, range(int(self.starts[-1])))

    def __iter__(self) -> Iterator[Line]:
        return chain.from_iterable(self.parts)

    def _line(self, place: int) -> Line:
        part = int(np.searchsorted(self.starts, place, "right")) - 1
        return self.parts[part][place - int(self.starts[part])]

    def chosen(self, indices: Sequence[int]) -> Sequence[Line]:
        """See `Lazy.chosen`; indices that rise keep the parts apart."""
        rows = np.asarray(indices, np.int64)
        if (np.diff(rows) < 0).any():
            return [self[int(row)] for row in rows]
        cuts = np.searchsorted(rows, self.starts)
        spans = zip(self.parts, self.starts[:-1], cuts, cuts[1:], strict=False)
        return JoinedLines([chosen(part, (rows[a:b] - start).tolist()) for part, start, a, b in spans])

    def require_height(self, height: int) -> None:
        """See `LazyLines.require_height`."""
        for part in self.parts:
            require_height(part, height)


@dataclass(frozen=True)
class Packing:
    """How a dataset was packed (`data/packed.py`).

    Attributes:
        folder: where it is.
        height: of the images, in pixels; None for images at their own height.
        read: how its texts were read, as `--read` has it.
    """

    folder: Path
    height: int | None
    read: dict[str, Any]

    def require(self, height: int) -> None:
        """Refuses a model's height above that of the images, which would have to be enlarged.

        Raises:
            HtrError: it is above.
        """
        if self.height is not None and height > self.height:
            raise HtrError(
                f"{self.folder} is packed at a height of {self.height} pixels, and the model reads {height}: pack its "
                f"source with --height {height}"
            )


@dataclass(frozen=True)
class Dataset:
    """Lines in named splits, and what the reader left out and why.

    Attributes:
        name: what to call it in tables.
        format: the reader that opened it, such as `tsv` or `synthetic`; of a packed dataset, the one that opened its
            source.
        splits: split name to its lines, in the reader's order.
        dropped: reason to number of lines that the reader left out.
        changed: what the reader changed in texts, and how often.
        broken: reason to the lines that the reader left out because something is wrong with them; `open_dataset`
            refuses more than a share of them, and counts them in `dropped` as well.
        packing: how it was packed; None if it was not.
        notes: sentences on what does not fit together, where it is several datasets.
    """

    name: str
    format: str
    splits: Mapping[str, Sequence[Line]]
    dropped: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    broken: Mapping[str, Sequence[str]] = field(default_factory=dict)
    packing: Packing | None = None
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> Sequence[Line]:
        """The lines of one split.

        Raises:
            HtrError: the dataset has no such split, or it is empty.
        """
        lines = self.splits.get(name)
        if not lines:
            have = ", ".join(f"{split} ({len(lines)})" for split, lines in self.splits.items() if lines) or "none"
            raise HtrError(f"dataset {self.name} has no lines in split '{name}'; it has: {have}")
        return lines

    def require_height(self, height: int) -> None:
        """Refuses a model's height that the images were packed below; see `Packing.require`."""
        for lines in self.splits.values():
            require_height(lines, height)

    def limited(self, name: str, count: int | None, seed: int) -> "Dataset":
        """The dataset with at most `count` lines of one split, drawn by the seed and kept in their order.

        A smaller count draws a part of what a larger one draws.
        """
        lines = self.split(name)
        if count is None or count >= len(lines):
            return self
        drawn = random.Random(f"lines/{seed}").sample(range(len(lines)), len(lines))[:count]
        return replace(self, splits={**self.splits, name: chosen(lines, sorted(drawn))})

    def trained_on(self, name: str) -> int:
        """How many lines of a split have an image that the training split has too."""
        if name == "train" or "train" not in self.splits:
            return 0
        known = set(_sources(self.splits["train"]))
        return sum(source in known for source in _sources(self.splits[name]))

    def identity(self, name: str) -> str:
        """A short hash of a split's ids and texts: equal hashes mean the same lines in the same order.

        The ids of joined datasets count without the folders' names, which may change.
        """
        lines = self.splits.get(name, [])
        if isinstance(lines, LazyLines) and lines.known_hash:
            return lines.known_hash
        digest = hashlib.sha256()
        for line in lines:
            known = line.id.partition("/")[2] if "+" in self.format else line.id
            digest.update(f"{known}\t{line.text}\n".encode(errors="surrogateescape"))  # a file's name may not be UTF-8
        return digest.hexdigest()[:16]


def require_height(lines: Sequence[Line], height: int) -> None:
    """See `LazyLines.require_height`; lists have images of any height."""
    if isinstance(lines, LazyLines):
        lines.require_height(height)


def _sources(lines: Sequence[Line]) -> Iterable[object]:
    return lines.sources() if isinstance(lines, LazyLines) else (line.source for line in lines)
