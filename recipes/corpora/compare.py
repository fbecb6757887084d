"""Holds a corpus that `rebuild.py` made against another copy of it: the same texts, and what a model reads in both.

    python recipes/corpora/compare.py --built data/copiste_fr --other ../copiste_fr --split test --model copiste_fr

Lines are paired by their page and text; among several of one text on a page, by their order. The difference of the
error rates is paired over these lines.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rebuild import page_keys

from htrcompress import load
from htrcompress.cli import run_command
from htrcompress.data.lines import Line
from htrcompress.data.readers.open import open_dataset
from htrcompress.metrics import paired_interval, score


@dataclass(frozen=True)
class CompareOptions:
    """Compares two copies of a corpus."""

    built: str
    """The packed dataset that rebuild.py made."""
    other: str
    """Another copy, with files called after their pages: `page-017.webp`."""
    split: str = "test"
    """Which lines."""
    model: str | None = None
    """A model that reads both; texts alone are compared if not given."""


@dataclass(frozen=True)
class Compared:
    """The result of `compare`.

    Attributes:
        lines: in the split of the other copy.
        same: how many of them have the same text on the same page in the built one.
        cer: of the model on the built lines and on the others, fractions.
        difference: built minus other, and its 95 % interval.
    """

    lines: int
    same: int
    cer: tuple[float, float] | None = None
    difference: tuple[float, float, float] | None = None

    def __rich__(self) -> str:
        text = f"{self.same} of {self.lines} lines ({100 * self.same / self.lines:.1f} %) have the same text"
        if self.cer and self.difference:
            built, other, (gap, low, high) = *(100 * value for value in self.cer), (100 * d for d in self.difference)
            text += f"; CER {built:.2f} % built, {other:.2f} % other: {gap:+.2f} points ({low:+.2f} to {high:+.2f})"
        return text


def compare(options: CompareOptions) -> Compared:
    """Compares two copies of a corpus.

    Raises:
        HtrError: one of them cannot be opened, or the model cannot.
    """
    built = open_dataset(options.built).split(options.split)
    other = open_dataset(options.other).split(options.split)
    places: defaultdict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in built:
        for key in dict.fromkeys(page_keys(line.page)):
            places[key, line.text].append(line)
    pairs = []
    for line in other:
        page = Path(line.id).name.rpartition("-")[0]
        if found := places.get((page, line.text)):
            pairs.append((found.pop(0), line))
    if options.model is None or not pairs:
        return Compared(len(other), len(pairs))
    with load(options.model) as recognizer:
        texts = [line.text for _, line in pairs]
        scores = [
            score(texts, [r.text for r in recognizer.read([line.pixels for line in lines])])
            for lines in zip(*pairs, strict=True)
        ]
    one, two = scores
    return Compared(len(other), len(pairs), (one.cer, two.cer), paired_interval(one, two))


if __name__ == "__main__":
    run_command(compare)
