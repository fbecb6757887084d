"""Which columns of a table hold a line's image, text, group, page and split; tables of many makers agree on few names.

Used by every reader of tables (`parquet.py`, `manifest.py`). A column that the user names (`--read.parquet.text ocr`)
is taken whatever it is called; otherwise the first of the names below that the table has, in any case.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from htrcompress.errors import HtrError

NAMES = {
    "image": ("image", "file_name", "filename", "file", "image_path", "path", "img", "line_image", "id"),
    "text": ("text", "transcription", "transcript", "label", "ground_truth", "gt", "sentence"),
    "group": ("group", "hand", "writer", "writer_id", "author", "corpus", "document"),
    "page": ("page", "page_id"),
    "split": ("split", "subset", "partition", "set"),
}
"""What a table holds, and the names that its columns go by."""


@dataclass(frozen=True)
class ColumnOptions:
    """The columns of a table; each is found by its name if not given."""

    image: str | None = None
    """The column of the image: its file, its bytes, or both."""
    text: str | None = None
    """The column of the transcription."""
    group: str | None = None
    """The column that errors are broken down by, such as a hand."""


@dataclass(frozen=True)
class Columns:
    """The columns of one table; those that it may lack are None."""

    image: str
    text: str
    group: str | None
    page: str | None
    split: str | None


def find_columns(have: Iterable[str], options: ColumnOptions, where: str) -> Columns:
    """The columns of a table that has these.

    Raises:
        HtrError: a column that the user names is missing, or none is called like an image or a text.
    """
    by_name = {name.strip().lower(): name for name in reversed(list(have))}
    found: dict[str, str | None] = {}
    for what, names in NAMES.items():
        given = getattr(options, what, None)
        if given is not None:
            names = (given,)
        found[what] = next((by_name[name.lower()] for name in names if name.lower() in by_name), None)
        if found[what] is None and (given is not None or what in ("image", "text")):
            wanted = given or " or ".join(names[:3])
            raise HtrError(
                f"{where} has no column {wanted} for the {what}; it has {', '.join(by_name.values()) or 'none'}: name "
                f"the right one (--read.FORMAT.{what})"
            )
    image, text = found["image"], found["text"]
    assert image is not None and text is not None
    return Columns(image, text, found["group"], found["page"], found["split"])


def path_id(name: str) -> str:
    """The id of an image that a table holds under a path: where it would lie beside a `train.tsv`."""
    return f"lines/{PurePosixPath(name.replace(chr(92), '/').lstrip('/'))}"
