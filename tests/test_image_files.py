"""From image files to grey pixels: every kind of file, odd, damaged, huge or hostile."""

import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from htrcompress import image_files
from htrcompress.errors import HtrError
from htrcompress.grey import to_grey


def saved(tmp_path: Path, picture: Image.Image, name: str = "a.png") -> NDArray[np.uint8]:
    picture.save(tmp_path / name)
    return image_files.load_grey(tmp_path / name)


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
    np.testing.assert_array_equal(to_grey(rgba), expected)
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(rgba).convert("LA")), expected)


def test_a_palette_with_and_without_transparency(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 10, 10, 200, 200, 200])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(saved(tmp_path, palette), [[10, 200]])
    palette.save(tmp_path / "b.png", transparency=0)
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "b.png"), [[200, 200]])


def test_a_cut_out_line_is_laid_on_its_own_paper(tmp_path: Path) -> None:
    rgba = np.zeros((10, 20, 4), np.uint8)  # black and transparent outside the line, as in Bentham's lines
    rgba[2:8, :, :3], rgba[2:8, :, 3] = 190, 255
    rgba[4:6, 5:9, :3] = 40
    grey = saved(tmp_path, Image.fromarray(rgba))
    assert (grey[:2] == 190).all() and (grey[8:] == 190).all() and (grey[4:6, 5:9] == 40).all()
    rgba[:, :, 3] = 0
    assert (to_grey(rgba) == 255).all()


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 0x7FFF, 0xFFFF]], np.uint16)
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(values)), [[0, 0, 1, 0x7F, 255]])
    np.testing.assert_array_equal(to_grey(Image.fromarray(values.astype(np.int32))), [[0, 0, 1, 0x7F, 255]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_eight_bits_in_deeper_pictures_are_eight_bits(tmp_path: Path, dtype: type) -> None:
    values = np.array([[0, 7, 200, 255]], dtype)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "a.tif"), values)


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
    with pytest.raises(HtrError, match=r"deep\.tif"):
        image_files.load_grey(tmp_path / "deep.tif")


@pytest.mark.parametrize("name", ["photo.png", "photo.tif"])
@pytest.mark.parametrize(("orientation", "turns"), [(6, -1), (8, 1), (3, 2)])
def test_a_photo_held_upright_is_turned(tmp_path: Path, name: str, orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    lying = np.arange(24, dtype=np.uint8).reshape(6, 4) * 10
    Image.fromarray(lying).save(tmp_path / name, exif=exif)
    assert (image_files.load_grey(tmp_path / name) == np.rot90(lying, turns)).all()


def test_no_program_is_started_for_a_picture(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    Image.new("L", (20, 10)).save(tmp_path / "line.png", "EPS")
    with pytest.raises(HtrError, match=r"line\.png"):
        image_files.load_grey(tmp_path / "line.png")


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
        image_files.load_grey(path)


@pytest.mark.parametrize("name", ["missing.png", ".", "x" * 300 + ".png"])
def test_a_path_without_a_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(HtrError, match="image"):
        image_files.load_grey(tmp_path / name)


def test_more_pixels_than_allowed_are_refused_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png()[:100])
    with pytest.raises(HtrError, match=r"a\.png.*300x60.*17940"):
        image_files.load_grey(tmp_path / "a.png", max_pixels=299 * 60)


@pytest.mark.parametrize("picture", [np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2)), None, "a.png", [[0]]])
def test_what_is_no_picture_is_refused_by_name(picture: object) -> None:
    with pytest.raises(HtrError, match="image 3"):
        to_grey(picture, "image 3")  # type: ignore[arg-type]


LINE = np.random.default_rng(7).integers(0, 200, (24, 90), dtype=np.uint8)
"""A picture to store in every way; its paper is darker than white, so that no value is clipped."""


def text_chunk(kind: str) -> PngImagePlugin.PngInfo:
    info, text = PngImagePlugin.PngInfo(), "metadata " * 200_000
    if kind == "text":
        info.add_text("Comment", text)
    elif kind == "compressed text":
        info.add_text("Comment", text, zip=True)
    else:
        info.add_itxt("XML:com.adobe.xmp", text, zip=True)
    return info


