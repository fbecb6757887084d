"""How one form of a model is checked against another: the same lines through both, alone and in batches."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from htrcompress import metrics
from htrcompress.card import Card
from htrcompress.cli import console
from htrcompress.data.batching import by_width
from htrcompress.data.lines import Line
from htrcompress.errors import HtrError
from htrcompress.export.forms import Form, Pixels, precision_of
from htrcompress.image import pad, resize_to_height

BATCH = 32
SIZES = range(1, 34)
"""The batches that every form reads besides the lines one by one."""
TOLERANCE = {"FP32": 0.0002, "FP16": 0.0002, "INT8": 0.005}
"""Largest rise of the CER, a fraction, at the far end of its paired interval, by arithmetic. INT8 flips doubtful
characters either way: over some hundred lines, read once, chance alone is 0.2 to 0.3 points (`guard.py`)."""

MOVED = {"FP32": 0.0, "FP16": 0.01, "INT8": 0.01}
"""Largest share of lines whose text may turn with their batch. Matrix products add in another order where the batch has
another shape; rounding to 11 or 8 bits can make a step of the last bit of that, and a doubtful character turns."""


@dataclass(frozen=True)
class Check:
    """One form of one model against the model in PyTorch; rates are fractions.

    Attributes:
        model: the role.
        form: the file, or `PyTorch, half precision`.
        arithmetic: what it computed in here; empty for what was not executed.
        cer: its character error rate.
        difference: its CER minus that of PyTorch, with the paired 95 % interval.
        differing: the lines that read differently: id, text, in PyTorch, in this form.
        logits: the largest difference of a logit on a line's own frames; None where the form gives no logits.
        batch: the largest difference of a logit between a line alone and in a batch; likewise.
        moved: lines whose text depends on their batch, over all batch sizes.
        note: why it fails, or what is known of a form that was not executed.
        passed: whether it is within the tolerance.
        inspected: of an engine that was executed, type to the layers that give it (`runtime.tensorrt.Engine.inspect`).
    """

    model: str
    form: str
    arithmetic: str
    cer: float
    difference: tuple[float, float, float]
    differing: tuple[tuple[str, str, str, str], ...]
    logits: float | None
    batch: float | None
    moved: int
    note: str
    passed: bool
    inspected: dict[str, int] = field(default_factory=dict)


class Pictures:
    """The lines as a model sees them, and what they say; a line that cannot be read is left out and told."""

    def __init__(self, lines: list[Line], card: Card):
        self.lines: list[Line] = []
        self.images: list[Pixels] = []
        for line in lines:
            try:
                self.images.append(resize_to_height(line.pixels(), card.height, card.max_width, line.id))
                self.lines.append(line)
            except HtrError as error:
                console.print(f"left out: {error}")
        if not self.images:
            raise HtrError("no line can be read: nothing is verified")
        self.by_width = sorted(range(len(self.images)), key=lambda i: self.images[i].shape[1])

    def spread(self, size: int) -> list[int]:
        """So many lines, from the narrowest to the widest."""
        last = len(self.by_width) - 1
        return [self.by_width[round(i * last / max(1, size - 1))] for i in range(size)]


class Reader:
    """One form's texts and logits of all lines, and how far they depend on the batch."""

    def __init__(self, form: Form, card: Card, pictures: Pictures):
        self.form, self.card, self.pictures = form, card, pictures
        self.charset = card.characters()
        self.texts = [""] * len(pictures.images)
        self.logits: list[Any] = [None] * len(pictures.images)

    def read(self) -> None:
        """Reads all lines, those of like width together."""
        widths = [image.shape[1] for image in self.pictures.images]
        for indices in by_width(widths, min(BATCH, self.form.most or BATCH)):
            for i, (text, logits) in zip(indices, self._run(indices), strict=True):
                self.texts[i], self.logits[i] = text, logits

    def against(self, reference: "Reader", model: str, limit: float | None) -> Check:
        """Compares with the reference, and with itself in other batches."""
        truth = [line.text for line in self.pictures.lines]
        score = metrics.score(truth, self.texts)
        difference = metrics.paired_interval(score, metrics.score(truth, reference.texts))
        pairs = zip(self.pictures.lines, reference.texts, self.texts, strict=True)
        differing = tuple((line.id, line.text, before, now) for line, before, now in pairs if before != now)
        logits = _largest(zip(self.logits, reference.logits, strict=True))
        batch, moved = self._invariance()
        allowed = TOLERANCE[self.form.arithmetic] if limit is None else limit / 100
        steady = max(MOVED[kind] for kind in (self.form.arithmetic, precision_of(Path(self.form.name))))
        note = f"{moved} lines depend on their batch" if moved > steady * len(truth) else ""
        if not math.isfinite((logits or 0) + (batch or 0)):
            note = "it gives logits that are not finite"
        elif difference[2] > allowed:
            note = f"the CER rises by up to {100 * difference[2]:.3f} points; {100 * allowed:g} are allowed"
            if difference[0] <= allowed:
                note += "; its mean is within that: more lines would tell"
        return Check(
            model, self.form.name, self.form.arithmetic, score.cer, difference, differing, logits, batch, moved, note,
            not note,
        )  # fmt: skip

    def _invariance(self) -> tuple[float | None, int]:
        """Every line alone, and batches of every size that the form takes, against the first reading."""
        pairs, moved = [], set()
        sizes = [size for size in SIZES if size <= (self.form.most or size)]
        batches = [[i] for i in range(len(self.texts))] + [self.pictures.spread(size) for size in sizes]
        for indices in batches:
            for i, (text, logits) in zip(indices, self._run(indices), strict=True):
                pairs.append((logits, self.logits[i]))
                if text != self.texts[i]:
                    moved.add(i)
        return _largest(pairs), len(moved)

    def _run(self, indices: list[int]) -> Iterator[tuple[str, Any]]:
        pixels, widths = pad([self.pictures.images[i] for i in indices])
        output = self.form.run(pixels, widths)
        for row, width in enumerate(widths.tolist()):
            frames = max(1, -(-width // self.card.stride))
            text = self.charset.decode(output.labels[row, : output.lengths[row]].tolist())
            yield text, None if output.logits is None else output.logits[row, :frames]


def _largest(pairs: Iterable[tuple[Any, Any]]) -> float | None:
    """The largest difference, or NaN where one is (Python's own max() may pass over it); None without logits."""
    differences = [np.abs(a - b).max() for a, b in pairs if a is not None and b is not None]
    return float(np.max(differences)) if differences else None
