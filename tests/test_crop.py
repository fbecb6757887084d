"""Lines cut out of pages: levelled, upright, at one size, without their neighbours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from htrcompress.errors import HtrError
from htrcompress.pages.crop import Geometry, cut, cut_box, measure
from htrcompress.pages.frame import Frame
from htrcompress.pages.page import PageLine


def ink(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """The box around what is dark: left, top, right, bottom."""
    rows, columns = np.nonzero(pixels < 128)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


Curve = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize("curve", [lambda x: x * 0.0, lambda x: x * 0.2, lambda x: 30 * np.sin(x / 150)])
def test_a_line_is_levelled_along_its_baseline(curve: Curve) -> None:
    page = np.full((400, 800), 230, np.uint8)
    x = np.arange(100, 700)
    y = np.round(150 + curve(x - 100.0)).astype(int)
    for up in range(1, 16):
        page[y - up, x] = 20
    page[y - 80, x] = 20  # the line above
    baseline = tuple((float(a), float(b)) for a, b in zip(x[::20], y[::20], strict=True))
    outline = tuple((a, b - 30) for a, b in baseline) + tuple((a, b + 12) for a, b in reversed(baseline))
    line = PageLine("l", baseline=baseline, polygon=outline)
    crop = cut(page, line, measure([line]))
    left, top, right, bottom = ink(crop.pixels)
    assert bottom - top <= 19 and abs(right - left - 600) < 30
    place = crop.to_page((left + right) / 2, bottom + 0.5)
    assert abs(place[0] - 400) < 15 and abs(place[1] - np.interp(place[0], x, y)) < 3
    assert crop.pixels[0, 0] == crop.pixels[-1, -1] == 230


@pytest.mark.parametrize(
    ("angle", "backwards"), [(0, False), (0, True), (90, False), (90, True), (180, False), (270, False), (270, True)]
)
def test_letters_are_set_upright_by_their_polygon(angle: int, backwards: bool) -> None:
    page = np.full((300, 300), 230, np.uint8)
    page[120:150, 100:200] = 0
    page[120:130, 100:110] = 230  # a corner at the upper left is missing
    points = np.array([(100, 150), (200, 150), (100, 115), (200, 115), (200, 155), (100, 155)]) - 149.5
    for _ in range(angle // 90):
        page = np.ascontiguousarray(np.rot90(page))
        points = np.stack([points[:, 1], -points[:, 0]], 1)
    (a, b, *polygon) = map(tuple, (points + 149.5).tolist())
    line = PageLine("l", baseline=(b, a) if backwards else (a, b), polygon=tuple(polygon))
    pixels = cut(page, line, Geometry(35, 10)).pixels
    left, top, right, bottom = ink(pixels)
    assert (right - left, bottom - top) == (99, 29)
    assert pixels[top + 5, left + 5] > 200 and pixels[top + 5, right - 5] < 50


def test_letters_that_hang_from_their_baseline_are_whole() -> None:
    """As for Hebrew, whose lines may be marked at the upper edge of the letters."""
    page = np.full((300, 300), 230, np.uint8)
    rows = []
    for top in (50, 100, 150):
        page[top : top + 36, 50:250] = 0
        outline = ((50, top - 5), (250, top - 5), (250, top + 40), (50, top + 40))
        rows.append(PageLine(str(top), baseline=((50, top), (250, top)), polygon=outline))
    _, top, _, bottom = ink(cut(page, rows[1], measure(rows)).pixels)
    assert bottom - top == 35


def test_a_thin_polygon_cuts_no_letters_and_neighbours_are_masked() -> None:
    page = np.full((200, 400), 240, np.uint8)
    page[70:100, 50:350] = 0  # letters, 30 high
    page[20:40, 50:350] = 0  # the line above
    thin = ((50, 95), (350, 95), (350, 102), (50, 102))
    line = PageLine("l", baseline=((50, 100), (350, 100)), polygon=thin)
    crop = cut(page, line, Geometry(60, 20)).pixels
    _, top, _, bottom = ink(crop)
    assert bottom - top >= 28 and (crop[:15] > 200).all() and crop.shape[0] == 80


def test_letters_have_one_size_on_a_page(tmp_path: Path) -> None:
    boxes = [(0, 10, 90, 40), (0, 60, 90, 90), (0, 110, 20, 140), (0, 160, 90, 210)]
    rows = [
        PageLine(str(n), baseline=((a, d - 10), (c, d - 10)), polygon=((a, b), (c, b), (c, d), (a, d)))
        for n, (a, b, c, d) in enumerate(boxes)
    ]
    page = np.full((250, 100), 255, np.uint8)
    heights = [cut(page, row, measure(rows)).pixels.shape[0] for row in rows]
    assert heights[0] == heights[1] == heights[2] < heights[3] <= 1.31 * heights[0]


@pytest.mark.parametrize("figure", ["without baseline", "without polygon", "polygon elsewhere", "a steep short one"])
def test_lines_that_are_not_as_they_should_be_are_cut(figure: str) -> None:
    page = np.full((200, 400), 240, np.uint8)
    page[80:100, 50:90] = 0
    polygon = ((45, 70), (95, 70), (95, 110), (45, 110))
    line = {
        "without baseline": PageLine("l", polygon=polygon),
        "without polygon": PageLine("l", baseline=((45, 100), (95, 100))),
        "polygon elsewhere": PageLine("l", baseline=((45, 100), (95, 100)), polygon=((200, 0), (300, 0), (300, 50))),
        "a steep short one": PageLine("l", baseline=((60, 90), (66, 100)), polygon=polygon),
    }[figure]
    left, top, right, bottom = ink(cut(page, line, Geometry(30, 12)).pixels)
    assert right - left == 39 and bottom - top == 19


def test_outlines_of_many_long_edges_are_followed_in_bounded_memory() -> None:
    zigzag = tuple((9e6 * (n % 2), float(n)) for n in range(200_000))
    line = PageLine("l", baseline=((0.0, 50.0), (90.0, 50.0)), polygon=zigzag)
    assert len(Frame.of(line).outline) < 1 << 19
    with pytest.raises(HtrError, match="large"):
        cut(np.zeros((100, 100), np.uint8), line, measure([line]))


def test_boxes() -> None:
    page = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert (cut_box(page, -5, 1, 3, 4) == page[1:4, :3]).all()
    with pytest.raises(HtrError, match="outside"):
        cut_box(page, 20, 0, 30, 5)
