"""Readers of dataset formats, one file each, and the table of them.

To add a format: write a file with a class that keeps the interface `base.Reader`, and put it into `READERS`. If it
has options, make its options dataclass a field of `ReadConfig`, under the reader's name.
"""

from dataclasses import dataclass, field
from typing import Literal

from htrcompress.data.readers.base import Reader
from htrcompress.data.readers.bentham import BenthamOptions, BenthamReader
from htrcompress.data.readers.images import ImageFolderReader
from htrcompress.data.readers.synthetic import SyntheticReader
from htrcompress.data.readers.tsv import TsvReader

READERS: list[Reader] = [SyntheticReader(), TsvReader(), BenthamReader(), ImageFolderReader()]
"""In the order of trial: the first that recognises a folder opens it."""


@dataclass(frozen=True)
class ReadConfig:
    """How a dataset's transcriptions are read: a choice for all formats, and the options of each reader."""

    invisible: Literal["drop", "keep"] = "drop"
    """What becomes of invisible characters such as U+FEFF, U+200B and U+00AD; joiners (U+200C, U+200D) are kept."""
    bentham: BenthamOptions = field(default_factory=BenthamOptions)
    """The format of the Bentham corpus."""


__all__ = ["READERS", "ReadConfig", "Reader"]