@pytest.mark.parametrize("kind", ["text", "compressed text", "xmp"])
def test_no_png_is_refused_for_its_texts(tmp_path: Path, kind: str) -> None:
    for mode in ("L", "LA"):
        Image.fromarray(LINE).convert(mode).save(tmp_path / "a.png", pnginfo=text_chunk(kind))
        np.testing.assert_array_equal(image_files.load_grey(tmp_path / "a.png"), LINE)


def test_no_png_is_refused_for_its_colour_profile_or_a_damaged_chunk(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(1_500_000)
    Image.fromarray(LINE).save(tmp_path / "profile.png", icc_profile=profile)
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "profile.png"), LINE)
    buffer = BytesIO()
    Image.fromarray(LINE).save(buffer, "PNG")
    start = buffer.getvalue().index(b"IDAT") - 4
    for kind in (b"tEXt", b"eXIf", b"tIME"):
        chunk = (5).to_bytes(4, "big") + kind + b"a\0bcd" + b"\0\0\0\0"
        (tmp_path / "damaged.png").write_bytes(buffer.getvalue()[:start] + chunk + buffer.getvalue()[start:])
        np.testing.assert_array_equal(image_files.load_grey(tmp_path / "damaged.png"), LINE)


def test_a_png_with_large_texts_is_turned_and_transparent_as_before(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture = Image.fromarray(LINE)
    picture.save(tmp_path / "a.png", exif=exif, transparency=int(LINE[0, 0]))
    picture.save(tmp_path / "b.png", exif=exif, transparency=int(LINE[0, 0]), pnginfo=text_chunk("xmp"))
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "b.png"), image_files.load_grey(tmp_path / "a.png"))


def test_damaged_exif_data_costs_no_picture(tmp_path: Path) -> None:
    Image.fromarray(LINE).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0garbage", quality=100)
    assert np.abs(image_files.load_grey(tmp_path / "a.jpg").astype(int) - LINE).mean() < 2


