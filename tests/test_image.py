"""From pictures to pixels: the integer area filter against exact fractions, and every odd file."""

from fractions import Fraction
from io import BytesIO
from math import floor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

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
def test_normalise_keeps_the_proportions(shape: tuple[int, int], width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    line = image.resize_to_height(pixels, 64, 4096)
    assert line.shape == (64, width)
    assert line.dtype == np.uint8
    assert line.flags.writeable is pixels.flags.writeable


def test_normalising_twice_changes_nothing() -> None:
    line = image.resize_to_height(np.random.default_rng(0).integers(0, 256, (51, 333), dtype=np.uint8), 64, 4096)
    np.testing.assert_array_equal(image.resize_to_height(line, 64, 4096), line)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels_is_refused_by_name(shape: tuple[int, int]) -> None:
    with pytest.raises(HtrError, match=r"page 7 has no pixels: its size is \dx\d"):
        image.resize_to_height(np.zeros(shape, np.uint8), 64, 4096, "page 7")


def test_a_line_too_wide_is_refused_by_name() -> None:
    with pytest.raises(HtrError, match="page 7 is 60000 pixels wide at height 64; the model reads up to 4096"):
        image.resize_to_height(np.zeros((64, 60_000), np.uint8), 64, 4096, "page 7")
    assert image.resize_to_height(np.zeros((64, 4096), np.uint8), 64, 4096).shape == (64, 4096)


def test_a_thin_line_that_would_grow_is_refused_before_it_is_scaled() -> None:
    with pytest.raises(HtrError, match="6400000 pixels wide"):
        image.resize_to_height(np.zeros((1, 100_000), np.uint8), 64, 4096)


@pytest.mark.parametrize("pixels", [np.zeros((5, 5)), np.zeros((5, 5, 3), np.uint8), np.zeros(5, np.uint8)])
def test_normalise_takes_grey_bytes_only(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(HtrError, match="is not a grey image"):
        image.resize_to_height(pixels, 64, 4096)


def saved(tmp_path: Path, picture: Image.Image, name: str = "a.png") -> NDArray[np.uint8]:
    picture.save(tmp_path / name)
    return image.load_grey(tmp_path / name)


def test_grey_is_read_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14), dtype=np.uint8)
    for name in ("a.png", "a.bmp", "a.pgm", "a.tif"):
        np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(pixels), name), pixels)


def test_ink_alone_is_laid_on_white_paper(tmp_path: Path) -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[0, 0] = (0, 0, 0, 255)
    rgba[0, 1] = (0, 0, 0, 128)
    expected = [[0, 127, 255], [255, 255, 255]]
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(rgba)), expected)
    np.testing.assert_array_equal(image.to_grey(rgba), expected)
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(rgba).convert("LA")), expected)


def test_a_palette_with_and_without_transparency(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 10, 10, 200, 200, 200])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(saved(tmp_path, palette), [[10, 200]])
    palette.save(tmp_path / "b.png", transparency=0)
    np.testing.assert_array_equal(image.load_grey(tmp_path / "b.png"), [[200, 200]])


def test_a_cut_out_line_is_laid_on_its_own_paper(tmp_path: Path) -> None:
    rgba = np.zeros((10, 20, 4), np.uint8)  # black and transparent outside the line, as in Bentham's lines
    rgba[2:8, :, :3], rgba[2:8, :, 3] = 190, 255
    rgba[4:6, 5:9, :3] = 40
    grey = saved(tmp_path, Image.fromarray(rgba))
    assert (grey[:2] == 190).all() and (grey[8:] == 190).all() and (grey[4:6, 5:9] == 40).all()
    rgba[:, :, 3] = 0
    assert (image.to_grey(rgba) == 255).all()


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 0x7FFF, 0xFFFF]], np.uint16)
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(values)), [[0, 0, 1, 0x7F, 255]])
    np.testing.assert_array_equal(image.to_grey(Image.fromarray(values.astype(np.int32))), [[0, 0, 1, 0x7F, 255]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_eight_bits_in_deeper_pictures_are_eight_bits(tmp_path: Path, dtype: type) -> None:
    values = np.array([[0, 7, 200, 255]], dtype)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.load_grey(tmp_path / "a.tif"), values)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 0.5, 1]], np.float32),
        np.array([[0, np.nan, 200]], np.float32),
        np.array([[0, 4080]], np.uint16),
        np.array([[-1, 200]], np.int32),
        np.array([[0, 200 << 20]], np.int32),
    ],
    ids=["to-1", "nan", "12-bit", "negative", "28-bit"],
)
def test_values_of_neither_eight_nor_sixteen_bits_are_refused(tmp_path: Path, values: NDArray) -> None:
    Image.fromarray(values).save(tmp_path / "deep.tif")
    with pytest.raises(HtrError, match=r"deep\.tif: its values are from .* to .*, which is neither 8 bits nor 16"):
        image.load_grey(tmp_path / "deep.tif")


@pytest.mark.parametrize("name", ["photo.png", "photo.tif"])
@pytest.mark.parametrize(("orientation", "turns"), [(6, -1), (8, 1), (3, 2)])
def test_a_photo_held_upright_is_turned(tmp_path: Path, name: str, orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    lying = np.arange(24, dtype=np.uint8).reshape(6, 4) * 10
    Image.fromarray(lying).save(tmp_path / name, exif=exif)
    assert (image.load_grey(tmp_path / name) == np.rot90(lying, turns)).all()


def test_no_program_is_started_for_a_picture(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    Image.new("L", (20, 10)).save(tmp_path / "line.png", "EPS")
    with pytest.raises(HtrError, match=r"line\.png is not an image that can be read"):
        image.load_grey(tmp_path / "line.png")


def test_black_and_white(tmp_path: Path) -> None:
    np.testing.assert_array_equal(saved(tmp_path, Image.new("1", (2, 1), 1)), [[255, 255]])


def png(size: tuple[int, int] = (300, 60)) -> bytes:
    buffer = BytesIO()
    Image.effect_noise(size, 90).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"these are words\n", png()[:-2000], png()[:20], b"\x89PNG\r\n\x1a\n", b"P5\n9999999 9999999\n255\n"],
    ids=["empty", "text", "truncated", "header only", "magic only", "huge"],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(HtrError, match=r"bad\.png"):
        image.load_grey(path)


@pytest.mark.parametrize("name", ["missing.png", ".", "x" * 300 + ".png"])
def test_a_path_without_a_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(HtrError, match="image"):
        image.load_grey(tmp_path / name)


def test_more_pixels_than_allowed_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 299 * 60)
    (tmp_path / "a.png").write_bytes(png()[:100])
    with pytest.raises(HtrError, match=r"a\.png has 300x60 pixels; the limit is 17940"):
        image.load_grey(tmp_path / "a.png")


@pytest.mark.parametrize("picture", [np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2)), None, "a.png", [[0]]])
def test_what_is_no_picture_is_refused_by_name(picture: object) -> None:
    with pytest.raises(HtrError, match="image 3"):
        image.to_grey(picture, "image 3")  # type: ignore[arg-type]
