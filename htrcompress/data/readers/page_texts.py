"""Which lines of pages are read, and what becomes of their texts: kinds of lines, editors' marks, double escapes."""

import html
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from htrcompress.errors import HtrError, listed
from htrcompress.pages.page import PageLine

_ESCAPED = re.compile(r"&(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});")


@dataclass(frozen=True)
class PageOptions:
    """Which lines of pages are read, and how."""

    only: str | None = None
    """Kinds of lines or regions to read alone, with commas between, as the files call them: `MainZone,DefaultLine`."""
    without: str | None = None
    """Kinds of lines or regions to leave out, such as `printed,NumberingZone`."""
    marks: Literal["keep", "remove", "drop"] = "keep"
    """What becomes of editors' marks: they stay in the text, or are removed from it, or the line is left out."""
    mark: str = "^ ⟦ ⟧ < > [ ] XXX ¬"
    """The marks, with spaces between."""
    lists: Path | None = None
    """A folder with train.txt, valid.txt and test.txt (or .lst), which name pages; the dataset's own if not given."""

    def __post_init__(self) -> None:
        if self.marks != "keep" and not self.mark.split():
            raise HtrError(f"marks {self.marks} needs marks: name some with mark, or choose marks keep")


class Texts:
    """Applies the options to the lines of pages, and counts what that does."""

    def __init__(self, options: PageOptions, name: str):
        self.options, self.name = options, name
        self.only, self.without = _names(options.only), _names(options.without)
        self.marks = re.compile("|".join(map(re.escape, sorted(options.mark.split(), key=len, reverse=True))) or "(?!)")
        self.seen: set[str] = set()
        self.dropped: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()

    def text(self, line: PageLine) -> str | None:
        """The text of a line as it is trained on; None where the line is left out."""
        self.seen.update(line.kinds)
        kinds = set(line.kinds)
        if self.without & kinds or (self.only and not self.only & kinds):
            unwanted = next((kind for kind in line.kinds if kind in self.without), "")
            self.dropped[f"of kind {unwanted}" if unwanted else "of other kinds than are read"] += 1
            return None
        text = _ESCAPED.sub(lambda found: html.unescape(found[0]), line.text)
        self.changed["texts that were escaped twice, decoded"] += text != line.text
        if not text.strip():
            self.dropped["empty transcription"] += 1
            return None
        if self.options.marks != "keep" and self.marks.search(text):
            if self.options.marks == "drop":
                self.dropped["with editors' marks"] += 1
                return None
            text, count = self.marks.subn("", text)
            self.changed["editors' marks removed"] += count
            if not text.strip():
                self.dropped["nothing but editors' marks"] += 1
                return None
        return text

    def check_kinds(self) -> None:
        """Refuses kinds that no line is of.

        Raises:
            HtrError: there are such.
        """
        if unknown := sorted((self.only | self.without) - self.seen):
            there = listed(sorted(self.seen), 30) or "no kinds at all"
            raise HtrError(f"--read.{self.name}: no line or region is of kind {', '.join(unknown)}; there are: {there}")


def _names(text: str | None) -> set[str]:
    return {name.strip() for name in (text or "").split(",") if name.strip()}
