"""`export/python/line_image.py` makes of every picture the pixels that the library makes, or refuses it as well."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from htrcompress import image
from htrcompress.errors import HtrError

FOLDER = Path(__file__).parents[1] / "export" / "python"


@pytest.fixture(scope="module")
def line_image() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module("line_image")
        del sys.modules["line_image"]


def test_scaling_is_ours_to_the_bit(line_image: ModuleType) -> None:
    rng = np.random.default_rng(0)
    sizes = [
        *rng.integers(1, 90, (150, 4)).tolist(),
        (1, 1, 64, 64),
        (64, 64, 1, 1),
        (7, 3000, 32, 9),
        (2000, 3, 5, 700),
    ]
    for h, w, height, width in sizes:
        pixels = rng.integers(0, 256, (h, w), dtype=np.uint8)
        pixels = pixels if h % 2 else (pixels // 128 * 255).astype(np.uint8)  # means that are exact halves
        np.testing.assert_array_equal(line_image.scale(pixels, height, width), image.scale(pixels, height, width))


def test_lines_are_loaded_as_here_and_wide_ones_refused(line_image: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number, (h, w) in enumerate(rng.integers(1, 120, (20, 2)).tolist()):
        for shape, suffix in (((h, w), "pgm"), ((h, w), "png"), ((h, w, 3), "png")):
            path = tmp_path / f"{number}.{suffix}"
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
            expected = image.resize_to_height(image.load_grey(path), 32, 4000)
            np.testing.assert_array_equal(line_image.load_line(str(path), 32, 4000), expected)
    Image.fromarray(np.zeros((4, 600), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match=r"wide.png is 4800 pixels wide at height 32; the model reads up to 4000"):
        line_image.load_line(str(tmp_path / "wide.png"), 32, 4000)


def pictures(folder: Path) -> list[Path]:
    """A file of each kind of picture, and pictures that lie on their side."""
    rng = np.random.default_rng(3)
    colours = Image.fromarray(rng.integers(0, 256, (40, 70, 4), dtype=np.uint8))
    ink = Image.fromarray(np.dstack([np.full((40, 70, 3), 20, np.uint8), rng.integers(0, 256, (40, 70))]).astype("u1"))
    light = Image.fromarray(
        np.dstack([np.full((40, 70, 3), 230, np.uint8), rng.integers(0, 256, (40, 70))]).astype("u1")
    )
    deep = rng.integers(0, 65536, (40, 70))
    plain = [("1", "png"), ("L", "jpg"), ("LA", "png"), ("P", "png"), ("RGB", "png"), ("RGBA", "png"), ("CMYK", "jpg")]
    plain += [("CMYK", "tif"), ("YCbCr", "jpg"), ("P", "gif"), ("RGBA", "webp")]
    made: list[tuple[str, Image.Image, dict[str, Any]]]
    made = [(f"{mode}.{suffix}", colours.convert(mode), {}) for mode, suffix in plain]
    made += [(f"ink.{mode}.png", ink.convert(mode), {}) for mode in ("RGBA", "LA")]
    made += [(f"light.{mode}.png", light.convert(mode), {}) for mode in ("RGBA", "LA")]
    for mode, key in [("P", 7), ("P", bytes(range(256))), ("L", 20), ("RGB", (230, 230, 230)), ("1", 1)]:
        made.append((f"key.{mode}.{len(made)}.png", light.convert(mode), {"transparency": key}))
    for dtype, suffix in [("u2", "png"), ("u2", "tif"), (">u2", "tif"), ("i4", "tif"), ("f4", "tif")]:
        made.append((f"{len(made)}.{suffix}", Image.fromarray(deep.astype(dtype)), {}))
    made += [(f"{dtype}.tif", Image.fromarray((deep % 256).astype(dtype)), {}) for dtype in ("i4", "f4")]
    made.append(("u2.tif", Image.fromarray((deep % 256).astype("u2")), {}))
    for turn in range(10):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = turn
        made.append((f"turn.{turn}.{'png' if turn % 2 else 'jpg'}", colours.convert("RGB"), {"exif": exif}))
        made.append((f"turn.{turn}.tif", colours.convert("L"), {"exif": exif}))
    for name, picture, options in made:
        picture.save(folder / name, **options)
    return [folder / name for name, _, _ in made]


def test_pictures_of_every_mode_become_the_pixels_that_they_are_here(line_image: ModuleType, tmp_path: Path) -> None:
    modes = set()
    for path in pictures(tmp_path):
        with Image.open(path) as picture:
            modes.add(picture.mode)
        expected = image.resize_to_height(image.load_grey(path), 32, 4000)
        np.testing.assert_array_equal(line_image.load_line(str(path), 32, 4000), expected, str(path))
    assert modes >= {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "I;16B"}
    grey = Image.fromarray(np.full((32, 50), 32767, np.uint16))
    grey.save(tmp_path / "grey.png")
    assert set(line_image.load_line(str(tmp_path / "grey.png"), 32, 4000).flat) == {127}


def test_pictures_that_are_refused_here_are_refused(line_image: ModuleType, tmp_path: Path) -> None:
    whole = pictures(tmp_path)[4].read_bytes()
    damaged = {"empty": b"", "text": b"nothing", "cut": whole[: len(whole) // 2], "large": b"P5 10001 10000 255 "}
    for name, data in damaged.items() | {("larger", b"P5 90000 90000 255 ")}:
        (tmp_path / name).write_bytes(data)
    Image.new("LAB", (40, 30)).save(tmp_path / "LAB.tif")  # a mode that neither can make grey
    Image.fromarray(np.array([[0, 4080]], np.uint16)).save(tmp_path / "deep.tif")
    Image.new("L", (40, 30)).save(tmp_path / "program.png", "EPS")
    names = (*damaged, "larger", "none", "LAB.tif", "deep.tif", "program.png")
    for path in [tmp_path / name for name in names] + [tmp_path]:
        with pytest.raises(HtrError):
            image.load_grey(path)
        with pytest.raises(ValueError, match=str(path)):
            line_image.load_line(str(path), 32, 4000)
    with pytest.raises(ValueError, match="has 10001x10000 pixels; the limit is 100000000"):
        line_image.load_line(str(tmp_path / "large"), 32, 4000)
