"""Reads the IAM handwriting database (Marti and Bunke, 2002): `lines.txt` with line images, or forms with XML.

    lines.txt  (or ascii/lines.txt)     a01-000u-00 ok 154 19 408 746 1663 91 A|MOVE|to|stop|Mr.|Gaitskell|from
    lines/a01/a01-000u/a01-000u-00.png  or lines/a01-000u-00.png, or in any other folder
    xml/a01-000u.xml  forms/a01-000u.png                                     where there are no line images
    splits/train.lst  valid.lst  test.lst                                    ids of lines or of forms

The corpus is handed out after registration, and its splits by others, so the lists come from the user. Lines whose
segmentation into words failed (`err`) are kept, as the database advises.
"""

import html
import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from htrcompress.data.folders import ImageNames, Inside, files_in
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.naming import ALL
from htrcompress.data.readers.boxes import Box, whole
from htrcompress.data.splitting import listed_splits, lists_in
from htrcompress.errors import HtrError
from htrcompress.pages.files import load
from htrcompress.pages.markup import Element, parse
from htrcompress.utils.io import read_rows

logger = logging.getLogger(__name__)
TABLES = ("lines.txt", "ascii/lines.txt")
LISTS = ("splits", "split", "lists", ".")
"""Folders where the lists of a split may be."""
SPLITS = {
    "aachen": {"train": 6161, "valid": 966, "test": 2915},
    "rwth": {"train": 6482, "valid": 976, "test": 2915},
    "fki": {"train": 6161, "valid": 1840, "test": 1861},
}
"""Names of the usual splits and how many lines each has; the validation lines of `fki` are 900 and 940 in two lists."""
_DOCTYPE = re.compile(rb"""<!DOCTYPE\s+form\s+SYSTEM\s+(?:"[^"<>]*"|'[^'<>]*')\s*>""")
"""What the XML files of the database begin with. It only names a file, which is not read; others are refused."""
FIELDS = 8
"""Fields of a row before the text."""


@dataclass(frozen=True)
class IamOptions:
    """How the IAM database is read."""

    split: Literal["aachen", "rwth", "fki"] | None = None
    """The split that the lists must be, which their numbers of lines tell; any if not given."""
    lists: Path | None = None
    """The folder of the lists; `splits` in the database's folder, or that folder itself, if not given."""
    images: Path | None = None
    """The folder of the images, of lines or forms, where it is not in the database's folder."""
    text: Literal["table", "xml"] | None = None
    """Where texts are from: `lines.txt`, in which punctuation stands apart ("gone ."), or the XML ("gone."). The table
    if it is there, when not given."""


class IamReader:
    """Opens the IAM handwriting database."""

    name = "iam"
    looks_for = "lines.txt, or XML files of forms such as xml/a01-000u.xml"
    mixes = False
    options: type | None = IamOptions

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return path.is_dir() and (_table(path) is not None or any(_is_form(file) for file in _xml(path)[:1]))

    def open(self, path: Path, options: IamOptions) -> Dataset:
        """Opens the database; without lists, all lines are in the split `all`.

        Raises:
            HtrError: an XML file is not of the database, lists name what is not there, or they are not the split that
                was asked for.
        """
        counts: Counter[str] = Counter()
        broken: dict[str, list[str]] = {}
        table, files, inside = _table(path), _xml(path), Inside(path)
        if options.text == "table" and table is None:
            raise HtrError(f"--read.iam.text table: {path} has no lines.txt")
        if options.text == "xml" and not files:
            raise HtrError(f"--read.iam.text xml: {path} has no XML files of forms")
        folder = options.images or path
        if not folder.is_dir():
            raise HtrError(f"--read.iam.images {folder}: there is no such folder")
        images = ImageNames(folder)
        from_forms = bool(files) and (table is None or options.text == "xml")
        forms = [_form(inside.check(file)) for file in files] if from_forms else []
        if forms:
            lines = [line for form in forms for line in _form_lines(form, images, broken, counts)]
        else:
            assert table is not None
            lines = list(_table_lines(inside.check(table), images, broken, counts))
        changed = {"lines whose segmentation failed, kept": counts["err"]} if counts["err"] else {}
        dataset = Dataset(folder.resolve().name, self.name, {ALL: lines}, changed=changed, broken=broken)
        return _split(dataset, path, options)


def _table(path: Path) -> Path | None:
    return next((path / name for name in TABLES if (path / name).is_file()), None)


def _xml(path: Path) -> list[Path]:
    folder = path / "xml" if (path / "xml").is_dir() else path
    return sorted(file for file in files_in(folder, recursive=False) if file.suffix.lower() == ".xml")


