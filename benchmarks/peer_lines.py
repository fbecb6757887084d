"""Writes lines as other recognisers train on them: each image beside its text, `NAME.png` and `NAME.gt.txt`."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from htrcompress.data.lines import Dataset
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic


@dataclass(frozen=True)
class Pairs:
    """What was written: split to its number of lines, in `folder/SPLIT/`."""

    folder: Path
    lines: dict[str, int]

    def __rich__(self) -> str:
        counts = ", ".join(f"{split} {count}" for split, count in self.lines.items())
        return f"written: {self.folder}, lines of {counts}"


def write_pairs(dataset: Dataset, folder: Path, splits: tuple[str, ...] = ("train", "valid")) -> Pairs:
    """Writes the lines of some splits as pairs of files; a line that cannot be read is left out.

    Raises:
        HtrError: the dataset has none of the splits.
    """
    written: dict[str, int] = {}
    for split in splits:
        for number, line in enumerate(dataset.splits.get(split, ())):
            place = folder / split / f"{number:06}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                Image.fromarray(line.pixels()).save(place)
            except HtrError:
                continue
            write_atomic(place.with_suffix(".gt.txt"), line.text.encode())
            written[split] = written.get(split, 0) + 1
    if not written:
        raise HtrError(f"{dataset.name} has no lines in {' or '.join(splits)}")
    return Pairs(folder, written)
