"""Reads the CVL database 1.1: lines of 310 writers in English and German (Kleber et al., ICDAR 2013).

    trainset/lines/0001/0001-1-0.tif      trainset/xml/0001-1_attributes.xml      testset/ likewise

The words of a line stand in the XML (`AttrRegion` of type 1 with `text`, inside of type 2, the line); where they do
not, they are taken from the names of the word images (`words/0001/0001-1-0-3-word.tif`). Punctuation is not
transcribed.
"""

from collections import defaultdict
from pathlib import Path

from htrcompress.data.folders import Inside, images_in
from htrcompress.data.lines import Dataset, Line
from htrcompress.pages.files import load
from htrcompress.pages.markup import Element, parse

SETS = {"trainset": "train", "testset": "test"}
RELEASE = "cvl-database-1-1"
WORD, LINE = "1", "2"
"""Types of regions."""


class CvlReader:
    """Opens the CVL database."""

    name = "cvl"
    looks_for = "trainset/lines or testset/lines"
    mixes = False
    options: type | None = None

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return bool(_sets(path))

    def open(self, path: Path, options: None) -> Dataset:
        """Opens the database, or its folder of the release's name inside of another.

        Raises:
            HtrError: an XML file is not XML.
        """
        splits: dict[str, list[Line]] = {}
        broken: dict[str, list[str]] = {}
        for folder, split in _sets(path):
            texts = _texts(folder)
            for image in images_in(folder / "lines"):
                words = texts.get(image.stem)
                if not words:
                    broken.setdefault("lines without a text", []).append(str(image.relative_to(folder)))
                    continue
                writer, _, rest = image.stem.partition("-")
                page = f"{writer}-{rest.partition('-')[0]}"
                line = Line(f"{folder.name}/{image.stem}", " ".join(words), split, image, writer, page)
                splits.setdefault(split, []).append(line)
        return Dataset(path.resolve().name, self.name, splits, broken=broken)


def _sets(path: Path) -> list[tuple[Path, str]]:
    """The folders of the sets that are there, and their splits."""
    for root in (path, path / RELEASE):
        found = [(root / name, split) for name, split in SETS.items() if (root / name / "lines").is_dir()]
        if found:
            return found
    return []


def _texts(folder: Path) -> dict[str, list[str]]:
    """The words of each line by the name of its image."""
    numbered: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    if (folder / "words").is_dir():
        for image in images_in(folder / "words"):
            parts = image.stem.split("-", 4)
            if len(parts) == 5 and parts[3].isdecimal():
                numbered["-".join(parts[:3])].append((int(parts[3]), parts[4]))
    texts = {line: [word for _, word in sorted(words)] for line, words in numbered.items()}
    inside = Inside(folder)
    for file in sorted((folder / "xml").glob("*.xml")):
        for line in parse(_with_true_encoding(load(inside.check(file))), str(file)).root.below("AttrRegion"):
            name, words = line.attributes.get("id", ""), _words(line)
            if line.attributes.get("attrType") == LINE and name and words:
                texts[name] = words
    return texts


def _words(line: Element) -> list[str]:
    regions = (word.attributes for word in line.below("AttrRegion") if word.attributes.get("attrType") == WORD)
    return [region["text"] for region in regions if region.get("text")]


def _with_true_encoding(data: bytes) -> bytes:
    """Corrects the declaration of a file that says ISO-8859-1 but holds UTF-8, as some of this database do."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    return data.replace(b"ISO-8859-1", b"UTF-8", 1)
