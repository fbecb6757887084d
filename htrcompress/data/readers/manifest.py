"""Reads tables that name an image and its text in each row: CSV files with a header, and JSON Lines.

    labels.csv               file_name,text,split,writer
    train/metadata.jsonl     {"file_name": "a.png", "text": "..."}

Files are named relative to the table, or by a name without suffix that one image below the folder has. The split is
that of the column `split`, else the table's name (`train.csv`), else the folder's, else `all`; the columns are found by
their names (`columns.py`).
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from htrcompress.data.folders import FolderIndex, ImageNames, Inside, files_at
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import dataset_name, is_split, split_name, split_of, without_suffix
from htrcompress.data.readers.columns import ColumnOptions, find_columns
from htrcompress.errors import HtrError

SUFFIXES = (".csv", ".jsonl")
MAX_ROW = 1 << 20
"""Characters of the longest row that is read."""
Row = dict[str, Any]


class ManifestReader:
    """Opens CSV and JSON Lines files that name images and their texts."""

    name = "manifest"
    looks_for = "*.csv or *.jsonl with columns such as file_name and text"
    mixes = True
    options: type | None = ColumnOptions

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        if path.is_file():
            return path.suffix.lower() in SUFFIXES
        return any(_is_manifest(file) for file in files_at(path, SUFFIXES))

    def open(self, path: Path, options: ColumnOptions) -> Dataset:
        """Opens a table, or all tables in a folder.

        Raises:
            HtrError: a table lacks the columns, is not UTF-8 or not what its suffix says, names a file outside the
                folder, or is a link out of it.
        """
        root = path if path.is_dir() else path.parent
        index, inside = FolderIndex(root), Inside(root)
        splits: dict[str, list[Line]] = {}
        broken: dict[str, list[str]] = {}
        for table in files_at(path, SUFFIXES):
            if table != path and not _is_manifest(table):  # a table of something else
                continue
            default = split_name(table.stem) if is_split(table.stem) else split_of(table, root)
            for line in _lines(inside.check(table), root, default, options, index, broken):
                splits.setdefault(line.split, []).append(line)
        return Dataset(dataset_name(path), self.name, splits, broken=broken)


def _is_manifest(table: Path) -> bool:
    """Whether the first row of a table has columns for an image and a text."""
    try:
        first = next(_rows(table), (0, {}))[1]
        find_columns(first, ColumnOptions(), "")
    except HtrError:
        return False
    return True


def _lines(
    table: Path, root: Path, split: str, options: ColumnOptions, index: FolderIndex, broken: dict[str, list[str]]
) -> Iterator[Line]:
    folder = table.parent.relative_to(root).as_posix()
    columns, names, seen = None, None, set()
    for number, row in _rows(table):
        where = f"{table}, line {number}"
        columns = columns or find_columns(row, options, str(table))
        file, text = row.get(columns.image), row.get(columns.text)
        if not isinstance(file, str) or not file.strip() or not isinstance(text, str):
            broken.setdefault("rows without an image or a text", []).append(where)
            continue
        name = file.strip() if folder == "." else f"{folder}/{file.strip()}"
        image = index.find(name, where)
        if image is None:
            names = names or ImageNames(root)
            image = names.find(without_suffix(file.strip()))
        own = split_name(str(row[columns.split])) if columns.split and row.get(columns.split) else split
        if image is None or (own, name) in seen:
            again = "images that are listed again"
            reason = again if image or not names else names.fault(without_suffix(file.strip()))
            broken.setdefault(reason, []).append(where)
            continue
        seen.add((own, name))
        group, page = (str(row.get(column) or "") if column else "" for column in (columns.group, columns.page))
        yield Line(name, text, own, image, group, page)


def _rows(table: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a table and their numbers, counted from 1.

    Raises:
        HtrError: it cannot be read, is not UTF-8, or a row is not as the format has it.
    """
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            yield from (_json_rows if table.suffix.lower() == ".jsonl" else _csv_rows)(file, table)
    except UnicodeDecodeError as error:
        raise HtrError(f"{table} is not UTF-8 text (near byte {error.start}): convert it") from None
    except OSError as error:
        raise HtrError(f"cannot read {table}: {error.strerror}") from None


def _json_rows(file: Any, table: Path) -> Iterator[tuple[int, Row]]:
    number = 0
    while text := file.readline(MAX_ROW):
        number += 1
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise HtrError(f"{table}, line {number} is not a JSON object of at most {MAX_ROW} characters: mend it")
        yield number, row


def _csv_rows(file: Any, table: Path) -> Iterator[tuple[int, Row]]:
    header = file.readline(MAX_ROW)
    delimiter = max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        for values in reader:
            if values:
                yield reader.line_num + 1, dict(zip(names, values, strict=False))
    except csv.Error as error:
        raise HtrError(f"{table}, line {reader.line_num + 1}: {error}") from None
