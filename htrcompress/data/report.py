"""What a dataset holds, counted: lines, characters, sizes, what CTC cannot emit, and what splits share.

`python -m htrcompress.data PATH` shows it. Everything is counted from texts and sizes; nothing is read here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import Charset
from htrcompress.data.characters import characters_of, charset_of
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.packed import PackedLines
from htrcompress.data.sizes import Sizes
from htrcompress.decoding import reference

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
"""Of widths and heights: the smallest, the median, the largest, and what nine of ten lie between."""


@dataclass(frozen=True)
class SplitReport:
    """One split.

    Attributes:
        lines: how many it has.
        characters: of all texts together.
        groups, pages: how many different ones its lines name.
        unknown: characters that no training line has, with counts.
        hash: of ids and texts (`Dataset.identity`).
        trained_on: lines whose image a training line has too.
        widths: quantiles in pixels at the model's height; empty where no size is known.
        heights: quantiles in pixels of the images as they are.
        not_emittable: lines with more characters than frames.
        examples: ids of a few of these.
        unmeasured: lines whose size is not known.
    """

    lines: int
    characters: int
    groups: int
    pages: int
    unknown: dict[str, int]
    hash: str
    trained_on: int
    widths: list[int]
    heights: list[int]
    not_emittable: int
    examples: list[str]
    unmeasured: int


@dataclass(frozen=True)
class Shared:
    """What two splits have in common.

    Attributes:
        first, second: the splits.
        what: `page`, `group` or `text`.
        values: how many pages, groups or texts are in both.
        lines: lines of the second split that have one of these.
        examples: a few of them.
    """

    first: str
    second: str
    what: str
    values: int
    lines: int
    examples: list[str]


def report_split(
    dataset: Dataset,
    name: str,
    measured: Sizes | None,
    train: Counter[str] | None,
    charset: Charset | None,
    height: int,
    stride: int,
) -> SplitReport:
    """Counts what is in a split.

    Args:
        dataset: the dataset.
        name: of the split.
        measured: sizes of its images; None if these were not looked at.
        train: characters of the training lines; None where there are none.
        charset: of the training lines; None where there are none.
        height: of a model's lines, in pixels.
        stride: of a model, in pixels a frame.
    """
    lines = dataset.splits[name]
    characters = characters_of(lines)
    unknown = {} if train is None else {c: n for c, n in characters.most_common() if c not in train}
    known = charset or (charset_of(lines) if characters else None)
    widths = measured.at(height) if measured else np.zeros(len(lines), np.int64)
    tight = _not_emittable(lines, widths, known, stride)
    return SplitReport(
        lines=len(lines),
        characters=characters.total(),
        groups=len(set(_column(lines, "group")) - {""}),
        pages=len(set(_column(lines, "page")) - {""}),
        unknown=unknown,
        hash=dataset.identity(name),
        trained_on=dataset.trained_on(name),
        widths=_quantiles(widths),
        heights=_quantiles(measured.heights) if measured else [],
        not_emittable=len(tight),
        examples=[lines[row].id for row in tight[:3].tolist()],
        unmeasured=int((widths == 0).sum()),
    )


def _not_emittable(
    lines: Sequence[Line], widths: NDArray[np.int64], charset: Charset | None, stride: int
) -> NDArray[np.int64]:
    """The rows of lines of known width that have too few frames for their text."""
    if charset is None or not widths.any():
        return np.zeros(0, np.int64)
    if isinstance(lines, PackedLines):
        needed = lines.frames_needed(charset)
    else:
        needed = np.array([reference.frames_needed(charset.encode(line.text)) for line in lines], np.int64)
    return np.flatnonzero((widths > 0) & (needed > -(-widths // stride)))


def _quantiles(values: NDArray[np.int64]) -> list[int]:
    known = values[values > 0]
    return np.quantile(known, QUANTILES, method="nearest").astype(int).tolist() if len(known) else []


def _column(lines: Sequence[Line], name: str) -> Iterable[str]:
    return lines.strings(name) if isinstance(lines, PackedLines) else (getattr(line, name) for line in lines)


def shared(dataset: Dataset) -> list[Shared]:
    """The pages, groups and texts that training or validation lines have in common with those of other splits."""
    names = sorted((name for name, lines in dataset.splits.items() if lines), key=rank)
    pairs = [
        (first, second)
        for first, second in combinations(names, 2)
        if not (first.startswith("test") and second.startswith("test"))  # one is often a part of the other
    ]
    return [found for pair in pairs for what in ("page", "group", "text") if (found := _shared(dataset, *pair, what))]


def rank(split: str) -> int:
    """The place of a split among others: training first, then validation."""
    return 0 if split == "train" else 1 if split.startswith("valid") else 2


def _shared(dataset: Dataset, first: str, second: str, what: str) -> Shared | None:
    known = set(_column(dataset.splits[first], what)) - {""}
    both = Counter(value for value in _column(dataset.splits[second], what) if value in known)
    if not both:
        return None
    return Shared(first, second, what, len(both), both.total(), [value for value, _ in both.most_common(3)])


def oddness(lines: Sequence[Line], widths: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the width a character of each line is from that of all, as the logarithm of a ratio; 0 where unknown.

    A text that does not belong to its image, a line cut off, or two lines in one image stand out.
    """
    lengths = np.array([len(text) for text in _column(lines, "text")], np.int64)
    ok = (widths > 0) & (lengths > 0)
    ratio = np.log(np.maximum(widths, 1) / (np.maximum(lengths, 1) + 1.0))  # the margins are about a character wide
    return np.where(ok, ratio - np.median(ratio[ok]), 0.0) if ok.any() else np.zeros(len(lines))
