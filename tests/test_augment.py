"""Augmentation against golden pictures, one for each strength, so that a changed sign, order or seed is seen.

Where a change is meant, look at the new pictures before they are committed:

    PYTHONPATH=. python tests/test_augment.py
"""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from htrcompress.config import AugmentConfig
from htrcompress.data.augment import augment
from htrcompress.data.batching import Batch, collate
from htrcompress.image import PAPER

GOLDEN = Path(__file__).parent / "golden"
OFF = AugmentConfig(**{field.name: 0 for field in fields(AugmentConfig)})
STRONGER = {"stripes": 6, "stroke": 1.0, "crop": 1.0, "coarse": 1.0, "bitonal": 1.0}
"""Strengths at which all four lines show what is done."""
CONFIGS = {
    field.name: replace(OFF, **{field.name: STRONGER.get(field.name, field.default)}) for field in fields(AugmentConfig)
}
CONFIGS["all"] = AugmentConfig()
SEED = 5


def lines() -> list[NDArray[np.uint8]]:
    """Four lines of strokes, dots and a loop, each different at both ends and above and below."""
    y, x = np.mgrid[:32, :120]
    pictures = []
    for number in range(4):
        ink = np.zeros((32, 120), bool)
        for column in range(8 + 3 * number, 104, 17):
            ink |= (abs(x - column) < 1.5) & (y > 6 + number) & (y < 24)  # stems
            ink |= (abs(np.hypot(x - column - 6, y - 18) - 4.5) < 1.2) & (y < 22)  # open bowls
        ink |= (abs(y - 26) < 1) & (x > 70) & (x < 90)  # a line below, to the right
        ink |= np.hypot(x - 15, y - 3) < 2  # a dot above, to the left
        pictures.append(np.where(ink, 40, 220).astype(np.uint8)[:, : 120 - 13 * number])
    return pictures


def augmented(config: AugmentConfig, seed: int = SEED) -> Batch:
    pictures = lines()
    return augment(collate(pictures, [[1]] * len(pictures)), config, torch.ones(len(pictures)).long(), 4, seed)


def sheet(batch: Batch) -> NDArray[np.uint8]:
    """The lines of a batch below each other, uint8 (B * H, W)."""
    return batch.pixels.flatten(0, 2).numpy()


@pytest.mark.parametrize("name", CONFIGS)
def test_pictures_are_the_golden_ones(name: str) -> None:
    found, golden = sheet(augmented(CONFIGS[name])), np.asarray(Image.open(GOLDEN / f"{name}.png"))
    assert found.shape == golden.shape
    difference = np.abs(found.astype(int) - golden)
    assert difference.mean() < 0.5 and (difference > 24).mean() < 0.002  # what rounding of other processors may change


def test_golden_pictures_differ_from_each_other_and_from_the_lines() -> None:
    sheets = {name: np.asarray(Image.open(GOLDEN / f"{name}.png")) for name in CONFIGS}
    sheets["none"] = sheet(augmented(OFF))
    for name, picture in sheets.items():
        for other, another in sheets.items():
            same_shape = picture.shape == another.shape
            assert name == other or not same_shape or np.abs(picture.astype(int) - another).mean() > 0.25


def test_nothing_is_changed_without_strengths() -> None:
    pictures, batch = lines(), augmented(OFF)
    for picture, row, width in zip(pictures, batch.pixels, batch.widths.tolist(), strict=True):
        np.testing.assert_array_equal(row[0, :, :width], picture)
        assert (row[0, :, width:] == PAPER).all()


def test_the_seed_decides_every_number() -> None:
    torch.manual_seed(1)
    first = augmented(AugmentConfig())
    torch.manual_seed(2)
    assert torch.equal(first.pixels, augmented(AugmentConfig()).pixels)
    assert not torch.equal(first.pixels[:, :, :, :64], augmented(AugmentConfig(), seed=6).pixels[:, :, :, :64])


def test_no_line_becomes_too_narrow_for_its_text() -> None:
    pictures = lines()
    batch = collate(pictures, [[1]] * len(pictures))
    needed = torch.tensor([30, 26, 23, 99])  # of 30, 26, 23 and 20 frames
    for seed in range(20):
        widths = augment(batch, AugmentConfig(stretch=0.9), needed, 4, seed).widths.long()
        assert (widths >= torch.minimum(needed * 4, batch.widths.long())).all()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, config in CONFIGS.items():
        Image.fromarray(sheet(augmented(config))).save(GOLDEN / f"{name}.png", optimize=True)
