"""Pictures of any kind as grey pixels, uint8 (height, width), upright, dark ink on light paper."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from htrcompress.errors import HtrError
from htrcompress.image import BAND

MAX_LINE_PIXELS = 1 << 25
"""Line images with more pixels are refused before they are decoded; a line of 480 x 69,000 is below it."""
MOST_BYTES = 1 << 30
"""Of memory for one picture, which JPEG 2000 would exceed: its decoder takes four bytes for each value."""
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
