"""Decodes the logits of many lines, which were computed once, in batches of lines of similar width."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from htrcompress.decoding.base import Decoder

LINES = 64
"""Lines that are decoded together."""


Batch = tuple[list[int], NDArray[np.float32], NDArray[np.int64]]
"""See `batches`."""


def batches(logits: Sequence[NDArray[np.float32]]) -> Iterator[Batch]:
    """Places of some lines, their logits (B, T, C) filled with zeros, and their frames (B,); the narrowest lines first.

    Args:
        logits: FP32 (T, C) of each line, its own frames alone.
    """
    order = sorted(range(len(logits)), key=lambda i: len(logits[i]))
    for start in range(0, len(order), LINES):
        some = order[start : start + LINES]
        frames = np.array([len(logits[i]) for i in some])
        batch = np.zeros((len(some), int(frames.max()), logits[some[0]].shape[1]), np.float32)
        for row, i in zip(batch, some, strict=True):
            row[: len(logits[i])] = logits[i]
        yield some, batch, frames


def decode_all(decoder: Decoder, logits: Sequence[NDArray[np.float32]]) -> list[tuple[int, ...]]:
    """The best labels of every line."""
    found: list[tuple[int, ...]] = [()] * len(logits)
    for some, batch, frames in batches(logits):
        for i, readings in zip(some, decoder.decode(batch, frames), strict=True):
            found[i] = readings[0].labels
    return found
