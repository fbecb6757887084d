"""How reading time grows: `python benchmarks/studies/scaling.py MODEL --data DIR`.

Four sweeps, each of which `--sweeps` can name alone: over the lines in a batch, over threads, over the width of lines,
and over the number of lines. For width and number a power law is fitted, time ~ x^exponent: 1 is linear. Every value
has its turn in every round.

    python benchmarks/studies/scaling.py MODEL --data DIR --sweeps batch
    python benchmarks/studies/scaling.py MODEL --data DIR --sweeps corpus --corpus 100,1000,10000,100000
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import command_line, save, this_machine
from benchmarks.splits import Pixels, Split
from benchmarks.timing import require_positive
from htrcompress import runs
from htrcompress.cli import console, run_command
from htrcompress.errors import HtrError
from htrcompress.image import scale
from htrcompress.runtime import Recognizer, load

SWEEPS = ("batch", "threads", "width", "corpus")
DRAWS = 2000


@dataclass(frozen=True)
class ScalingOptions:
    """Times one model over the lines in a batch, threads, the width of lines and the number of lines."""

    model: str | Path | None = None
    """A model's name or file, or a run folder; the student of the newest run, or the model that ships, if not given."""
    data: str | None = None
    """A dataset's folder; what the model was trained on if not given."""
    split: str = "test"
    """The split whose lines are read."""
    sweeps: str = "batch,threads,width,corpus"
    """The sweeps to make, with commas between."""
    batches: str = "1,2,4,8,16,32,64,128"
    """Lines in a batch, with commas between."""
    cores: str = "1,2"
    """CPU threads, with commas between."""
    widths: str = "128,256,512,1024,2048,4096"
    """Widths of lines in pixels at the model's height, with commas between; those beyond its limit are left out."""
    corpus: str = "100,1000,10000"
    """Numbers of lines, with commas between; the split's lines are repeated."""
    batch: int = 32
    """Lines in a batch where that is not swept."""
    threads: int = 2
    """CPU threads where they are not swept."""
    lines: int = 128
    """Lines that are read for each value, where their number is not swept."""
    rounds: int = 5
    """Timed rounds; one more comes first, to warm up."""
    out: Path | None = None
    """A JSON file for the result."""

    def __post_init__(self) -> None:
        require_positive(batch=self.batch, threads=self.threads, lines=self.lines, rounds=self.rounds)
        unknown = [name for name in self.chosen if name not in SWEEPS]
        if unknown or not self.chosen:
            raise HtrError(f"--sweeps knows no '{''.join(unknown[:1])}': choose {', '.join(SWEEPS)}")

    @property
    def chosen(self) -> list[str]:
        """The sweeps to make."""
        return [name.strip() for name in self.sweeps.split(",") if name.strip()]

    def values(self, sweep: str) -> list[int]:
        """The values of a sweep, rising.

        Raises:
            HtrError: they are not whole numbers above 0.
        """
        flag = {"batch": "batches", "threads": "cores", "width": "widths", "corpus": "corpus"}[sweep]
        words = [word.strip() for word in getattr(self, flag).split(",")]
        if not all(word.isdecimal() and int(word) for word in words):
            raise HtrError(f"--{flag} is {getattr(self, flag)}: give whole numbers above 0, with commas between")
        return sorted({int(word) for word in words})


@dataclass(frozen=True)
class Fit:
    """A power law, time ~ x^exponent, and the 95 % interval of the exponent over the rounds' times."""

    exponent: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.exponent:.2f} ({self.interval[0]:.2f} to {self.interval[1]:.2f})"


@dataclass(frozen=True)
class Sweep:
    """Times of one sweep.

    Attributes:
        values: what was swept.
        lines: lines read for each value.
        seconds: for each value, one number for each round.
        fit: how time grows with the value; None for speeds.
    """

    values: list[int]
    lines: list[int]
    seconds: list[list[float]]
    fit: Fit | None = None


@dataclass(frozen=True)
class Scaling:
    """How reading time grows.

    Attributes:
        command: how this was measured.
        model: the model file's name.
        data: dataset, split and its hash.
        settings: batch, threads, lines, rounds where they were not swept.
        sweeps: by name.
        machine: the processor and its cores.
    """

    command: str
    model: str
    data: dict[str, str]
    settings: dict[str, int]
    sweeps: dict[str, Sweep]
    machine: dict[str, Any]
    kind: str = "scaling"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("sweep", "value", "lines/s, median (min–max)", "ms a line", "exponent (95 %)", title=self.model)
        for name, sweep in self.sweeps.items():
            for place, (value, lines, seconds) in enumerate(zip(sweep.values, sweep.lines, sweep.seconds, strict=True)):
                speeds = sorted(lines / some for some in seconds)
                spread = f"{np.median(speeds):.1f} ({speeds[0]:.1f}–{speeds[-1]:.1f})"
                law = str(sweep.fit) if sweep.fit and not place else ""
                table.add_row("" if place else name, f"{value:,}", spread, f"{1000 / np.median(speeds):.2f}", law)
        return table


