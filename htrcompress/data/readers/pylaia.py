"""Reads datasets in the layout of PyLaia: tables of symbols, with the images found by their ids.

    train.txt  valid.txt  test.txt      a01-000u-00 A <space> M O V E
    syms.txt                            <ctc> 0, <space> 1, ...
    images/...                          or any other folder; the ids of the tables have no suffix

A line of a table is an id and symbols with spaces between; `<space>` is a space. Files that hold ids or raw texts alone
(`train_ids.txt`, `train_text.txt`) are not tables and are passed over.
"""

from pathlib import Path

from htrcompress.data.folders import ImageNames, Inside
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import is_split, split_name
from htrcompress.errors import HtrError
from htrcompress.utils.io import read_rows

SYMBOLS = ("syms.txt", "symbols.txt")
BLANKS = ("<ctc>", "<eps>")
"""Symbols of no character: PyLaia's blank, and that of Laia before it."""
SPACE = "<space>"
SKIPPED = ("_ids", "_text", "_texts", "_eval")
"""How files beside the tables end."""


class PyLaiaReader:
    """Opens folders in the layout of PyLaia."""

    name = "pylaia"
    looks_for = "syms.txt beside train.txt, valid.txt or test.txt"
    mixes = False
    options: type | None = None

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return path.is_dir() and _symbol_file(path) is not None and bool(_tables(path))

    def open(self, path: Path, options: None) -> Dataset:
        """Opens such a folder. Lines without symbols are left out and counted, as PyLaia does.

        Raises:
            HtrError: a table is not UTF-8, or two tables are of one split.
        """
        images, inside = ImageNames(path), Inside(path)
        symbols = _symbols(path, inside)
        splits: dict[str, list[Line]] = {}
        broken: dict[str, list[str]] = {}
        dropped = {"empty transcription": 0}
        for table in _tables(path):
            split = split_name(table.stem)
            if split in splits:
                raise HtrError(f"{path}: two tables are of the split {split}, the second is {table.name}: remove one")
            lines = splits.setdefault(split, [])
            for number, row in enumerate(read_rows(inside.check(table)), 1):
                name, _, rest = row.strip().partition(" ")
                if not name or name.startswith("#"):
                    continue
                where, tokens = f"{table.name}, line {number}: {name[:200]}", rest.split()
                odd = [token for token in tokens if token not in symbols]
                image = images.find(name) or images.find(name.rpartition("/")[2])
                if odd:
                    broken.setdefault("symbols that syms.txt lacks", []).append(f"{where} has {odd[0][:40]}")
                elif image is None:
                    broken.setdefault(images.fault(name.rpartition("/")[2]), []).append(where)
                elif not tokens:
                    dropped["empty transcription"] += 1
                else:
                    text = "".join(" " if token == SPACE else token for token in tokens if token not in BLANKS)
                    lines.append(Line(name, text, split, image))
        return Dataset(path.resolve().name, self.name, splits, {k: v for k, v in dropped.items() if v}, broken=broken)


def _symbol_file(path: Path) -> Path | None:
    return next((path / name for name in SYMBOLS if (path / name).is_file()), None)


def _tables(path: Path) -> list[Path]:
    files = sorted(path.glob("*.txt"))
    return [file for file in files if is_split(file.stem) and not file.stem.endswith(SKIPPED)]


def _symbols(path: Path, inside: Inside) -> frozenset[str]:
    """The symbols of the table `symbol number`."""
    file = _symbol_file(path)
    assert file is not None
    rows = [row.split() for row in read_rows(inside.check(file)) if row.strip()]
    return frozenset(row[0] for row in rows) | {SPACE}
