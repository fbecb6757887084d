"""Timing several artefacts so that their ratios hold on a machine that others use too.

The rounds are interleaved (A B C A B C ...), so a slow minute slows all of them, and a speed-up is the median
of the ratios within each round. The first round warms up and is not counted.
"""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from htrcompress.errors import HtrError

SINGLES = 24
"""Lines that are read one by one in every round, for the latency."""


class Reader(Protocol):
    """What is timed: `htrcompress.runtime.Recognizer`."""

    def read(self, images: Iterable[Any], batch_size: int = 32) -> Sequence[Any]:
        """Reads the lines."""


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over the rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of some values."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one line alone: the median and what 95 % of the readings stay below."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Timing:
    """What one artefact took.

    Attributes:
        lines: lines read in a round.
        rounds: seconds for all of them from memory, a value for each round.
        singles: seconds for one line at batch 1, a value for each reading.
        files: seconds for all of them from image files, a value for each round.
    """

    lines: int
    rounds: list[float]
    singles: list[float]
    files: list[float] = field(default_factory=list)

    @property
    def lines_per_second(self) -> Spread:
        """Speed from memory over the rounds."""
        return self._speed(self.rounds)

    @property
    def files_per_second(self) -> Spread | None:
        """Speed from image files over the rounds; None where it was not measured."""
        return self._speed(self.files) if self.files else None

    def _speed(self, rounds: list[float]) -> Spread:
        return Spread.of([self.lines / seconds for seconds in rounds])

    @property
    def latency_ms(self) -> Latency:
        """Time for one line at batch 1."""
        p50, p95 = np.percentile(self.singles, (50, 95))
        return Latency(1000 * float(p50), 1000 * float(p95))

    def speedup_over(self, other: "Timing") -> float:
        """How many times faster than `other`: the median of the rounds' ratios."""
        return statistics.median(theirs / ours for theirs, ours in zip(other.rounds, self.rounds, strict=True))


def require_positive(**options: int) -> None:
    """Raises HtrError where an option that counts something is below 1."""
    for name, value in options.items():
        if value < 1:
            raise HtrError(f"--{name} is {value}; it must be at least 1")


def measure(
    readers: Sequence[Reader], pictures: Sequence[Any], batch: int, rounds: int, files: Sequence[Path] = ()
) -> list[Timing]:
    """Times every reader on the same pictures, round by round in turn.

    Args:
        readers: the artefacts.
        pictures: what they read; all in batches, and `SINGLES` of them also one by one.
        batch: lines in a batch.
        rounds: counted rounds; one more comes first, to warm up.
        files: the same pictures as image files, which are read right after; not timed if there are none.
    """
    timings = [Timing(len(pictures), [], []) for _ in readers]
    singles = evenly(pictures, SINGLES)
    for number in range(rounds + 1):
        for reader, timing in zip(readers, timings, strict=True):
            seconds = _seconds(reader, pictures, batch)
            from_files = _seconds(reader, files, batch) if files else None
            alone = [_seconds(reader, [picture], 1) for picture in singles]
            if number > 0:
                timing.rounds.append(seconds)
                timing.files.extend([from_files] if from_files else [])
                timing.singles.extend(alone)
    return timings


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, spread evenly over all of them."""
    count = min(count, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def _seconds(reader: Reader, pictures: Sequence[Any], batch: int) -> float:
    start = time.perf_counter()
    reader.read(pictures, batch)
    return time.perf_counter() - start
