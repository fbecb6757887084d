"""Reads image files as grey pixels, uint8 (height, width), upright, dark ink on light paper; or their sizes alone."""

import contextlib
import io
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from htrcompress.errors import HtrError
from htrcompress.image import BAND

MAX_LINE_PIXELS = 1 << 25
"""Line images with more pixels are refused before they are decoded; a line of 480 x 69,000 is below it."""
FORMATS = ("PNG", "JPEG", "JPEG2000", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""Formats that are read, whatever a file is called; others that Pillow knows may start programs."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".jp2", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".pbm")
"""Suffixes by which the images in a folder are found."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
"""Optional chunks of a PNG that decide what is seen: transparency, orientation, and the pictures of an animation."""
MOST_BYTES = 1 << 30
"""Of memory for one picture, which JPEG 2000 would exceed: its decoder takes four bytes for each value."""
MOST_PICTURES = 100
"""Of one TIFF that are looked at."""
QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the transposition that undoes it."""

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


def to_grey(
    picture: NDArray[np.uint8] | Image.Image, name: str = "the image", max_pixels: int = MAX_LINE_PIXELS
) -> NDArray[np.uint8]:
    """A picture as grey, uint8 (height, width); of 16 bits the upper eight, unless it holds 8-bit values.

    A picture whose EXIF data says so is turned. Transparent pixels become paper: the median of the opaque ones, or
    white where those are all ink. Needs a few bytes of memory for each pixel.

    Args:
        picture: uint8 grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4), or a PIL image of any mode.
        name: what to call it in an error.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        HtrError: it is of another kind, too large, cannot be decoded, or holds values that are neither of 8 bits nor
            of 16.
    """
    if isinstance(picture, np.ndarray):
        colour = picture.ndim == 3 and picture.shape[2] in (3, 4)
        if picture.dtype != np.uint8 or not (colour or picture.ndim == 2):
            expected = "uint8 (h, w), (h, w, 3) or (h, w, 4)"
            raise HtrError(f"{name} is not a picture: expected {expected}, got {picture.dtype} {picture.shape}")
        if not colour or picture.size == 0:
            return picture[:, :, 0] if colour else picture
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        raise HtrError(f"{name} is not an image but a {type(picture).__name__}")
    limit = max_pixels
    if picture.format == "JPEG2000":
        limit = min(limit, MOST_BYTES // (4 * len(picture.getbands()) + 8))
    if picture.width * picture.height > limit:
        raise HtrError(f"{name} has {picture.width}x{picture.height} pixels; the limit is {limit}: scale it down")
    try:
        _say_depth_of_planes(picture)
        picture.load()  # a TIFF is turned by this, and then has no orientation any more
        grey, turn = _grey(picture), _turn(picture)
        return np.array(Image.fromarray(grey).transpose(turn)) if turn is not None else grey
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise HtrError(f"cannot read the image {name}: {error}") from None


def _say_depth_of_planes(image: Image.Image) -> None:
    """Tells Pillow that the planes of a TIFF have 16 bits, if they have; it takes uncompressed ones to have eight."""
    tags: Any = getattr(image, "tag_v2", {})
    tiles: list[Any] = getattr(image, "tile", [])
    planes = tags.get(ExifTags.Base.PlanarConfiguration) == 2 and tiles and tiles[0][0] == "raw"
    if planes and image.mode[0] not in "IF" and set(tags.get(ExifTags.Base.BitsPerSample, ())) == {16}:
        order = ";16L" if tags.prefix == b"II" else ";16B"
        for place, (codec, box, offset, (mode, *rest)) in enumerate(tiles):
            fields = codec, box, offset, (mode + order, *rest)
            tiles[place] = tuple.__new__(type(tiles[place]), fields)  # a named tuple, in older versions a plain one


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The transposition that sets a picture upright, by its EXIF orientation; None if there is none to undo."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data, which costs no picture
        return None


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode[0] in "IF":  # 16-bit PNGs arrive as I;16, or as I in some versions
        tags = getattr(image, "tag_v2", {})
        # Pillow inverts a TIFF whose zero is white up to 8 bits, and no deeper ones.
        return _upper_bits(np.asarray(image), inverted=tags.get(ExifTags.Base.PhotometricInterpretation) == 0)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return _on_paper(np.asarray(rgba.convert("L")), np.asarray(rgba.getchannel("A")))
    return np.array(image.convert("L"))


def _upper_bits(values: NDArray[np.number], inverted: bool) -> NDArray[np.uint8]:
    """Values of 8 or 16 bits as 8 bits. The brightest tells which (inverted, the darkest); 12 bits have no such end."""
    low, high = values.min(initial=0), values.max(initial=0)
    if not (low >= 0 and (1 < high < 256 or 4096 <= high < 65536 or not high)):
        raise ValueError(f"its values are from {low:g} to {high:g}, which is neither 8 bits nor 16: convert it")
    grey = np.empty(values.shape, np.uint8)
    for rows in _bands(values.shape):
        np.copyto(grey[rows], values[rows] if high < 256 else values[rows] // 256, casting="unsafe")
    return 255 - grey if inverted else grey


def _on_paper(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays a cut-out line on its own paper, so that the cut's edge is no stroke; ink alone is laid on white."""
    counts = np.zeros(256, np.int64)
    for rows in _bands(grey.shape):
        counts += np.bincount(grey[rows][alpha[rows] > 127], minlength=256)
    shown = int(counts.sum())
    paper = 255.0
    if shown:
        middle = np.searchsorted(np.cumsum(counts), [(shown - 1) // 2 + 1, shown // 2 + 1])
        paper = max(float(middle.mean()), float(counts @ np.arange(256)) / shown)
    if paper < 128:  # darker than any paper: what is opaque is the ink
        paper = 255.0
    laid = np.empty_like(grey)
    for rows in _bands(grey.shape):
        share = alpha[rows] / 255.0
        laid[rows] = np.floor(grey[rows] * share + paper * (1 - share) + 0.5)
    return laid


def _bands(shape: tuple[int, ...]) -> list[slice]:
    """Slices of rows of a picture (h, w) of about `BAND` pixels each."""
    step = max(1, BAND // max(1, shape[1]))
    return [slice(start, start + step) for start in range(0, shape[0], step)]
