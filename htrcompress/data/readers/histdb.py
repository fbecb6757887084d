"""Reads the historical databases of IAM: Washington and Saint Gall (Fischer et al., 2011 and 2012), and Parzival.

    ground_truth/transcription.txt     270-01 O-r-d-e-r-s|f-o-r|t-h-e|1-5-t-h-s_cm
    data/line_images_normalized/270-01.png
    sets/cv1/train.txt  valid.txt  test.txt      ids of lines; of pages in Saint Gall's sets/train.txt ...

Letters are joined with `-` and words with `|`; what is not a letter has a token of its own, such as `s_cm`, or `pt` in
Saint Gall. What follows the tokens in a row is an edition's text, which is not used.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from htrcompress.data.folders import ImageNames, Inside, is_litter
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import ALL
from htrcompress.data.splitting import listed_splits, lists_in
from htrcompress.errors import HtrError
from htrcompress.utils.io import read_rows

TOKENS = {
    "pt": ".",
    "et": "&",
    "s_pt": ".",
    "s_cm": ",",
    "s_sq": ";",
    "s_qo": ":",
    "s_mi": "-",
    "s_qt": "'",
    "s_bl": "(",
    "s_br": ")",
    "s_lb": "£",
    "s_sl": "/",
    "s_et": "&",
    "s_GW": "G.W.",
    "s_s": "s",
}
"""Tokens and what they stand for; `s_5` is a digit, and `s_15th` a number with its letters."""
TRANSCRIPTION = "ground_truth/transcription.txt"
IMAGES = "data/line_images_normalized"
_NUMBER = re.compile(r"s_(\d+(?:st|nd|rd|th)?)")


@dataclass(frozen=True)
class HistDbOptions:
    """How the historical databases of IAM are split."""

    fold: str = "cv1"
    """The folder in `sets` with the lists of a fold, where there are several."""


class HistDbReader:
    """Opens Washington, Saint Gall and Parzival."""

    name = "histdb"
    looks_for = TRANSCRIPTION
    mixes = False
    options: type | None = HistDbOptions

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return (path / TRANSCRIPTION).is_file()

    def open(self, path: Path, options: HistDbOptions) -> Dataset:
        """Opens a database.

        Raises:
            HtrError: a file is not UTF-8, there is no such fold, or a list names lines that are not there.
        """
        images = ImageNames(next(folder for folder in (path / IMAGES, path / "data", path) if folder.is_dir()))
        inside = Inside(path)
        lines: dict[str, Line] = {}
        broken: dict[str, list[str]] = {}
        for row in read_rows(inside.check(path / TRANSCRIPTION)):
            name, _, rest = row.strip().partition(" ")
            if not name:
                continue
            text = _text(rest.split(" ", 1)[0])
            image = images.find(name)
            if text is None or image is None:
                reason = "unknown tokens" if text is None else images.fault(name)
                broken.setdefault(reason, []).append(name)
            else:
                lines[name] = Line(name, text, ALL, image, page=name.rpartition("-")[0])
        dataset = Dataset(path.resolve().name, self.name, {ALL: list(lines.values())}, broken=broken)
        folder = _lists_folder(path / "sets", options.fold)
        lists = lists_in(folder, inside) if folder else {}
        if folder is None or not lists:
            return dataset
        absent = {name for names in broken.values() for name in names}
        return listed_splits(dataset, folder, lists, absent | {name.rpartition("-")[0] for name in absent})


def _text(tokens: str) -> str | None:
    """The text of a line; None if it has tokens that are not known."""
    words = []
    for word in tokens.split("|"):
        letters = [letter for letter in word.split("-") if letter]
        read = [TOKENS.get(letter) or (m[1] if (m := _NUMBER.fullmatch(letter)) else letter) for letter in letters]
        if any(letter.startswith("s_") for letter in read):
            return None
        words.append("".join(read))
    text = " ".join(words)
    return re.sub(r" (?=[.,;:)])", "", text)


def _lists_folder(folder: Path, fold: str) -> Path | None:
    """The folder with the lists of a fold; None where there are no lists.

    Raises:
        HtrError: there are folds, and none of that name.
    """
    if not folder.is_dir():
        return None
    folds = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not is_litter(entry.name))
    if folds and fold not in folds:
        raise HtrError(f"{folder} has no fold {fold}: choose --read.histdb.fold {', '.join(folds)}")
    return folder / fold if folds else folder
