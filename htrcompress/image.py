"""Grey lines as arrays: scaled to a model's height, checked, and padded into batches.

Scaling is an area filter written in integers, so that another language can repeat it exactly: output pixel
`i` of `n` covers the input interval [i·m/n, (i+1)·m/n), and its value is the exact mean over that area
rounded half up. The same filter serves training, evaluation, the runtimes and the C++ library. Image files are read in
`image_files.py`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError

PAPER = 255
"""Grey value of padding; the networks mask it, so it only has to look like paper to people."""
BAND = 1 << 20
"""Pixels that are computed with at once in types wider than a byte, so that memory stays near a picture's bytes."""


def scale(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resizes uint8 (h, w) to uint8 (height, width) with the integer area filter."""
    h, w = pixels.shape
    if (h, w) == (height, width):
        return pixels
    area = h * w
    # Sums end below 256 times the area; unsigned integers may wrap on the way there, and the smaller are the faster.
    unsigned = np.uint32 if 256 * area <= 2**32 else np.uint64
    rows = np.empty((height, w), unsigned)
    step = max(1, BAND // h)
    for start in range(0, w, step):
        rows[:, start : start + step] = _area_sums(pixels[:, start : start + step], height, unsigned)
    sums = _area_sums(np.ascontiguousarray(rows.T), width, unsigned)
    return np.ascontiguousarray(((sums + unsigned(area // 2)) // unsigned(area)).astype(np.uint8).T)


def _area_sums(values: NDArray, n: int, unsigned: type[np.uint32 | np.uint64]) -> NDArray[np.unsignedinteger]:
    """Sums over n equal intervals of the rows, in units of 1/n of an input pixel: (m, w) to (n, w)."""
    m, w = values.shape
    edges = np.arange(n + 1, dtype=np.int64) * m
    whole, part = edges // n, (edges % n).astype(unsigned)
    total = np.zeros((m + 1, w), unsigned)
    np.cumsum(values, 0, dtype=unsigned, out=total[1:])
    reached = total.take(whole, 0) * unsigned(n)
    reached += values.take(np.minimum(whole, m - 1), 0) * part[:, None]
    return np.diff(reached, axis=0)


def resize_to_height(
    pixels: NDArray[np.uint8], height: int, max_width: int, name: str = "the image"
) -> NDArray[np.uint8]:
    """Scales a grey line, uint8 (h, w), to uint8 (height, round(w · height / h)), at least one pixel wide.

    Args:
        pixels: the line as loaded.
        height: the model's height in pixels.
        max_width: the widest result allowed, from the model's card.
        name: what to call the image in an error.

    Raises:
        HtrError: the array is not a grey image, has no pixels, or would be wider than `max_width`.
    """
    require_grey(pixels, name)
    h, w = pixels.shape
    width = max(1, (2 * w * height + h) // (2 * h))
    if width > max_width:
        raise HtrError(f"{name} is {overlong(width, height, max_width)}")
    return scale(pixels, height, width)


def scaled_widths(widths: NDArray[np.int64], heights: NDArray[np.int64], height: int) -> NDArray[np.int64]:
    """The widths that `resize_to_height` gives for images of some sizes, int64 (n,); 0 where a size is not known."""
    scaled = (2 * widths * height + heights) // np.maximum(1, 2 * heights)
    return np.where(heights > 0, np.maximum(scaled, 1), 0)


def require_grey(pixels: NDArray[np.uint8], name: str) -> None:
    """Refuses an array that is not a grey image, uint8 (h, w), with at least one pixel.

    Raises:
        HtrError: it is not such an image.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise HtrError(f"{name} is not a grey image: expected uint8 (height, width), got {pixels.dtype} {pixels.shape}")
    if pixels.size == 0:
        raise HtrError(f"{name} has no pixels: its size is {pixels.shape[1]}x{pixels.shape[0]}")


def overlong(width: int, height: int, max_width: int) -> str:
    """What is wrong with a line that is wider than the model reads."""
    return f"{width} pixels wide at height {height}; the model reads up to {max_width}: split the line"


def pad(lines: Sequence[NDArray[np.uint8]], step: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Batches lines uint8 (H, w): uint8 (B, 1, H, W), W a multiple of `step`, and their widths int32 (B,)."""
    widths = np.array([line.shape[1] for line in lines], np.int32)
    pixels = np.full((len(lines), 1, lines[0].shape[0], -(-int(widths.max()) // step) * step), PAPER, np.uint8)
    for row, line in zip(pixels, lines, strict=True):
        row[0, :, : line.shape[1]] = line
    return pixels, widths