def _is_form(file: Path) -> bool:
    try:
        with open(file, "rb") as stream:
            return b"<form" in stream.read(4096)
    except OSError:
        return False


def _form(file: Path) -> Element:
    root = parse(_DOCTYPE.sub(b"", load(file), count=1), str(file)).root
    if root.name != "form":
        raise HtrError(f"{file} is not an XML file of a form of IAM: remove it")
    return root


def _table_lines(table: Path, images: ImageNames, broken: dict[str, list[str]], counts: Counter[str]) -> list[Line]:
    """The lines of `lines.txt`. Their text may hold spaces, in one variant instead of every `|`."""
    lines = []
    for number, row in enumerate(read_rows(table), 1):
        if not row.strip() or row.startswith("#"):
            continue
        fields = row.split()
        if len(fields) <= FIELDS or fields[1] not in ("ok", "err"):
            broken.setdefault("rows that are not of lines.txt", []).append(f"{table}, line {number}")
            continue
        name, page = fields[0], fields[0].rpartition("-")[0]
        image = images.find(name) or _cut(images.find(page), fields[4:FIELDS])
        counts["err"] += fields[1] == "err"
        if image is None:
            broken.setdefault(images.fault(name), []).append(name)
        else:
            lines.append(Line(name, " ".join(fields[FIELDS:]).replace("|", " "), ALL, image, page=page))
    return lines


def _cut(form: Path | None, numbers: list[str]) -> Box | None:
    """A line on the image of its form, from the x, y, width and height of its row."""
    found = [value for value in map(whole, numbers) if value is not None]
    if form is None or len(found) < 4 or found[2] <= 0 or found[3] <= 0:
        return None
    x, y, width, height = found
    return Box(form, x, y, x + width, y + height)


def _form_lines(form: Element, images: ImageNames, broken: dict[str, list[str]], counts: Counter[str]) -> list[Line]:
    """The lines of a form: their images where there are any, else boxes on the image of the form."""
    writer, page = form.attributes.get("writer-id", ""), form.attributes.get("id", "")
    lines = []
    for element in form.below("line"):
        name, text = element.attributes.get("id", ""), _unescaped(element.attributes.get("text", ""))
        counts["err"] += element.attributes.get("segmentation") == "err"
        box = _box(element)
        image, sheet = images.find(name), images.find(page)
        if image:
            lines.append(Line(name, text, ALL, image, writer, page))
        elif sheet and box:
            lines.append(Line(name, text, ALL, Box(sheet, *box), writer, page))
        else:
            reason = images.fault(page, "forms without an image") if box else "lines without a box"
            broken.setdefault(reason, []).append(name)
    return lines


def _unescaped(text: str) -> str:
    """A text of the XML, which is escaped twice."""
    return html.unescape(text) if "&" in text else text


def _box(line: Element) -> tuple[int, int, int, int] | None:
    """The box around the components of a line: left, top, right, bottom."""
    boxes = []
    for part in line.below("cmp"):
        found = [whole(part.attributes.get(name)) for name in ("x", "y", "width", "height")]
        if None not in found:
            x, y, width, height = (value for value in found if value is not None)
            boxes.append((x, y, x + width, y + height))
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _split(dataset: Dataset, path: Path, options: IamOptions) -> Dataset:
    """The dataset with the splits of the user's lists, checked against the split that was asked for."""
    folders = [options.lists] if options.lists else [path / name for name in LISTS if (path / name).is_dir()]
    inside = Inside(options.lists or path)
    folder, lists = next(((folder, these) for folder in folders if (these := lists_in(folder, inside))), (None, {}))
    if folder is None:
        if options.split or options.lists:
            wanted = f"the lists of the split {options.split}" if options.split else "lists"
            raise HtrError(f"{options.lists or path} holds no {wanted}: put train.lst, valid.lst and test.lst there")
        return dataset
    broken = [name for names in dataset.broken.values() for name in names]
    lost = {name: name.rpartition("-")[0] for name in broken}  # a line and its form
    split = listed_splits(dataset, folder, lists, {*lost, *lost.values()})
    sizes = {}
    for name, rows in lists.items():
        names = {PurePosixPath(row).stem for row in rows}
        sizes[name] = len(split.splits[name]) + sum(bool({line, form} & names) for line, form in lost.items())
    usual = next((name for name, counts in SPLITS.items() if counts == sizes), None)
    if options.split and usual != options.split:
        found = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
        wanted = ", ".join(f"{name} {count:,}" for name, count in SPLITS[options.split].items())
        raise HtrError(f"the lists in {folder} are not the split {options.split}, which has {wanted} lines: {found}")
    logger.info("the lists in %s are %s", folder, f"the split {usual}" if usual else "none of the usual splits")
    return split
