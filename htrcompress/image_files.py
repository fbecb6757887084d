"""Reads image files of many formats as grey pixels (`grey.py`), or their sizes alone."""

import contextlib
import io
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from htrcompress.errors import HtrError
from htrcompress.grey import MAX_LINE_PIXELS, to_grey

FORMATS = ("PNG", "JPEG", "JPEG2000", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""Formats that are read, whatever a file is called; others that Pillow knows may start programs."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".jp2", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".pbm")
"""Suffixes by which the images in a folder are found."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
"""Optional chunks of a PNG that decide what is seen: transparency, orientation, and the pictures of an animation."""
MOST_PICTURES = 100
"""Of one TIFF that are looked at."""
QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

# Pillow lacks this one layout of a TIFF: 16 bits, big-endian, zero is white.
TiffImagePlugin.OPEN_INFO.setdefault((TiffImagePlugin.MM, 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))


def load_grey(path: Path, max_pixels: int = MAX_LINE_PIXELS) -> NDArray[np.uint8]:
    """Reads an image file as grey, uint8 (height, width); see `to_grey`.

    Of a file with several pictures, those that a TIFF marks as thumbnails or masks do not count, and of a phone's
    MPO the first is taken, since the others show the same scene; any other such file is refused.

    Args:
        path: the file.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        HtrError: the file is missing, unreadable, empty or too large, or holds several pictures.
    """
    try:
        if not path.is_file():
            raise HtrError(f"no image at {path}")
        # Of a path, Pillow maps a plain TIFF into memory, and turns that wrongly.
        with open(path, "rb") as file:
            return read_grey(file, str(path), max_pixels)
    except (OSError, ValueError) as error:
        raise HtrError(f"cannot read the image {path}: {error}") from None


def read_grey(file: IO[bytes], name: str, max_pixels: int = MAX_LINE_PIXELS) -> NDArray[np.uint8]:
    """Like `load_grey`, of an open binary file at its beginning, which can seek; `name` is what errors call it."""
    try:
        try:
            return _load(file, name, max_pixels)
        except Exception:
            file.seek(0)
            if file.read(len(_PNG)) != _PNG:
                raise
            return _load(io.BytesIO(_without_metadata(_PNG + file.read())), name, max_pixels)
    except HtrError:
        raise
    except UnidentifiedImageError:
        file.seek(0)
        raise HtrError(f"{name} {_what_else(file.read(12))}") from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise HtrError(f"cannot read the image {name}: {error}") from None


def _what_else(head: bytes) -> str:
    """What a file is that is no image of a known format, from its first bytes, and what to do."""
    if head.startswith(b"%PDF"):
        return "is a PDF: save its pages as images first (as `pdftoppm -r 300 -png FILE PAGE` does)"
    if head[4:8] == b"ftyp":
        return "is a HEIC or AVIF picture, as telephones make them: save it as JPEG or PNG first"
    if not head:
        return "is empty"
    return f"is not an image that can be read: {', '.join(FORMATS[:-1])} and PNM can"


def size_of(file: IO[bytes], name: str) -> tuple[int, int]:
    """Width and height of an image file as it is seen, without decoding it; `name` is what errors call it.

    Raises:
        HtrError: it is no image.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            size = image.size
            if orientation_of(image) not in QUARTER_TURNS:
                return size
            if image.format != "TIFF":
                return size[1], size[0]
            high, wide = to_grey(image, name).shape  # Pillow's versions differ in when they turn a TIFF
            return wide, high
    except HtrError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise HtrError(f"cannot read the image {name}: {error}") from None


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation in the header of an open image file, from 1 to 8; 1 if there is none.

    Pillow would decode a PNG without the entry to look for it behind the pixels, where hardly any has it.
    """
    exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
    found = exif.get(ExifTags.Base.Orientation, 1)
    return found if isinstance(found, int) else 1


def _load(file: IO[bytes], name: str, max_pixels: int) -> NDArray[np.uint8]:
    with Image.open(file, formats=FORMATS) as image:
        pictures = _pictures(image)
        if len(pictures) != 1:
            raise HtrError(
                f"{name} holds {len(pictures) or 'no'} pictures: store each in a file of its own (as "
                "ImageMagick's `magick FILE PAGE-%d.png` does)"
            )
        if pictures[0]:
            image.seek(pictures[0])
        return to_grey(image, name, max_pixels)


def _pictures(image: Image.Image) -> list[int]:
    """The numbers of the pictures in an open file that are not renditions of others."""
    if image.format != "TIFF":
        return list(range(1 if image.format == "MPO" else getattr(image, "n_frames", 1)))
    pages, count = [], 0
    with contextlib.suppress(EOFError):  # to count all takes Pillow time with the square of their number
        for number in range(MOST_PICTURES):
            image.seek(number)
            count += 1
            if not image.tag_v2.get(ExifTags.Base.NewSubfileType, 0) & 5:  # type: ignore[attr-defined]
                pages.append(number)
    image.seek(0)
    return pages if count > 1 else [0]


def _without_metadata(data: bytes) -> bytes:
    """A PNG without texts, colour profiles and other chunks that no pixel depends on, which may be huge or damaged."""
    kept, start = [_PNG], len(_PNG)
    while start < len(data):
        kind = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        chunk = data[start:end]
        intact = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        if kind[:1].isupper() or (kind in _PIXEL_CHUNKS and intact):
            kept.append(chunk)
        start = end
    return b"".join(kept)
