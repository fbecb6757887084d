"""Reads a folder with `train.tsv`, `valid.tsv`, `test.tsv`: one `file<TAB>text` a line, UTF-8.

Further `test_*.tsv` files become splits of their own, such as a test without repeated texts.
"""

import posixpath
from collections import Counter, defaultdict
from pathlib import Path

from htrcompress.data.folders import FolderIndex, Inside
from htrcompress.data.lines import Dataset, Line
from htrcompress.utils.io import read_rows

NAMES = ("train", "valid", "test")
NAMED = 10
"""Missing images that similar names are looked for; more are not shown."""


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

        A row without exactly one tab, or whose image is missing or has a text already, is broken.

        Raises:
            HtrError: a row names a file that leads out of the folder, or a table is not UTF-8 or a link out of it.
        """
        tables = _Tables(path)
        splits = {name: tables.read(file, name) for name, file in _split_files(path).items()}
        return Dataset(path.resolve().name, self.name, splits, dict(tables.dropped), broken=tables.broken)


def _split_files(root: Path) -> dict[str, Path]:
    """Split name to its file, in a fixed order."""
    named = {name: root / f"{name}.tsv" for name in NAMES}
    further = {path.stem: path for path in sorted(root.glob("test_*.tsv"))}
    return {name: path for name, path in {**named, **further}.items() if path.is_file()}


class _Tables:
    """The tables of one folder, and what is wrong with their rows."""

    def __init__(self, root: Path):
        self.inside, self.index = Inside(root), FolderIndex(root)
        self.dropped: Counter[str] = Counter()
        self.broken: defaultdict[str, list[str]] = defaultdict(list)

    def read(self, path: Path, split: str) -> list[Line]:
        """The lines of one table."""
        lines: list[Line] = []
        numbers: dict[str, int] = {}
        for number, row in enumerate(read_rows(self.inside.check(path)), 1):
            if not row.strip():
                continue
            where = f"{path}, line {number}"
            name, tab, text = row.partition("\t")
            if not tab or "\t" in text:
                found = "a second tab" if tab else "no tab"
                self.broken["rows that are not file<TAB>text"].append(f"{where} has {found}")
                continue
            image = self.index.find(name, where)
            if image is None:
                near = self.index.near_miss(name) if len(self.broken["missing images"]) < NAMED else ""
                self.broken["missing images"].append(f"{where}: {name[:200]}{near}")
            elif not text or text.isspace():
                self.dropped["empty transcription"] += 1
            else:
                normal = posixpath.normpath(name) if "./" in name or "//" in name else name
                first = numbers.setdefault(normal, number)
                if first != number:
                    self.broken["images that have a text already"].append(f"{where}: {name[:200]}, as in line {first}")
                else:
                    lines.append(Line(name, text, split, image))
        return lines
