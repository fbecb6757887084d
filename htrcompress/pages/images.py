"""Finds the image of a page, and opens it once for all of its lines.

The image lies beside the file that describes the page, one folder up, or in a folder beside, and its name may have
another suffix or other capitals than the file says. Names are looked up in these folders alone, so none leads out.
"""

import contextlib
import os
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from htrcompress.errors import HtrError
from htrcompress.image_files import FORMATS, QUARTER_TURNS, SUFFIXES, load_grey, orientation_of
from htrcompress.pages.page import Page

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "scans", "pages")
"""Names, in lower case, of folders of images, which may lie further from a page's file than others."""
MAX_PAGE_PIXELS = 1 << 26
"""Pages with more pixels are refused before they are decoded; 6,700 x 10,000 is below it."""
_KEPT = 4
"""Decoded pages that are kept for their other lines."""
_LONGEST_NAME = 4096
"""No system has longer paths."""


class NoImage(HtrError):
    """A page has no image where it may be."""


class OtherScale(HtrError):
    """A page measures an image that was larger than the one that is there."""


@dataclass(frozen=True)
class Scan:
    """The image file of a page.

    Attributes:
        path: the file.
        width: of the image that coordinates refer to, in pixels; 0 where that is not known.
        height: likewise.
        turned: whether that image is the one in the file turned as its EXIF data says.
    """

    path: Path
    width: int
    height: int
    turned: bool = True

    def pixels(self) -> NDArray[np.uint8]:
        """The grey image, uint8 (height, width). Not to be written into: the last few are kept for other lines.

        Raises:
            HtrError: it cannot be read, or is too large.
        """
        return _decoded(self)


def find(page: Page, folders: "Folders") -> Scan:
    """The image of a page.

    Of an image that its EXIF data turns by a quarter, the points tell by where they fit whether they refer to it as it
    is stored or turned; where they fit both or neither, it is as the size that the file states. That size does not
    count otherwise: what fits into the image is taken to be in its pixels.

    Raises:
        NoImage: there is none where it may be.
        OtherScale: the points fit the size that the file states, and not the image.
        HtrError: it is not an image that can be read.
    """
    path = folders.image(Path(page.source), page.image)
    width, height, orientation = _header(path)
    points = [point for line in page.lines for point in line.points()] if page.unit == "pixel" else []
    furthest = max((x for x, _ in points), default=0), max((y for _, y in points), default=0)
    scan = Scan(path, width, height)
    if orientation in QUARTER_TURNS:
        fits_stored, fits_turned = _fits(furthest, width, height), _fits(furthest, height, width)
        states_stored = page.width != page.height and (page.width > page.height) == (width > height)
        as_stored = fits_stored if fits_stored != fits_turned else states_stored
        scan = Scan(path, width, height, False) if as_stored else Scan(path, height, width)
    if _fits(furthest, page.width, page.height) and not _fits(furthest, scan.width, scan.height):
        raise OtherScale(
            f"{page.source} is of an image of {page.width:g}x{page.height:g} pixels, and {path} has {scan.width}x"
            f"{scan.height}, which its lines do not fit: put the image there that was transcribed"
        )
    return scan


def _fits(furthest: tuple[float, float], width: float, height: float) -> bool:
    return furthest[0] <= 1.01 * width and furthest[1] <= 1.01 * height


