"""From what a user types after `--data` to a dataset: the format is found by looking."""

import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

from htrcompress.card import Card
from htrcompress.config import ReadConfig
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers.bentham import bentham_parts, open_bentham
from htrcompress.data.readers.tsv import open_tsv, split_files
from htrcompress.errors import HtrError

SYNTHETIC = "synthetic"


def open_dataset(source: str, read: ReadConfig = ReadConfig()) -> Dataset:
    """Opens `synthetic`, the built-in data, a folder in any supported format, or several, as in `hooker,copiste`.

    Args:
        source: what to open. Lines of several datasets are named after theirs, and grouped by it.
        read: how to read texts where the format leaves a choice.

    Raises:
        HtrError: there is no such folder, nothing in it is recognised, or two have the same name.
    """
    together = [_open_one(part, read) for part in _parts(source)]
    if len(together) == 1:
        return together[0]
    names = [dataset.name for dataset in together]
    if len(set(names)) < len(names):
        raise HtrError(f"--data {source}: two of the datasets are called the same: rename a folder")
    splits: dict[str, list[Line]] = {}
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for dataset in together:
        dropped.update(dataset.dropped)
        changed.update(dataset.changed)
        for split, lines in dataset.splits.items():
            named = (replace(line, id=f"{dataset.name}/{line.id}", group=dataset.name) for line in lines)
            splits.setdefault(split, []).extend(named)
    return Dataset("+".join(names), "+".join(d.format for d in together), splits, dict(dropped), dict(changed))


def _parts(source: str) -> list[str]:
    """The datasets that a source names; a folder may have commas in its name."""
    parts = [source] if Path(source).is_dir() else [part.strip() for part in source.split(",")]
    if not all(parts):
        raise HtrError(f"--data {source!r} names no folder before or after a comma")
    return parts


def _open_one(source: str, read: ReadConfig) -> Dataset:
    if source == SYNTHETIC:
        from htrcompress.data.synthetic import open_synthetic

        return open_synthetic()
    root = Path(source)
    try:
        str(root.resolve()).encode()
    except UnicodeEncodeError:
        raise HtrError(f"--data {source!r}: the folder's name is not UTF-8: rename it") from None
    if not root.is_dir():
        raise HtrError(f"--data {source}: there is no such folder (the built-in data is called '{SYNTHETIC}')")
    if split_files(root):
        return open_tsv(root)
    if bentham_parts(root):
        return open_bentham(root, read)
    raise HtrError(
        f"--data {source}: neither train.tsv, valid.tsv or test.tsv nor Bentham's Partitions/*Lines.lst in this folder"
    )


def read_config(card: Card) -> ReadConfig:
    """How the texts of a model's training data were read, so that its test data is read alike."""
    saved = card.data.get("read")
    try:
        return ReadConfig(**saved) if isinstance(saved, dict) else ReadConfig()
    except TypeError:
        return ReadConfig()


def default_data(card: Card) -> str:
    """The data that the model was trained on, if it is still there.

    Raises:
        HtrError: the card names none, or it is elsewhere.
    """
    for source in (card.data.get("path"), card.data.get("name")):
        with contextlib.suppress(OSError):  # a path that no disk can have
            if source and isinstance(source, str) and all(p == SYNTHETIC or Path(p).is_dir() for p in _parts(source)):
                return source
    raise HtrError(f"the data that {card.name} was trained on is not here: name the data to read with --data")
