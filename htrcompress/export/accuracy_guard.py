"""What a graph makes of validation lines: the guard that INT8 has to pass reads them in several versions.

Rounding flips doubtful characters either way, and over a few hundred lines that chance alone is wider than any limit
worth setting. So a short split is read several times, each line a little slanted, stretched or faded, and a line
counts with its mean over the versions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from htrcompress import metrics
from htrcompress.card import Card
from htrcompress.config import AugmentConfig
from htrcompress.data.batching import by_width, pad
from htrcompress.data.prepare import EncodedLines
from htrcompress.decoding import reference
from htrcompress.export.onnx_export import session

if TYPE_CHECKING:
    from onnx import ModelProto

BATCH = 16
READINGS, VERSIONS = 2000, 8
"""Lines that the guard wants to read, and the most versions of a line that make up for a short split."""
VARIATION = AugmentConfig(
    slant=0.05,
    stretch=0.03,
    size=0.03,
    shift=0.02,
    drift=0.005,
    elastic=0.005,
    stroke=0,
    ink=0.1,
    noise=0.01,
    stripes=0,
)
"""How the versions differ: a fifth of what training varies, so that they read about as well as the line itself."""


def versions(examples: EncodedLines, stride: int) -> list[EncodedLines]:
    """The lines as they are, and as often varied as `READINGS` asks for."""
    count = min(VERSIONS, -(-READINGS // len(examples.texts)))
    return [examples, *(_varied(examples, stride, seed) for seed in range(1, count))]


def _varied(examples: EncodedLines, stride: int, seed: int) -> EncodedLines:
    import torch

    from htrcompress.data.augment import augment

    images = list(examples.images)
    for number, indices in enumerate(by_width(examples.widths, BATCH)):
        needed = torch.tensor([reference.frames_needed(examples.labels[i]) for i in indices])
        batch = augment(examples.batch(indices), VARIATION, needed, stride, seed * len(images) + number)
        for i, pixels, width in zip(indices, batch.pixels.numpy(), batch.widths.tolist(), strict=True):
            images[i] = np.ascontiguousarray(pixels[0, :, :width])
    return replace(examples, images=images)


def scores(graph: "ModelProto", card: Card, lines: Sequence[EncodedLines]) -> list[metrics.Score]:
    """How a graph reads every version of the lines."""
    running, charset = session(graph, "the INT8 graph"), card.characters()
    found = []
    for examples in lines:
        texts = [""] * len(examples.texts)
        for indices, pixels, widths in batches(examples):
            labels, lengths = running.run(["labels", "lengths"], {"pixels": pixels, "widths": widths})
            for i, row, length in zip(indices, labels.tolist(), lengths.tolist(), strict=True):
                texts[i] = charset.decode(row[:length])
        found.append(metrics.score(examples.texts, texts))
    return found


def batches(examples: EncodedLines) -> Iterator[tuple[list[int], Any, Any]]:
    """Indices, pixels uint8 (B, 1, H, W) and widths int32 (B,) of lines of like width."""
    for indices in by_width(examples.widths, BATCH):
        yield indices, *pad([examples.images[i] for i in indices])


def logits(graph: "ModelProto", examples: EncodedLines) -> list[Any]:
    """The logits of every batch, FP32 (B, T, C), of a graph that may not have them as an output."""
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(graph)
    if all(output.name != "logits" for output in shown.graph.output):
        shown.graph.output.add().name = "logits"
    running = session(shown, "the INT8 graph")
    return [running.run(["logits"], {"pixels": p, "widths": w})[0] for _, p, w in batches(examples)]