def measure_scaling(options: ScalingOptions) -> Scaling:
    """Makes the sweeps.

    Raises:
        HtrError: the model or the data cannot be used, or an option makes no sense.
    """
    values = {name: options.values(name) for name in options.chosen}
    file = runs.reader(options.model)
    recognizer = load(file, options.threads, "cpu")
    dataset = runs.open_data(options.data, file, recognizer.card)
    split = Split(dataset, options.split)
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        greys = split.sample([recognizer.card], options.lines, Path(scratch)).greys
    makers: dict[str, Callable[[list[int]], Sweep]] = {
        "batch": lambda some: _sweep(some, [partial(_read, recognizer, greys, n) for n in some], options.rounds),
        "threads": lambda some: _threads(some, file, greys, options),
        "width": lambda some: _widths(some, recognizer, greys, options),
        "corpus": lambda some: _corpus(some, recognizer, greys, options),
    }
    sweeps = {}
    for name, some in values.items():
        with console.status(f"{name}: {', '.join(map(str, some))}"):
            sweeps[name] = makers[name](some)
    result = Scaling(
        command_line(),
        file.name,
        {"name": dataset.name, "split": options.split, "hash": split.hash},
        {"batch": options.batch, "threads": options.threads, "lines": len(greys), "rounds": options.rounds},
        sweeps,
        this_machine(),
    )
    save(result, options.out)
    return result


def fit(values: Sequence[float], seconds: Sequence[Sequence[float]]) -> Fit:
    """Fits a power law by least squares of the logarithms; the interval is of draws of one round for each value."""
    x = np.log(values)
    x = x - x.mean()
    logs = [np.log(some) for some in seconds]

    def slope(y: NDArray[np.float64]) -> float:
        return float((x @ y) / (x @ x))

    random = np.random.default_rng(0)
    draws = [slope(np.array([random.choice(some) for some in logs])) for _ in range(DRAWS)]
    low, high = np.percentile(draws, (2.5, 97.5))
    return Fit(slope(np.array([np.median(some) for some in logs])), (float(low), float(high)))


def _read(recognizer: Recognizer, pictures: Sequence[Pixels], batch: int) -> int:
    recognizer.read(pictures, batch)
    return len(pictures)


def _sweep(values: list[int], works: Sequence[Callable[[], int]], rounds: int, fitted: bool = False) -> Sweep:
    """Times every work in every round; each returns the number of its lines."""
    seconds: list[list[float]] = [[] for _ in values]
    lines = [0] * len(values)
    for number in range(rounds + 1):
        for place, work in enumerate(works):
            start = time.perf_counter()
            lines[place] = work()
            if number:
                seconds[place].append(time.perf_counter() - start)
    known = fitted and len(values) > 1
    return Sweep(values, lines, seconds, fit(values, seconds) if known else None)


def _threads(values: list[int], file: Path, greys: list[Pixels], options: ScalingOptions) -> Sweep:
    recognizers = [load(file, threads, "cpu") for threads in values]
    return _sweep(values, [partial(_read, r, greys, options.batch) for r in recognizers], options.rounds)


def _widths(values: list[int], recognizer: Recognizer, greys: list[Pixels], options: ScalingOptions) -> Sweep:
    """Lines of one width each, made of the split's lines set side by side until they are as wide."""
    card = recognizer.card
    allowed = [width for width in values if width <= card.max_width]
    if not allowed:
        raise HtrError(f"--widths: {card.name} reads lines of up to {card.max_width} pixels")
    scaled = [scale(grey, card.height, max(1, round(grey.shape[1] * card.height / grey.shape[0]))) for grey in greys]
    pictures = [[_wide(scaled, width, start) for start in range(len(scaled))] for width in allowed]
    works = [partial(_read, recognizer, some, options.batch) for some in pictures]
    return _sweep(allowed, works, options.rounds, fitted=True)


def _wide(scaled: list[Pixels], width: int, start: int) -> Pixels:
    parts: list[Pixels] = []
    while sum(part.shape[1] for part in parts) < width:
        parts.append(scaled[(start + len(parts)) % len(scaled)])
    return np.ascontiguousarray(np.concatenate(parts, axis=1)[:, :width])


def _corpus(values: list[int], recognizer: Recognizer, greys: list[Pixels], options: ScalingOptions) -> Sweep:
    some = [[greys[n % len(greys)] for n in range(count)] for count in values]
    works = [partial(_read, recognizer, repeated, options.batch) for repeated in some]
    return _sweep(values, works, options.rounds, fitted=True)


if __name__ == "__main__":
    run_command(measure_scaling, positional="model")
