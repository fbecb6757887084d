"""What `read` takes, and how light ink on dark paper is told from dark ink on light paper."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import htrcompress
from htrcompress import HtrError
from htrcompress.runtime.pictures import PreparedLine, is_light_on_dark, prepare

DATA = Path(__file__).parents[1] / "data"


def strokes(paper: int = 230, ink: int = 30, seed: int = 0, height: int = 40, width: int = 400) -> np.ndarray:
    """Something like a line of handwriting, grey."""
    rng = np.random.default_rng(seed)
    grey = np.full((height, width), paper, float)
    for x in range(8, width - 8, 9):
        top, bottom = sorted(rng.integers(4, height - 4, 2))
        grey[top : bottom + 1, x : x + rng.integers(2, 5)] = ink
    return np.clip(grey + rng.normal(0, 6, grey.shape), 0, 255).astype(np.uint8)


def png(grey: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "png")
    return file.getvalue()


def test_bytes_and_binary_files_are_read_like_arrays(tiny_onnx: Path, tmp_path: Path) -> None:
    """What a web server hands over."""
    grey = strokes()
    data = png(grey)
    (tmp_path / "a.png").write_bytes(data)
    recognizer = htrcompress.load(tiny_onnx, threads=1)
    with open(tmp_path / "a.png", "rb") as file:
        kinds = [grey, data, bytearray(data), memoryview(data), io.BytesIO(data), file, tmp_path / "a.png"]
        texts = [reading.text for reading in recognizer.read(kinds)]
    assert texts == [texts[0]] * len(kinds) and texts[0]


@pytest.mark.parametrize("picture", [b"", b"no picture", io.BytesIO(b"x"), io.StringIO("x"), lambda: 1 / 0, object()])
def test_what_is_no_picture_is_an_error_in_its_place(picture: object) -> None:
    error = prepare(picture, 7, 32, 1000)  # type: ignore[arg-type]
    assert isinstance(error, HtrError) and "image 7" in str(error)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (230, 30), (150, 60), (100, 20), (200, 150)])
def test_light_on_dark_is_told_from_dark_on_light(paper: int, ink: int, seed: int) -> None:
    assert not is_light_on_dark(strokes(paper, ink, seed))
    assert is_light_on_dark(255 - strokes(paper, ink, seed))


@pytest.mark.parametrize("grey", [0, 10, 128, 255])
def test_an_empty_line_is_neither(grey: int) -> None:
    assert not is_light_on_dark(np.full((32, 100), grey, np.uint8))
    assert not is_light_on_dark(np.full((1, 1), grey, np.uint8))


def test_auto_turns_the_light_and_never_the_dark() -> None:
    dark, light = strokes(), 255 - strokes()
    expected = prepare(dark, 1, 32, 1000)
    assert isinstance(expected, PreparedLine) and not expected.hint
    for picture, invert in ((dark, "auto"), (light, "auto"), (light, "always")):
        found = prepare(picture, 1, 32, 1000, invert)  # type: ignore[arg-type]
        assert isinstance(found, PreparedLine) and not found.hint
        np.testing.assert_array_equal(found.pixels, expected.pixels)
    left = prepare(light, 1, 32, 1000)
    assert isinstance(left, PreparedLine) and left.hint


@pytest.mark.parametrize(
    ("height", "width", "is_line"),
    [(60, 900, True), (60, 20, True), (500, 1000, True), (1400, 1000, False), (900, 70, False)],
)
def test_a_page_and_a_turned_line_are_hinted_at(height: int, width: int, is_line: bool) -> None:
    found = prepare(np.full((height, width), 200, np.uint8), 1, 32, 4000)
    assert isinstance(found, PreparedLine) and (found.hint == "") is is_line
