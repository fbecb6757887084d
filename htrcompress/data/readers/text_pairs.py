"""Reads line images with a text file each beside them: kraken's and Tesseract's `a.gt.txt`, or plain `a.txt`.

    train/0001.png   train/0001.gt.txt      a folder called like a split holds it
    train.ln  val.ln  test.ln               or lists name the images of each split; all lines are in `all` otherwise

Of several renditions of a line (`a.png`, `a.bin.png`, `a.nrm.png`) the plainest is taken. A `.txt` beside an `.xml` of
the same name is the text of a page, not of a line, and is no pair.
"""

import contextlib
from collections import Counter, defaultdict
from pathlib import Path

from htrcompress.data.folders import Inside, files_in
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import split_of
from htrcompress.data.splitting import listed_splits, lists_in
from htrcompress.errors import HtrError
from htrcompress.image_files import SUFFIXES
from htrcompress.utils.io import read_utf8

GROUND_TRUTH = ".gt.txt"
MAX_BYTES = 1 << 16
"""Of the text of a line; longer files are something else."""


class TextPairsReader:
    """Opens folders of line images with a text file beside each."""

    name = "text_pairs"
    looks_for = "*.gt.txt, or *.txt with an image of the same name"
    mixes = True
    options: type | None = None

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return path.is_dir() and bool(_pairs(path)[0])

    def open(self, path: Path, options: None) -> Dataset:
        """Opens such a folder. A text without an image is broken; images without a text are left out and counted.

        Raises:
            HtrError: a text or a list is a link that leads out of the folder, or a list names what is not there.
        """
        pairs, images = _pairs(path)
        inside = Inside(path)
        splits: dict[str, list[Line]] = {}
        broken: dict[str, list[str]] = {}
        dropped: Counter[str] = Counter()
        changed: Counter[str] = Counter()
        for text_file, name in sorted(pairs.items()):
            inside.check(text_file)
            renditions = images.pop((text_file.parent, name), [])
            if not renditions:
                broken.setdefault("texts without an image", []).append(str(text_file))
                continue
            dropped["other renditions of a line's image"] += len(renditions) - 1
            try:
                rows = [row for row in _short_text(text_file).splitlines() if row.strip()]
            except HtrError as error:
                broken.setdefault("unreadable texts", []).append(str(error))
                continue
            changed["texts of several rows, joined"] += len(rows) > 1
            image = min(renditions, key=lambda file: (len(file.name), file.name))
            split = split_of(text_file, path)
            line = Line(image.relative_to(path).as_posix(), " ".join(rows), split, image)
            splits.setdefault(split, []).append(line)
        dropped["images without a text"] += len(images)
        dataset = Dataset(path.resolve().name, self.name, splits, dict(+dropped), dict(+changed), broken)
        lists = lists_in(path)
        return listed_splits(dataset, path, lists) if lists else dataset


def _short_text(file: Path) -> str:
    """The text of a file that is no longer than a line may be.

    Raises:
        HtrError: it is longer, or not UTF-8.
    """
    with contextlib.suppress(OSError):
        if file.stat().st_size > MAX_BYTES:
            raise HtrError(f"{file} has more than {MAX_BYTES} bytes: it is not the text of a line")
    return read_utf8(file)


def _pairs(root: Path) -> tuple[dict[Path, str], dict[tuple[Path, str], list[Path]]]:
    """Text files and the names that their lines go by; images by folder and such name."""
    texts: dict[Path, str] = {}
    plain, pictures, pages = [], [], set()
    for file in files_in(root):
        lower = file.name.lower()
        if lower.endswith(GROUND_TRUTH):
            texts[file] = file.name[: -len(GROUND_TRUTH)]
        elif lower.endswith(".txt"):
            plain.append(file)
        elif lower.endswith(SUFFIXES):
            pictures.append(file)
        elif lower.endswith(".xml"):
            pages.add((file.parent, file.stem))
    alone = {(file.parent, file.stem) for file in pictures}
    known = {(file.parent, name) for file, name in texts.items()}
    for file in plain:
        key = (file.parent, file.stem)
        if key in alone and key not in known and key not in pages:
            texts[file] = file.stem
            known.add(key)
    images: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file in pictures:
        name = file.stem
        while (file.parent, name) not in known and "." in name:  # a rendition such as a.nrm.png
            name = name.rpartition(".")[0]
        images[file.parent, name if (file.parent, name) in known else file.stem].append(file)
    return texts, dict(images)
