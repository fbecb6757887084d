"""Reads RIMES 2011: French letters as page images, with an XML file for training and one for test (A2iA, 2011).

    training_2011.xml  eval_2011_annotated.xml      <SinglePage FileName="images_gray/x.png"><Paragraph><Line Value= ...
    training_2011/  eval_2011/                      or images_gray/, or any other folder

Boxes may begin at negative coordinates, which are cut off at the page's edge. The corpus has no validation split;
published results take it from the training pages in different ways. Test has 778 lines.
"""

import html
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from htrcompress.data.folders import ImageNames, Inside
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers.boxes import Box, whole
from htrcompress.errors import HtrError
from htrcompress.pages.files import load
from htrcompress.pages.markup import Element, parse

BREAKS, ESCAPED = "texts with line breaks, joined", "texts that were escaped twice, decoded"
FILES = {"train": "training_2011.xml", "test": "eval_2011_annotated.xml"}


@dataclass(frozen=True)
class RimesOptions:
    """How the RIMES corpus is split."""

    valid: int = 100
    """How many pages at the end of the training file are for validation; 0 for none."""


class RimesReader:
    """Opens RIMES 2011."""

    name = "rimes"
    looks_for = "training_2011.xml or eval_2011_annotated.xml"
    mixes = False
    options: type | None = RimesOptions

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return path.is_dir() and any((path / name).is_file() for name in FILES.values())

    def open(self, path: Path, options: RimesOptions) -> Dataset:
        """Opens the corpus.

        Raises:
            HtrError: a file is not XML, or holds no pages.
        """
        images = ImageNames(path)
        splits: dict[str, list[Line]] = {}
        broken: dict[str, list[str]] = {}
        counts: Counter[str] = Counter()
        for split, name in FILES.items():
            if not (path / name).is_file():
                continue
            pages = list(parse(load(Inside(path).check(path / name)), str(path / name)).root.below("SinglePage"))
            if not pages:
                raise HtrError(f"{path / name} holds no SinglePage elements: it is not a file of RIMES 2011")
            first_valid = len(pages) - options.valid if split == "train" else len(pages)
            for number, page in enumerate(pages):
                own = split if number < first_valid else "valid"
                for line in _lines(page, own, images, broken, counts):
                    splits.setdefault(own, []).append(line)
        changed = {what: counts.pop(what) for what in (BREAKS, ESCAPED) if counts[what]}
        order = [name for name in ("train", "valid", "test") if name in splits]
        return Dataset(
            path.resolve().name, self.name, {name: splits[name] for name in order}, dict(+counts), changed, broken
        )


def _lines(
    page: Element, split: str, images: ImageNames, broken: dict[str, list[str]], counts: Counter[str]
) -> list[Line]:
    file = page.attributes.get("FileName", "").replace("\\", "/")
    stem = file.rpartition("/")[2].rpartition(".")[0] or file
    image = images.find(file.rpartition(".")[0]) or images.find(stem)
    lines = []
    for number, element in enumerate(page.below("Line"), 1):
        name, values = f"{stem}/{number:02}", element.attributes
        text = values.get("Value", "")
        counts[BREAKS] += "\\n" in text
        counts[ESCAPED] += html.unescape(text) != text
        text = html.unescape(text).replace("\\n", " ").strip()
        box = _box(image, values) if image else None
        if not text:
            counts["empty transcription"] += 1
        elif image is None:
            broken.setdefault(images.fault(stem, "pages without an image"), []).append(name)
        elif box is None:
            broken.setdefault("boxes without an area", []).append(name)
        else:
            lines.append(Line(name, text, split, box, page=stem))
    return lines


def _box(image: Path, values: Mapping[str, str]) -> Box | None:
    """The part of an image that a line's attributes name; None if it has no area."""
    left, top, right, bottom = (whole(values.get(side)) for side in ("Left", "Top", "Right", "Bottom"))
    if left is None or top is None or right is None or bottom is None:
        return None
    return Box(image, left, top, right, bottom) if left < right > 0 < bottom > top else None
