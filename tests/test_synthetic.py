"""The synthetic dataset: what its splits promise, and that its images are the same everywhere."""

import hashlib
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from htrcompress.charset import clean_text
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.synthetic import FONTS, SIZES, TRAIN_FONTS, Scan, open_synthetic, place_ink
from htrcompress.data.synthetic.fonts import STROKE_FONTS, characters
from htrcompress.data.synthetic.sentences import CHARSET, LONGEST, SHORTEST, WORD, is_held_out
from htrcompress.errors import HtrError

FEW = {"train": 24, "valid": 2, "test": 4, "test_known_fonts": 12}
HELD_OUT_SPLITS = [split for split in SIZES if split != "train"]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_synthetic()


@pytest.fixture(scope="module")
def some(dataset: Dataset) -> list[Line]:
    """Some lines of every split and font."""
    return [line for split in SIZES for line in dataset.split(split)[:24]]


def _scan(line: Line) -> Scan:
    return line.image.args[0]  # type: ignore[union-attr]


def _words(lines: list[Line]) -> list[str]:
    return [word.lower() for line in lines for word in WORD.findall(line.text)]


def _digest() -> str:
    lines = [line for lines in open_synthetic(FEW).splits.values() for line in lines]
    digest = hashlib.sha256()
    for line in reversed(lines):
        digest.update(f"{line.id}\t{line.text}\n".encode() + line.pixels().tobytes())
    return digest.hexdigest()


def _python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), str(root / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_another_process_draws_the_same_bytes():
    assert _python("import test_synthetic as t; print(t._digest())", PYTHONHASHSEED="123") == _digest()


def test_lines_depend_on_seed_and_id_only(dataset: Dataset):
    few = open_synthetic(FEW)
    for split, lines in few.splits.items():
        assert [line.text for line in lines] == [line.text for line in dataset.split(split)[: len(lines)]]
    first, again = few.split("test")[1], dataset.split("test")[1]
    assert np.array_equal(first.pixels(), again.pixels())
    assert np.array_equal(first.pixels(), first.pixels())
    assert [line.text for line in open_synthetic(FEW, seed=1).split("test")] != [
        line.text for line in few.split("test")
    ]


def test_splits_have_their_sizes_fonts_and_ids(dataset: Dataset):
    assert {split: len(lines) for split, lines in dataset.splits.items()} == SIZES
    assert (dataset.name, dataset.format) == ("synthetic", "synthetic")
    for split, lines in dataset.splits.items():
        assert {line.group for line in lines} == set(FONTS[split])
        assert all(line.split == split and line.id.startswith(f"{split}/{line.group}/") for line in lines)
    assert set(FONTS["test"]) == {"kalam", "dancing-script"}
    assert set(FONTS["valid"]) == {"indie-flower"}
    assert not set(TRAIN_FONTS) & {"kalam", "dancing-script", "indie-flower"}
    ids = [line.id for lines in dataset.splits.values() for line in lines]
    assert len(set(ids)) == len(ids)


def test_every_training_font_has_many_writers(dataset: Dataset):
    writers = Counter(font for font, _ in {(line.group, _scan(line).writer) for line in dataset.split("train")})
    assert set(writers) == set(TRAIN_FONTS)
    assert min(writers.values()) >= 40


def test_texts_are_clean_and_of_the_promised_length(dataset: Dataset):
    for lines in dataset.splits.values():
        for line in lines:
            assert line.text == clean_text(line.text)
            assert SHORTEST <= len(line.text) <= LONGEST
            assert characters(line.group).issuperset(line.text)
    assert 18 <= np.median([len(line.text) for line in dataset.split("train")]) <= 26


def test_no_text_is_shared_with_train(dataset: Dataset):
    train = {line.text for line in dataset.split("train")}
    for split in HELD_OUT_SPLITS:
        assert not train & {line.text for line in dataset.split(split)}


def test_train_has_no_held_out_text_or_word(dataset: Dataset):
    assert not any(is_held_out(line.text) for line in dataset.split("train"))
    assert not any(is_held_out(word) for word in _words(dataset.split("train")))


@pytest.mark.parametrize("split", HELD_OUT_SPLITS)
def test_many_words_are_new_after_train(dataset: Dataset, split: str):
    known, words = set(_words(dataset.split("train"))), _words(dataset.split(split))
    assert sum(word not in known for word in words) >= 0.3 * len(words)


def test_train_shows_every_character_often(dataset: Dataset):
    counts = Counter(char for line in dataset.split("train") for char in line.text)
    assert set(counts) == set(CHARSET)
    assert min(counts.values()) >= 50, counts.most_common()[-5:]


def test_fonts_have_the_characters_that_they_draw():
    for font in {font for fonts in FONTS.values() for font in fonts}:
        assert set(CHARSET) - characters(font) == ({"£"} if font in STROKE_FONTS else set()), font


def test_images_are_dark_ink_on_light_paper(some: list[Line]):
    assert {line.group for line in some} == {font for fonts in FONTS.values() for font in fonts}
    for line in some:
        pixels = line.pixels()
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 2
        assert 56 <= pixels.shape[0] <= 96
        assert pixels.shape[1] >= 8 * len(line.text)
        ink = place_ink(_scan(line), np.random.default_rng(_scan(line).seed))
        assert ink.shape == pixels.shape
        assert np.median(pixels[ink == 0]) - np.median(pixels[ink > 0.7]) > 50, line.id


def test_ink_is_there_and_inside_the_crop(some: list[Line]):
    for line in some:
        ink = place_ink(_scan(line), np.random.default_rng(_scan(line).seed))
        edges = np.concatenate([ink[:2].ravel(), ink[-2:].ravel(), ink[:, :3].ravel(), ink[:, -3:].ravel()])
        assert not edges.any(), line.id
        assert 0.01 < (ink > 0.5).mean() < 0.5, line.id


def test_lines_can_be_sent_to_another_process(some: list[Line]):
    line = pickle.loads(pickle.dumps(some[0]))  # noqa: S301
    assert np.array_equal(line.pixels(), some[0].pixels())


@pytest.mark.parametrize(
    ("module", "package"), [("fontpkg_caveat", "fontpkg-caveat"), ("HersheyFonts", "Hershey-Fonts")]
)
def test_a_missing_font_package_is_named(module: str, package: str):
    code = f"""
import sys
sys.modules["{module}"] = None
from htrcompress.data.synthetic import open_synthetic
from htrcompress.errors import HtrError
try:
    open_synthetic({FEW})
except HtrError as error:
    print(error)
"""
    assert _python(code) == f"{package} is not installed: run `pip install 'htrcompress[synthetic]'`"


def test_an_unknown_split_is_refused():
    with pytest.raises(HtrError, match="no split 'dev'; it has: train, valid"):
        open_synthetic({"dev": 3})
