"""Reads the lines of pages, described by PAGE or ALTO files, and puts their texts into copies of these files.

`python -m htrcompress.transcribe letters/page --write read/` reads a folder. The lines of many pages go through the
recogniser in one stream, so pages with few lines are as fast as long ones. A page's file is written when its last line
is read, and a page whose file is there already is not read again, so an interrupted run continues where it stopped.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from htrcompress.errors import HtrError
from htrcompress.pages import page as pages
from htrcompress.pages.crop import Crop, Geometry, cut, measure
from htrcompress.pages.files import fill_page, load, read_page
from htrcompress.pages.images import Folders, Scan, find
from htrcompress.runtime.pictures import Invert, Pixels
from htrcompress.runtime.recognizer import Reading, Recognizer
from htrcompress.utils.io import write_atomic


@dataclass(frozen=True)
class PageFile:
    """A page to be read.

    Attributes:
        source: its PAGE or ALTO file.
        root: the folder that the user named, in which its image is looked for.
        target: the file to be written.
    """

    source: Path
    root: Path
    target: Path


@dataclass(frozen=True)
class PageOutcome:
    """What became of a page.

    Attributes:
        source: its file.
        written: the file with the texts; None where nothing was written.
        lines: how many were read.
        left: reason to how many lines stayed as they were.
        error: why the page could not be read; empty if it could.
        skipped: whether its file with texts was there already.
    """

    source: Path
    written: Path | None
    lines: int = 0
    left: dict[str, int] = field(default_factory=dict)
    error: str = ""
    skipped: bool = False


@dataclass
class _Line:
    """A picture for the recogniser: a line, which is cut out when it is called."""

    line: pages.PageLine
    scan: Scan
    geometry: Geometry
    crop: Crop | None = None

    def __call__(self) -> Pixels:
        self.crop = cut(self.scan.pixels(), self.line, self.geometry)
        return self.crop.pixels


@dataclass
class _Open:
    """A page whose lines are being read."""

    file: PageFile
    lines: list[_Line]
    left: Counter[str]
    readings: dict[str, pages.Reading] = field(default_factory=dict)


def read_pages(
    recognizer: Recognizer,
    files: Sequence[PageFile],
    only_empty: bool = False,
    batch_size: int = 32,
    invert: Invert = "never",
) -> Iterator[PageOutcome]:
    """Reads pages and writes their files, one after the other; a page that fails does not stop the others.

    Args:
        recognizer: what reads the lines.
        files: the pages; one whose target is there is passed over.
        only_empty: read and fill only the lines that have no text.
        batch_size: see `Recognizer.read`.
        invert: see `Recognizer.read`.
    """
    waiting: list[_Open | PageOutcome] = []
    pictures = _pictures(files, only_empty, waiting)
    readings = recognizer.read_each(pictures, batch_size, invert, spans=True)
    yield from _finished(waiting, only_empty)  # pages without lines, if no other comes before them
    for reading in readings:
        page = next(page for page in waiting if isinstance(page, _Open) and page.lines)
        _take(page, page.lines.pop(0), reading)
        yield from _finished(waiting, only_empty)
    yield from _finished(waiting, only_empty)


def _pictures(files: Sequence[PageFile], only_empty: bool, waiting: "list[_Open | PageOutcome]") -> Iterator[_Line]:
    """The lines of all pages, in order; every page is put into `waiting` before its lines come."""
    folders: dict[Path, Folders] = {}
    for file in files:
        if file.target.exists():
            waiting.append(PageOutcome(file.source, None, skipped=True))
            continue
        try:
            page = _opened(file, folders.setdefault(file.root, Folders(file.root)), only_empty)
        except HtrError as error:
            waiting.append(PageOutcome(file.source, None, error=str(error)))
            continue
        waiting.append(page)
        yield from list(page.lines)  # those that are read are taken out of page.lines


def _opened(file: PageFile, folders: Folders, only_empty: bool) -> _Open:
    page = read_page(file.source)
    scan = find(page, folders)
    page = page.in_pixels(scan.width, scan.height)
    faults = [pages.fault(line, scan.width, scan.height) for line in page.lines]
    good = [line for line, fault in zip(page.lines, faults, strict=True) if fault is None]
    geometry = measure(good)
    left = Counter(fault for fault in faults if fault)
    wanted = [line for line in good if not (only_empty and line.text.strip())]
    left["with a text already"] += len(good) - len(wanted)
    return _Open(file, [_Line(replace(line, text=""), scan, geometry) for line in wanted], left)


def _take(page: _Open, line: _Line, reading: Reading | HtrError) -> None:
    """Keeps the reading of a line for its page."""
    if isinstance(reading, HtrError):
        page.left[f"{line.line.id}: {reading}"] += 1
        return
    boxes = tuple(_box(line.crop, word.start, word.end) for word in reading.words) if line.crop else ()
    page.readings[line.line.id] = pages.Reading(reading.text, reading.confidence, boxes)
    line.crop = None


def _box(crop: Crop, start: float, end: float) -> tuple[float, float, float, float]:
    """The box on the page around some columns of a crop: left, top, width, height."""
    corners = [crop.to_page(x, y) for x in (start, end) for y in (0, crop.pixels.shape[0])]
    xs, ys = zip(*corners, strict=True)
    left, top = max(0.0, min(xs)), max(0.0, min(ys))
    return left, top, max(0.0, max(xs) - left), max(0.0, max(ys) - top)


def _finished(waiting: "list[_Open | PageOutcome]", only_empty: bool) -> Iterator[PageOutcome]:
    """Writes and gives the pages at the head of the queue whose lines are all read."""
    while waiting and not (isinstance(waiting[0], _Open) and waiting[0].lines):
        page = waiting.pop(0)
        yield page if isinstance(page, PageOutcome) else _written(page, only_empty)


def _written(page: _Open, only_empty: bool) -> PageOutcome:
    """Writes the file of a page."""
    source, target, left = page.file.source, page.file.target, dict(+page.left)
    try:
        data = fill_page(load(source), page.readings, only_empty, str(source))
        write_atomic(target, data)
    except HtrError as error:
        return PageOutcome(source, None, 0, left, str(error))
    return PageOutcome(source, target, len(page.readings), left)
