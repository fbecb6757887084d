"""Synthetic handwriting: lines like those of archives, made on the fly, for tests, examples and benchmarks.

Nothing is downloaded and nothing is stored: a line's image is a pure function of its `Scan`, so the same seed
gives the same bytes in any order and any process. The validation and test splits are written in fonts that
the training split never shows, with words that it never contains. Needs `pip install 'htrcompress[synthetic]'`.
"""

import math
import zlib
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.lines import Dataset, Line
from htrcompress.data.synthetic.fonts import STROKE_FONTS, characters
from htrcompress.data.synthetic.handwriting import draw, hand
from htrcompress.data.synthetic.sentences import sentence
from htrcompress.errors import HtrError

SIZES = {"train": 12000, "valid": 200, "test": 400, "test_known_fonts": 200}
"""The splits and their default numbers of lines."""

TRAIN_FONTS = (
    *("caveat", "delius", "great-vibes", "pacifico", "permanent-marker", "satisfy"),
    *("shadows-into-light", "yellowtail", "zeyada"),
    *STROKE_FONTS,
)
FONTS = {
    "train": TRAIN_FONTS,
    "valid": ("indie-flower",),
    "test": ("kalam", "dancing-script"),
    "test_known_fonts": TRAIN_FONTS,
}
"""The fonts of each split."""

WRITERS = 60
"""How many writers each font has."""


@dataclass(frozen=True)
class Scan:
    """Everything that a line's image depends on.

    Attributes:
        text: what is written.
        font: the model of the letter shapes.
        writer: seed of the writer's hand.
        seed: seed of this line: how the letters vary, the paper, the scanner.
    """

    text: str
    font: str
    writer: int
    seed: int


def open_synthetic(sizes: dict[str, int] | None = None, seed: int = 0) -> Dataset:
    """Opens the synthetic dataset.

    Args:
        sizes: number of lines by split; splits not named keep their number in `SIZES`.
        seed: which dataset; a line depends on this and its id only, not on the sizes.

    Raises:
        HtrError: there is no such split, or a font's package is not installed.
    """
    for split in sizes or {}:
        if split not in SIZES:
            raise HtrError(f"the synthetic dataset has no split '{split}'; it has: {', '.join(SIZES)}")
    counts = SIZES | (sizes or {})
    splits = {split: [_line(split, number, seed) for number in range(count)] for split, count in counts.items()}
    return Dataset("synthetic", "synthetic", splits)


def _line(split: str, number: int, seed: int) -> Line:
    font = FONTS[split][number % len(FONTS[split])]
    name = f"{split}/{font}/{number:06d}"
    random = Random(f"{seed}/{name}")  # seeding with a string hashes it the same way everywhere
    writer = zlib.crc32(f"{seed}/{font}/{random.randrange(WRITERS)}".encode())
    text = sentence(random, held_out=split != "train")
    while not characters(font).issuperset(text):
        text = sentence(random, held_out=split != "train")
    scan = Scan(text, font, writer, random.getrandbits(63))
    return Line(name, text, split, partial(render, scan), group=font)


def render(scan: Scan) -> NDArray[np.uint8]:
    """The scanned line, uint8 (height, width), about 56 to 80 pixels high."""
    rng = np.random.default_rng(scan.seed)
    ink = place_ink(scan, rng)
    paper = _paper(ink.shape, rng)
    if rng.random() < 0.12:  # the writing on the back shows through
        paper -= float(rng.uniform(6, 18)) * _softened(ink[:, ::-1], 0.3)
    if rng.random() < 0.3:  # ink spreads into the fibres
        ink = np.maximum(ink, _softened(_softened(ink, 0.3), 0.3) * float(rng.uniform(0.6, 0.9)))
    darkness = float(min(rng.uniform(20, 115), paper.mean() - 95))
    load = 1 - float(rng.uniform(0, 0.14)) * (1 + _smooth(ink.shape, rng, 1, 9)) - 0.05 * _grain(ink.shape, rng, 1)
    paper -= ink * np.clip(load, 0.55, 1.05) * (paper - darkness)
    scanned = _softened(paper, float(rng.uniform(0.03, 0.24)))
    scanned += float(rng.uniform(0.5, 5)) * _grain(ink.shape, rng, 0)
    return np.clip(scanned, 0, 255).astype(np.uint8)


