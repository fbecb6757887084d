"""Reads a packed dataset, which `python -m htrcompress.data PATH --write DIR` makes; see `data/packed.py`."""

from pathlib import Path

from htrcompress.data.lines import Dataset
from htrcompress.data.packed_files import MANIFEST, PLAN, open_packed


class PackedReader:
    """Opens packed datasets."""

    name = "packed"
    looks_for = MANIFEST
    mixes = False
    options: type | None = None

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return (path / MANIFEST).is_file() or (path / PLAN).is_file()

    def open(self, path: Path, options: None) -> Dataset:
        """See `open_packed`."""
        return open_packed(path)
