"""Reads parquet files as the Hugging Face hub keeps them: in each row an image (a struct of bytes and path) and a text.

    data/train-00000-of-00003.parquet   data/validation.parquet   test/0000.parquet

The split is the file's name without its number, or the folder's where the file's name is a number. Images are decoded
when they are asked for; a group of rows is read at once, since parquet compresses them together, and the last are kept,
up to a number of bytes. Values that parquet stores once for many rows are kept once in memory too, since a few bytes of
a file can stand for any number of them. An id is `lines/<path>`, as the line would be called in a folder of images, so
that both have the same hash.
"""

import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.arrow_files import arrow
from htrcompress.data.folders import FolderIndex, Inside, files_in
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import split_name
from htrcompress.data.readers.columns import ColumnOptions, Columns, find_columns, path_id
from htrcompress.data.sizes import size_of
from htrcompress.errors import HtrError
from htrcompress.image import read_grey

MAX_GROUP_BYTES = 1 << 29
"""Groups of rows that unpack to more are refused: a group is read at once."""
KEPT_BYTES = 1 << 28
"""Of the images of the groups that are kept in memory, of all files together; the last group is kept in any case."""
MAX_TEXT_BYTES = 1 << 27
"""Of the texts and names in one file, with those that are stored once counted for every row."""
ROWS_A_BYTE, FEW_ROWS = 1 / 8, 100_000
"""Files have no more rows than so many for each of their bytes, unless these are few."""
_NUMBERED = re.compile(r"[-_.]?\d+(-of-\d+)?$")


class ParquetReader:
    """Opens parquet files with images in them."""

    name = "parquet"
    looks_for = "*.parquet"
    mixes = True
    options: type | None = ColumnOptions

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return next(_tables(path), None) is not None

    def open(self, path: Path, options: ColumnOptions) -> Dataset:
        """Opens a file, or all files in a folder.

        Raises:
            HtrError: a file is damaged, lacks the columns, or two files that are no parts of one split claim its name.
        """
        splits: dict[str, list[Line]] = {}
        broken: dict[str, list[str]] = {}
        owners: dict[str, str] = {}
        seen: Counter[str] = Counter()
        root, inside = path if path.is_dir() else path.parent, Inside(path)
        for file in sorted(_tables(path)):
            split, stem = _split_of(file, path)
            owner = owners.setdefault(split, stem)
            if owner != stem:
                raise HtrError(f"{path}: {owner} and {stem} are both called {split}: leave one of the two out")
            table = _Table.of(inside.check(file))
            for line in _lines(table, split, options, FolderIndex(root), broken):
                seen[line.id] += 1
                number = seen[line.id]
                splits.setdefault(split, []).append(line if number == 1 else _renamed(line, number))
        return Dataset(path.resolve().stem if path.is_file() else path.resolve().name, self.name, splits, broken=broken)


def _tables(path: Path) -> Iterator[Path]:
    files = files_in(path) if path.is_dir() else iter([path])
    return (file for file in files if file.suffix.lower() == ".parquet")


def _split_of(file: Path, root: Path) -> tuple[str, str]:
    """The split of a file, and what all files of that split have in common."""
    stem = _NUMBERED.sub("", file.stem)
    named = stem or (file.parent.name if file.parent != root else "") or "train"
    folder = file.parent if stem else file.parent.parent
    within = folder.relative_to(root).as_posix() if root.is_dir() else "."
    return split_name(named), named if within == "." else f"{within}/{named}"


def _renamed(line: Line, number: int) -> Line:
    """A line whose path another line has too."""
    return Line(f"{line.id}#{number}", line.text, line.split, line.image, line.group, line.page)