class Folders:
    """The images in the folders below one that the user named; each folder is listed once."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        self._images: dict[Path, dict[str, list[str]]] = {}
        self._inner: dict[Path, list[Path]] = {}

    def image(self, source: Path, name: str) -> Path:
        """The image of the page that `source` describes, under the name that it states or under its own.

        Raises:
            NoImage: there is none.
        """
        folder = source.resolve().parent
        stated = PurePosixPath(name[-_LONGEST_NAME:].replace("\\", "/"))
        for wanted in dict.fromkeys((stated.name, source.name)):
            for place in self._places(folder, stated):
                if wanted and (found := self._in(place, wanted)):
                    return found
        up = "" if folder != self.root else ", and name the folder above if it is there"
        raise NoImage(
            f"{source}: there is no image {stated.name[:200] or source.stem!r} beside it, one folder up or in a folder "
            f"beside it: put it there{up}"
        )

    def _places(self, folder: Path, stated: PurePosixPath) -> Iterator[Path]:
        """The folders where the image of a page in `folder` may be, the likeliest first."""
        yield folder
        above = folder.parent if folder != self.root else folder
        for base in dict.fromkeys((folder, above)):
            inside = Path(os.path.normpath(base.joinpath(stated.parent)))
            if inside not in (folder, above) and inside.is_relative_to(self.root):
                yield inside
        yield above
        yield from self._folders(above)
        yield from self._folders(folder)
        top = above.parent if above != self.root else above
        for base in dict.fromkeys((above, top)):  # Images/Pages beside PAGE, or Images beside page/page
            for inner in self._named(base):
                yield inner
                yield from self._named(inner)

    def _named(self, folder: Path) -> list[Path]:
        """The folders in a folder that are called like images."""
        return [inner for inner in self._folders(folder) if inner.name.lower() in IMAGE_FOLDERS]

    def _folders(self, folder: Path) -> list[Path]:
        found = self._inner.get(folder)
        if found is None:
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                found = sorted(folder / entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
            found = self._inner[folder] = found or []
        return found

    def _in(self, folder: Path, name: str) -> Path | None:
        """The image of that name in a folder: exactly, or but for capitals, normal form and suffix."""
        images = self._images.get(folder)
        if images is None:
            images = self._images[folder] = self._listed(folder)
        found = images.get(_stem(name), [])
        best = min(found, key=lambda other: (other != name, _folded(other) != _folded(name), other), default=None)
        return None if best is None else folder / best

    def _listed(self, folder: Path) -> dict[str, list[str]]:
        listed: dict[str, list[str]] = {}
        with contextlib.suppress(OSError, ValueError):
            for name in os.listdir(folder):
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                    listed.setdefault(_stem(name), []).append(name)
        return listed


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    """A name without its suffix, capitals and normal form."""
    stem, suffix = os.path.splitext(name)
    return _folded(stem if suffix.lower() in (*SUFFIXES, ".xml") else name)


def _header(path: Path) -> tuple[int, int, int]:
    """The width and height of an image as stored, and its EXIF orientation.

    Raises:
        HtrError: it is not an image that can be read, or is too large.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise OSError("it is not a file")
        with Image.open(path, formats=FORMATS) as image:
            (width, height), orientation = image.size, orientation_of(image)
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise HtrError(f"cannot read the image {path}: {error}") from None
    if width * height > MAX_PAGE_PIXELS:
        raise HtrError(f"{path} has {width}x{height} pixels; the limit for a page is {MAX_PAGE_PIXELS}: scale it down")
    return width, height, orientation


_cache: OrderedDict[Scan, NDArray[np.uint8]] = OrderedDict()
_guard = threading.Lock()
_decoding = [threading.Lock() for _ in range(16)]


def _decoded(scan: Scan) -> NDArray[np.uint8]:
    """The pixels of a scan; threads that want the same one wait for the first."""
    with _decoding[hash(scan.path) % len(_decoding)]:
        with _guard:
            if scan in _cache:
                _cache.move_to_end(scan)
                return _cache[scan]
        pixels = load_grey(scan.path, MAX_PAGE_PIXELS)
        if not scan.turned:
            pixels = _as_stored(scan.path, pixels)
        if scan.width and pixels.shape != (scan.height, scan.width):
            raise HtrError(f"{scan.path} is turned by EXIF data behind its pixels: save it as it is to be seen")
        pixels.flags.writeable = False
        with _guard:
            _cache[scan] = pixels
            while len(_cache) > _KEPT:
                _cache.popitem(last=False)
        return pixels


def _as_stored(path: Path, upright: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image as it is in its file, from how EXIF turned it."""
    orientation = _header(path)[2]
    turns = {5: lambda p: p.T, 6: lambda p: np.rot90(p, 1), 7: lambda p: np.rot90(p, 2).T, 8: lambda p: np.rot90(p, -1)}
    return np.ascontiguousarray(turns[orientation](upright))
