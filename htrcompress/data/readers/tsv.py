"""Reads a folder with `train.tsv`, `valid.tsv`, `test.tsv`: one `file<TAB>text` a line, UTF-8.

Further `test_*.tsv` files become splits of their own, such as a test without repeated texts.
"""

import posixpath
from collections import Counter
from pathlib import Path

from htrcompress.data.folders import FolderIndex
from htrcompress.data.lines import Dataset, Line
from htrcompress.errors import HtrError, listed
from htrcompress.utils.io import read_utf8

NAMES = ("train", "valid", "test")


class TsvReader:
    """Opens folders of TSV files."""

    name = "tsv"
    looks_for = "train.tsv, valid.tsv or test.tsv"
    mixes = False
    options: type | None = None

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return bool(_split_files(path))

    def open(self, path: Path, options: None) -> Dataset:
        """Opens such a folder. Lines without text are left out and counted.

        Raises:
            HtrError: a line has not exactly one tab, names a file that is missing, that leads out of the folder or
                that has a text already, or a file is not UTF-8.
        """
        dropped: Counter[str] = Counter()
        index = FolderIndex(path)
        splits = {name: _read(file, name, index, dropped) for name, file in _split_files(path).items()}
        return Dataset(path.resolve().name, self.name, splits, dict(dropped))


def _split_files(root: Path) -> dict[str, Path]:
    """Split name to its file, in a fixed order."""
    named = {name: root / f"{name}.tsv" for name in NAMES}
    further = {path.stem: path for path in sorted(root.glob("test_*.tsv"))}
    return {name: path for name, path in {**named, **further}.items() if path.is_file()}


def _read(path: Path, split: str, index: FolderIndex, dropped: Counter[str]) -> list[Line]:
    lines: list[Line] = []
    numbers: dict[str, int] = {}
    missing: list[str] = []
    for number, row in enumerate(read_utf8(path).split("\n"), 1):
        if not row.strip():
            continue
        name, text = _columns(row, f"{path}, line {number}")
        image = index.find(name, f"{path}, line {number}")
        if image is None:
            missing.append(f"line {number}: {name[:200]}{index.near_miss(name) if len(missing) < 10 else ''}")
        elif not text or text.isspace():
            dropped["empty transcription"] += 1
        else:
            first = numbers.setdefault(posixpath.normpath(name) if "./" in name or "//" in name else name, number)
            if first != number:
                raise HtrError(
                    f"{path}, line {number}: {name[:200]} has a text in line {first} already: leave one of them out"
                )
            lines.append(Line(name, text, split, image))
    if missing:
        raise HtrError(f"{path} names images that are not there ({len(missing)}): {listed(missing)}")
    return lines


def _columns(row: str, where: str) -> tuple[str, str]:
    """The file's name and the text in a row."""
    name, tab, text = row.rstrip("\r").partition("\t")
    if not tab:
        raise HtrError(f"{where}: expected file<TAB>text, found no tab")
    if "\t" in text:
        raise HtrError(f"{where}: expected file<TAB>text, found a second tab: put spaces in its place")
    return name, text
