"""Shows what a dataset holds: `python -m htrcompress.data PATH`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from htrcompress.bidi import Direction
from htrcompress.charset import Charset
from htrcompress.cli import run_command
from htrcompress.data.lines import Line
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.data.readers.synthetic import SYNTHETIC
from htrcompress.errors import HtrError
from htrcompress.utils import machine

SHOWN = 10
"""Unreadable images that are named; the others are counted."""


@dataclass(frozen=True)
class DataResult:
    """What a dataset holds.

    Attributes:
        name: the dataset's.
        format: the reader that opened it.
        lines: in `train`, `valid` and `test` together, or in all splits where it has none of these.
        splits: split name to lines, characters, hash, groups, characters that train lacks, and `trained_on`: how
            many of its images train has too.
        charset: the characters of the training split.
        dropped: reason to lines that the reader left out.
        changed: what the reader changed in texts, and how often.
        direction: of the training lines, `ltr` or `rtl`.
        reordered: how many texts of mixed direction do not come back as they were from their order on the page.
        unreadable: how many images cannot be read.
        errors: why, for up to ten of them.
    """

    name: str
    format: str
    lines: int
    splits: dict[str, dict[str, Any]]
    charset: str
    dropped: dict[str, int]
    changed: dict[str, int]
    direction: Direction = "ltr"
    reordered: int = 0
    unreadable: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """2 if any image cannot be read."""
        return 2 if self.unreadable else 0

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table(
            "split", "lines", "characters", "groups", "not in train", "hash", title=f"{self.name} ({self.format})"
        )
        for name, split in self.splits.items():
            lacks = " ".join(split["unknown"]) or "-"
            table.add_row(
                name, str(split["lines"]), str(split["characters"]), str(split["groups"]), lacks, split["hash"]
            )
        notes = [f"charset of {len(self.charset)}: {self.charset}"]
        if self.direction == "rtl":
            notes += ["written from right to left: texts are put in the order of the page for training"]
        if self.reordered:
            notes += [f"{self.reordered} texts mix directions so that their order cannot be recovered from the page"]
        notes += [f"left out: {count} lines, {reason}" for reason, count in self.dropped.items()]
        notes += [f"changed: {count} {what}" for what, count in self.changed.items()]
        notes += [
            f"{split['trained_on']} lines of {name} are training lines too: results on it look better than they are"
            for name, split in self.splits.items()
            if split["trained_on"]
        ]
        if self.unreadable:
            notes += [f"{self.unreadable} images cannot be read, such as:", *self.errors]
        return Group(table, *notes)


@dataclass(frozen=True)
class DataOptions:
    """Shows what a dataset holds: lines, characters, what was left out or changed, and images that cannot be read."""

    path: str = SYNTHETIC
    """A dataset's folder, several with commas between, or `synthetic` for the built-in data."""
    read: ReadConfig = field(default_factory=ReadConfig)
    """How to read texts where a dataset's format leaves a choice."""
    images: bool = True
    """Whether to open every image; the built-in data has no files to open."""


def look(options: DataOptions) -> DataResult:
    """Opens a dataset, counts what is in it, and opens every image.

    Raises:
        HtrError: there is no such folder, no reader recognises it, or something in it is not as its format has it.
    """
    dataset = open_dataset(options.path, options.read)
    train = dataset.splits.get("train")  # a folder to test on alone has none
    charset = {character for line in train or () for character in line.text}
    known = Charset.of(line.text for line in train) if charset and train else None

    def count(name: str, lines: Sequence[Line]) -> dict[str, Any]:
        unknown = Counter(c for line in lines for c in line.text if train and c not in charset)
        return {
            "lines": len(lines),
            "characters": sum(len(line.text) for line in lines),
            "groups": len({line.group for line in lines if line.group}),
            "unknown": dict(unknown.most_common()),
            "hash": dataset.identity(name),
            "trained_on": dataset.trained_on(name),
        }

    splits = {name: count(name, lines) for name, lines in dataset.splits.items()}
    main = [name for name in splits if name in ("train", "valid", "test")] or list(splits)
    every = [line for lines in dataset.splits.values() for line in lines]
    errors = _unreadable(every) if options.images and dataset.format != SYNTHETIC else []
    return DataResult(
        name=dataset.name,
        format=dataset.format,
        lines=sum(splits[name]["lines"] for name in main),
        splits=splits,
        charset="".join(sorted(charset)),
        dropped=dataset.dropped,
        changed=dataset.changed,
        direction=known.direction if known else "ltr",
        reordered=known.changed_order(line.text for line in every) if known else 0,
        unreadable=len(errors),
        errors=errors[:SHOWN],
    )


def _unreadable(lines: Sequence[Line]) -> list[str]:
    """Why images cannot be read, one sentence for each image, however many lines show it."""
    from concurrent.futures import ThreadPoolExecutor

    def error(line: Line) -> str | None:
        try:
            line.pixels()
        except HtrError as error:
            return str(error) if line.id in str(error) else f"{line.id}: {error}"
        except Exception as error:  # a plug-in reader's function gives the pixels
            return f"{line.id}: {type(error).__name__}: {error}"
        return None

    once = {line.image: line for line in lines}.values()
    with ThreadPoolExecutor(machine.cores()) as pool:
        return [found for found in pool.map(error, once) if found]


if __name__ == "__main__":
    run_command(look, positional="path")
