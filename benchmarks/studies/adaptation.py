"""What a few lines of an unseen hand gain, and what they make a model forget.

    python benchmarks/studies/adaptation.py MODEL --data DIR --lines 16,64,256,all --also DIR,DIR

For each number of lines, so many training lines of the corpus are drawn and packed as a dataset of their own, as an
archive would bring them: without validation lines. `train --init` adapts the model to them with its defaults. Then the
test lines of the corpus are read, and those of the other corpora, which must not be forgotten. Small numbers are drawn
and trained with several seeds. The result is written after every training; a study that was stopped goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.results import command_line, save
from benchmarks.splits import Split, test_splits
from benchmarks.timing import require_positive
from htrcompress import metrics
from htrcompress.cli import run_command
from htrcompress.config import TrainConfig
from htrcompress.data.lines import Dataset
from htrcompress.data.packed_files import MANIFEST
from htrcompress.data.packing import pack
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset, saved_read, sources_of
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card
from htrcompress.runs import OPTIONS
from htrcompress.runtime import load
from htrcompress.train import TrainOptions, train
from htrcompress.training.trainer import FitResult
from htrcompress.utils import machine

BATCH = 32
ALL = "all"


@dataclass
class AdaptationStudy:
    """CER on an unseen hand, and on other corpora, against the number of lines that were learnt.

    Attributes:
        command: how this was measured.
        model: the model that was adapted, with the data that it had seen.
        data: the new hand: its name, training lines, and split, hash and size of what was read.
        before: `cer` and its 95 % `interval` without an adaptation, fractions.
        sizes: for each number of lines: `cer` of every seed, `mean`, its `interval` over lines, `difference` to before
            with its interval, `relative` change, and `steps` and `seconds` of training of every seed.
        others: for each other corpus: its split, hash and size, CER `before`, and `after` each number of lines, of the
            first seed.
        machine: the processor.
        threads: that trained.
    """

    command: str
    model: dict[str, Any]
    data: dict[str, Any]
    before: dict[str, Any]
    sizes: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    machine: str = ""
    threads: int = 1
    kind: str = "adaptation"

    def __rich__(self) -> Any:
        from rich.table import Table

        others = [row["name"] for row in self.others]
        table = Table(
            "lines", "CER %", "change %", "seconds", *others, title=f"{self.model['name']}, {self.data['name']}"
        )
        first = [f"{100 * row['before']:.2f}" for row in self.others]
        table.add_row("0", f"{100 * self.before['cer']:.2f}", "", "", *first)
        for size in self.sizes:
            after = [f"{100 * row['after'][str(size['lines'])]:.2f}" for row in self.others]
            seconds = f"{np.mean(size['seconds']):.0f}"
            cells = (f"{100 * size['mean']:.2f}", f"{100 * size['relative']:+.1f}", seconds)
            table.add_row(str(size["lines"]), *cells, *after)
        return table


@dataclass(frozen=True)
class AdaptationOptions:
    """Adapts a model to ever more lines of an unseen hand, and reads test lines of it and of other corpora."""

    model: Path | None = None
    """The trained model file."""
    data: str = "synthetic"
    """A corpus that it has not seen."""
    lines: str = "16,64,256,all"
    """Numbers of training lines, with commas between; `all` is every line."""
    also: str | None = None
    """Other corpora, with commas between, whose first test split shows what is forgotten."""
    seeds: int = 3
    """Trainings for each small number of lines, on other lines each."""
    small: int = 64
    """The largest number of lines that is trained with several seeds."""
    runs: Path = Path("runs/adaptation")
    """Where the runs are written; those that are there already are not trained again."""
    out: Path | None = None
    """A JSON file for the result."""

    def __post_init__(self) -> None:
        require_positive(seeds=self.seeds)
        if self.model is None:
            raise HtrError("name the trained model file")
        if not all(word == ALL or (word.isdecimal() and int(word) > 0) for word in self.numbers()):
            raise HtrError(f"--lines {self.lines} must be numbers of lines with commas between, or {ALL}")

    def numbers(self) -> list[str]:
        """The words of --lines."""
        return [word.strip() for word in self.lines.split(",")]


def study_adaptation(options: AdaptationOptions) -> AdaptationStudy:
    """Measures what the lines gain, on the test split, and what is forgotten.

    Raises:
        HtrError: the model or the data cannot be used, or a run folder holds a run with other options.
    """
    assert options.model is not None
    dataset = open_dataset(options.data)
    card, split = load_card(options.model), Split(dataset, "test")
    others = [_test_of(source) for source in (sources_of(options.also, "--also") if options.also else ())]
    start = _read(options.model, split)
    total = len(dataset.split("train"))
    result = AdaptationStudy(
        command_line(),
        {"name": options.model.stem, "data": card.data.get("name")},
        {"name": dataset.name, "training_lines": total, **_about(split)},
        {"cer": start.cer, "interval": start.interval()},
        others=[{"name": n, **_about(s), "before": _read(options.model, s).cer, "after": {}} for n, s in others],
        machine=machine.processor(),
        threads=torch.get_num_threads(),
    )
    for count in _counts(options, total):
        seeds = range(options.seeds if count <= options.small else 1)
        fits = [_adapted(options, dataset, count, seed, card.height) for seed in seeds]
        result.sizes.append({"lines": count, **_gain(start, [_read(fit.path, split) for fit in fits])})
        result.sizes[-1] |= {"steps": [fit.steps for fit in fits], "seconds": [round(fit.seconds, 1) for fit in fits]}
        for row, (_, other) in zip(result.others, others, strict=True):
            row["after"][str(count)] = _read(fits[0].path, other).cer
        save(result, options.out)
    return result


def _counts(options: AdaptationOptions, total: int) -> Iterator[int]:
    """The numbers of lines, those that the corpus has."""
    for word in options.numbers():
        count = total if word == ALL else int(word)
        if count > total:
            raise HtrError(f"--lines {word}: {options.data} has {total} training lines")
        yield count


def _test_of(source: str) -> tuple[str, Split]:
    """The name of a corpus, and its first test split."""
    dataset = open_dataset(source)
    return dataset.name, Split(dataset, test_splits(dataset)[0])


def _about(split: Split) -> dict[str, Any]:
    return {"split": split.name, "hash": split.hash, "lines": len(split.lines)}


def _adapted(options: AdaptationOptions, dataset: Dataset, count: int, seed: int, height: int) -> FitResult:
    """Adapts the model to so many lines, packed as a dataset of their own; a run that was begun goes on."""
    run = options.runs / f"{count}-{seed}"
    hand = run.with_name(f"{run.name}-lines") / dataset.name
    if not (hand / MANIFEST).is_file():
        drawn = dataset.limited("train", count, seed).split("train")
        read = dataset.packing.read if dataset.packing else saved_read(ReadConfig())
        pack(Dataset(dataset.name, dataset.format, {"train": drawn}), hand, height, read, processes=1)
    if (run / OPTIONS).is_file():
        return train(TrainOptions(resume=run, data=str(hand))).fit
    return train(TrainOptions(data=str(hand), init=options.model, out=run, train=TrainConfig(seed=seed))).fit


def _read(path: Path, split: Split) -> metrics.Score:
    return split.compare(split.read(load(path), BATCH))


def _gain(before: metrics.Score, after: Sequence[metrics.Score]) -> dict[str, Any]:
    """The CER of every seed, their mean, and how it differs from before."""
    edits = np.mean([score.edits for score in after], axis=0)
    mean = float(np.mean([score.cer for score in after]))
    return {
        "cer": [score.cer for score in after],
        "mean": mean,
        "interval": metrics.bootstrap(edits, before.lengths),
        "difference": metrics.mean_difference(after, [before] * len(after)),
        "relative": mean / before.cer - 1 if before.cer else 0.0,
    }


if __name__ == "__main__":
    run_command(study_adaptation, positional="model")
