"""What splits are called in files, folders and columns: `validation`, `val` and `dev` are `valid` everywhere."""

import re
from pathlib import Path

from htrcompress.image_files import SUFFIXES

SPLITS = {
    "train": ("train", "training", "tr", "trainset", "trainlines"),
    "valid": ("valid", "validation", "val", "va", "dev", "eval", "validationset", "validationlines"),
    "test": ("test", "testing", "te", "testset", "testlines", "test-icfhr-2016"),
}
"""A split and the names that it goes by, in lower case."""
ALL = "all"
"""The split of lines that are in none, until `python -m htrcompress.data --split` makes some."""
_KNOWN = {name: split for split, names in SPLITS.items() for name in names}


def split_name(name: str) -> str:
    """The split that goes by this name; the name itself, in lower case, if it is none of the usual ones."""
    lower = name.strip().lower()
    return _KNOWN.get(lower, lower)


def is_file_name(name: str) -> bool:
    """Whether files can be called like a split: without folders and characters that nobody sees."""
    return 0 < len(name) <= 200 and name.isprintable() and not set(name) & set("/\\:") and name not in (".", "..")


def is_split(name: str) -> bool:
    """Whether files of this name, or a folder, hold a split: a usual name, or one such as `test_unseen_hands`."""
    split = split_name(name)
    return split in SPLITS or re.split("[-_]", split)[0] in SPLITS


def without_suffix(name: str) -> str:
    """A name in a list, which may be that of an image file."""
    return name.rpartition(".")[0] if name.lower().endswith(SUFFIXES) else name


def dataset_name(path: Path) -> str:
    """What a dataset is called: its folder's name, or its file's without the suffix."""
    return path.resolve().stem if path.is_file() else path.resolve().name


def split_of(file: Path, root: Path) -> str:
    """The split of a file: the innermost of its folders below the root that is called like one, else `all`."""
    folders = file.relative_to(root).parent.parts
    return next((split_name(folder) for folder in reversed(folders) if is_split(folder)), ALL)
