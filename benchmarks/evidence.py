"""What single lines say: errors line by line, confusions, agreement between forms, calibration, and the worst lines.

All of it goes into the benchmark's JSON, which `benchmarks/page` and `benchmarks/compare.py` work from.
"""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.splits import Pixels, Split
from htrcompress import metrics
from htrcompress.errors import HtrError
from htrcompress.image import resize_to_height
from htrcompress.runtime import Reading

WORST = 20
CONFUSIONS = 30
BINS = 10
PICTURE_HEIGHT, PICTURE_WIDTH = 56, 4096
"""Pixels of the worst lines' pictures on the page."""


@dataclass(frozen=True)
class Bin:
    """Lines of like confidence.

    Attributes:
        lines: how many.
        confidence: mean of their confidences, the geometric mean of a line's probabilities of its characters.
        accuracy: 1 minus their CER.
    """

    lines: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class WorstLine:
    """A line with many errors."""

    id: str
    group: str
    text: str
    reading: str
    edits: int


@dataclass(frozen=True)
class Evidence:
    """The lines of one split.

    Attributes:
        lengths: characters of every line.
        widths: pixels of every line at the first model's height; 0 where it cannot be read.
        edits: artefact to the character errors of every line.
        differing: artefact to artefact to how many lines the two read otherwise.
        confusions: model to its most frequent mistakes, (expected, read, count).
        calibration: model to bins of lines of rising confidence, equally many lines in each.
        worst_of: the model that `worst` is of.
        worst: the lines with the most errors.
    """

    lengths: list[int]
    widths: list[int]
    edits: dict[str, list[int]]
    differing: dict[str, dict[str, int]]
    confusions: dict[str, list[tuple[str, str, int]]]
    calibration: dict[str, list[Bin]] = field(default_factory=dict)
    worst_of: str = ""
    worst: list[WorstLine] = field(default_factory=list)


def gather(
    split: Split, widths: list[int], readings: dict[str, list[Reading]], models: dict[str, str], shown: str
) -> Evidence:
    """The evidence of one split.

    Args:
        split: the lines.
        widths: pixels of every line as the network sees it.
        readings: artefact to its readings of all lines.
        models: model to its artefact in PyTorch.
        shown: the model whose worst lines are shown.
    """
    texts = {name: [reading.text for reading in some] for name, some in readings.items()}
    scores = {name: split.compare(some) for name, some in texts.items()}
    truth = [line.text for line in split.lines]
    found = zip(split.lines, texts[models[shown]], scores[models[shown]].edits.tolist(), strict=True)
    worst = sorted((WorstLine(line.id, line.group, line.text, read, edits) for line, read, edits in found), key=_rank)
    return Evidence(
        lengths=next(iter(scores.values())).lengths.tolist(),
        widths=widths,
        edits={name: score.edits.tolist() for name, score in scores.items()},
        differing={one: {other: _differing(texts[one], texts[other]) for other in texts} for one in texts},
        confusions={model: metrics.confusions(truth, texts[name], CONFUSIONS) for model, name in models.items()},
        calibration={model: calibration(readings[name], scores[name]) for model, name in models.items()},
        worst_of=shown,
        worst=[line for line in worst[:WORST] if line.edits],
    )


def _rank(line: WorstLine) -> tuple[float, str]:
    return -line.edits, line.id


def _differing(ones: Sequence[str], others: Sequence[str]) -> int:
    return sum(one != other for one, other in zip(ones, others, strict=True))


def calibration(readings: Sequence[Reading], score: metrics.Score) -> list[Bin]:
    """Bins of equally many lines of rising confidence; what could not be read has confidence 0."""
    confidence = np.exp([reading.score for reading in readings])
    order = np.argsort(confidence, kind="stable")
    bins = []
    for part in np.array_split(order, min(BINS, len(order))):
        accuracy = 1 - metrics.ratio(score.edits[part], score.lengths[part])
        bins.append(Bin(len(part), float(confidence[part].mean()), accuracy))
    return bins


@dataclass(frozen=True)
class CurvePoint:
    """One validation in a training: optimiser steps and seconds so far, and CER, a fraction."""

    step: int
    seconds: float
    cer: float


def curve(model: Path) -> list[CurvePoint]:
    """The validations in the training log beside a model of a run; none where there is no log."""
    log = model.parent / model.stem / "log.jsonl"
    if not log.is_file():
        return []
    points = []
    for text in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(text)
            points.append(CurvePoint(row["step"], row["seconds"], row["cer"]))
        except (ValueError, KeyError, TypeError):  # a row of losses, or one that a power cut left incomplete
            continue
    return points


def pictures(split: Split, ids: set[str]) -> dict[str, str]:
    """The named lines' pictures as `data:` addresses; a line that cannot be read has none."""
    found = {}
    for line in split.lines:
        if line.id in ids:
            try:
                found[line.id] = _address(resize_to_height(line.pixels(), PICTURE_HEIGHT, PICTURE_WIDTH))
            except HtrError:
                continue
    return found


def _address(grey: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=60)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
