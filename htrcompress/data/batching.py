"""Lines to batches: padded to the widest, grouped by width, in an order that only (seed, epoch) decides."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from htrcompress.image import pad

WIDTH_STEP = 16
"""Batches are padded to a multiple of this, so that few distinct shapes occur."""
POOL = 40
"""Batches that are sorted by width together: near-equal widths, yet an order that changes every epoch."""


@dataclass(frozen=True)
class Batch:
    """Some lines as tensors.

    Attributes:
        pixels: uint8 (B, 1, H, W), dark ink on light paper, padded with `PAPER`.
        widths: int32 (B,), columns of each line before padding.
        targets: int64 (sum of target_lengths,), the labels of all lines one after the other.
        target_lengths: int64 (B,).
    """

    pixels: Tensor
    widths: Tensor
    targets: Tensor
    target_lengths: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return Batch(*(t.to(device) for t in (self.pixels, self.widths, self.targets, self.target_lengths)))


def collate(images: Sequence[NDArray[np.uint8]], labels: Sequence[Sequence[int]]) -> Batch:
    """A batch of images, uint8 (H, w) of one height, and their labels."""
    pixels, widths = pad(images, WIDTH_STEP)
    return Batch(
        torch.from_numpy(pixels),
        torch.from_numpy(widths),
        torch.tensor([label for row in labels for label in row], dtype=torch.int64),
        torch.tensor([len(row) for row in labels], dtype=torch.int64),
    )


def by_width(widths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches of `size`, narrow to wide: how evaluation reads a split."""
    order = sorted(range(len(widths)), key=widths.__getitem__)
    return [order[at : at + size] for at in range(0, len(order), size)]


def epoch_order(widths: Sequence[int], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices in shuffled batches of near-equal width; the number of batches is the same every epoch."""
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(widths)))
    rng.shuffle(order)
    batches = []
    for at in range(0, len(order), size * POOL):
        pool = order[at : at + size * POOL]
        batches += [[pool[i] for i in group] for group in by_width([widths[i] for i in pool], size)]
    rng.shuffle(batches)
    return batches
