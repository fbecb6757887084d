"""The lines that the artefacts read: decoded and scaled once for all of them, and how well they were read."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.timing import evenly
from htrcompress import metrics
from htrcompress.card import Card
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers.open import open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.evaluate import GROUPS
from htrcompress.image import resize_to_height
from htrcompress.image_files import load_grey
from htrcompress.runtime import Reading, Recognizer

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class SplitScore:
    """Error rates of one artefact on one split, fractions, with 95 % bootstrap intervals over lines.

    Attributes:
        cer, cer_interval: character error rate.
        wer, wer_interval: word error rate.
        failed: lines whose image cannot be read or is too wide; they count as empty readings.
        differs: lines that the same model reads differently in PyTorch.
    """

    cer: float
    cer_interval: tuple[float, float]
    wer: float
    wer_interval: tuple[float, float]
    failed: int
    differs: int


def test_splits(dataset: Dataset) -> list[str]:
    """The names of the splits that hold lines to test on.

    Raises:
        HtrError: there are none.
    """
    found = [name for name, lines in dataset.splits.items() if name.startswith("test") and lines]
    if not found:
        raise HtrError(f"{dataset.name} has no test split with lines in it")
    return found


@dataclass(frozen=True)
class Sample:
    """Lines to time.

    Attributes:
        greys: uint8 (h, w) each, at their own size.
        files: the same as image files.
        decode_ms: milliseconds that decoding one file takes on one thread.
    """

    greys: list[Pixels]
    files: list[Path]
    decode_ms: float


def file_of(line: Line, otherwise: Path) -> Path:
    """The line's image file; a new one where its pixels come from elsewhere."""
    if isinstance(line.image, Path):
        return line.image
    Image.fromarray(line.pixels()).save(otherwise)
    return otherwise


class Split:
    """The lines of one split.

    Attributes:
        name: of the split.
        lines: in the dataset's order.
        hash: identity of their ids and texts.
    """

    def __init__(self, dataset: Dataset, name: str):
        self.name, self.lines, self.hash = name, dataset.split(name), dataset.identity(name)
        self._require_height = dataset.require_height
        self._scaled: dict[tuple[int, int], list[Pixels | None]] = {}

    def scaled(self, card: Card) -> list[Pixels | None]:
        """Every line as a model sees it, uint8 (height, w); None for what it cannot read.

        Raises:
            HtrError: it can read none of them.
        """
        key = (card.height, card.max_width)
        if key not in self._scaled:
            self._require_height(card.height)
            images: list[Pixels | None] = []
            errors = []
            for line in self.lines:
                try:
                    images.append(resize_to_height(line.pixels(), *key, line.id))
                except HtrError as error:
                    images.append(None)
                    errors.append(error)
            if len(errors) == len(images):
                raise HtrError(f"no line of {self.name} can be read; the first: {errors[0]}")
            self._scaled[key] = images
        return self._scaled[key]

    def median_line(self, card: Card) -> Pixels:
        """The line of median width as the model sees it."""
        readable = sorted((i for i in self.scaled(card) if i is not None), key=lambda image: image.shape[1])
        return readable[len(readable) // 2]

    def sample(self, cards: list[Card], count: int, folder: Path) -> "Sample":
        """Lines to time, spread over the split, that all models can read.

        Args:
            cards: of the models.
            count: how many lines.
            folder: where lines that are not image files are written as PNG.
        """
        readable = [i for i in range(len(self.lines)) if all(self.scaled(card)[i] is not None for card in cards)]
        if not readable:
            raise HtrError(f"no line of {self.name} can be read by every model")
        chosen = [self.lines[i] for i in evenly(readable, count)]
        files = [file_of(line, folder / f"{number}.png") for number, line in enumerate(chosen)]
        start = time.perf_counter()
        greys = [load_grey(file) for file in files]
        return Sample(greys, files, 1000 * (time.perf_counter() - start) / len(chosen))

    def readings(self, recognizer: Recognizer, batch: int) -> list[Reading]:
        """What a model reads in every line; an empty reading where it cannot read one."""
        images = self.scaled(recognizer.card)
        found = iter(recognizer.read((image for image in images if image is not None), batch))
        return [Reading("", -math.inf) if image is None else next(found) for image in images]

    def read(self, recognizer: Recognizer, batch: int) -> list[str]:
        """The text of every line, "" for one that the model cannot read."""
        return [reading.text for reading in self.readings(recognizer, batch)]

    def compare(self, readings: list[str]) -> metrics.Score:
        """The errors in readings of all lines."""
        return metrics.score([line.text for line in self.lines], readings)

    def rates(self, card: Card, score: metrics.Score, differs: int) -> SplitScore:
        """The error rates of an artefact."""
        failed = sum(image is None for image in self.scaled(card))
        return SplitScore(score.cer, score.interval(), score.wer, score.interval(words=True), failed, differs)

    @property
    def has_groups(self) -> bool:
        """Whether the lines have groups, such as fonts, and few enough for a table."""
        return len({line.group for line in self.lines}) in GROUPS

    def groups(self, scores: dict[str, metrics.Score]) -> list[dict[str, Any]]:
        """CER of every model by group."""
        of_line = np.array([line.group for line in self.lines])
        rows = []
        for name in sorted(set(of_line.tolist())):
            chosen = of_line == name
            cers = {m: metrics.ratio(s.edits[chosen], s.lengths[chosen]) for m, s in scores.items()}
            rows.append({"group": name, "lines": int(chosen.sum()), "cer": cers})
        return rows


def splits_of_corpora(data: str, card: Card) -> dict[str, Split]:
    """Every test split of several corpora, by `corpus/split`.

    Args:
        data: the corpora's folders, with commas between.
        card: of a model, as whose training texts are read.

    Raises:
        HtrError: two corpora have the same name, or one cannot be read or has no test split.
    """
    splits: dict[str, Split] = {}
    for source in data.split(","):
        dataset = open_dataset(source, read_config(card))
        for name in test_splits(dataset):
            if f"{dataset.name}/{name}" in splits:
                raise HtrError(f"--data {data}: two corpora are called {dataset.name}")
            splits[f"{dataset.name}/{name}"] = Split(dataset, name)
    return splits


def sample_of_corpora(
    splits: dict[str, Split], cards: list[Card], lines: int, folder: Path
) -> tuple[list[Pixels], list[Path]]:
    """Lines to time, the same number from the first test split of every corpus: their pixels and files.

    Args:
        splits: from `splits_of_corpora`.
        cards: of the models, all of which can read the lines.
        lines: how many there are in all.
        folder: where lines that are not image files are written.
    """
    firsts = {key.partition("/")[0]: split for key, split in reversed(splits.items())}
    greys, paths = [], []
    for number, split in enumerate(firsts.values()):
        (folder / str(number)).mkdir()
        sample = split.sample(cards, max(1, lines // len(firsts)), folder / str(number))
        greys += sample.greys
        paths += sample.files
    return greys, paths
