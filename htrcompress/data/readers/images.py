"""Reads a folder of line images without transcriptions, which a student can learn to read as its teacher does."""

from collections.abc import Sequence
from pathlib import Path

from htrcompress.data.folders import files_in, images_in
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.packed_files import MANIFEST, open_packed
from htrcompress.errors import HtrError

TEXTS = {".txt", ".tsv", ".csv", ".xml", ".json", ".jsonl", ".lst", ".md", ".parquet", ".arrow"}
"""Suffixes of files that may hold transcriptions: where there are any, the user has to say what they are."""
SPLIT = "unlabelled"
"""The split that these images are in."""


class ImageFolderReader:
    """Opens folders that hold images and nothing that may be text."""

    name = "images"
    looks_for = "images alone, without transcriptions"
    mixes = False
    options: type | None = None

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return path.is_dir() and _text_file(path) is None and bool(images_in(path))

    def open(self, path: Path, options: None) -> Dataset:
        """The images in a folder and the folders below it, in the order of their names."""
        names = ((image, image.relative_to(path).as_posix()) for image in images_in(path))
        lines = [Line(f"{SPLIT}/{name}", "", SPLIT, image) for image, name in names]
        return Dataset(path.resolve().name, self.name, {SPLIT: lines})


def open_unlabelled(root: Path) -> Sequence[Line]:
    """The images of a folder that was given to `--unlabelled`, or of such a folder that was packed.

    Raises:
        HtrError: there is no such folder, no image in it, or a text file in it.
    """
    if not root.is_dir():
        raise HtrError(f"--unlabelled {root}: there is no such folder")
    if (root / MANIFEST).is_file():
        packed = open_packed(root)
        if set(packed.splits) != {SPLIT}:
            raise HtrError(f"--unlabelled {root} has transcriptions: give it to --data, and pack images alone")
        return packed.splits[SPLIT]
    if text := _text_file(root):
        raise HtrError(
            f"--unlabelled {root} holds text ({text.relative_to(root)}): give lines with transcriptions to --data, "
            "and name a folder of images alone here"
        )
    lines = ImageFolderReader().open(root, None).splits[SPLIT]
    if not lines:
        raise HtrError(f"--unlabelled {root}: there is no image in this folder")
    return lines


def _text_file(root: Path) -> Path | None:
    return next((path for path in files_in(root) if path.suffix.lower() in TEXTS), None)