_kept: OrderedDict[tuple["_Table", int], Any] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class _Table:
    """One parquet file; its groups of rows are read when a line of them is asked for.

    Attributes:
        path: the file.
        changed: when it was last written, in nanoseconds, and its size: images of another version are not taken for
            those of this one.
    """

    path: Path
    changed: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> "_Table":
        """The table in a file."""
        status = path.stat()
        return cls(path, (status.st_mtime_ns, status.st_size))

    def file(self, columns: Sequence[str] = ()) -> Any:
        """The open file.

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
        file, left = self.file(columns), MAX_TEXT_BYTES
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
        """The bytes of an image."""
        values = self._images(column, group)
        if row >= len(values):
            raise HtrError(f"{self.path} is damaged: group {group} has fewer images than texts")
        found: bytes | None = values[row].as_py()
        return found

    def _images(self, column: str, group: int) -> Any:
        """The column of images of one group, which is kept for its other rows."""
        with _lock:
            values = _kept.get((self, group))
            if values is None:
                try:
                    values = self.file([column]).read_row_group(group, columns=[column]).flatten().column(0)
                except HtrError:
                    raise
                except Exception as error:
                    raise HtrError(f"{self.path} is damaged: {error}") from None
                _kept[self, group] = values
                while len(_kept) > 1 and sum(kept.nbytes for kept in _kept.values()) > KEPT_BYTES:
                    _kept.popitem(last=False)
            _kept.move_to_end((self, group))
            return values


@dataclass(frozen=True)
class _Image:
    """A function that gives the pixels of one row's image."""

    table: _Table
    column: str
    group: int
    row: int
    name: str

    def __call__(self) -> NDArray[np.uint8]:
        return read_grey(self._file(), self.name)

    def size(self) -> tuple[int, int]:
        """Width and height, from the header."""
        return size_of(self._file(), self.name)

    def _file(self) -> BytesIO:
        data = self.table.image(self.column, self.group, self.row)
        if not isinstance(data, bytes) or not data:
            raise HtrError(f"{self.name} in {self.table.path} has no image")
        return BytesIO(data)


def _lines(
    table: _Table, split: str, options: ColumnOptions, index: FolderIndex, broken: dict[str, list[str]]
) -> Iterator[Line]:
    schema = table.file().schema_arrow
    columns = find_columns(schema.names, options, str(table.path))
    data, path = _image_columns(schema, columns, table.path)
    wanted = [name for name in (path, columns.text, columns.group, columns.page) if name]
    for name in wanted[bool(path) :]:
        if arrow().types.is_nested(schema.field(name).type):
            raise HtrError(f"{table.path}: the column {name} holds {schema.field(name).type}, not texts: name another")
    number = 0
    for group, row, values in table.rows(wanted):
        number += 1
        where = f"{table.path.name}, row {number}"
        inside = values.get(path or "")
        inside = inside if isinstance(inside, str) else None
        text = values[columns.text]
        if not isinstance(text, str):
            broken.setdefault("rows without a text", []).append(where)
            continue
        file = index.find(inside, where) if inside and not data else None
        if not data and file is None:
            broken.setdefault("rows without an image", []).append(where)
            continue
        name = path_id(inside) if inside else f"{split}/{number - 1:07}"
        image = file or _Image(table, data or "", group, row, name)
        yield Line(name, text, split, image, _text(values, columns.group), _text(values, columns.page))


def _image_columns(schema: Any, columns: Columns, path: Path) -> tuple[str | None, str | None]:
    """The column of the images' bytes and that of their paths, either of which may be missing.

    Raises:
        HtrError: the image's column is neither bytes, a path, nor a struct of both.
    """
    types = arrow().types
    kind = schema.field(columns.image).type
    if types.is_struct(kind):
        fields = {kind.field(i).name for i in range(kind.num_fields)}
        data, inside = (f"{columns.image}.{name}" if name in fields else None for name in ("bytes", "path"))
        if data or inside:
            return data, inside
    if types.is_binary(kind) or types.is_large_binary(kind):
        return columns.image, None
    if types.is_string(kind) or types.is_large_string(kind):
        return None, columns.image
    raise HtrError(f"{path}: the column {columns.image} holds {kind}, not images: name another (--read.parquet.image)")


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


def _text(values: dict[str, Any], column: str | None) -> str:
    value = values.get(column) if column else None
    return "" if value is None else str(value)
