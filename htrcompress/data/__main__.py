"""Looks at a dataset: `python -m htrcompress.data PATH`."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from htrcompress.cli import run_command
from htrcompress.data.lines import Line
from htrcompress.data.readers.open import open_dataset


@dataclass(frozen=True)
class DataResult:
    """What a dataset holds.

    Attributes:
        name: the dataset's.
        format: the reader that opened it.
        lines: in all splits that do not overlap by name (`train`, `valid`, `test`).
        splits: split name to lines, characters, hash, groups, characters that train lacks, and `trained_on`: how
            many of its images train has too.
        charset: the characters of the training split.
        dropped: reason to lines that the reader left out.
        changed: what the reader changed in texts, and how often.
    """

    name: str
    format: str
    lines: int
    splits: dict[str, dict[str, Any]]
    charset: str
    dropped: dict[str, int]
    changed: dict[str, int]

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
        notes += [f"left out: {count} lines, {reason}" for reason, count in self.dropped.items()]
        notes += [f"changed: {count} {what}" for what, count in self.changed.items()]
        notes += [
            f"{split['trained_on']} lines of {name} are training lines too: figures on it flatter"
            for name, split in self.splits.items()
            if split["trained_on"]
        ]
        return Group(table, *notes)


def look(path: str = "synthetic") -> DataResult:
    """Opens a dataset and counts what is in it.

    Args:
        path: a dataset's folder, or `synthetic` for the built-in data.
    """
    dataset = open_dataset(path)
    train = dataset.splits.get("train")  # a folder to test on alone has none
    charset = {character for line in train or () for character in line.text}

    def count(name: str, lines: list[Line]) -> dict[str, Any]:
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
    total = sum(splits[name]["lines"] for name in ("train", "valid", "test") if name in splits)
    return DataResult(
        dataset.name, dataset.format, total, splits, "".join(sorted(charset)), dataset.dropped, dataset.changed
    )


if __name__ == "__main__":
    run_command(look, positional="path")
