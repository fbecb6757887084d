"""Reads a folder of line images without transcriptions, which a student can learn to read as its teacher does."""

from pathlib import Path

from htrcompress.data.lines import Line
from htrcompress.errors import HtrError
from htrcompress.image import SUFFIXES

TEXTS = {".txt", ".tsv", ".csv", ".xml", ".json", ".jsonl", ".lst", ".md"}
"""Files that may hold transcriptions: where they lie beside the images, the user has to say what they are."""


def open_unlabelled(root: Path) -> list[Line]:
    """The images in a folder and its subfolders, in the order of their names; hidden files do not count.

    Raises:
        HtrError: there is no such folder, no image in it, a text file in it, or a link that leads out of it.
    """
    if not root.is_dir():
        raise HtrError(f"--unlabelled {root}: there is no such folder")
    images = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if any(part.startswith(".") for part in name.parts) or not path.is_file():
            continue
        if path.suffix.lower() in TEXTS:
            raise HtrError(
                f"--unlabelled {root} holds text ({name}): give lines with transcriptions to --data, and name a folder "
                "of images alone here"
            )
        if path.suffix.lower() in SUFFIXES:
            if not path.resolve().is_relative_to(root.resolve()):
                raise HtrError(f"--unlabelled {root}: {name} leads out of the folder")
            images.append(Line(f"unlabelled/{name.as_posix()}", "", "unlabelled", path))
    if not images:
        raise HtrError(f"--unlabelled {root}: there is no image in this folder")
    return images
