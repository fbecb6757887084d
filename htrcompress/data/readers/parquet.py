"""Reads parquet files as the Hugging Face hub keeps them: in each row an image (a struct of bytes and path) and a text.

    data/train-00000-of-00003.parquet   data/validation.parquet   test/0000.parquet

The split is the file's name without its number, or the folder's where the file's name is a number. Images are decoded
when they are asked for (`parquet_file.py`). An id is `lines/<path>`, as the line would be called in a folder of images,
so that both have the same hash.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from htrcompress.data.arrow_files import arrow
from htrcompress.data.folders import FolderIndex, Inside, files_at
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import dataset_name, split_name
from htrcompress.data.readers.columns import ColumnOptions, Columns, find_columns, path_id
from htrcompress.data.readers.parquet_file import ParquetFile
from htrcompress.data.readers.stored import StoredImage
from htrcompress.errors import HtrError

SUFFIXES = (".parquet",)
_NUMBERED = re.compile(r"[-_.]?\d+(-of-\d+)?$")


class ParquetReader:
    """Opens parquet files with images in them."""

    name = "parquet"
    looks_for = "*.parquet"
    mixes = True
    options: type | None = ColumnOptions

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return bool(files_at(path, SUFFIXES))

    def open(self, path: Path, options: ColumnOptions) -> Dataset:
        """Opens a file, or all files in a folder.

        Raises:
            HtrError: a file is damaged, lacks the columns, or two files that are no parts of one split claim its name.
        """
        splits: dict[str, list[Line]] = {}
        broken: dict[str, list[str]] = {}
        owners: dict[str, str] = {}
        seen: Counter[str] = Counter()
        index, inside = FolderIndex(path if path.is_dir() else path.parent), Inside(path)
        for file in files_at(path, SUFFIXES):
            split, stem = _split_of(file, path)
            owner = owners.setdefault(split, stem)
            if owner != stem:
                raise HtrError(f"{path}: {owner} and {stem} are both called {split}: leave one of the two out")
            for line in _lines(ParquetFile.of(inside.check(file)), split, options, index, broken):
                seen[line.id] += 1
                number = seen[line.id]
                if number > 1:  # another line has this path too
                    line = replace(line, id=f"{line.id}#{number}")
                splits.setdefault(split, []).append(line)
        return Dataset(dataset_name(path), self.name, splits, broken=broken)


def _split_of(file: Path, root: Path) -> tuple[str, str]:
    """The split of a file, and what all files of that split have in common."""
    stem = _NUMBERED.sub("", file.stem)
    named = stem or (file.parent.name if file.parent != root else "") or "train"
    folder = file.parent if stem else file.parent.parent
    within = folder.relative_to(root).as_posix() if root.is_dir() else "."
    return split_name(named), named if within == "." else f"{within}/{named}"


def _lines(
    table: ParquetFile, split: str, options: ColumnOptions, index: FolderIndex, broken: dict[str, list[str]]
) -> Iterator[Line]:
    schema = table.open().schema_arrow
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
        image = file or StoredImage(table, (data, group, row), name)
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


def _text(values: dict[str, Any], column: str | None) -> str:
    value = values.get(column) if column else None
    return "" if value is None else str(value)