def place_ink(scan: Scan, rng: np.random.Generator) -> NDArray[np.float32]:
    """The ink of a line on its crop, float32 (height, width) from 0 to 1, with at least two rows and columns free."""
    height = int(rng.integers(56, 81))
    ink = draw(scan.text, scan.font, hand(scan.font, scan.writer), height * float(rng.uniform(0.66, 0.86)), rng)
    rows = ink.shape[0]
    height = max(height, rows + 4)
    above = round((height - rows) * float(np.clip(rng.normal(0.5, 0.2), 0, 1)))
    above = min(max(above, 2), height - rows - 2)
    left, right = (int(margin) for margin in rng.integers(3, 26, size=2))
    return np.pad(ink, ((above, height - rows - above), (left, right)))


def _paper(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Empty paper, float32 (height, width) in grey levels: tone, light, fibres, ruling, stains."""
    height, width = shape
    paper = _smooth(shape, rng, 3, 4) * float(rng.uniform(2, 9)) + float(rng.uniform(190, 242))
    paper += float(rng.uniform(0.5, 5)) * _grain(shape, rng, 1)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    if rng.random() < 0.25:
        line = height * float(rng.uniform(0.6, 0.95)) + x * float(rng.normal(0, 0.004))
        paper -= float(rng.uniform(10, 45)) * np.clip(float(rng.uniform(0.8, 1.6)) - np.abs(y - line), 0, 1)
    for _ in range(int(rng.choice(4, p=(0.7, 0.15, 0.1, 0.05)))):
        centre, size = rng.uniform(0, (width, height)), rng.uniform((8, 5), (90, 40))
        distance = ((x - centre[0]) / size[0]) ** 2 + ((y - centre[1]) / size[1]) ** 2
        paper -= float(rng.uniform(4, 22)) * np.exp(-(distance**2)).astype(np.float32)
    specks = rng.integers(0, shape, size=(int(rng.integers(0, 12)), 2))
    paper[specks[:, 0], specks[:, 1]] -= float(rng.uniform(15, 70))
    return paper


def _smooth(shape: tuple[int, int], rng: np.random.Generator, down: int, across: int) -> NDArray[np.float32]:
    """A field without fine detail, float32 (height, width), mean 0, about 1 wide: a sum of low cosine waves."""
    sides = []
    for length, waves in zip(shape, (down, across), strict=True):
        angles = np.outer(np.arange(length) + 0.5, np.arange(waves)) * (math.pi / length)
        sides.append(np.cos(angles).astype(np.float32))
    weights = rng.standard_normal((down, across)).astype(np.float32) / math.sqrt(down * across / 2)
    return (sides[0] @ weights) @ sides[1].T


def _softened(image: NDArray[np.float32], amount: float) -> NDArray[np.float32]:
    """Blurs by giving each of the four sides' neighbours a share of up to 0.3; float32 (height, width)."""
    rows = image.copy()
    rows[1:-1] += amount * (image[2:] + image[:-2] - 2 * image[1:-1])
    both = rows.copy()
    both[:, 1:-1] += amount * (rows[:, 2:] + rows[:, :-2] - 2 * rows[:, 1:-1])
    return both


@lru_cache
def _grain_sheet(radius: int) -> NDArray[np.float32]:
    """Noise to cut pieces from, float32 (256, 4096), mean 0 and deviation 1: fine, or blurred into fibres."""
    noise = np.random.default_rng(radius).standard_normal((256, 4096)).astype(np.float32)
    if radius:
        noise = sum(np.roll(noise, step, axis=1) for step in range(3 * radius)) + np.roll(noise, 1, axis=0)
    return noise / noise.std()


def _grain(shape: tuple[int, int], rng: np.random.Generator, radius: int) -> NDArray[np.float32]:
    sheet = _grain_sheet(radius)
    top, left = (int(rng.integers(room)) for room in (sheet.shape[0] - shape[0], sheet.shape[1] - shape[1]))
    return sheet[top : top + shape[0], left : left + shape[1]]
