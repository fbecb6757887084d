"""Reads BenthamDatasetR0-GT: line images, one text file a line, and lists of line ids (tranScriptorium, 2015).

    Images/Lines/<id>.png   Transcriptions/<id>.txt   Partitions/{TrainLines,ValidationLines,TestLines}.lst

Ids are matched exactly, since one may begin another. Images are RGBA with nothing outside the line's polygon;
`image.to_grey` lays them on the line's own paper. The packaging of the ICFHR 2014 contest, which keeps the
test lines in a folder of their own, is read too.
"""

import html
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from htrcompress.charset import clean_text
from htrcompress.config import ReadConfig
from htrcompress.data.lines import Dataset, Line, checked_text, inside, read_utf8

PARTITIONS = {"train": "TrainLines.lst", "valid": "ValidationLines.lst", "test": "TestLines.lst"}
PACKAGINGS = ((".",), ("BenthamDatasetR0-GT",), ("contestHTRtS/BenthamData", "BenthamData", "contestHTRtS-test"))
"""Folders that together hold the corpus; both packagings hold the same lines."""
GAP = "<gap/>"
GAP_SYMBOL = "~"
"""What Laia's recipe for this corpus writes for a gap."""


@dataclass(frozen=True)
class _Part:
    """One folder of the corpus: its lists, texts and images."""

    root: Path
    images: Path


def bentham_parts(root: Path) -> list[_Part]:
    """The folders below `root`, or `root` itself, that are laid out like this corpus; of its packagings the first."""
    for names in PACKAGINGS:
        parts = []
        for folder in (root / name for name in names):
            if any((folder / "Partitions" / name).is_file() for name in PARTITIONS.values()):
                test_only = folder / "Images" / "Lines-test"
                parts.append(_Part(folder, test_only if test_only.is_dir() else folder / "Images" / "Lines"))
        if parts:
            return parts
    return []


def open_bentham(root: Path, read: ReadConfig) -> Dataset:
    """Opens the corpus. Lines that a list names but that have no image, no text file or no text are left
    out and counted, and so is a line that is listed again, from training first; what was changed in a text is
    counted in `Dataset.changed`.

    Raises:
        HtrError: a list or text is not UTF-8, or an id lies outside the folder.
    """
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    splits: dict[str, list[Line]] = {}
    for part in bentham_parts(root):
        for split, name in PARTITIONS.items():
            path = part.root / "Partitions" / name
            if path.is_file():
                splits.setdefault(split, []).extend(_lines(part, path, split, read, dropped, changed))
    taken: set[str] = set()
    for split in [name for name in reversed(PARTITIONS) if name in splits]:  # what is tested on is not trained on
        lines: dict[str, Line] = {}
        for line in splits[split]:
            if line.id not in taken:
                lines.setdefault(line.id, line)
        dropped["listed more than once"] += len(splits[split]) - len(lines)
        splits[split] = list(lines.values())
        taken |= lines.keys()
    return Dataset(root.resolve().name, "bentham", splits, dict(+dropped), dict(+changed))


def _lines(
    part: _Part, path: Path, split: str, read: ReadConfig, dropped: Counter[str], changed: Counter[str]
) -> list[Line]:
    lines = []
    for number, row in enumerate(read_utf8(path).splitlines(), 1):
        name = row.strip().removesuffix(".png")
        if not name:
            continue
        where = f"{path}, line {number}"
        transcriptions = part.root / "Transcriptions"
        image, transcription = part.images / f"{name}.png", transcriptions / f"{name}.txt"
        if not (inside(image, part.images, where) and inside(transcription, transcriptions, where)):
            missing = "image" if transcription.is_file() else "transcription"
            dropped[f"no {missing} for an id in {path.name}"] += 1
            continue
        text = _text(read_utf8(transcription), read, changed)
        if text is None or not text:
            dropped["with a gap" if text is None else "empty transcription"] += 1
            continue
        lines.append(Line(name, checked_text(text, str(transcription)), split, image))
    return lines


def _text(raw: str, read: ReadConfig, changed: Counter[str]) -> str | None:
    """The transcription as it is trained on; None where the line is to be left out."""
    rows = [row for row in raw.splitlines() if row.strip()]
    changed["texts of several rows, joined"] += len(rows) > 1
    escaped = " ".join(rows)
    text = html.unescape(escaped)
    changed["texts with HTML entities, decoded"] += text != escaped
    if GAP in text:
        if read.gap == "drop":
            return None
        changed[f"gaps {'removed' if read.gap == 'remove' else f'written as {GAP_SYMBOL}'}"] += text.count(GAP)
        text = text.replace(GAP, GAP_SYMBOL if read.gap == "symbol" else " ")
    if read.underscore == "remove" and "_" in text:
        changed["underscores removed"] += text.count("_")
        text = text.replace("_", "")
    return clean_text(text)
