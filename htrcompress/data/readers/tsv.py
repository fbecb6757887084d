"""Reads a folder with `train.tsv`, `valid.tsv`, `test.tsv`: one `file<TAB>text` a line, UTF-8.

Further `test_*.tsv` files become splits of their own, such as a test without repeated texts.
"""

from pathlib import Path

from htrcompress.charset import clean_text
from htrcompress.data.lines import Dataset, Line, checked_text, inside, read_utf8
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
        HtrError: a line has not one tab, names a file that is missing, lies outside the folder or has a line
            already, holds a control character, or is not UTF-8.
    """
    dropped: dict[str, int] = {}
    splits = {name: _read(root, path, name, dropped) for name, path in split_files(root).items()}
    return Dataset(root.resolve().name, "tsv", splits, dropped)


def _read(root: Path, path: Path, split: str, dropped: dict[str, int]) -> list[Line]:
    lines = []
    numbers: dict[Path, int] = {}
    for number, row in enumerate(read_utf8(path).split("\n"), 1):
        if not row.strip():
            continue
        where = f"{path}, line {number}"
        name, tab, text = row.rstrip("\r").partition("\t")
        if not tab:
            raise HtrError(f"{where}: expected file<TAB>text, found no tab")
        if "\t" in text:
            raise HtrError(f"{where}: expected file<TAB>text, found a second tab: put spaces in its place")
        image = root / name
        if not inside(image, root, where):
            raise HtrError(f"{where}: there is no image {str(image)[:200]}")
        text = checked_text(clean_text(text), where)
        if text:
            first = numbers.setdefault(image, number)
            if first != number:
                raise HtrError(f"{where}: {name[:200]} has a text in line {first} already: leave one of them out")
            lines.append(Line(name, text, split, image))
        else:
            dropped["empty transcription"] = dropped.get("empty transcription", 0) + 1
    return lines
