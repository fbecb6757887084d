"""Reads the binary datasets of kraken (`ketos compile`): Arrow files with the text and image of each line.

The files have the columns `lines` (a struct of `text` and `im`, an image file's bytes) and `train`, `validation` and
`test`, which say what split a line is in; they may all be false. The facts stand in the schema's metadata, as JSON.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htrcompress.data.arrow_files import arrow, open_batches
from htrcompress.data.folders import Inside, files_at
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import ALL, dataset_name, split_name
from htrcompress.data.readers.stored import StoredImage
from htrcompress.errors import HtrError

SUFFIXES = (".arrow",)
SPLITS = ("test", "validation", "train")
"""Columns of the splits; of several that claim a line, the first."""
TEXTS, IMAGES = ("string", "large_string"), ("binary", "large_binary")
"""Types of Arrow that hold a line's text and image, each in bytes of its own."""


class KrakenArrowReader:
    """Opens kraken's binary datasets."""

    name = "kraken_arrow"
    looks_for = "*.arrow, as `ketos compile` writes them"
    mixes = True
    options: type | None = None

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return bool(files_at(path, SUFFIXES))

    def open(self, path: Path, options: None) -> Dataset:
        """Opens a file, or all files in a folder. Lines are read by memory map.

        Raises:
            HtrError: a file is damaged, or is an Arrow file of another kind.
        """
        splits: dict[str, list[Line]] = {}
        broken: dict[str, list[str]] = {}
        inside = Inside(path)
        for file in files_at(path, SUFFIXES):
            table = _Table(inside.check(file))
            for row, split, text in table.rows():
                name = f"{file.stem}/{row:07}"
                if text is None:
                    broken.setdefault("rows without a text", []).append(f"{file.name}, row {row + 1}")
                else:
                    splits.setdefault(split, []).append(Line(name, text, split, StoredImage(table, (row,), name)))
        return Dataset(dataset_name(path), self.name, splits, broken=broken)


@dataclass
class _Table:
    """One file, mapped into memory when it is first needed. It can be pickled.

    Attributes:
        path: the file.
    """

    path: Path
    _table: Any = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Table, (self.path,)

    def table(self) -> Any:
        """The mapped table.

        Raises:
            HtrError: the file is damaged, or of another kind.
        """
        if self._table is None:
            pa = arrow()
            try:
                table = open_batches(self.path).read_all()
                table.validate(full=True)  # offsets of a damaged file may point anywhere
                facts = json.loads((table.schema.metadata or {}).get(b"lines", b"{}"))
                kind = table.schema.field("lines").type if "lines" in table.schema.names else pa.null()
                fields = {kind.field(i).name: str(kind.field(i).type) for i in range(kind.num_fields)}
                fits = fields.get("text") in TEXTS and fields.get("im") in IMAGES
                fits = fits and all(table.schema.field(name).type == pa.bool_() for name in self._flags(table))
            except Exception as error:  # pyarrow raises nearly anything on damaged files
                raise HtrError(f"{self.path} cannot be read as a dataset of kraken: {error}") from None
            if not fits or not isinstance(facts, dict):
                raise HtrError(
                    f"{self.path} is no dataset of kraken, with texts and images in a column `lines`: save a set "
                    "of Hugging Face's library as parquet, with `to_parquet`"
                )
            self._table = table
        return self._table

    @staticmethod
    def _flags(table: Any) -> list[str]:
        return [name for name in SPLITS if name in table.column_names]

    def rows(self) -> Iterator[tuple[int, str, str | None]]:
        """Number, split and text of every line."""
        table = self.table()
        import pyarrow.compute as compute

        try:
            texts = compute.struct_field(table["lines"], "text").to_pylist()
            flags = {name: table[name].to_pylist() for name in self._flags(table)}
        except Exception as error:
            raise HtrError(f"{self.path} is damaged: {error}") from None
        for row, text in enumerate(texts):
            split = next((split_name(name) for name, flag in flags.items() if flag[row]), ALL)
            yield row, split, text if isinstance(text, str) else None

    def image(self, row: int) -> bytes | None:
        """The bytes of an image."""
        found: bytes | None = self.table()["lines"][row]["im"].as_py()
        return found
