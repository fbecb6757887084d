"""Opens a folder of pages, PAGE or ALTO with their images, as lines that are cut out when they are asked for.

A page's split is what a list says (`train.txt`, `valid.txt`, `test.txt` or `.lst`, with names of pages), or else the
folder that it is in, if that is called like a split; otherwise all are in `all`, which `python -m htrcompress.data
--split page` divides. Of several files for one image, such as x.xml and x.chocomufin.xml, the first is read.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.folders import Inside, files_at
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import ALL, SPLITS, split_of
from htrcompress.data.readers.page_texts import PageOptions, Texts
from htrcompress.data.splitting import lists_in
from htrcompress.errors import HtrError, listed
from htrcompress.pages.crop import Geometry, cut, measure, size_of
from htrcompress.pages.files import read_page
from htrcompress.pages.images import Folders, NoImage, OtherScale, Scan, find
from htrcompress.pages.page import Page, PageLine, fault

HEAD = 4096
"""Bytes at the beginning of a file in which its outermost element is looked for."""
_ROOT = re.compile(rb"<(?:[\w.-]+:)?(PcGts|alto)[\s>]")


def kind_of(path: Path) -> str | None:
    """`PcGts` or `alto`, if the file looks like PAGE or ALTO."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD).replace(b"\0", b"")  # of UTF-16
    except OSError:
        return None
    found = _ROOT.search(head)
    return found[1].decode() if found else None


class PageFolderReader:
    """Opens folders of pages in one format; a subclass says which.

    Attributes:
        root: the outermost element of its files.
    """

    name: str
    looks_for: str
    root: str
    mixes = True
    options: type | None = PageOptions

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return any(kind_of(file) == self.root for file in xml_files(path))

    def open(self, path: Path, options: PageOptions) -> Dataset:
        """Opens such a folder, or one file.

        Lines that cannot be cut out, and those of a page without an image that can be read, are broken.

        Raises:
            HtrError: no page has an image, a list names a page that is not there, or an option a kind of line; or a
                page is a link out of the folder.
        """
        path = path.absolute()  # a list's names are compared with where the files are below the root
        kinds = {file: kind_of(file) for file in xml_files(path)}
        files = [file for file, kind in kinds.items() if kind == self.root]
        root = path if path.is_dir() else path.parent.parent
        opened, inside = Opened(root, Texts(options, self.name)), Inside(path)
        others = sum(kind is None for kind in kinds.values())
        opened.texts.changed["XML files that are neither PAGE nor ALTO, passed over"] += others
        opened.texts.changed["pages in another format as well, passed over"] += len(kinds) - others - len(files)
        lists = _lists(path, options)
        for file, split in _listed(files, root, lists, opened.texts.changed) if lists else _by_folder(files, path):
            opened.add(inside.check(file), split)
        opened.texts.check_kinds()
        return opened.dataset(path.resolve().name, self.name)


def xml_files(path: Path) -> list[Path]:
    """The XML files in a folder, or the one that the path is; x.xml comes before x.chocomufin.xml."""
    return sorted(files_at(path, (".xml",)), key=lambda file: file.with_suffix(""))


def _by_folder(files: list[Path], path: Path) -> Iterator[tuple[Path, str]]:
    """The pages, and the split of each by its folder."""
    return ((file, split_of(file, path) if path.is_dir() else ALL) for file in files)


def _lists(path: Path, options: PageOptions) -> dict[str, list[str]]:
    """The names of the pages in each split, where there are lists of them."""
    if options.lists is None:
        return {split: names for split, names in lists_in(path).items() if split in SPLITS} if path.is_dir() else {}
    if lists := lists_in(options.lists):
        return lists
    raise HtrError(f"--read: there is no train.lst, valid.lst or test.lst in {options.lists}")


def _listed(
    files: list[Path], root: Path, lists: dict[str, list[str]], changed: Counter[str]
) -> Iterator[tuple[Path, str]]:
    """The pages that lists name, and the split of each."""
    known: dict[str, list[Path]] = {}
    for file in files:
        parts = file.relative_to(root).with_suffix("").parts
        for start in range(len(parts)):
            known.setdefault("/".join(parts[start:]), []).append(file)
    where: dict[Path, str] = {}
    for split, names in lists.items():
        found = [_named(name, known) for name in names]
        if absent := [name for name, file in zip(names, found, strict=True) if file is None]:
            raise HtrError(f"the list of {split} names pages that are not there once in {root}: {listed(absent)}")
        for file in filter(None, found):
            if where.setdefault(file, split) != split:
                raise HtrError(f"{file} is in the lists of {where[file]} and {split}: leave it out of one")
    changed["pages in no list, passed over"] += len(files) - len(where)
    yield from ((file, where[file]) for file in files if file in where)


def _named(name: str, known: dict[str, list[Path]]) -> Path | None:
    """The page of that name, or of as much of its end as there is; None if there is none, or several."""
    name = re.sub(r"\.(xml|jpe?g|png|tiff?)$", "", name.replace("\\", "/"), flags=re.IGNORECASE)
    while name not in known and "/" in name:
        name = name.partition("/")[2]
    files = known.get(name, [])
    return files[0] if len(files) == 1 else None


