"""What models read in lines cut or scanned in another way: `python benchmarks/studies/crops.py MODEL,MODEL --data DIR`.

Lines of one corpus are alike in more than their hands: a program cut them, with so much paper above and below, from
scans of one kind. Here the same lines are read as another program or scanner would have made them. The changes are made
on the image at its own size, and not by the augmentation that a training may have had.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import command_line, save
from benchmarks.splits import Pixels
from benchmarks.timing import require_positive
from htrcompress import metrics, runs
from htrcompress.cli import run_command
from htrcompress.data.readers.open import open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.image import resize_to_height, scale
from htrcompress.runtime import Recognizer, load
from htrcompress.utils import machine


@dataclass(frozen=True)
class CropsOptions:
    """Reads lines with several models as they are, and cut or scanned in other ways."""

    models: str | None = None
    """The models' names or files, with commas between."""
    data: str | None = None
    """The corpora's folders, with commas between."""
    split: str = "valid"
    """The split, or several with commas between, of which each corpus' first is read."""
    lines: int = 200
    """How many lines of each corpus, drawn from it; all if there are fewer."""
    batch: int = 32
    """Lines in a batch."""
    threads: int = 2
    """CPU threads."""
    out: Path | None = None
    """A JSON file for the result."""

    def __post_init__(self) -> None:
        require_positive(batch=self.batch, threads=self.threads, lines=self.lines)
        for name in ("models", "data"):
            if not getattr(self, name):
                raise HtrError(f"--{name} is missing: name one or several, with commas between")


@dataclass(frozen=True)
class CropsResult:
    """Models on lines that were changed.

    Attributes:
        command: how this was measured.
        splits: corpus to its split, lines and hash of the split.
        rows: model to corpus to change to `cer` and its 95 % `interval`, fractions; a line that cannot be read counts
            as an empty reading.
        machine: the processor.
    """

    command: str
    splits: dict[str, dict[str, Any]]
    rows: dict[str, dict[str, dict[str, dict[str, Any]]]]
    machine: str
    kind: str = "crops"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("crop", *(f"{model} {corpus}" for model in self.rows for corpus in self.splits), title="CER %")
        for change in CHANGES:
            found = [corpora[corpus][change]["cer"] for corpora in self.rows.values() for corpus in self.splits]
            table.add_row(change, *(f"{100 * cer:.2f}" for cer in found))
        return table


def _paper(pixels: Pixels) -> int:
    """The grey of the paper: the median of the two rows at the top and at the bottom."""
    return int(np.median(np.concatenate([pixels[:2], pixels[-2:]])))


def _looser(pixels: Pixels, share: float) -> Pixels:
    """More paper above and below, each a share of the height."""
    rows = round(share * pixels.shape[0])
    return np.pad(pixels, ((rows, rows), (0, 0)), constant_values=_paper(pixels))


def _tighter(pixels: Pixels, share: float) -> Pixels:
    """Less above and below, each a share of the height."""
    rows = round(share * pixels.shape[0])
    return pixels[rows : pixels.shape[0] - rows]


def _resized(pixels: Pixels, height: float, width: float) -> Pixels:
    """Other sides, as shares of the present ones."""
    return scale(pixels, max(1, round(height * pixels.shape[0])), max(1, round(width * pixels.shape[1])))


def _bitonal(pixels: Pixels) -> Pixels:
    """Black below the middle between the darkest grey and the median, white above."""
    level = (int(pixels.min()) + int(np.median(pixels))) / 2
    return np.where(pixels > level, 255, 0).astype(np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "as they are": lambda pixels: pixels,
    "15 % of paper added above and below": partial(_looser, share=0.15),
    "30 % of paper added above and below": partial(_looser, share=0.3),
    "8 % cut off above and below": partial(_tighter, share=0.08),
    "15 % cut off above and below": partial(_tighter, share=0.15),
    "a fifth narrower": partial(_resized, height=1, width=0.8),
    "a quarter wider": partial(_resized, height=1, width=1.25),
    "half the resolution": partial(_resized, height=0.5, width=0.5),
    "black and white": _bitonal,
}
"""What a change is called, and what makes it of uint8 (h, w)."""


def read_changed(options: CropsOptions) -> CropsResult:
    """Reads the lines of each corpus in every form with every model.

    Raises:
        HtrError: a model or a corpus cannot be used.
    """
    assert options.models and options.data
    recognizers = {name: load(runs.reader(name), options.threads, "cpu") for name in options.models.split(",")}
    if len({Path(name).name for name in recognizers}) < len(options.models.split(",")):
        raise HtrError(f"--models {options.models}: two of the files have the same name")
    card = next(iter(recognizers.values())).card
    splits: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Any]] = {Path(name).name: {} for name in recognizers}
    for source in options.data.split(","):
        dataset = open_dataset(source, read_config(card))
        wanted = options.split.split(",")
        split = next((name for name in wanted if dataset.splits.get(name)), wanted[0])
        lines = dataset.limited(split, options.lines, seed=0).split(split)
        splits[dataset.name] = {"split": split, "lines": len(lines), "hash": dataset.identity(split)}
        greys, texts = [line.pixels() for line in lines], [line.text for line in lines]
        for name, recognizer in recognizers.items():
            rows[Path(name).name][dataset.name] = {
                change: _rate(texts, [make(grey) for grey in greys], recognizer, options.batch)
                for change, make in CHANGES.items()
            }
    result = CropsResult(command_line(), splits, rows, machine.processor())
    save(result, options.out)
    return result


def _rate(texts: list[str], pictures: list[Pixels], recognizer: Recognizer, batch: int) -> dict[str, Any]:
    scaled: list[Pixels | None] = []
    for picture in pictures:
        try:
            scaled.append(resize_to_height(picture, recognizer.card.height, recognizer.card.max_width))
        except HtrError:  # wider than the model reads
            scaled.append(None)
    found = iter(recognizer.read((image for image in scaled if image is not None), batch))
    score = metrics.score(texts, ["" if image is None else next(found).text for image in scaled])
    return {"cer": score.cer, "interval": score.interval()}


if __name__ == "__main__":
    run_command(read_changed, positional="models")
