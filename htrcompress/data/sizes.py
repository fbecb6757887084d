"""The sizes of a dataset's images, from their headers or decoded, and the images that cannot be read."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.lines import Dataset, JoinedLines, Line
from htrcompress.data.loading import named
from htrcompress.data.packed import PackedLines
from htrcompress.errors import HtrError
from htrcompress.image import scaled_widths
from htrcompress.image_files import size_of
from htrcompress.utils import machine

Progress = Callable[[int, int], None]
"""Called with the number of lines that are done, and with that of all."""
_AT_ONCE = 1024


@dataclass(frozen=True)
class Sizes:
    """Sizes of the images of some lines.

    Attributes:
        widths: in pixels, int64; 0 where unknown.
        heights: in pixels, int64; 0 where unknown.
        errors: what is wrong with the images that cannot be read, one sentence for each image.
    """

    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    errors: list[str]

    def at(self, height: int) -> NDArray[np.int64]:
        """The widths of the images scaled to a height (as `resize_to_height` does), int64; 0 where unknown."""
        return scaled_widths(self.widths, self.heights, height)


def measure_splits(
    dataset: Dataset, decode: bool, progress: Progress = lambda done, total: None
) -> tuple[dict[str, Sizes], list[str]]:
    """The sizes of all images by split, and what is wrong with those that cannot be read; see `measure`."""
    splits = dataset.splits
    if dataset.packing:
        measured = {name: measure(lines, decode) for name, lines in splits.items()}
        return measured, [error for sizes in measured.values() for error in sizes.errors]
    every = measure(JoinedLines(list(splits.values())), decode, progress)  # splits may share images
    ends = np.cumsum([len(lines) for lines in splits.values()])
    starts = np.concatenate(([0], ends[:-1]))
    spans = {name: slice(a, b) for name, a, b in zip(splits, starts, ends, strict=False)}
    return {name: Sizes(every.widths[at], every.heights[at], []) for name, at in spans.items()}, every.errors


def measure(lines: Sequence[Line], decode: bool, progress: Progress = lambda done, total: None) -> Sizes:
    """The sizes of the images of some lines.

    Args:
        lines: of one split or several; an image that several lines share is looked at once.
        decode: whether to decode every image, which finds damaged ones; without it, headers are read. Images that a
            function gives have a size then only if it has a method `size()`, as lines that are cut from pages do.
        progress: called after every thousand lines or so.
    """
    if isinstance(lines, PackedLines):
        problems = lines.strings("problem")
        broken = np.flatnonzero(lines.column("height") == 0).tolist()
        wide, high = (lines.column(name).astype(np.int64) for name in ("width", "height"))
        return Sizes(wide, high, [problems[i] for i in broken])
    widths, heights = np.zeros(len(lines), np.int64), np.zeros(len(lines), np.int64)
    errors: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    with ThreadPoolExecutor(machine.cores()) as pool:
        for start in range(0, len(lines), _AT_ONCE):
            some = [(line.source, line) for line in lines[start : start + _AT_ONCE]]
            new = {source: line for source, line in some if source not in sizes}
            for source, found in zip(new, pool.map(lambda line: _size(line, decode), new.values()), strict=True):
                sizes[source] = (0, 0) if isinstance(found, str) else found
                if isinstance(found, str):
                    errors[source] = found
            widths[start : start + len(some)], heights[start : start + len(some)] = zip(
                *(sizes[source] for source, _ in some), strict=True
            )
            progress(start + len(some), len(lines))
    return Sizes(widths, heights, list(errors.values()))


def _size(line: Line, decode: bool) -> tuple[int, int] | str:
    """Width and height of a line's image, or what is wrong with it."""
    try:
        if decode:
            high, wide = line.pixels().shape
            return wide, high
        if isinstance(line.image, Path):
            with open(line.image, "rb") as file:
                return size_of(file, str(line.image))
        found: tuple[int, int] = line.image.size() if hasattr(line.image, "size") else (0, 0)
        return found
    except FileNotFoundError:
        return f"{line.id}: no image at {line.image}"
    except HtrError as error:
        return named(line.id, error)
    except Exception as error:  # a plug-in reader's function gives the pixels, and decoders raise nearly anything
        return f"{line.id}: {type(error).__name__}: {error}"
