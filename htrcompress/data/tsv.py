"""Reads a folder with `train.tsv`, `valid.tsv`, `test.tsv`: one `file<TAB>text` a line, UTF-8.

Further `test_*.tsv` files become splits of their own, such as a test without repeated texts.
"""

import unicodedata
from pathlib import Path

from htrcompress.charset import clean_text
from htrcompress.data.lines import Dataset, Line
from htrcompress.errors import HtrError

NAMES = ("train", "valid", "test")


def split_files(root: Path) -> dict[str, Path]:
    """Split name to its file, in a fixed order."""
    named = {name: root / f"{name}.tsv" for name in NAMES}
    further = {path.stem: path for path in sorted(root.glob("test_*.tsv"))}
    return {name: path for name, path in {**named, **further}.items() if path.is_file()}


def open_tsv(root: Path) -> Dataset:
    """Opens such a folder. Lines without text are left out and counted.

    Raises:
        HtrError: a line has no tab, names a file that is missing or lies outside the folder, holds a control
            character, or is not UTF-8.
    """
    dropped: dict[str, int] = {}
    splits = {name: _read(root, path, name, dropped) for name, path in split_files(root).items()}
    return Dataset(root.resolve().name, "tsv", splits, dropped)


def _read(root: Path, path: Path, split: str, dropped: dict[str, int]) -> list[Line]:
    try:
        rows = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise HtrError(f"{path} is not UTF-8 text (byte {error.start}): convert it") from None
    except OSError as error:
        raise HtrError(f"cannot read {path}: {error.strerror}") from None
    lines = []
    folder = root.resolve()
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        name, tab, text = row.rstrip("\r").partition("\t")
        if not tab:
            raise HtrError(f"{path}, line {number}: expected file<TAB>text, found no tab")
        try:
            image = root / name
            inside, there = image.resolve().is_relative_to(folder), image.is_file()
        except (OSError, ValueError):  # too long a name, or a zero byte in it
            inside, there = True, False
        if not inside:
            raise HtrError(f"{path}, line {number}: {name} lies outside the dataset's folder")
        if not there:
            raise HtrError(f"{path}, line {number}: there is no image {str(image)[:200]}")
        text = clean_text(text)
        controls = [c for c in text if unicodedata.category(c) == "Cc"]
        if controls:
            raise HtrError(f"{path}, line {number}: the text holds the control character {controls[0]!r}")
        if text:
            lines.append(Line(name, text, split, image))
        else:
            dropped["empty transcription"] = dropped.get("empty transcription", 0) + 1
    return lines
