"""Writes the page of a result again: `python -m benchmarks.page benchmark.json --out report.html`."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.evidence import pictures
from benchmarks.page import page
from benchmarks.results import read
from benchmarks.rows import Benchmark
from benchmarks.splits import Split
from htrcompress.cli import run_command
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic


@dataclass(frozen=True)
class PageOptions:
    """Writes the page of a benchmark's result."""

    result: Path | None = None
    """The JSON that `benchmarks/run.py` wrote."""
    data: str | None = None
    """The dataset that was read, for the pictures of the worst lines; without them if not given."""
    out: Path | None = None
    """The page; `report.html` beside the result if not given."""


@dataclass(frozen=True)
class Page:
    """A page that was written, and how many pictures of lines it holds."""

    path: Path
    bytes: int
    pictures: int

    def __rich__(self) -> str:
        return f"written: {self.path}, {self.bytes / 1024:.0f} KiB, {self.pictures} pictures of lines"


def write_page(options: PageOptions) -> Page:
    """Writes the page of a benchmark's result.

    Raises:
        HtrError: the result cannot be read, or the data are not those that were read.
    """
    if options.result is None:
        raise HtrError("name the result of a benchmark, such as runs/mine/benchmark.json")
    result = read(options.result, Benchmark)
    shown: dict[str, str] = {}
    for split in _splits(result, options.data) if options.data else ():
        shown |= pictures(split, {line.id for line in result.evidence[split.name].worst})
    out = options.out or options.result.with_name("report.html")
    text = page(result, shown).encode()
    write_atomic(out, text)
    return Page(out, len(text), len(shown))


def _splits(result: Benchmark, data: str) -> list[Split]:
    dataset = open_dataset(data)
    splits = [Split(dataset, name) for name in result.evidence]
    for split in splits:
        if split.hash != result.splits[split.name]["hash"]:
            raise HtrError(f"--data {data}: its split {split.name} is not the one that was read (another hash)")
    return splits


if __name__ == "__main__":
    run_command(write_page, positional="result")
