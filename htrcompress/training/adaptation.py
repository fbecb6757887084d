"""Adapting a trained model to a new hand: settings that follow from the number of lines, and what came of it.

`train --init MODEL --data NEW_HAND` uses this. What the user leaves open follows from the number of training lines
(`settings`); the CER on the new hand's validation lines, and on those of other datasets that must not be forgotten
(`--watch`), is measured before and after (`Watch`), and `expected` tells what more lines would bring.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from htrcompress.charset import Charset
from htrcompress.config import TrainConfig
from htrcompress.data.prepare import EncodedLines, encode_lines
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset, sources_of
from htrcompress.errors import HtrError
from htrcompress.models.base import LineRecognizer
from htrcompress.training.data import MAX_WIDTH, TrainingData
from htrcompress.training.validation import validate

FEWEST = 4
"""Training lines; fewer say nothing about a hand."""
BATCH, RATE, PATIENCE = 8, 2 / 3, 5
"""Lines a step; the peak learning rate, as a share of the one that a training from nothing has; and how many
validations (of ten) may pass without a better CER."""
KEEP = 0.25
"""Share of the weights before the adaptation in the adapted model."""
PASSES, GROWTH = 100, 0.75
"""`PASSES` · lines ** `GROWTH` is how many lines are seen in all: 50 times each of 16, 25 times each of 256."""
REMAINING = ((0, 1.0), (16, 0.68), (64, 0.52), (256, 0.37))
"""Training lines of a hand that a model had not seen, and the share of its errors that remained, as
`benchmarks/studies/adaptation.py` measured it."""


def settings(config: TrainConfig, lines: int, preset: str | None) -> TrainConfig:
    """The config with what the user left open set for so many training lines of a new hand.

    A user who says how long to train trains as from nothing, but for the start; nothing is set then.

    Args:
        config: as the user gives it.
        lines: training lines.
        preset: of the model; None for sizes of no preset.
    """
    if config.steps is not None or config.epochs is not None:
        return config
    batch = config.batch or BATCH
    return replace(
        config,
        steps=max(1, round(PASSES * lines**GROWTH / batch)),
        batch=batch,
        lr=config.lr or RATE * config.for_preset(preset).lr,
        keep=KEEP if config.keep is None else config.keep,
        patience=config.patience or (None if config.valid_every else PATIENCE),
    )


def require_enough(lines: int, name: str) -> None:
    """Raises HtrError where a hand has too few training lines."""
    if lines < FEWEST:
        raise HtrError(f"{name} has {lines} training lines, and at least {FEWEST} are needed: transcribe some more")


def expected(lines: int, cer: float) -> list[tuple[int, float]]:
    """What more lines of a hand would bring, as (lines, CER), if it goes as with the hand of `REMAINING`.

    Args:
        lines: that the model has learnt.
        cer: that it reads the hand with after that, a fraction.
    """
    return [(more, cer * share / _remaining(lines)) for more, share in REMAINING if more > lines]


def _remaining(lines: int) -> float:
    """`REMAINING`, between its rows along the logarithm of the lines."""
    counts, shares = zip(*REMAINING, strict=True)
    return float(np.interp(np.log1p(lines), np.log1p(counts), shares))


@dataclass(frozen=True)
class Change:
    """The CER on some lines before and after an adaptation, fractions.

    Attributes:
        data: the dataset.
        split: of it.
        lines: how many.
        before: the CER of the model that was started from.
        after: that of the adapted model; None for training lines, which it knows.
    """

    data: str
    split: str
    lines: int
    before: float
    after: float | None


@dataclass(frozen=True)
class Adaptation:
    """What came of an adaptation.

    Attributes:
        lines: training lines of the new hand.
        changes: on the new hand first, then on each dataset of --watch.
        expected: what more lines would bring, as (lines, CER).
    """

    lines: int
    changes: list[Change]
    expected: list[tuple[int, float]]

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("", "lines", "CER % before", "after")
        for change in self.changes:
            after = "not measured" if change.after is None else f"{100 * change.after:.2f}"
            row = (f"{change.data}, {change.split}", str(change.lines), f"{100 * change.before:.2f}", after)
            table.add_row(*map(Text, row))
        notes = []
        if self.changes[0].after is None:
            notes.append("too few lines to hold any back: all were learnt, and what was gained is measured on none")
        if self.expected:
            told = ", ".join(f"about {100 * cer:.1f} % with {lines}" for lines, cer in self.expected)
            notes.append(f"with more lines of this hand, expect {told} (docs/adaptation.md)")
        return Group(table, *map(Text, notes))


class Watch:
    """Reads the same lines before and after an adaptation.

    Args:
        data: of the new hand.
        others: datasets whose validation lines are read too, with commas between; None for none.
        read: how their texts are read where a format leaves a choice.
        max_unreadable: the share of a dataset's lines whose images may be unusable; they are left out.

    Raises:
        HtrError: a dataset cannot be opened, has no validation lines, or more of them cannot be used.
    """

    def __init__(self, data: TrainingData, others: str | None, read: ReadConfig, max_unreadable: float = 0.0):
        own = "valid" if len(data.valid) else "train"
        self.lines = len(data.train)
        self.parts: list[tuple[str, str, EncodedLines]] = [(data.dataset.name, own, getattr(data, own))]
        for source in sources_of(others, "--watch") if others else ():
            dataset = open_dataset(source, read)
            lines = encode_lines(dataset.split("valid"), data.charset, data.height, MAX_WIDTH, max_unreadable)
            self.parts.append((dataset.name, "valid", lines))

    def rates(self, network: LineRecognizer, charset: Charset) -> list[float]:
        """The CER on each of the parts.

        Args:
            network: in evaluation mode.
            charset: of its labels.
        """
        return [validate(network, lines, charset).cer for _, _, lines in self.parts]

    def adaptation(self, before: Sequence[float], after: Sequence[float]) -> Adaptation:
        """The result, from the rates before and after."""
        changes = [
            Change(name, split, len(lines), one, None if split == "train" else other)
            for (name, split, lines), one, other in zip(self.parts, before, after, strict=True)
        ]
        own = changes[0]
        told = expected(self.lines, own.before * _remaining(self.lines) if own.after is None else own.after)
        return Adaptation(self.lines, changes, told)
