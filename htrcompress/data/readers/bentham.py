"""Reads BenthamDatasetR0-GT: line images, one text file a line, and lists of line ids (tranScriptorium, 2015).

    Images/Lines/<id>.png   Transcriptions/<id>.txt   Partitions/{TrainLines,ValidationLines,TestLines}.lst

Ids are matched exactly, since one may begin another. Images are RGBA and transparent outside the line's polygon;
`image.to_grey` lays them on the line's own paper. The packaging of the ICFHR 2014 contest, which keeps the
test lines in a folder of their own, is read too. Where there are no line images, lines are cut from the pages
(`bentham_pages.py`).
"""

import html
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from htrcompress.data.folders import FolderIndex, Inside
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers.bentham_pages import has_pages, open_pages
from htrcompress.utils.io import read_rows, read_utf8

PARTITIONS = {"train": "TrainLines.lst", "valid": "ValidationLines.lst", "test": "TestLines.lst"}
PACKAGINGS = ((".",), ("BenthamDatasetR0-GT",), ("contestHTRtS/BenthamData", "BenthamData", "contestHTRtS-test"))
"""Folders that together hold the corpus; both packagings hold the same lines."""
GAP = "<gap/>"
GAP_SYMBOL = "~"
"""What Laia's recipe for this corpus writes for a gap."""


@dataclass(frozen=True)
class BenthamOptions:
    """How the texts of the Bentham corpus are read."""

    gap: Literal["remove", "symbol", "drop"] = "remove"
    """What becomes of <gap/>: nothing, the symbol ~, or the whole line is left out."""
    underscore: Literal["keep", "remove"] = "keep"
    """What becomes of _."""


class BenthamReader:
    """Opens the Bentham corpus in either packaging."""

    name = "bentham"
    looks_for = "Partitions/TrainLines.lst, ValidationLines.lst or TestLines.lst, or Partitions/Train.lst with PAGE"
    mixes = False
    options: type | None = BenthamOptions

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return bool(_parts(path))

    def open(self, path: Path, options: BenthamOptions) -> Dataset:
        """Opens the corpus.

        Lines that a list names but that have no image or no text file are broken; lines that are listed again (training
        yields to validation and test) are left out and counted. What was changed in a text is counted too.

        Raises:
            HtrError: a list or text is not UTF-8 or a link out of the folder, or an id leads out of it.
        """
        corpus, parts = _Corpus(Inside(path), options), _parts(path)
        folders = [part.root for part in parts if has_pages(part.root)]
        if folders and not any(part.images.is_dir() for part in parts):
            pages = open_pages(path, folders, corpus.text)
            dropped, changed = Counter(pages.dropped) + corpus.dropped, Counter(pages.changed) + corpus.changed
            return replace(pages, dropped=dict(dropped), changed=dict(changed))
        splits: dict[str, list[Line]] = {}
        for part in parts:
            for split, name in PARTITIONS.items():
                file = part.root / "Partitions" / name
                if file.is_file():
                    splits.setdefault(split, []).extend(corpus.lines(part, file, split))
        _drop_repeated(splits, corpus.dropped)
        return Dataset(
            path.resolve().name, self.name, splits, dict(+corpus.dropped), dict(+corpus.changed), corpus.broken
        )


@dataclass(frozen=True)
class _Part:
    """One folder of the corpus: its lists and texts, and where its images are."""

    root: Path
    images: Path


def _parts(root: Path) -> list[_Part]:
    """The folders in `root`, or `root` itself, that are laid out like this corpus; of its packagings the first."""
    for names in PACKAGINGS:
        parts = []
        for folder in (root / name for name in names):
            if any((folder / "Partitions" / name).is_file() for name in PARTITIONS.values()) or has_pages(folder):
                test_only = folder / "Images" / "Lines-test"
                parts.append(_Part(folder, test_only if test_only.is_dir() else folder / "Images" / "Lines"))
        if parts:
            return parts
    return []


def _drop_repeated(splits: dict[str, list[Line]], dropped: Counter[str]) -> None:
    """Keeps each id once, in place; a line that is tested on is not trained on."""
    taken: set[str] = set()
    for split in [name for name in reversed(PARTITIONS) if name in splits]:
        lines: dict[str, Line] = {}
        for line in splits[split]:
            if line.id not in taken:
                lines.setdefault(line.id, line)
        dropped["listed more than once"] += len(splits[split]) - len(lines)
        splits[split] = list(lines.values())
        taken |= lines.keys()


class _Corpus:
    """Reads lists and texts, and counts what was left out and changed."""

    def __init__(self, inside: Inside, options: BenthamOptions):
        self.inside, self.options = inside, options
        self.dropped: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()
        self.broken: defaultdict[str, list[str]] = defaultdict(list)

    def lines(self, part: _Part, path: Path, split: str) -> list[Line]:
        """The lines that a list names."""
        lines = []
        images, texts = FolderIndex(part.images), FolderIndex(part.root / "Transcriptions")
        for number, row in enumerate(read_rows(self.inside.check(path)), 1):
            name = row.strip().removesuffix(".png")
            if not name:
                continue
            where = f"{path}, line {number}"
            image, transcription = images.find(f"{name}.png", where), texts.find(f"{name}.txt", where)
            if image is None or transcription is None:
                missing = "image" if transcription else "transcription"
                self.broken[f"no {missing} for an id in {path.name}"].append(f"line {number}: {name[:200]}")
                continue
            if text := self.text(read_utf8(self.inside.check(transcription))):
                lines.append(Line(name, text, split, image))
        return lines

    def text(self, raw: str) -> str | None:
        """The transcription as it is trained on; None where the line is left out, which is counted."""
        options, changed = self.options, self.changed
        rows = [row for row in raw.splitlines() if row.strip()]
        changed["texts of several rows, joined"] += len(rows) > 1
        escaped = " ".join(rows)
        text = html.unescape(escaped)
        changed["texts with HTML entities, decoded"] += text != escaped
        if GAP in text:
            if options.gap == "drop":
                self.dropped["with a gap"] += 1
                return None
            changed[f"gaps {'removed' if options.gap == 'remove' else f'written as {GAP_SYMBOL}'}"] += text.count(GAP)
            text = text.replace(GAP, GAP_SYMBOL if options.gap == "symbol" else " ")
        if options.underscore == "remove" and "_" in text:
            changed["underscores removed"] += text.count("_")
            text = text.replace("_", "")
        if not text.strip():
            self.dropped["empty transcription"] += 1
            return None
        return text
