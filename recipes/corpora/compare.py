"""Holds a corpus that `rebuild.py` made against another copy of it: the same texts, and what a model reads in both.

    python recipes/corpora/compare.py --built data/copiste_fr --other ../copiste_fr --split test --model copiste_fr
    python recipes/corpora/compare.py --built data/quest --other ../hands_fr --corpus quest --split train

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
from htrcompress.errors import HtrError
from htrcompress.metrics import paired_interval, score


@dataclass(frozen=True)
class CompareOptions:
    """Compares two copies of a corpus."""

    built: str
    """The packed dataset that rebuild.py made."""
    other: str
    """Another copy, with files called after their pages: `page-017.webp`."""
    corpus: str | None = None
    """The folder of these files that holds the corpus, where the other copy is of several: `quest/page-017.webp`."""
    split: str = "test"
    """Which lines; of several splits together, with commas between."""
    model: str | None = None
    """A model that reads both; texts alone are compared if not given."""


@dataclass(frozen=True)
class Compared:
    """The result of `compare`.

    Attributes:
        lines: in the splits of the other copy.
        built: lines in those of the built one.
        same: how many of them have the same text on the same page in the built one.
        cer: of the model on the built lines and on the others, fractions.
        difference: built minus other, and its 95 % interval.
    """

    lines: int
    built: int
    same: int
    cer: tuple[float, float] | None = None
    difference: tuple[float, float, float] | None = None

    def __rich__(self) -> str:
        share = 100 * self.same / self.lines
        text = f"{self.built} lines built; {self.same} of the other {self.lines} ({share:.1f} %) have the same text"
        if self.cer and self.difference:
            built, other, (gap, low, high) = *(100 * value for value in self.cer), (100 * d for d in self.difference)
            text += f"; CER {built:.2f} % built, {other:.2f} % other: {gap:+.2f} points ({low:+.2f} to {high:+.2f})"
        return text


def compare(options: CompareOptions) -> Compared:
    """Compares two copies of a corpus.

    Raises:
        HtrError: one of them cannot be opened or has no such lines, or the model cannot be loaded.
    """
    built = _lines(options.built, options.split)
    other = _lines(options.other, options.split, options.corpus)
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
        return Compared(len(other), len(built), len(pairs))
    with load(options.model) as recognizer:
        texts = [line.text for _, line in pairs]
        scores = [
            score(texts, [r.text for r in recognizer.read([line.pixels for line in lines])])
            for lines in zip(*pairs, strict=True)
        ]
    one, two = scores
    return Compared(len(other), len(built), len(pairs), (one.cer, two.cer), paired_interval(one, two))


def _lines(source: str, splits: str, corpus: str | None = None) -> list[Line]:
    """The lines of some splits; those of one corpus, if it is named."""
    dataset = open_dataset(source)
    lines = [line for split in splits.split(",") for line in dataset.splits.get(split, ())]
    if corpus is not None:
        lines = [line for line in lines if Path(line.id).parent.name == corpus]
    if not lines:
        raise HtrError(f"{source} has no lines of {corpus or splits}: it has the splits {', '.join(dataset.splits)}")
    return lines


if __name__ == "__main__":
    run_command(compare)
