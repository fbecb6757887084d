"""The recipe that draws English lines: fonts from a folder, words from a dataset, fonts that only validation shows."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from htrcompress.data.readers.open import open_dataset
from htrcompress.data.synthetic import TRAIN_FONTS
from htrcompress.data.synthetic.fonts import STROKE_FONTS
from htrcompress.errors import HtrError

RECIPES = Path(__file__).parent.parent / "recipes" / "latin"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    yield importlib.import_module("drawn")
    sys.modules.pop("drawn", None)


@pytest.fixture
def fonts(tmp_path: Path) -> Path:
    folder = tmp_path / "fonts"
    folder.mkdir()
    for name in TRAIN_FONTS:
        if name not in STROKE_FONTS:
            package = importlib.import_module("fontpkg_" + name.replace("-", "_"))
            shutil.copy(next((package.ROOT / "files").glob("*.ttf")), folder / f"{name}.ttf")
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    Image.new("L", (200, 40), 230).save(folder / "a.png")
    (folder / "train.tsv").write_text("a.png\tthe quick brown fox & the lazy dog\n", encoding="utf-8")
    return folder


def test_lines_are_drawn_in_the_fonts_of_a_folder(drawn, fonts: Path, texts: Path, tmp_path: Path) -> None:
    options = drawn.DrawnOptions(fonts, str(texts), tmp_path / "out", lines=10, valid=3)
    assert drawn.draw_lines(options).lines == 13
    dataset = open_dataset(str(tmp_path / "out"))
    hands = {split: {line.group for line in lines} for split, lines in dataset.splits.items()}
    assert hands["train"] and hands["valid"] and not hands["train"] & hands["valid"]
    assert all(line.pixels().shape[0] == 64 for line in dataset.splits["train"])
    assert any("fox" in line.text or "dog" in line.text for line in dataset.splits["train"])


def test_too_few_fonts_and_no_words_are_named(drawn, fonts: Path, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(HtrError, match="fonts"):
        drawn.draw_lines(drawn.DrawnOptions(texts, str(texts), tmp_path / "out"))
    (texts / "train.tsv").rename(texts / "test.tsv")
    with pytest.raises(HtrError, match="training lines"):
        drawn.draw_lines(drawn.DrawnOptions(fonts, str(texts), tmp_path / "out"))
