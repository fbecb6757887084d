"""Scaling: the integer area filter against exact fractions, and lines that no model reads."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from numpy.typing import NDArray

from htrcompress import image
from htrcompress.errors import HtrError


def weights(m: int, n: int) -> list[list[Fraction]]:
    """How much of each of m input pixels lies in each of n output pixels, exactly."""
    step = Fraction(m, n)
    return [[max(Fraction(0), min((i + 1) * step, Fraction(j + 1)) - max(i * step, Fraction(j))) for j in range(m)]
            for i in range(n)]  # fmt: skip


def exact_area(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    h, w = pixels.shape
    down, across = weights(h, height), weights(w, width)
    area = Fraction(h * w, height * width)
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            rows = ((down[y][j], j) for j in range(h) if down[y][j])
            total = sum(a * b * int(pixels[j, i]) for a, j in rows for i, b in enumerate(across[x]) if b)
            out[y, x] = floor(total / area + Fraction(1, 2))
    return out


@pytest.mark.parametrize("seed", range(40))
def test_scale_is_the_exact_area_mean(seed: int) -> None:
    random = np.random.default_rng(seed)
    h, w, height, width = (int(n) for n in random.integers(1, 14, 4))
    pixels = random.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), (h, w))
    np.testing.assert_array_equal(image.scale(pixels, height, width), exact_area(pixels, height, width))


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_plain_area_stays_plain(value: int) -> None:
    pixels = np.full((37, 53), value, np.uint8)
    assert (image.scale(pixels, 64, 91) == value).all()
    assert (image.scale(pixels, 16, 7) == value).all()


@pytest.mark.parametrize("size", [(4096, 4096), (4097, 4096)])  # to 2^24, and past it
def test_large_images_do_not_overflow(size: tuple[int, int]) -> None:
    pixels = np.full(size, 255, np.uint8)
    assert (image.scale(pixels, 64, 640) == 255).all()
    pixels[:, size[1] // 2 :] = 0
    halves = image.scale(pixels, 64, 640)
    assert (halves[:, :320] == 255).all() and not halves[:, 320:].any()


@pytest.mark.parametrize(
    ("shape", "width"), [((64, 100), 100), ((1, 1), 64), ((128, 101), 51), ((5000, 1), 1), ((3, 2), 43)]
)
def test_resizing_keeps_the_proportions(shape: tuple[int, int], width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    line = image.resize_to_height(pixels, 64, 4096)
    assert line.shape == (64, width)
    assert line.dtype == np.uint8
    assert line.flags.writeable is pixels.flags.writeable


def test_resizing_twice_changes_nothing() -> None:
    line = image.resize_to_height(np.random.default_rng(0).integers(0, 256, (51, 333), dtype=np.uint8), 64, 4096)
    np.testing.assert_array_equal(image.resize_to_height(line, 64, 4096), line)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels_is_refused_by_name(shape: tuple[int, int]) -> None:
    with pytest.raises(HtrError, match="page 7"):
        image.resize_to_height(np.zeros(shape, np.uint8), 64, 4096, "page 7")


def test_a_line_too_wide_is_refused_by_name() -> None:
    with pytest.raises(HtrError, match=r"page 7.*60000.*4096"):
        image.resize_to_height(np.zeros((64, 60_000), np.uint8), 64, 4096, "page 7")
    assert image.resize_to_height(np.zeros((64, 4096), np.uint8), 64, 4096).shape == (64, 4096)


def test_a_thin_line_that_would_grow_is_refused_before_it_is_scaled() -> None:
    with pytest.raises(HtrError, match="6400000"):
        image.resize_to_height(np.zeros((1, 100_000), np.uint8), 64, 4096)


@pytest.mark.parametrize("pixels", [np.zeros((5, 5)), np.zeros((5, 5, 3), np.uint8), np.zeros(5, np.uint8)])
def test_resizing_takes_grey_bytes_only(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(HtrError, match="uint8"):
        image.resize_to_height(pixels, 64, 4096)
