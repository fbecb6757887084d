"""From what a user types after `--data` to a dataset: the format is found by looking."""

from pathlib import Path

from htrcompress.card import Card
from htrcompress.data.lines import Dataset
from htrcompress.data.tsv import open_tsv, split_files
from htrcompress.errors import HtrError

SYNTHETIC = "synthetic"


def open_dataset(source: str) -> Dataset:
    """Opens `synthetic`, the built-in data, or a folder in any supported format.

    Raises:
        HtrError: there is no such folder, or nothing in it is recognised.
    """
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
    raise HtrError(f"--data {source}: no train.tsv, valid.tsv or test.tsv in this folder")


def default_data(card: Card) -> str:
    """The data that the model was trained on, if it is still there.

    Raises:
        HtrError: the card names none, or it is elsewhere.
    """
    for source in (card.data.get("path"), card.data.get("name")):
        if source == SYNTHETIC or (isinstance(source, str) and Path(source).is_dir()):
            return source
    raise HtrError(f"the data that {card.name} was trained on is not here: name the data to read with --data")
