"""How one exported file is checked against the model: the same lines through both, alone and in batches."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress import metrics
from htrcompress.card import Card
from htrcompress.data.batching import by_width
from htrcompress.data.lines import Line
from htrcompress.decoding.base import Decoder
from htrcompress.decoding.batches import decode_all
from htrcompress.errors import HtrError
from htrcompress.export.results import Check
from htrcompress.image import pad, resize_to_height
from htrcompress.runtime.backend import Backend, precision_of

logger = logging.getLogger(__name__)

BATCH = 32
SIZES = range(1, 34)
"""The batches that are read besides the lines one by one."""
TOLERANCE = {"FP32": 0.0002, "FP16": 0.0002, "INT8": 0.005}
"""Largest rise of the CER, a fraction, at the far end of its paired interval, by arithmetic. INT8 flips doubtful
characters either way: over some hundred lines, read once, chance alone is 0.2 to 0.3 points (`accuracy_guard.py`)."""
ALLOWED_BATCH_SENSITIVE = {"FP32": 0.0, "FP16": 0.01, "INT8": 0.01}
"""Largest share of lines whose text may depend on their batch. Matrix products add in another order where the batch has
another shape; rounding to 11 or 8 bits can turn the last bit of a sum into a whole step, and a doubtful character."""


class LineSet:
    """Lines scaled for a model, with their transcriptions; a line that cannot be read is left out, with a warning.

    Raises:
        HtrError: no line can be read.
    """

    def __init__(self, lines: Sequence[Line], card: Card):
        self.lines: Sequence[Line] = []
        self.images: list[NDArray[np.uint8]] = []
        for line in lines:
            try:
                self.images.append(resize_to_height(line.pixels(), card.height, card.max_width, line.id))
                self.lines.append(line)
            except HtrError as error:
                logger.warning("left out: %s", error)
        if not self.images:
            raise HtrError("no line can be read: nothing is verified")
        self.by_width = sorted(range(len(self.images)), key=lambda i: self.images[i].shape[1])

    def spread(self, size: int) -> list[int]:
        """Indices of so many lines, from the narrowest to the widest."""
        last = len(self.by_width) - 1
        return [self.by_width[round(i * last / max(1, size - 1))] for i in range(size)]


class Reader:
    """Texts and logits that one back end gives for all lines, and how far they depend on the batch.

    Args:
        name: for tables: the file's name, or `PyTorch`.
        backend: opened with logits.
        lines: what to read.
        max_batch: the most lines that the back end takes at once; None for any number.
    """

    def __init__(self, name: str, backend: Backend, lines: LineSet, max_batch: int | None = None):
        self.name, self.backend, self.lines, self.max_batch = name, backend, lines, max_batch
        self.charset = backend.card.characters()
        self.texts = [""] * len(lines.images)
        self.logits: list[Any] = [None] * len(lines.images)

    @property
    def gives_logits(self) -> bool:
        """Whether the logits of every line were read."""
        return all(row is not None for row in self.logits)

    def read(self) -> None:
        """Reads all lines, those of like width together."""
        widths = [image.shape[1] for image in self.lines.images]
        for indices in by_width(widths, min(BATCH, self.max_batch or BATCH)):
            for i, (text, logits) in zip(indices, self._run(indices), strict=True):
                self.texts[i], self.logits[i] = text, logits

    def compare(self, reference: "Reader", model: str, limit: float | None) -> Check:
        """Compares with the reference, and with this back end's own readings in other batches.

        Args:
            reference: the model in PyTorch.
            model: the role.
            limit: allowed rise of the CER in points; by arithmetic if None.
        """
        truth = [line.text for line in self.lines.lines]
        score = metrics.score(truth, self.texts)
        difference = metrics.paired_interval(score, metrics.score(truth, reference.texts))
        pairs = zip(self.lines.lines, reference.texts, self.texts, strict=True)
        differing = tuple((line.id, line.text, before, now) for line, before, now in pairs if before != now)
        logits = _largest(zip(self.logits, reference.logits, strict=True))
        batch, sensitive = self._batch_sensitivity()
        arithmetic = self.backend.arithmetic
        allowed = TOLERANCE[arithmetic] if limit is None else limit / 100
        share = max(ALLOWED_BATCH_SENSITIVE[kind] for kind in (arithmetic, precision_of(Path(self.name))))
        note = f"{sensitive} lines depend on their batch" if sensitive > share * len(truth) else ""
        if not math.isfinite((logits or 0) + (batch or 0)):
            note = "it gives logits that are not finite"
        else:
            note = _rise(difference, allowed) or note
        return Check(
            model, self.name, arithmetic, score.cer, difference, differing, logits, batch, sensitive, note, not note
        )

    def compare_decoded(
        self, reference: "Reader", decoder: Decoder, name: str, model: str, limit: float | None
    ) -> Check:
        """Compares what a decoder reads in the logits of both.

        Args:
            reference: the model in PyTorch.
            decoder: decodes the logits that were read.
            name: what it is called.
            model, limit: see `compare`.
        """
        before, now = ([self.charset.decode(f) for f in decode_all(decoder, r.logits)] for r in (reference, self))
        form = f"{self.name}, {name}"
        return compare_texts(self.lines.lines, before, now, model, form, self.backend.arithmetic, limit)

    def _batch_sensitivity(self) -> tuple[float | None, int]:
        """Every line alone, and batches of every size that the back end takes, against the first reading."""
        pairs, sensitive = [], set()
        sizes = [size for size in SIZES if size <= (self.max_batch or size)]
        batches = [[i] for i in range(len(self.texts))] + [self.lines.spread(size) for size in sizes]
        for indices in batches:
            for i, (text, logits) in zip(indices, self._run(indices), strict=True):
                pairs.append((logits, self.logits[i]))
                if text != self.texts[i]:
                    sensitive.add(i)
        return _largest(pairs), len(sensitive)

    def _run(self, indices: list[int]) -> Iterator[tuple[str, Any]]:
        pixels, widths = pad([self.lines.images[i] for i in indices])
        output = self.backend.run(pixels, widths)
        for row, width in enumerate(widths.tolist()):
            frames = max(1, -(-width // self.backend.card.stride))
            text = self.charset.decode(output.labels[row, : output.lengths[row]].tolist())
            yield text, None if output.logits is None else output.logits[row, :frames]


def compare_texts(
    lines: Sequence[Line],
    before: Sequence[str],
    now: Sequence[str],
    model: str,
    form: str,
    arithmetic: str,
    limit: float | None,
) -> Check:
    """Compares what was read with the model in PyTorch, `before`, and with an exported form of it, `now`."""
    truth = [line.text for line in lines]
    score = metrics.score(truth, now)
    difference = metrics.paired_interval(score, metrics.score(truth, before))
    pairs = zip(lines, before, now, strict=True)
    differing = tuple((line.id, line.text, old, new) for line, old, new in pairs if old != new)
    note = _rise(difference, TOLERANCE[arithmetic] if limit is None else limit / 100)
    return Check(model, form, arithmetic, score.cer, difference, differing, note=note, passed=not note)


def _rise(difference: tuple[float, float, float], allowed: float) -> str:
    """What is wrong with a change of the CER, mean and interval, of which so much is allowed; empty if nothing is."""
    if difference[2] <= allowed:
        return ""
    note = f"the CER rises by up to {100 * difference[2]:.3f} points; {100 * allowed:g} are allowed"
    return note + "; its mean is within that, so more lines may decide" * (difference[0] <= allowed)


def _largest(pairs: Iterable[tuple[Any, Any]]) -> float | None:
    """The largest difference, or NaN if one is NaN, which Python's own max() may pass over; None without logits."""
    differences = [np.abs(a - b).max() for a, b in pairs if a is not None and b is not None]
    return float(np.max(differences)) if differences else None
