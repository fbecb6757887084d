"""`ParquetFile`: rows and images of one parquet file, read in memory that does not grow with what the file claims.

A group of rows is read at once, since parquet compresses them together, and the last groups are kept, up to a number of
bytes. Values that parquet stores once for many rows are kept once in memory too, since a few bytes of a file can stand
for any number of them.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htrcompress.data.arrow_files import arrow
from htrcompress.errors import HtrError

MAX_GROUP_BYTES = 1 << 29
"""Groups of rows that unpack to more are refused: a group is read at once."""
KEPT_BYTES = 1 << 28
"""Of the images of the groups that are kept in memory, of all files together; the last group is kept in any case."""
MAX_TEXT_BYTES = 1 << 27
"""Of the texts and names in one file, with those that are stored once counted for every row."""
ROWS_A_BYTE, FEW_ROWS = 1 / 8, 100_000
"""Files have no more rows than so many for each of their bytes, unless these are few."""

_kept: OrderedDict[tuple["ParquetFile", str, int], Any] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class ParquetFile:
    """One parquet file; its groups of rows are read when a line of them is asked for. It can be pickled.

    Attributes:
        path: the file.
        changed: when it was last written, in nanoseconds, and its size: images of another version are not taken for
            those of this one.
    """

    path: Path
    changed: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> "ParquetFile":
        """The file at a path, as it is now."""
        status = path.stat()
        return cls(path, (status.st_mtime_ns, status.st_size))

    def open(self, columns: Sequence[str] = ()) -> Any:
        """The open file, a `pyarrow.parquet.ParquetFile`.

        Args:
            columns: of bytes and texts, whose equal values are to be kept once.

        Raises:
            HtrError: it is no parquet file, is damaged, or has groups of rows or numbers of them that are too large.
        """
        arrow()
        import pyarrow.parquet as parquet

        try:
            file = parquet.ParquetFile(self.path, memory_map=True, read_dictionary=list(columns))
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            sizes = [group.total_byte_size for group in groups]
            rows = sum(max(0, group.num_rows) for group in groups)
        except Exception as error:  # pyarrow raises nearly anything on damaged files
            raise HtrError(f"{self.path} cannot be read as parquet: {error}") from None
        if max(sizes, default=0) > MAX_GROUP_BYTES:
            raise HtrError(
                f"{self.path} has a group of rows of {max(sizes) >> 20} MiB, and the limit is {MAX_GROUP_BYTES >> 20}: "
                "write it again with fewer rows in a group"
            )
        if rows > max(FEW_ROWS, ROWS_A_BYTE * self.changed[1]):
            raise HtrError(f"{self.path} claims to have {rows} rows in {self.changed[1]} bytes: write it again")
        return file

    def rows(self, columns: list[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """The values of some columns: number of the group, of the row in it, and the row.

        Raises:
            HtrError: the file is damaged, or its texts unpack to too much.
        """
        file, left = self.open(columns), MAX_TEXT_BYTES
        for group in range(file.metadata.num_row_groups):
            try:
                table = file.read_row_group(group, columns=columns).flatten()
                left -= sum(_unpacked(column) for column in table.columns)
                found = {name: _values(table[name]) for name in table.column_names} if left >= 0 else {}
            except Exception as error:  # pyarrow raises nearly anything on damaged files
                raise HtrError(f"{self.path} is damaged: {error}") from None
            if left < 0:
                raise HtrError(f"{self.path} has texts of more than {MAX_TEXT_BYTES >> 20} MiB: split it")
            for row in range(table.num_rows):
                yield group, row, {name: values[row] for name, values in found.items()}

    def image(self, column: str, group: int, row: int) -> bytes | None:
        """The bytes of an image in a row of a group; None where the row has none.

        Raises:
            HtrError: the file is damaged, or has fewer rows than it had.
        """
        values = self._images(column, group)
        if row >= len(values):
            raise HtrError(f"{self.path} is damaged: group {group} has fewer images than texts")
        found: bytes | None = values[row].as_py()
        return found

    def _images(self, column: str, group: int) -> Any:
        """The column of images of one group, which is kept for its other rows."""
        key = self, column, group
        with _lock:
            values = _kept.get(key)
            if values is None:
                try:
                    values = self.open([column]).read_row_group(group, columns=[column]).flatten().column(0)
                except HtrError:
                    raise
                except Exception as error:
                    raise HtrError(f"{self.path} is damaged: {error}") from None
                _kept[key] = values
                while len(_kept) > 1 and sum(kept.nbytes for kept in _kept.values()) > KEPT_BYTES:
                    _kept.popitem(last=False)
            _kept.move_to_end(key)
            return values


def _unpacked(column: Any) -> int:
    """Bytes of the texts of a column, if each row had its own."""
    import pyarrow.compute as compute

    total = 0
    for chunk in column.chunks:
        if isinstance(chunk, arrow().DictionaryArray):
            total += compute.sum(compute.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
        else:
            total += chunk.nbytes
    return total


def _values(column: Any) -> list[Any]:
    """The values of a column, of which equal ones are one object."""
    found: list[Any] = []
    for chunk in column.chunks:
        if isinstance(chunk, arrow().DictionaryArray):
            words = chunk.dictionary.to_pylist()
            found += [None if index is None else words[index] for index in chunk.indices.to_pylist()]
        else:
            found += chunk.to_pylist()
    return found