def tiff(planes: list[NDArray], order: str, photometric: int) -> bytes:
    """An uncompressed TIFF, one strip a plane; `order` is II or MM."""
    mark, count = "<" if order == "II" else ">", len(planes)
    strips = [plane.astype(plane.dtype.newbyteorder(mark)).tobytes() for plane in planes]
    (height, width), size = planes[0].shape, len(strips[0])
    end = 8 + count * size
    entries = [(256, "I", [width]), (257, "I", [height]), (258, "H", [8 * planes[0].itemsize] * count)]
    entries += [(259, "H", [1]), (262, "H", [photometric]), (273, "I", [8 + n * size for n in range(count)])]
    entries += [
        (277, "H", [count]),
        (278, "I", [height]),
        (279, "I", [size] * count),
        (284, "H", [2 if count > 1 else 1]),
    ]
    directory, beyond = struct.pack(f"{mark}H", len(entries)), b""
    for tag, kind, values in entries:
        value = struct.pack(f"{mark}{len(values)}{kind}", *values)
        if len(value) > 4:
            place = end + 2 + 12 * len(entries) + 4 + len(beyond)
            beyond += value
            value = struct.pack(f"{mark}I", place)
        directory += struct.pack(f"{mark}HHI", tag, 4 if kind == "I" else 3, len(values)) + value.ljust(4, b"\0")
    return order.encode() + struct.pack(f"{mark}HI", 42, end) + b"".join(strips) + directory + bytes(4) + beyond


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("white", ["zero", "largest"])
def test_tiffs_are_dark_on_light_whichever_end_is_white(tmp_path: Path, order: str, depth: type, white: str) -> None:
    values = LINE.astype(depth) * (257 if depth is np.uint16 else 1)
    stored = np.iinfo(depth).max - values if white == "zero" else values
    (tmp_path / "a.tif").write_bytes(tiff([stored], order, photometric=int(white == "largest")))
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "a.tif"), LINE)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_tiffs_that_store_colour_after_colour(tmp_path: Path, order: str, depth: type) -> None:
    values = LINE.astype(depth) * (257 if depth is np.uint16 else 1)
    (tmp_path / "a.tif").write_bytes(tiff([values] * 3, order, photometric=2))
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "a.tif"), LINE)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_compressed_tiffs_whose_zero_is_white(tmp_path: Path, compression: str | None, depth: type) -> None:
    values = LINE.astype(depth) * (257 if depth is np.uint16 else 1)
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression, tiffinfo={262: 1})
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "a.tif"), LINE)
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    entry = raw.index(struct.pack("<HHIH", 262, 3, 1, 1))
    raw[entry + 8] = 0  # the same file, said to have white at zero
    (tmp_path / "b.tif").write_bytes(raw)
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "b.tif"), 255 - LINE)


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_a_file_of_several_pictures_is_refused(tmp_path: Path, name: str) -> None:
    pages = [Image.fromarray(LINE), Image.fromarray(255 - LINE)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(HtrError, match=rf"{name} holds 2 pictures"):
        image_files.load_grey(tmp_path / name)
    pages[0].save(tmp_path / name, save_all=True)
    assert image_files.load_grey(tmp_path / name).shape == LINE.shape


def test_large_pictures_of_a_costly_format_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(LINE).convert("RGB").save(tmp_path / "a.jp2")
    assert image_files.load_grey(tmp_path / "a.jp2").shape == LINE.shape
    monkeypatch.setattr("htrcompress.grey.MOST_BYTES", 20 * LINE.size - 1)
    with pytest.raises(HtrError, match=r"a\.jp2.*limit"):
        image_files.load_grey(tmp_path / "a.jp2")


def test_pictures_of_a_tiff_are_counted_up_to_a_number(tmp_path: Path) -> None:
    page = Image.fromarray(LINE)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page] * image_files.MOST_PICTURES)
    with pytest.raises(HtrError, match=f"holds {image_files.MOST_PICTURES} pictures"):
        image_files.load_grey(tmp_path / "a.tif")


def test_thumbnails_are_no_pictures(tmp_path: Path) -> None:
    small, line = Image.fromarray(LINE[:6, :20]), Image.fromarray(LINE)
    small.encoderinfo, line.encoderinfo = {"tiffinfo": {254: 1}}, {"tiffinfo": {254: 0}}
    small.save(tmp_path / "a.tif", save_all=True, append_images=[line], tiffinfo={254: 1})
    np.testing.assert_array_equal(image_files.load_grey(tmp_path / "a.tif"), LINE)
    Image.fromarray(LINE).save(tmp_path / "b.jpg", "MPO", save_all=True, append_images=[small], quality=100)
    assert image_files.load_grey(tmp_path / "b.jpg").shape == LINE.shape


PEAK = """
import resource, sys, numpy, PIL.Image
from pathlib import Path
from htrcompress.image import resize_to_height
from htrcompress.image_files import load_grey
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = load_grey(Path(sys.argv[1]))
resize_to_height(pixels, 64, 4096)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / pixels.size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
@pytest.mark.parametrize(("mode", "most"), [("1", 6), ("RGBA", 12), ("I;16", 8)])
def test_a_pixel_takes_a_few_bytes_of_memory(tmp_path: Path, mode: str, most: float) -> None:
    Image.new(mode, (5700, 1500), 200 if mode == "RGBA" else 60_000 if mode == "I;16" else 1).save(tmp_path / "a.png")
    done = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path / "a.png")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < most


@pytest.mark.parametrize(
    ("head", "told"),
    [(b"%PDF-1.7", "PDF"), (b"\0\0\0\x18ftypheic", "HEIC"), (b"", "is empty"), (b"PK\3\4", "PNG")],
)
def test_files_that_people_try_are_called_by_name(tmp_path: Path, head: bytes, told: str) -> None:
    (tmp_path / "a.png").write_bytes(head)
    with pytest.raises(HtrError, match=rf"a\.png .*{told}"):
        image_files.load_grey(tmp_path / "a.png")
