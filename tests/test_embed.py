"""`export/python/embed.py` scales and spells as the library does; TensorRT and CUDA are stand-ins here."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from standins import Device, Engine

from htrcompress import image
from htrcompress.charset import Charset

FILE = Path(__file__).parents[1] / "export" / "python" / "embed.py"


@pytest.fixture(scope="module")
def embed() -> ModuleType:
    spec = importlib.util.spec_from_file_location("embed", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_of_the_library_is_imported() -> None:
    assert not [line for line in FILE.read_text().splitlines() if "import" in line.split() and "htrcompress" in line]


def test_scaling_is_ours_to_the_bit(embed: ModuleType) -> None:
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
        np.testing.assert_array_equal(embed.scale(pixels, height, width), image.scale(pixels, height, width))


def test_lines_are_loaded_as_here_and_wide_ones_refused(embed: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number, (h, w) in enumerate(rng.integers(1, 120, (20, 2)).tolist()):
        for shape, suffix in (((h, w), "pgm"), ((h, w), "png"), ((h, w, 3), "png")):
            path = tmp_path / f"{number}.{suffix}"
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
            expected = image.normalise(image.load_grey(path), 32, 4000)
            np.testing.assert_array_equal(embed.load_line(str(path), 32, 4000), expected)
    Image.fromarray(np.zeros((4, 600), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match=r"wide.png is 4800 pixels wide at height 32; the model reads up to 4000"):
        embed.load_line(str(tmp_path / "wide.png"), 32, 4000)


def test_labels_become_the_text_that_they_are_here(embed: ModuleType) -> None:
    charset = Charset(tuple(" abcdé"))
    for labels in ([1, 2, 6, 6, -1, -1], [6, 0, 5], [], [-1]):
        row = np.array(labels, np.int32)
        length = sum(label >= 0 for label in labels)
        assert embed.text_of(row, length, list(charset.characters)) == charset.decode(labels[:length])


def test_batches_keep_every_line_its_text(embed: ModuleType) -> None:
    charset = [chr(0x100 + i) for i in range(255)]
    device = Device()
    reader = embed.Reader(Engine(device), {"height": 32, "max_width": 1000, "charset": charset}, device)
    assert (reader.height, reader.max_width, reader.max_batch) == (32, 800, 4)
    rng = np.random.default_rng(2)
    widths = (300, 5, 61, 800, 16, 1, 17, 62, 400, 120)
    lines = [rng.integers(0, 256, (32, width), dtype=np.uint8) for width in widths]
    expected = [Charset(tuple(charset)).decode(line[0, ::4].tolist()) for line in lines]
    assert reader.read(lines) == expected
    assert reader.read(lines[:3]) == expected[:3]
    assert reader.read([]) == []


def test_what_is_wrong_is_told_in_one_sentence(
    embed: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("text", "nothing"), ("list", "[]"), ("card", '{"card": {}}')):
        (tmp_path / f"{name}.engine.json").write_text(text)
        assert embed.main([str(tmp_path / f"{name}.engine"), "a.png"]) == 2
    assert embed.main([str(tmp_path / "none.engine"), "a.png"]) == 2
    assert embed.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 5
    assert captured.err.count("is damaged or belongs to no engine") == 3
