"""Draws lines of English in many cursive hands, since real ones that may be given away are few.

    npm install --prefix fonts @fontsource/homemade-apple @fontsource/herr-von-muellerhoff ...
    python recipes/latin/drawn.py --fonts fonts/node_modules/@fontsource --texts data/hooker_en --out data/drawn_en

The words are those of a dataset's training lines, joined and broken anew, and those of the built-in handwriting. Of
every eighth font none of the lines is in `train`, but some are in `valid`. README.md names the fonts.
"""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random

from htrcompress.cli import run_command
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.packing import Packed, pack
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.data.synthetic import WRITERS, Scan, render
from htrcompress.data.synthetic.fonts import characters
from htrcompress.data.synthetic.sentences import sentence
from htrcompress.errors import HtrError

logger = logging.getLogger(__name__)

BUILT_IN = 0.3
"""Share of the lines whose words come from the built-in handwriting."""
SHORTEST, LONGEST = 12, 64
"""Characters of the other lines."""
VALID = 8
"""One font of so many is for validation."""


@dataclass(frozen=True)
class DrawnOptions:
    """Draws lines in the fonts of a folder, and packs them.

    Attributes:
        fonts: folder in which, at any depth, the fonts' files are (.ttf, .otf, .woff).
        texts: dataset whose training transcriptions give the words.
        out: folder of the packed dataset.
        lines: how many are drawn for training.
        valid: how many are drawn for validation.
        seed: of words, hands and paper.
        height: of the images in pixels.
    """

    fonts: Path
    texts: str
    out: Path
    lines: int = 9000
    valid: int = 200
    seed: int = 0
    height: int = 64


def draw_lines(options: DrawnOptions) -> Packed:
    """Draws and packs the lines; see `DrawnOptions`.

    Raises:
        HtrError: the folder holds too few fonts, or the dataset no training lines.
    """
    fonts = fonts_in(options.fonts)
    lines = open_dataset(options.texts).splits.get("train", [])
    words = " ".join(line.text for line in lines).split()
    if not words:
        raise HtrError(f"{options.texts} has no training lines whose words could be drawn; choose another --texts")
    held_out = fonts[::VALID]
    splits = {
        "train": (sorted(set(fonts) - set(held_out)), options.lines),
        "valid": (held_out, options.valid),
    }
    dataset = Dataset(
        "drawn_en",
        "drawn",
        {
            split: [_line(split, number, names[number % len(names)], words, options) for number in range(count)]
            for split, (names, count) in splits.items()
        },
    )
    return pack(dataset, options.out, options.height, asdict(ReadConfig()))


def fonts_in(folder: Path) -> list[str]:
    """The fonts' files in a folder, sorted; of a package that comes in parts, the one with Latin letters.

    Raises:
        HtrError: there are fewer than `VALID`.
    """
    names = (str(path) for path in sorted(folder.rglob("*")) if path.suffix in {".ttf", ".otf", ".woff"})
    found = [name for name in names if "-latin-400-normal" in name or "@fontsource" not in name]
    if len(found) < VALID:
        raise HtrError(f"{folder} has {len(found)} fonts, and at least {VALID} are needed: install more, see README.md")
    return found


def _line(split: str, number: int, font: str, words: Sequence[str], options: DrawnOptions) -> Line:
    name = f"{split}/{Path(font).stem}/{number:06d}"
    random = Random(f"{options.seed}/{name}")
    text = _text(random, words)
    while not characters(font).issuperset(text):
        text = _text(random, words)
    writer = zlib.crc32(f"{options.seed}/{font}/{random.randrange(WRITERS)}".encode())
    scan = Scan(text, font, writer, random.getrandbits(63))
    return Line(name, text, split, partial(render, scan), group=Path(font).stem)


def _text(random: Random, words: Sequence[str]) -> str:
    """What one line says."""
    if random.random() < BUILT_IN:
        return sentence(random, held_out=False)
    room, start = random.randint(SHORTEST, LONGEST), random.randrange(len(words))
    text = words[start]
    for word in words[start + 1 :]:
        if len(text) + 1 + len(word) > room:
            break
        text += f" {word}"
    return text


if __name__ == "__main__":
    run_command(draw_lines)
