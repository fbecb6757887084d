"""The lines of the Bentham corpus cut from its pages, where its line images are not there.

    PAGE/<page>.xml   Images/Pages/<page>.jpg   Partitions/{Train,Validation,Test}.lst

In PAGE files of 2010, as the training pages have them, points are elements; in those of the test pages an attribute.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from htrcompress.data.folders import Inside
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.page_folder import Opened
from htrcompress.data.readers.page_texts import PageOptions, Texts
from htrcompress.utils.io import read_rows

PARTITIONS = {"train": "Train.lst", "valid": "Validation.lst", "test": "Test.lst"}
PAGES = "PAGE"


def has_pages(folder: Path) -> bool:
    """Whether a folder of the corpus has PAGE files and a list of them."""
    return (folder / PAGES).is_dir() and any((folder / "Partitions" / name).is_file() for name in PARTITIONS.values())


def open_pages(path: Path, folders: list[Path], text: Callable[[str], str | None]) -> Dataset:
    """The lines of the pages that lists name, of all folders of the corpus; pages without a file are broken.

    Args:
        path: the folder that the user named.
        folders: those in it that are laid out like the corpus.
        text: what becomes of a text; None leaves the line out.

    Raises:
        HtrError: a list is not UTF-8, or a list or PAGE file is a link out of the folder.
    """
    opened, inside = Opened(path, Texts(PageOptions(), "bentham")), Inside(path)
    taken: set[str] = set()
    for folder in folders:
        for split, name in reversed(PARTITIONS.items()):  # a page that is tested on is not trained on
            file = folder / "Partitions" / name
            for row in read_rows(inside.check(file)) if file.is_file() else ():
                page = row.strip()
                if page and page not in taken:
                    taken.add(page)
                    _add(opened, inside, folder / PAGES / f"{page}.xml", split, file)
    dataset = opened.dataset(path.resolve().name, "bentham")
    splits = {
        split: [replace(line, text=new) for line in lines if (new := text(line.text))]
        for split, lines in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


def _add(opened: Opened, inside: Inside, page: Path, split: str, file: Path) -> None:
    if page.parent.name == PAGES and os.path.isfile(page):  # a name with a slash leads to another folder
        opened.add(inside.check(page), split)
    else:
        opened.broken.setdefault(f"no page for a name in {file.name}", []).append(page.stem[:200])
