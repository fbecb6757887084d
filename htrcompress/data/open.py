"""From what a user types after `--data` to a dataset: the format is found by looking."""

from pathlib import Path

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
    if not root.is_dir():
        raise HtrError(f"--data {source}: there is no such folder (the built-in data is called '{SYNTHETIC}')")
    if split_files(root):
        return open_tsv(root)
    raise HtrError(f"--data {source}: no train.tsv, valid.tsv or test.tsv in this folder")