class Opened:
    """The lines of the pages that were opened."""

    def __init__(self, root: Path, texts: Texts):
        self.root, self.texts = root, texts
        self.folders = Folders(root)
        self.splits: dict[str, list[Line]] = {}
        self.broken: dict[str, list[str]] = {}
        self.images: set[Path] = set()

    def add(self, file: Path, split: str) -> None:
        """Adds the lines of a page."""
        try:
            page = read_page(file)
        except HtrError as error:
            self._break("on pages that cannot be read", [str(error)])
            return
        texts = [self.texts.text(line) for line in page.lines]
        name = file.relative_to(self.root).with_suffix("").as_posix() if file.is_relative_to(self.root) else file.stem
        ids = [f"{name}#{line.id}" for line, text in zip(page.lines, texts, strict=True) if text is not None]
        try:
            scan = find(page, self.folders)
            page = page.in_pixels(scan.width, scan.height)
        except NoImage:
            reason = "on pages without their image, which may be beside the XML, one folder up or in a folder beside"
            self._break(reason, [f"{file} needs {page.image[-200:] or file.stem!r}", *ids[1:]][: len(ids)])
            return
        except HtrError as error:
            reason = (
                f"on pages whose image {'is at another scale' if isinstance(error, OtherScale) else 'cannot be read'}"
            )
            self._break(reason, [str(error), *ids[1:]][: len(ids)])
            return
        if scan.path in self.images:
            self.texts.dropped["on pages that are there twice"] += len(ids)
            return
        self.images.add(scan.path)
        self._add_lines(page, texts, scan, name, split)

    def _add_lines(self, page: Page, texts: list[str | None], scan: Scan, name: str, split: str) -> None:
        self.texts.changed.update(page.notes)
        if page.width and page.height and (page.width, page.height) != (scan.width, scan.height):
            self.texts.changed["pages that state another size than their image has"] += 1
        faults = [fault(line, scan.width, scan.height) for line in page.lines]
        sheet = Sheet.of(scan, [line for line, found in zip(page.lines, faults, strict=True) if found is None])
        group = name.rpartition("/")[0]
        place = 0
        for line, text, found in zip(page.lines, texts, faults, strict=True):
            place += found is None
            id_ = f"{name}#{line.id}"
            if text is not None and found is not None:
                self._break(found, [id_])
            elif text is not None:
                image = CutLine(sheet, place - 1)
                self.splits.setdefault(split, []).append(Line(id_, text, split, image, group, name, id_))

    def _break(self, reason: str, lines: list[str]) -> None:
        self.broken.setdefault(reason, []).extend(lines)

    def dataset(self, name: str, format: str) -> Dataset:
        """What was opened."""
        order = [split for split in (*SPLITS, ALL) if split in self.splits]
        order += [split for split in self.splits if split not in order]
        splits = {split: self.splits[split] for split in order}
        dropped, changed = dict(+self.texts.dropped), dict(+self.texts.changed)
        for lines in self.broken.values():
            lines.sort(key=lambda line: " " not in line)  # sentences first
        return Dataset(name, format, splits, dropped, changed, self.broken)


@dataclass(frozen=True, eq=False)
class Sheet:
    """The lines of a page that can be cut out, small in memory.

    Attributes:
        scan: the page's image.
        points: of all baselines and polygons one after the other, float32 (n, 2).
        ends: for each line, where in `points` its baseline and its polygon end.
    """

    scan: Scan
    points: NDArray[np.float32]
    ends: NDArray[np.int32]

    @classmethod
    def of(cls, scan: Scan, lines: list[PageLine]) -> "Sheet":
        """The lines of a page, without their texts."""
        points = [point for line in lines for point in line.points()]
        counts = [count for line in lines for count in (len(line.baseline), len(line.polygon))]
        ends = np.cumsum(counts, dtype=np.int32).reshape(-1, 2)
        return cls(scan, np.array(points, np.float32).reshape(-1, 2), ends)

    def line(self, place: int) -> PageLine:
        """The baseline and polygon of a line."""
        start = int(self.ends[place - 1, 1]) if place else 0
        middle, end = self.ends[place].tolist()
        baseline, polygon = ((*map(tuple, self.points[a:b].tolist()),) for a, b in ((start, middle), (middle, end)))
        return PageLine(str(place), "", baseline, polygon)

    @cached_property
    def geometry(self) -> Geometry:
        """The window of the page's lines, measured when the first is cut."""
        return measure([self.line(place) for place in range(len(self.ends))])


@dataclass(frozen=True, eq=False)
class CutLine:
    """Gives the pixels of one line of a page."""

    sheet: Sheet
    place: int

    def __call__(self) -> NDArray[np.uint8]:
        sheet = self.sheet
        return cut(sheet.scan.pixels(), sheet.line(self.place), sheet.geometry).pixels

    def size(self) -> tuple[int, int]:
        """Width and height of these pixels, which are not needed for that."""
        return size_of(self.sheet.line(self.place), self.sheet.geometry)
