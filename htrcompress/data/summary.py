"""`DataResult`: what the command `python -m htrcompress.data` found, as a document and as tables for people."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htrcompress.bidi import Direction
from htrcompress.data.packing import Packed
from htrcompress.data.report import Shared, SplitReport

RARE = 5
"""Characters that occur less often than this in training are hardly learned."""
SHOWN = 40
"""Characters of a kind that people are shown."""


@dataclass(frozen=True)
class DataResult:
    """What a dataset holds.

    Attributes:
        name: the dataset's.
        format: the reader that opened it.
        lines: in `train`, `valid` and `test` together, or in all splits where it has none of these.
        splits: split name to what is in it.
        charset: the characters of the training split.
        counts: how often each occurs there.
        dropped: reason to lines that the reader left out.
        changed: what the reader changed in texts, and how often.
        shared: pages, groups and texts that splits have in common.
        height: that widths are counted at, in pixels.
        packed: height of the images of a packed dataset, 0 where they have their own; None for one that is not packed.
        direction: of the training lines, `ltr` or `rtl`.
        reordered: how many texts of mixed direction do not come back as they were from their order on the page.
        decoded: whether images were decoded to find damaged ones; their headers were read if not.
        unreadable: how many images cannot be read.
        errors: why, for up to ten of them.
        written: the packed dataset that was written.
        gallery: the page that was written.
        mix: what does not fit together, where it is several datasets (`Dataset.notes`).
    """

    name: str
    format: str
    lines: int
    splits: dict[str, SplitReport]
    charset: str
    counts: dict[str, int]
    dropped: dict[str, int]
    changed: dict[str, int]
    shared: list[Shared]
    height: int
    packed: int | None = None
    direction: Direction = "ltr"
    reordered: int = 0
    decoded: bool = True
    unreadable: int = 0
    errors: list[str] = field(default_factory=list)
    written: Packed | None = None
    gallery: Path | None = None
    mix: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """2 if any image cannot be read."""
        return 2 if self.unreadable else 0

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(self._table(), *map(Text, self._notes()))  # plain text: a bracket in it is no markup

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        packed = (
            "" if self.packed is None else ", packed at " + (f"height {self.packed}" if self.packed else "own sizes")
        )
        table = Table(title=Text(f"{self.name} ({self.format}{packed})"))
        units = [unit for unit in ("groups", "pages") if any(getattr(split, unit) for split in self.splits.values())]
        table.add_column("split", overflow="fold")
        for heading in ("lines", "characters", *units, f"width at {self.height}", "height", "too narrow"):
            table.add_column(heading, justify="right", no_wrap=heading[0] in "wh")
        table.add_column("not in train")
        table.add_column("hash", no_wrap=True)
        for name, split in self.splits.items():
            table.add_row(
                Text(name),
                *(f"{getattr(split, count):,}" for count in ("lines", "characters", *units)),
                _spread(split.widths),
                _spread(split.heights),
                str(split.not_emittable) if split.widths else "?",
                Text(_some(split.unknown)),
                split.hash,
            )
        return table

    def _notes(self) -> list[str]:
        notes = ["widths and heights in pixels: the median, and what nine of ten lie between"]
        notes += [f"charset of {len(self.charset)}: {self.charset}"] if self.charset else []
        rare = {character: count for character, count in self.counts.items() if count < RARE}
        notes += [f"fewer than {RARE} times in train: {_some(rare)}"] if rare else []
        if self.direction == "rtl":
            notes += ["written from right to left: texts are put in the order of the page for training"]
        if self.reordered:
            notes += [f"{self.reordered} texts mix directions so that their order cannot be recovered from the page"]
        notes += [f"left out: {count} lines, {reason}" for reason, count in self.dropped.items()]
        notes += [f"changed: {count} {what}" for what, count in self.changed.items()]
        notes += self.mix
        for name, split in self.splits.items():
            if split.not_emittable:
                examples = ", ".join(split.examples)
                notes += [f"too narrow: {split.not_emittable} lines of {name} have more characters than CTC can emit, "
                          f"such as {examples}"]  # fmt: skip
            if split.trained_on:
                notes += [f"{split.trained_on} lines of {name} are training lines too: results on it look better than "
                          "they are"]  # fmt: skip
        notes += [_sharing(found, self.splits[found.second].lines) for found in self.shared]
        if not self.decoded:
            notes += ["images were not decoded: damaged ones are found with --decode true"]
        if self.unreadable:
            notes += [f"{self.unreadable} images cannot be read, such as:", *self.errors]
        if self.written:
            notes += [_packed(self.written)]
        if self.gallery:
            notes += [f"gallery: {self.gallery}"]
        return notes


def _spread(quantiles: list[int]) -> str:
    if not quantiles:
        return "?"
    _, low, middle, high, _ = quantiles
    return f"{middle} ({low}–{high})" if low < high else str(middle)


def _some(characters: dict[str, int]) -> str:
    """Characters with their counts."""
    shown = " ".join(f"{character}\u00a0({count})" for character, count in list(characters.items())[:SHOWN]) or "-"
    return shown + (f" and {len(characters) - SHOWN} more" if len(characters) > SHOWN else "")


def _sharing(found: Shared, lines: int) -> str:
    examples = ", ".join(value[:40] for value in found.examples)
    noun = found.what if found.values == 1 else f"{found.what}s"
    what = f"{found.values} {noun} of {found.first}" + (" stand in" if found.what == "text" else " are also in")
    return f"{what} {found.second}: {found.lines} of its {lines} lines ({examples})"


def _packed(done: Packed) -> str:
    new, speed = done.lines - done.resumed, ""
    if new:
        speed = f" in {done.seconds:.1f} s ({1000 * done.seconds / new:.1f} s a thousand lines)"
    size = f"{done.lines} lines packed, {done.bytes / 2**20:.0f} MiB"
    return f"{done.folder}: {size}{speed}; use it with --data {done.folder}"
