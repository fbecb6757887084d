"""Losses of a network on a few training batches: what compression passes measure importance with."""

from collections.abc import Iterator

from torch import Tensor

from htrcompress.data.batching import epoch_order
from htrcompress.data.prepare import EncodedLines
from htrcompress.models.base import LineRecognizer
from htrcompress.training.losses import ctc_loss

BATCHES = 24
"""Batches for each round of a pass."""
BATCH = 16
"""Lines in a batch."""


class TrainingBatchLosses:
    """`losses(network, round)` gives the mean CTC loss of a network on some training batches, one after the other.

    Args:
        lines: the training lines.
        seed: decides which lines; every round has others.
    """

    def __init__(self, lines: EncodedLines, seed: int):
        self.lines, self.seed = lines, seed

    def __call__(self, network: LineRecognizer, number: int) -> Iterator[Tensor]:
        network.eval()
        device = next(network.parameters()).device
        for indices in epoch_order(self.lines.widths, BATCH, self.seed + number, 0)[:BATCHES]:
            batch = self.lines.batch(indices).to(device)
            logits, frames = network(batch.pixels, batch.widths)
            total, count = ctc_loss(logits, frames, batch)
            yield total / count
